//! A network that fails on demand: a TCP proxy between a client and its server, whose faults a test switches.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Faults act on live and on new connections, and add up. Dropping the proxy closes everything.
///
/// Its waits are tokio's: under a paused clock they pass at once.
pub struct Proxy {
    address: SocketAddr,
    faults: watch::Sender<Faults>,
    connections: Connections,
    acceptor: JoinHandle<()>,
}

type Connections = Arc<Mutex<JoinSet<()>>>;

impl Proxy {
    /// Passes on to `server`, which need not be there yet.
    pub async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port is free");
        let address = listener.local_addr().expect("a listener has an address");
        let faults = watch::Sender::new(Faults::default());
        let connections = Connections::default();
        let acceptor = tokio::spawn(accept(listener, server, Arc::clone(&connections), faults.subscribe()));
        Self { address, faults, connections, acceptor }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Every chunk waits this long, in each direction: an answer takes twice as long.
    pub fn delay(&self, delay: Duration) {
        self.faults.send_modify(|faults| faults.delay = delay);
    }

    /// In each direction of each connection.
    pub fn throttle(&self, bytes_per_second: u32) {
        assert!(bytes_per_second > 0, "for no bytes at all there is half_open");
        self.faults.send_modify(|faults| faults.bytes_per_second = Some(bytes_per_second));
    }

    /// Closes all connections; new ones are welcome.
    pub fn cut(&self) {
        *self.connections.lock().expect("no panic") = JoinSet::new();
    }

    /// New connections go to another server, as after a fail-over; those that are open live on.
    pub fn lead_to(&self, server: SocketAddr) {
        self.faults.send_modify(|faults| faults.leads_to = Some(server));
    }

    /// New connections are closed at once; those that are open live on.
    pub fn refuse(&self, refuse: bool) {
        self.faults.send_modify(|faults| faults.refuse = refuse);
    }

    /// Swallows all bytes, and the news that a side has closed, while the connections look open to both sides.
    /// Switching it off cuts the connections, as they have lost bytes.
    pub fn half_open(&self, half_open: bool) {
        self.swallow(|faults| std::mem::replace(&mut faults.half_open, half_open) && !half_open);
    }

    /// Requests reach the server, its replies are swallowed. Switching it off cuts the connections, as another
    /// request would get the reply to an earlier one.
    pub fn drop_replies(&self, drop_replies: bool) {
        self.swallow(|faults| std::mem::replace(&mut faults.drop_replies, drop_replies) && !drop_replies);
    }

    /// The server's words arrive, what it is asked is swallowed. Switching it off cuts the connections, as `drop_replies` does.
    pub fn drop_requests(&self, drop_requests: bool) {
        self.swallow(|faults| std::mem::replace(&mut faults.drop_requests, drop_requests) && !drop_requests);
    }

    /// As `half_open`, of one connection only: the first to be made is 0.
    pub fn silence(&self, connection: u64) {
        self.faults.send_modify(|faults| faults.silenced = Some(connection));
    }

    /// Switches all faults off. Connections that may have lost bytes are cut.
    pub fn heal(&self) {
        self.swallow(|faults| {
            let lost_bytes =
                faults.half_open || faults.drop_replies || faults.drop_requests || faults.silenced.is_some();
            *faults = Faults::default();
            lost_bytes
        });
    }

    /// How many are open.
    pub fn connections(&self) -> usize {
        let mut connections = self.connections.lock().expect("no panic");
        while connections.try_join_next().is_some() {}
        connections.len()
    }

    /// Makes a change, and cuts the connections if it says that they no longer lose bytes.
    fn swallow(&self, change: impl FnOnce(&mut Faults) -> bool) {
        let mut ended = false;
        self.faults.send_modify(|faults| ended = change(faults));
        if ended {
            self.cut();
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.acceptor.abort();
        self.cut();
    }
}

#[derive(Clone, Copy, Default)]
struct Faults {
    delay: Duration,
    bytes_per_second: Option<u32>,
    /// Where new connections lead to, in the place of the server that was there at first.
    leads_to: Option<SocketAddr>,
    refuse: bool,
    half_open: bool,
    drop_replies: bool,
    drop_requests: bool,
    silenced: Option<u64>,
}

impl Faults {
    fn swallow(&self, Way { connection, direction }: Way) -> bool {
        self.half_open
            || self.silenced == Some(connection)
            || (self.drop_replies && direction == Direction::Replies)
            || (self.drop_requests && direction == Direction::Requests)
    }

