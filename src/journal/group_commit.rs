//! Many callers, one sync: a record is written together with all that were appended while the one before was synced.
//!
//! A thread of its own writes, for syncs block for milliseconds, and a record that is queued is written even if its caller
//! goes away and its runtime ends.

use std::future::Future;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use tokio::sync::oneshot;

use super::disk::Disk;
use super::fault::{Doing, Fault};
use super::local_log::Log;
use super::record::LONGEST;

/// At most so many records share a sync. More would make the first wait without making the last faster.
const MOST_RECORDS: usize = 4096;
/// And at most so many bytes, unless one record alone has more.
const MOST_BYTES: usize = 4 << 20;

/// A log that many append to at once.
#[derive(Debug)]
pub struct GroupCommit {
    orders: Sender<Order>,
}

#[derive(Debug)]
enum Order {
    Append(Append),
    Trim { upto: u64, answer: Answer<()> },
    Close { done: oneshot::Sender<()> },
}

#[derive(Debug)]
struct Append {
    payload: Vec<u8>,
    answer: Answer<u64>,
}

/// Whom to tell. That nobody waits any more is no reason to do less.
type Answer<T> = oneshot::Sender<Result<T, Fault>>;

impl GroupCommit {
    /// Starts a thread that writes to `log`. It ends when this is closed, or dropped and all that was queued is written.
    ///
    /// # Errors
    ///
    /// [`Fault::Disk`] with [`Doing::Start`] if there can be no more threads.
    pub fn start<D: Disk + Send + 'static>(log: Log<D>) -> Result<Self, Fault> {
        let (orders, received) = channel();
        let thread = thread::Builder::new().name("larder-log".to_owned());
        thread.spawn(move || serve(log, &received)).map_err(|error| Doing::Start.failed(&error))?;
        Ok(Self { orders })
    }

    /// Appends a record, and answers with its number when it is durable. Its place in the log is taken when this is
    /// called, not when the answer is awaited; dropping the answer leaves it in the log.
    ///
    /// # Errors
    ///
    /// [`Fault::TooLong`] and [`Fault::Closed`], or the fault that has ended the log. The record may be in the log
    /// then or not.
    pub fn append(&self, payload: Vec<u8>) -> impl Future<Output = Result<u64, Fault>> + Send + use<> {
        let bytes = payload.len();
        let answer = (bytes <= LONGEST)
            .then(|| self.order(|answer| Order::Append(Append { payload, answer })))
            .ok_or(Fault::TooLong { bytes, most: LONGEST });
        async move { answer?.await.unwrap_or(Err(Fault::Closed)) }
    }

    /// [Trims](Log::trim) the log.
    ///
    /// # Errors
    ///
    /// [`Fault::Closed`], or the fault that has ended the log.
    pub async fn trim(&self, upto: u64) -> Result<(), Fault> {
        self.order(|answer| Order::Trim { upto, answer }).await.unwrap_or(Err(Fault::Closed))
    }

    /// Writes what is queued, and answers when the log is closed and free for another to open. What is appended later
    /// is refused.
    pub async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.orders.send(Order::Close { done }).is_ok() {
            // Nobody answers if another call has closed it first; the thread is gone then, too.
            let _ = closed.await;
        }
    }

    /// If the thread is gone, the order is dropped and its answer with it.
    fn order<T>(&self, order: impl FnOnce(Answer<T>) -> Order) -> oneshot::Receiver<Result<T, Fault>> {
        let (answer, answered) = oneshot::channel();
        let _ = self.orders.send(order(answer));
        answered
    }
}

/// Carries orders out, one batch of records at a time, until it is closed or nobody can give any more.
fn serve<D: Disk>(mut log: Log<D>, orders: &Receiver<Order>) {
    let mut left_over = None;
    while let Some(order) = left_over.take().or_else(|| orders.recv().ok()) {
        match order {
            Order::Append(first) => {
                let batch;
                (batch, left_over) = gather(first, || orders.try_recv().ok());
                commit(&mut log, batch);
            }
            Order::Trim { upto, answer } => drop(answer.send(log.trim(upto))),
            Order::Close { done } => {
                drop(log);
                let _ = done.send(());
                return;
            }
        }
    }
}

/// The records that share a sync: `first`, and those that wait behind it, up to the next order of another kind or the
/// first that is too much. Also answers with that order. Pure.
fn gather(first: Append, mut waiting: impl FnMut() -> Option<Order>) -> (Vec<Append>, Option<Order>) {
    let mut bytes = first.payload.len();
    let mut batch = vec![first];
    while batch.len() < MOST_RECORDS {
        match waiting() {
            Some(Order::Append(next)) if bytes + next.payload.len() <= MOST_BYTES => {
                bytes += next.payload.len();
                batch.push(next);
            }
            other => return (batch, other),
        }
    }
    (batch, None)
}

