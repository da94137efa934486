//! Which commands a Redis server ran, in their order, as its MONITOR tells.

use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};

use super::aside;
use super::resp::{Connection, Endpoint, PATIENCE, Reply, Stream};

/// Collects every command from its opening on, those of `RedisServer::command` too. It ends with the server: take
/// what you want to see before a kill, and open another log after a restart.
///
/// Redis shows neither what an administrator does (CONFIG, SAVE, MONITOR) nor a password.
pub struct CommandLog {
    server: Endpoint,
    seen: Arc<Seen>,
    connection: Stream,
    collector: Option<JoinHandle<()>>,
}

impl CommandLog {
    pub async fn of(server: impl Into<Endpoint>) -> Self {
        let server = server.into();
        aside(move || Self::open(server)).await
    }

    /// The commands since the last `take`, each with its arguments: all that was answered before this call. What a
    /// Lua script ran comes after the EVAL that ran it.
    pub async fn take(&self) -> Vec<Vec<String>> {
        self.take_logged().await.into_iter().map(|command| command.words).collect()
    }

    /// The same without what Lua scripts ran: what clients sent.
    pub async fn take_sent(&self) -> Vec<Vec<String>> {
        let commands = self.take_logged().await.into_iter();
        commands.filter(|command| !command.by_script).map(|command| command.words).collect()
    }

    fn open(server: Endpoint) -> Self {
        let mut connection =
            Connection::open(server.clone(), PATIENCE).expect("the server takes connections");
        let answer = connection.ask(&["MONITOR"]).expect("the server answers");
        assert_eq!(answer, Reply::Simple("OK".to_owned()), "MONITOR");
        let stream = connection.stream().try_clone().expect("there are file descriptors left");
        stream.set_read_timeout(None).expect("the timeout is a valid one");
        let seen = Arc::new(Seen::default());
        let collector = thread::spawn({
            let seen = Arc::clone(&seen);
            move || seen.collect(connection)
        });
        Self { server, seen, connection: stream, collector: Some(collector) }
    }

    async fn take_logged(&self) -> Vec<Logged> {
        let (server, seen) = (self.server.clone(), Arc::clone(&self.seen));
        aside(move || seen.take_up_to_now(server)).await
    }
}

impl Drop for CommandLog {
    fn drop(&mut self) {
        // Fails when the server is gone, and then the collector has ended anyway.
        _ = self.connection.close();
        if let Some(collector) = self.collector.take() {
            _ = collector.join();
        }
    }
}

#[derive(Default)]
struct Seen {
    log: Mutex<Log>,
    news: Condvar,
}

#[derive(Default)]
struct Log {
    commands: Vec<Logged>,
    ended: bool,
}

impl Seen {
    fn collect(&self, mut connection: Connection) {
        while let Ok(Reply::Simple(line)) = connection.read() {
            let command = Logged::parse(&line);
            self.log.lock().expect("no panic").commands.push(command);
            self.news.notify_all();
        }
        self.log.lock().expect("no panic").ended = true;
        self.news.notify_all();
    }

    /// Redis tells of commands in the order in which it runs them: once the log shows a marker sent now, it shows all
    /// that was answered before.
    fn take_up_to_now(&self, server: Endpoint) -> Vec<Logged> {
        let marker = Logged::marker();
        if !self.log.lock().expect("no panic").ended {
            let sent = Connection::open(server, PATIENCE).and_then(|mut marking| marking.ask(&marker.words));
            sent.expect("the server answers");
        }
        let log = self.log.lock().expect("no panic");
        let is_missing = |log: &mut Log| !log.ended && !log.commands.contains(&marker);
        let (mut log, _) = self.news.wait_timeout_while(log, PATIENCE, is_missing).expect("no panic");
        assert!(!log.ended, "this log ended with its server");
        let end = log.commands.iter().position(|command| *command == marker).expect("the monitor keeps up");
        let mut taken: Vec<_> = log.commands.drain(..=end).collect();
        taken.retain(|command| !command.is_marker());
        taken
    }
}

#[derive(PartialEq)]
struct Logged {
    by_script: bool,
    words: Vec<String>,
}

impl Logged {
    const MARKER: &str = "the command log up to now ";

    /// Reads `1700000000.123456 [0 127.0.0.1:50000] "SET" "k" "v"`; a script's source is `[0 lua]`.
    fn parse(line: &str) -> Self {
        let (source, command) = line.split_once("] \"").expect("a line of MONITOR names its source");
        let mut bytes = command.bytes();
        let mut words = vec![word(&mut bytes)];
        while bytes.any(|byte| byte == b'"') {
            words.push(word(&mut bytes));
        }
        Self { by_script: source.ends_with(" lua"), words }
    }

    fn marker() -> Self {
        let unique = format!("{}{:016x}", Self::MARKER, fastrand::u64(..));
        Self { by_script: false, words: vec!["ECHO".to_owned(), unique] }
    }

    fn is_marker(&self) -> bool {
        self.words.get(1).is_some_and(|word| word.starts_with(Self::MARKER))
    }
}

/// What stands before the closing quote, without the escapes.
fn word(bytes: &mut impl Iterator<Item = u8>) -> String {
    let mut word = Vec::new();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => break,
            b'\\' => word.push(escaped(bytes)),
            byte => word.push(byte),
        }
    }
    String::from_utf8_lossy(&word).into_owned()
}

fn escaped(bytes: &mut impl Iterator<Item = u8>) -> u8 {
    match bytes.next().expect("something follows a backslash") {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'a' => 0x07,
        b'b' => 0x08,
        b'x' => {
            let digits: String = bytes.take(2).map(char::from).collect();
            u8::from_str_radix(&digits, 16).expect("two hexadecimal digits follow \\x")
        }
        itself => itself,
    }
}
