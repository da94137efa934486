//! A process that writes, owns shards of the stream, and brings them to the store, until it is killed.

use std::io::{self, BufRead, Write as _};
use std::panic::set_hook;
use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use larder::journal::{Durability, RedisStream};
use larder::store::Sum;
use larder::{AtLimit, Change, Event, Observer, Redis, Store, WriteBehind};
use tokio::sync::Notify;

use crate::counts::increments;
use crate::job::{Guards, Job, OPERATIONS_EACH, Work};
use crate::notes::Note;
use crate::stores::{Watched, counters, effects};
use crate::support::redis_server;

const WRITERS: usize = 4;
/// One for each process, when all live.
const SHARDS: u16 = 3;
/// Small, so that the flusher is always at it.
const BATCH: usize = 8;
const DELAY: Duration = Duration::from_millis(2);
/// Few, so that what waits is soon written.
const MOST_PENDING: usize = 200;
const PATIENCE: Duration = Duration::from_secs(60);

type Behind = WriteBehind<u64, u64>;

/// What all writers of the process have in common.
struct Desk {
    effects: Behind,
    counters: Option<Behind>,
    /// The next operation that nobody has asked for.
    next: AtomicU64,
    close: Notify,
    is_closing: AtomicBool,
}

/// Does its job, and never comes back.
pub(crate) fn work(job: &Job) -> ! {
    // The test harness has begun a line.
    _ = writeln!(io::stdout());
    set_hook(Box::new(|panic| Note::Failed { why: panic.to_string() }.say()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("threads can be started").block_on(async {
        match run(job).await {
            Ok(()) => Note::Closed.say(),
            Err(error) => Note::Failed { why: error.to_string() }.say(),
        }
    });
    exit(0)
}

async fn run(job: &Job) -> larder::Result<()> {
    let desk = Arc::new(open(job)?);
    obey(&desk);
    if job.work == Work::Drain {
        desk.effects.flush().await?;
        if let Some(counters) = &desk.counters {
            counters.flush().await?;
        }
    } else {
        for _ in 0..WRITERS {
            tokio::spawn(write_for_ever(Arc::clone(&desk)));
        }
        if job.work == Work::Count {
            tokio::spawn(count_for_ever(Arc::clone(&desk)));
        }
        desk.close.notified().await;
    }
    desk.is_closing.store(true, Ordering::SeqCst);
    // What waits, waits for the others, too.
    _ = desk.effects.close(PATIENCE).await?;
    if let Some(counters) = &desk.counters {
        _ = counters.close(PATIENCE).await?;
    }
    Ok(())
}

/// Closes when it is told to. Where its input ends, whoever started this process is gone, and it goes, too.
fn obey(desk: &Arc<Desk>) {
    let desk = Arc::clone(desk);
    thread::spawn(move || {
        for _ in io::stdin().lock().lines().map_while(Result::ok) {
            desk.close.notify_one();
        }
        exit(1)
    });
}

fn open(job: &Job) -> larder::Result<Desk> {
    let redis = redis_server::builder(&job.redis).deadline(Duration::from_secs(2)).build()?;
    let store = Watched { store: effects(&job.place), guards: job.guards };
    let effects = larder::write_behind(store)
        .exactly_once()
        .batch(BATCH)
        .flush_every(DELAY)
        .max_pending(MOST_PENDING)
        .at_limit(AtLimit::Block(PATIENCE))
        .pauses(Duration::from_millis(2), Duration::from_millis(20))
        .observer(Watching(job.guards))
        .journal(stream(job, &redis, "effects"))
        .store()?;
    let counting = || {
        larder::write_behind(counters(&job.place))
            .merge(Sum)
            .batch(BATCH)
            .flush_every(DELAY)
            .max_pending(MOST_PENDING)
            .at_limit(AtLimit::Block(PATIENCE))
            .pauses(Duration::from_millis(2), Duration::from_millis(20))
            .observer(Watching(job.guards))
            .journal(stream(job, &redis, "counters"))
            .store()
    };
    Ok(Desk {
        effects,
        counters: (job.work != Work::Write).then(counting).transpose()?,
        next: AtomicU64::new(job.start * OPERATIONS_EACH),
        close: Notify::new(),
        is_closing: AtomicBool::new(false),
    })
}

fn stream(job: &Job, redis: &Redis, name: &str) -> RedisStream<u64, u64> {
    RedisStream::new(redis, name).shards(SHARDS).lease(job.lease).durability(match job.guards {
        Guards::All | Guards::NoEpoch => Durability::Always,
        Guards::EverySecond => Durability::EverySecond,
        Guards::Memory => Durability::Memory,
    })
}

/// Each writer has keys of its own, each called by its first operation, so that it is known in which order they are written.
///
/// A write that failed may still be on its way, and come to the stream after the next one: of a key on which it is not known
/// how the last write ended, nobody could say which order is the right one. So the writer leaves it alone, and goes on with a
/// new one. For the same reason no process has the keys of one that was killed.
async fn write_for_ever(desk: Arc<Desk>) {
    let mut keys = [None; 2];
    loop {
        let operation = desk.next.fetch_add(1, Ordering::SeqCst);
        let spot = &mut keys[fastrand::usize(..2)];
        let key = *spot.get_or_insert(operation);
        Note::Asked { key, operation }.say();
        match desk.effects.save(&key, &operation).await {
            Ok(_) => Note::Answered { operation }.say(),
            Err(_) => {
                *spot = None;
                Note::Unanswered { operation }.say();
                if desk.is_closing.load(Ordering::SeqCst) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(fastrand::u64(2..10))).await;
            }
        }
        if fastrand::bool() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// What comes in which order does not matter to a sum: who does not know what became of an increment goes on with the next.
async fn count_for_ever(desk: Arc<Desk>) {
    let Some(counters) = &desk.counters else { return };
    loop {
        let operation = desk.next.fetch_add(1, Ordering::SeqCst);
        Note::Counting { operation }.say();
        let mut is_counted = true;
        for (counter, delta) in increments(operation) {
            is_counted &= counters.apply(&[Change::Merge(counter, delta)]).await.is_ok();
        }
        if is_counted {
            Note::Counted { operation }.say();
        } else if desk.is_closing.load(Ordering::SeqCst) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(fastrand::u64(1..4))).await;
    }
}

/// Hears what write-behind tells, and says what must not be.
struct Watching(Guards);

impl Observer for Watching {
    fn on(&self, _: &str, event: &Event<'_>) {
        match event {
            Event::JournalRegressed { .. } => Note::Regressed.say(),
            Event::JournalFailed { error } => Note::Failed { why: error.to_string() }.say(),
            // Of a server that forgets, some writes may be neither known to be done nor not to be.
            Event::PutAside { seq } if matches!(self.0, Guards::All | Guards::NoEpoch) => {
                Note::Failed { why: format!("{seq} is put aside") }.say();
            }
            _ => {}
        }
    }
}
