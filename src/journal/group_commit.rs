//! Many callers, one sync: a record is written together with all that were appended while the one before was synced.
//!
//! A thread of its own writes, for syncs block for milliseconds, and a record that is queued is written even if its caller
//! goes away and its runtime ends.

#![allow(clippy::exhaustive_structs, reason = "not part of the public interface")]

use std::future::Future;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::disk::Disk;
use super::fault::{Doing, Fault};
use super::record::LONGEST;
use super::segments::Segments;
use crate::error::Outcome;

/// At most so many records share a sync. More would make the first wait without making the last faster.
const MOST_RECORDS: usize = 4096;
/// And at most so many bytes, unless one record alone has more.
const MOST_BYTES: usize = 4 << 20;
/// How often it is noted at the most how far all is settled.
const MARKS: Duration = Duration::from_millis(100);

/// A log that many append to at once.
#[derive(Debug)]
pub struct GroupCommit {
    orders: Sender<Order>,
}

/// Why a record was not appended, and whether it may be in the log all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAppended {
    /// What has ended the log, or what is wrong with the record.
    pub fault: Fault,
    /// [`NotApplied`](Outcome::NotApplied) if nothing of it was written; else nobody knows.
    pub outcome: Outcome,
}

/// Is told up to where all is durable, each time that it is more, and the fault that ends the log.
pub type Hear = Box<dyn Fn(Result<u64, &Fault>) + Send>;

enum Order {
    Append(Append),
    Watch(Hear),
    Settle { upto: u64 },
    Run(Box<dyn FnOnce() + Send>),
    Close { done: oneshot::Sender<()> },
}

#[derive(Debug)]
struct Append {
    payload: Vec<u8>,
    /// Whom to tell. That nobody waits any more is no reason to do less.
    answer: oneshot::Sender<Result<u64, NotAppended>>,
}

impl GroupCommit {
    /// Starts a thread that writes to `log`. It ends when this is closed, or dropped and all that was queued is written.
    ///
    /// # Errors
    ///
    /// [`Fault::Disk`] with [`Doing::Start`] if there can be no more threads.
    pub fn start<D: Disk + Send + 'static>(log: Segments<D>) -> Result<Self, Fault> {
        let (orders, received) = channel();
        let thread = thread::Builder::new().name("larder-log".to_owned());
        thread
            .spawn(move || Writer::new(log).serve(received))
            .map_err(|error| Doing::Start.failed(&error))?;
        Ok(Self { orders })
    }

    /// Appends a record, and answers with its number when it is durable. Its place in the log is taken when this is
    /// called, not when the answer is awaited; dropping the answer leaves it in the log.
    ///
    /// # Errors
    ///
    /// [`Fault::TooLong`] and [`Fault::Closed`], or the fault that has ended the log.
    pub fn append(&self, payload: Vec<u8>) -> impl Future<Output = Result<u64, NotAppended>> + Send + use<> {
        let (answer, answered) = oneshot::channel();
        if payload.len() > LONGEST {
            let fault = Fault::TooLong { bytes: payload.len(), most: LONGEST };
            // The other end is here.
            let _ = answer.send(Err(NotAppended { fault, outcome: Outcome::NotApplied }));
        } else if let Err(refused) = self.orders.send(Order::Append(Append { payload, answer })) {
            refused.0.refuse();
        }
        async move {
            answered.await.unwrap_or(Err(NotAppended { fault: Fault::Closed, outcome: Outcome::Unknown }))
        }
    }

    /// Has `hear` told of all progress that comes of what is appended from now on, on the log's thread, before whoever
    /// appended is answered, and also if nobody waits any more.
    pub fn watch(&self, hear: impl Fn(Result<u64, &Fault>) + Send + 'static) {
        let _ = self.orders.send(Order::Watch(Box::new(hear)));
    }

    /// All up to `upto` are settled, as far as they are durable: [trims](Segments::trim) the log, and
    /// [marks](Segments::mark) it now and then. Does not wait.
    pub fn settle(&self, upto: u64) {
        let _ = self.orders.send(Order::Settle { upto });
    }

    /// Does `work` on the log's thread, which may block. None if the log is closed.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        let work = move || drop(answer.send(work()));
        self.orders.send(Order::Run(Box::new(work))).ok()?;
        answered.await.ok()
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
}

impl Order {
    /// What comes too late is told so: nothing of it was written.
    fn refuse(self) {
        if let Self::Append(Append { answer, .. }) = self {
            let _ = answer.send(Err(NotAppended { fault: Fault::Closed, outcome: Outcome::NotApplied }));
        }
    }
}

/// What shares a sync, and what came between.
struct Batch {
    appends: Vec<Append>,
    /// Up to where all is settled, as far as was told meanwhile.
    settled: u64,
    /// The order that comes next, taken from the queue already.
    left_over: Option<Order>,
}