    /// How many of `size` bytes go next: what is throttled trickles, and does not come as one late flood.
    fn piece(&self, size: usize) -> usize {
        self.bytes_per_second.map_or(size, |rate| (rate as usize / 20).clamp(1, size))
    }

    fn throttled(&self, size: usize) -> Duration {
        self.bytes_per_second.map_or(Duration::ZERO, |rate| Duration::from_secs(size as u64) / rate)
    }
}

/// One direction of one connection.
#[derive(Clone, Copy)]
struct Way {
    connection: u64,
    direction: Direction,
}

#[derive(Clone, Copy, PartialEq)]
enum Direction {
    Requests,
    Replies,
}

async fn accept(
    listener: TcpListener,
    server: SocketAddr,
    connections: Connections,
    faults: watch::Receiver<Faults>,
) {
    for connection in 0.. {
        let Ok((client, _)) = listener.accept().await else { continue };
        let Faults { refuse, leads_to, .. } = *faults.borrow();
        if !refuse {
            let relay = relay(client, leads_to.unwrap_or(server), connection, faults.clone());
            connections.lock().expect("no panic").spawn(relay);
        }
    }
}

/// Lives until both sides have closed, or one direction has failed. A client whose server cannot be reached is
/// closed.
async fn relay(mut client: TcpStream, server: SocketAddr, connection: u64, faults: watch::Receiver<Faults>) {
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    _ = client.set_nodelay(true);
    _ = server.set_nodelay(true);
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let way = |direction| Way { connection, direction };
    let requests = pump(from_client, to_server, way(Direction::Requests), faults.clone());
    let replies = pump(from_server, to_client, way(Direction::Replies), faults);
    _ = tokio::try_join!(requests, replies);
}

/// Passes on in one direction until its source closes.
async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    way: Way,
    mut faults: watch::Receiver<Faults>,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    let mut has_lost_bytes = false;
    loop {
        // A failed source is a closed one; the failure shows when the other direction writes to it.
        let size = from.read(&mut buffer).await.unwrap_or(0);
        if size == 0 {
            hold(&mut faults, |faults| !faults.swallow(way)).await?;
            return to.shutdown().await;
        }
        wait(&mut faults, |faults| faults.delay).await?;
        let mut rest = &buffer[..size];
        while !rest.is_empty() {
            let (piece, later) = rest.split_at(faults.borrow().piece(rest.len()));
            wait(&mut faults, |faults| faults.throttled(piece.len())).await?;
            if faults.borrow().swallow(way) {
                has_lost_bytes = true;
            } else if has_lost_bytes {
                // The fault ended a moment ago and the cut is yet to come.
                return Err(io::ErrorKind::ConnectionAborted.into());
            } else {
                to.write_all(piece).await?;
            }
            rest = later;
        }
    }
}

/// Waits as long as the faults say, and no longer once they say less.
async fn wait(faults: &mut watch::Receiver<Faults>, time: impl Fn(&Faults) -> Duration) -> io::Result<()> {
    let full = time(&faults.borrow());
    if full.is_zero() {
        return Ok(());
    }
    let cut_short = hold(faults, |faults| time(faults) < full);
    tokio::time::timeout(full, cut_short).await.unwrap_or(Ok(()))
}

/// Waits until the faults are such; fails when the proxy is gone.
async fn hold(faults: &mut watch::Receiver<Faults>, until: impl FnMut(&Faults) -> bool) -> io::Result<()> {
    faults.wait_for(until).await.map(drop).map_err(io::Error::other)
}