fn commit<D: Disk>(log: &mut Log<D>, batch: Vec<Append>) {
    let (payloads, answers): (Vec<_>, Vec<_>) =
        batch.into_iter().map(|append| (append.payload, append.answer)).unzip();
    match log.append(&payloads).and_then(|first| log.sync().map(|()| first)) {
        Ok(first) => (first..).zip(answers).for_each(|(sequence, answer)| drop(answer.send(Ok(sequence)))),
        Err(fault) => answers.into_iter().for_each(|answer| drop(answer.send(Err(fault.clone())))),
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use fastrand::Rng;
    use futures_util::future::join_all;

    use super::*;
    use crate::journal::record::Record;
    use crate::journal::simulated::{SimulatedDisk, Trouble};

    const SEGMENT: u64 = 1 << 20;

    fn waits(bytes: usize) -> (Order, oneshot::Receiver<Result<u64, Fault>>) {
        let (answer, answered) = oneshot::channel();
        (Order::Append(Append { payload: vec![0; bytes], answer }), answered)
    }

    fn first() -> Append {
        let (answer, _) = oneshot::channel();
        Append { payload: vec![0; 10], answer }
    }

    fn gathered(orders: Vec<Order>) -> (Vec<usize>, Option<Order>) {
        let mut orders = orders.into_iter();
        let (batch, left_over) = gather(first(), || orders.next());
        (batch.iter().map(|append| append.payload.len()).collect(), left_over)
    }

    #[test]
    fn a_batch_is_what_waits_in_its_order() {
        assert!(matches!(gathered(Vec::new()), (batch, None) if batch == [10]));
        let waiting = (1..4).map(|bytes| waits(bytes).0).collect();
        assert!(matches!(gathered(waiting), (batch, None) if batch == [10, 1, 2, 3]));
    }

    #[test]
    fn a_batch_ends_at_another_order() {
        let (done, _) = oneshot::channel();
        let waiting = vec![waits(1).0, Order::Close { done }, waits(2).0];
        assert!(matches!(gathered(waiting), (batch, Some(Order::Close { .. })) if batch == [10, 1]));
    }

    #[test]
    fn a_batch_has_bounds() {
        let (batch, left_over) = gathered((0..MOST_RECORDS).map(|_| waits(1).0).collect());
        assert!(left_over.is_none(), "it is not even taken from the queue");
        assert_eq!(batch.len(), MOST_RECORDS);
        let (batch, left_over) = gathered(vec![waits(1).0, waits(MOST_BYTES).0]);
        assert!(matches!(left_over, Some(Order::Append(_))));
        assert_eq!(batch, [10, 1]);
    }

    /// A disk whose syncs of a file wait to be let through, and are counted.
    struct Slow {
        disk: SimulatedDisk,
        let_through: Receiver<()>,
        syncs: Arc<AtomicUsize>,
    }

    impl Disk for Slow {
        fn list(&self) -> io::Result<Vec<String>> {
            self.disk.list()
        }

        fn read(&self, name: &str) -> io::Result<Vec<u8>> {
            self.disk.read(name)
        }

        fn create(&mut self, name: &str) -> io::Result<()> {
            self.disk.create(name)
        }

        fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
            self.disk.append(name, bytes)
        }

        fn sync(&mut self, name: &str) -> io::Result<()> {
            self.let_through.recv().unwrap();
            self.syncs.fetch_add(1, Ordering::SeqCst);
            self.disk.sync(name)
        }

        fn sync_directory(&mut self) -> io::Result<()> {
            self.disk.sync_directory()
        }

        fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
            self.disk.rename(from, to)
        }

        fn remove(&mut self, name: &str) -> io::Result<()> {
            self.disk.remove(name)
        }
    }

    fn start(disk: &SimulatedDisk) -> GroupCommit {
        let (log, ..) = Log::open(disk.clone(), SEGMENT).unwrap();
        GroupCommit::start(log).unwrap()
    }

    /// What a power loss at this moment leaves, in the worst case of many.
    fn found_after_power_loss(disk: &SimulatedDisk) -> Vec<Record> {
        let now = disk.moments().pop().unwrap();
        let found = |seed| Log::open(now.power_loss(&mut Rng::with_seed(seed)).0, SEGMENT).unwrap().1;
        (0..50).map(found).min_by_key(Vec::len).unwrap()
    }

    fn numbers_and_payloads(records: Vec<Record>) -> Vec<(u64, Vec<u8>)> {
        records.into_iter().map(|record| (record.sequence, record.payload)).collect()
    }

    #[tokio::test]
    async fn what_is_answered_is_durable() {
        let disk = SimulatedDisk::new(1);
        let log = start(&disk);
        for sequence in 1..20 {
            assert_eq!(log.append(vec![1, 2, 3]).await, Ok(sequence));
            assert_eq!(found_after_power_loss(&disk).len() as u64, sequence);
        }
    }

    #[tokio::test]
    async fn those_who_wait_share_a_sync() {
        let (let_through, permits) = channel();
        let syncs = Arc::new(AtomicUsize::new(0));
        let slow = Slow { disk: SimulatedDisk::new(1), let_through: permits, syncs: Arc::clone(&syncs) };
        let_through.send(()).unwrap(); // for opening
        let (log, ..) = Log::open(slow, SEGMENT).unwrap();
        let log = GroupCommit::start(log).unwrap();
        let answers: Vec<_> = (0..1000_u32).map(|caller| log.append(caller.to_le_bytes().to_vec())).collect();
        let_through.send(()).unwrap(); // for the first, and whoever came before its batch was gathered
        let_through.send(()).unwrap(); // for all the others
        let answers: Vec<u64> = join_all(answers).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(answers, (1..=1000).collect::<Vec<_>>(), "in the order in which they were called");
        assert!(syncs.load(Ordering::SeqCst) <= 3);
    }

    #[tokio::test]
    async fn a_record_whose_caller_goes_away_keeps_its_place() {
        let disk = SimulatedDisk::new(1);
        let log = start(&disk);
        drop(log.append(b"first".to_vec()));
        assert_eq!(log.append(b"second".to_vec()).await, Ok(2));
        let found = numbers_and_payloads(found_after_power_loss(&disk));
        assert_eq!(found, [(1, b"first".to_vec()), (2, b"second".to_vec())]);
    }

    #[tokio::test]
    async fn all_who_wait_are_told_of_a_failed_sync() {
        let disk = SimulatedDisk::new(1);
        let log = start(&disk);
        disk.expect(Trouble::FailedSync, 0);
        let answers = join_all((0..100).map(|_| log.append(vec![7]))).await;
        let failed =
            |answer: &Result<u64, Fault>| matches!(answer, Err(Fault::Disk { doing: Doing::Sync, .. }));
        assert!(answers.iter().all(failed), "{answers:?}");
        assert!(failed(&log.append(vec![8]).await), "and so is everybody later");
        assert!(matches!(log.trim(1).await, Err(Fault::Disk { doing: Doing::Sync, .. })));
    }

    #[tokio::test]
    async fn one_that_is_too_long_harms_no_other() {
        let log = start(&SimulatedDisk::new(1));
        let long = log.append(vec![0; LONGEST + 1]);
        let short = log.append(vec![0]);
        assert_eq!(long.await, Err(Fault::TooLong { bytes: LONGEST + 1, most: LONGEST }));
        assert_eq!(short.await, Ok(1));
    }

    #[tokio::test]
    async fn closing_writes_what_is_queued_and_takes_no_more() {
        let disk = SimulatedDisk::new(1);
        let log = start(&disk);
        let queued: Vec<_> = (0..100).map(|_| log.append(vec![7])).collect();
        log.close().await;
        assert_eq!(found_after_power_loss(&disk).len(), 100);
        assert!(join_all(queued).await.iter().all(Result::is_ok));
        assert_eq!(log.append(vec![8]).await, Err(Fault::Closed));
        assert_eq!(log.trim(1).await, Err(Fault::Closed));
        log.close().await;
    }

    #[tokio::test]
    async fn dropping_it_writes_what_is_queued() {
        let disk = SimulatedDisk::new(1);
        let log = start(&disk);
        let appends: Vec<_> = (0..100).map(|_| log.append(vec![7])).collect();
        let last = appends.into_iter().next_back().unwrap();
        drop(log);
        assert_eq!(last.await, Ok(100));
        assert_eq!(found_after_power_loss(&disk).len(), 100);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn callers_on_many_threads_are_all_answered_in_their_order() {
        let disk = SimulatedDisk::new(1);
        let log = Arc::new(start(&disk));
        let caller = |caller: u8| {
            let log = Arc::clone(&log);
            tokio::spawn(async move {
                let mut last = 0;
                for turn in 0..50 {
                    let sequence = log.append(vec![caller, turn]).await.unwrap();
                    assert!(sequence > last);
                    last = sequence;
                }
            })
        };
        for done in join_all((0..8).map(caller)).await {
            done.unwrap();
        }
        let found = numbers_and_payloads(found_after_power_loss(&disk));
        assert_eq!(found.len(), 400);
        for caller in 0..8 {
            let turns =
                found.iter().filter(|(_, payload)| payload[0] == caller).map(|(_, payload)| payload[1]);
            assert!(turns.eq(0..50), "of caller {caller}");
        }
    }
}