impl Batch {
    /// `first`, and the records that wait behind it, up to the next order that must not be passed over or the first record
    /// that is too much. Pure.
    fn gather(first: Append, mut waiting: impl FnMut() -> Option<Order>) -> Self {
        let mut bytes = first.payload.len();
        let mut batch = Self { appends: vec![first], settled: 0, left_over: None };
        while batch.appends.len() < MOST_RECORDS {
            match waiting() {
                Some(Order::Append(next)) if bytes + next.payload.len() <= MOST_BYTES => {
                    bytes += next.payload.len();
                    batch.appends.push(next);
                }
                Some(Order::Settle { upto }) => batch.settled = batch.settled.max(upto),
                other => {
                    batch.left_over = other;
                    break;
                }
            }
        }
        batch
    }
}

/// What the thread has.
struct Writer<D> {
    log: Segments<D>,
    hear: Option<Hear>,
    /// Up to where it was told that all is durable.
    told: u64,
    has_told_of_the_end: bool,
    settled: u64,
    marked: u64,
    /// When there may be a mark again.
    next_mark: Instant,
}

impl<D: Disk> Writer<D> {
    fn new(log: Segments<D>) -> Self {
        let told = log.durable();
        let next_mark = Instant::now();
        Self { log, hear: None, told, has_told_of_the_end: false, settled: 0, marked: 0, next_mark }
    }

    /// Carries orders out, one batch of records at a time, until it is closed or nobody can give any more.
    fn serve(mut self, orders: Receiver<Order>) {
        let mut left_over = None;
        while let Some(order) = left_over.take().or_else(|| self.wait(&orders)) {
            match order {
                Order::Append(first) => {
                    let batch = Batch::gather(first, || orders.try_recv().ok());
                    self.commit(batch.appends);
                    self.settle(batch.settled);
                    left_over = batch.left_over;
                }
                Order::Watch(hear) => self.hear = Some(hear),
                Order::Settle { upto } => self.settle(upto),
                Order::Run(work) => work(),
                Order::Close { done } => {
                    self.end();
                    orders.try_iter().for_each(Order::refuse);
                    // First: what is given from now on is refused by whoever gives it, and does not end here unanswered.
                    drop(orders);
                    let _ = done.send(());
                    return;
                }
            }
        }
        self.end();
    }

    /// The next order; none if nobody can give one any more. A mark that is due is made meanwhile.
    fn wait(&mut self, orders: &Receiver<Order>) -> Option<Order> {
        while self.marked < self.settled {
            let pause = self.next_mark.saturating_duration_since(Instant::now());
            match orders.recv_timeout(pause) {
                Ok(order) => return Some(order),
                Err(RecvTimeoutError::Timeout) => self.mark(),
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
        orders.recv().ok()
    }

    fn commit(&mut self, appends: Vec<Append>) {
        let was_at_its_end = self.log.fault().is_some();
        let (payloads, answers): (Vec<_>, Vec<_>) =
            appends.into_iter().map(|append| (append.payload, append.answer)).unzip();
        let first = self.log.next();
        let done = self.log.append(&payloads).and_then(|_| self.log.sync());
        let outcome = if was_at_its_end { Outcome::NotApplied } else { Outcome::Unknown };
        self.tell();
        for (sequence, answer) in (first..).zip(answers) {
            // Some may be durable although a later one failed.
            let answered = match &done {
                Err(fault) if sequence > self.log.durable() => {
                    Err(NotAppended { fault: fault.clone(), outcome })
                }
                _ => Ok(sequence),
            };
            let _ = answer.send(answered);
        }
    }

    /// Between syncs: nothing is unsynced, so that the mark's file can be written meanwhile.
    fn settle(&mut self, upto: u64) {
        let upto = upto.min(self.log.durable());
        if upto <= self.settled {
            return;
        }
        self.settled = upto;
        // A failure ends the log; whoever appends is told, and whoever watches at once.
        let _ = self.log.trim(upto);
        self.tell();
        if self.next_mark <= Instant::now() {
            self.mark();
        }
    }

    /// A mark that fails is a replay more.
    fn mark(&mut self) {
        let _ = self.log.mark(self.settled);
        self.marked = self.settled;
        self.next_mark = Instant::now() + MARKS;
    }

    fn tell(&mut self) {
        let Some(hear) = &self.hear else { return };
        if self.told < self.log.durable() {
            self.told = self.log.durable();
            hear(Ok(self.told));
        }
        if let Some(fault) = self.log.fault().filter(|_| !self.has_told_of_the_end) {
            self.has_told_of_the_end = true;
            hear(Err(fault));
        }
    }

    fn end(mut self) {
        if self.marked < self.settled {
            self.mark();
        }
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

    fn waits(bytes: usize) -> (Order, oneshot::Receiver<Result<u64, NotAppended>>) {
        let (answer, answered) = oneshot::channel();
        (Order::Append(Append { payload: vec![0; bytes], answer }), answered)
    }

    fn first() -> Append {
        let (answer, _) = oneshot::channel();
        Append { payload: vec![0; 10], answer }
    }

    fn gathered(orders: Vec<Order>) -> (Vec<usize>, Option<Order>) {
        let mut orders = orders.into_iter();
        let Batch { appends, left_over, .. } = Batch::gather(first(), || orders.next());
        (appends.iter().map(|append| append.payload.len()).collect(), left_over)
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
        let (log, ..) = Segments::open(disk.clone(), SEGMENT).unwrap();
        GroupCommit::start(log).unwrap()
    }

    /// What a power loss at this moment leaves, in the worst case of many.
    fn found_after_power_loss(disk: &SimulatedDisk) -> Vec<Record> {
        let now = disk.moments().pop().unwrap();
        let found = |seed| Segments::open(now.power_loss(&mut Rng::with_seed(seed)).0, SEGMENT).unwrap().1;
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
        let (log, ..) = Segments::open(slow, SEGMENT).unwrap();
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
        let failed = |answer: &Result<u64, NotAppended>| {
            matches!(answer, Err(NotAppended { fault: Fault::Disk { doing: Doing::Sync, .. }, .. }))
        };
        assert!(answers.iter().all(failed), "{answers:?}");
        assert_eq!(answers[0].clone().unwrap_err().outcome, Outcome::Unknown, "it was written");
        let later = log.append(vec![8]).await;
        assert!(failed(&later), "and so is everybody later");
        assert_eq!(later.unwrap_err().outcome, Outcome::NotApplied);
    }

    #[tokio::test]
    async fn one_that_is_too_long_harms_no_other() {
        let log = start(&SimulatedDisk::new(1));
        let long = log.append(vec![0; LONGEST + 1]);
        let short = log.append(vec![0]);
        let fault = Fault::TooLong { bytes: LONGEST + 1, most: LONGEST };
        assert_eq!(long.await, Err(NotAppended { fault, outcome: Outcome::NotApplied }));
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
        let refused = NotAppended { fault: Fault::Closed, outcome: Outcome::NotApplied };
        assert_eq!(log.append(vec![8]).await, Err(refused));
        assert_eq!(log.run(|| ()).await, None);
        log.settle(1);
        log.close().await;
    }

    #[test]
    fn settling_does_not_end_a_batch() {
        let mut waiting =
            [waits(1).0, Order::Settle { upto: 7 }, Order::Settle { upto: 5 }, waits(2).0].into_iter();
        let batch = Batch::gather(first(), || waiting.next());
        assert_eq!((batch.appends.len(), batch.settled), (3, 7));
    }

    /// What was heard, in its order, and after it the answers.
    #[tokio::test]
    async fn whoever_watches_hears_before_whoever_appended() {
        let disk = SimulatedDisk::new(1);
        let log = start(&disk);
        let (told, heard) = channel();
        log.watch(move |progress| told.send(progress.map_err(Fault::clone)).unwrap());
        for sequence in 1..20 {
            log.append(vec![7]).await.unwrap();
            assert_eq!(heard.try_recv(), Ok(Ok(sequence)), "it was heard when the answer came");
        }
        disk.expect(Trouble::FailedSync, 0);
        let failed = log.append(vec![7]).await.unwrap_err();
        assert_eq!(heard.try_recv(), Ok(Err(failed.fault)));
        assert!(log.append(vec![7]).await.is_err() && heard.try_recv().is_err(), "the end is told once");
    }

    #[tokio::test]
    async fn whoever_watches_hears_also_if_nobody_waits() {
        let log = start(&SimulatedDisk::new(1));
        let (told, heard) = channel();
        log.watch(move |progress| told.send(progress.map_err(Fault::clone)).unwrap());
        drop(log.append(vec![7]));
        assert_eq!(heard.recv(), Ok(Ok(1)));
    }

    #[tokio::test]
    async fn what_is_settled_is_marked_soon_and_at_the_end() {
        let disk = SimulatedDisk::new(1);
        let settled = || Segments::open(disk.power_kept(), SEGMENT).unwrap().2.settled;
        let log = start(&disk);
        for _ in 0..5 {
            log.append(vec![7]).await.unwrap();
        }
        log.settle(1);
        log.settle(3);
        for _ in 0..1000 {
            if settled() == 3 {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(settled(), 3, "without anything else to do");
        log.settle(4);
        log.settle(9);
        log.close().await;
        assert_eq!(settled(), 5, "and never more than is durable");
    }

    /// A segment full of what is settled goes.
    #[tokio::test]
    async fn what_is_settled_is_trimmed() {
        let disk = SimulatedDisk::new(1);
        let (log, ..) = Segments::open(disk.clone(), 100).unwrap();
        let log = GroupCommit::start(log).unwrap();
        for _ in 0..10 {
            log.append(vec![7; 20]).await.unwrap();
        }
        log.settle(9);
        log.close().await;
        let (_, records, recovered) = Segments::open(disk, 100).unwrap();
        assert!(recovered.first > 5 && recovered.settled == 9 && records.len() <= 5, "{recovered:?}");
    }

    #[tokio::test]
    async fn work_is_done_between_the_records() {
        let log = start(&SimulatedDisk::new(1));
        assert_eq!(
            log.run(|| thread::current().name().map(str::to_owned)).await,
            Some(Some("larder-log".to_owned()))
        );
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
