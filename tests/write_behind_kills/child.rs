//! A process that writes until it is killed.

use std::io::{self, BufRead, Write as _};
use std::panic::set_hook;
use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use larder::journal::{LocalLog, Volatile};
use larder::{AtLimit, Store, WriteBehind};

use crate::job::{Guards, Job, Step, Work};
use crate::notes::Note;
use crate::steps::{Steps, Watching};
use crate::stores::{AnyStore, Effects, Watched, open};
use crate::unguarded::Unguarded;

const WRITERS: u64 = 6;
/// Each writer has keys of its own, so that it knows in which order they are written.
const KEYS_EACH: u64 = 2;
/// Small, so that the flusher is always at it.
const BATCH: usize = 8;
const DELAY: Duration = Duration::from_millis(2);
/// Few, so that what waits is soon written.
const MOST_PENDING: usize = 200;
/// As short as may be, so that files of the log come and go: one that goes too early is missed soon.
const SEGMENT: u64 = 4 << 10;
const PATIENCE: Duration = Duration::from_secs(60);

/// Does its job, and never comes back.
pub(crate) fn work(job: &Job) -> ! {
    // The test harness has begun a line.
    _ = writeln!(io::stdout());
    set_hook(Box::new(|panic| Note::Failed { why: panic.to_string() }.say()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("threads can be started").block_on(async {
        let steps = Arc::new(Steps::new(job.armed));
        obey(&steps);
        match run(job, &steps).await {
            Ok(()) => Note::Closed.say(),
            Err(error) => Note::Failed { why: error.to_string() }.say(),
        }
    });
    exit(0)
}

/// Does what it is told on its input. Where that ends, whoever started this process is gone, and it goes, too.
fn obey(steps: &Arc<Steps>) {
    let steps = Arc::clone(steps);
    thread::spawn(move || {
        for order in io::stdin().lock().lines().map_while(Result::ok) {
            match order.as_str() {
                "go on" => steps.go_on(),
                _ => steps.close.notify_one(),
            }
        }
        exit(1)
    });
}

async fn run(job: &Job, steps: &Arc<Steps>) -> larder::Result<()> {
    let behind = build(job, steps)?;
    if job.work == Work::Drain {
        behind.flush().await?;
    } else {
        let next = Arc::new(AtomicU64::new(job.first));
        for writer in 0..WRITERS {
            tokio::spawn(write_for_ever(behind.clone(), writer, Arc::clone(steps), Arc::clone(&next)));
        }
        steps.close.notified().await;
    }
    steps.is_closing.store(true, Ordering::SeqCst);
    let left = behind.close(PATIENCE).await?;
    if !left.writes.is_empty() {
        Note::Failed { why: format!("closed with {} left", left.writes.len()) }.say();
    }
    Ok(())
}

fn build(job: &Job, steps: &Arc<Steps>) -> larder::Result<WriteBehind<u64, u64>> {
    let store = Watched { store: store(job, steps), steps: Arc::clone(steps) };
    let builder = larder::write_behind(store)
        .flush_every(DELAY)
        .max_pending(MOST_PENDING)
        .at_limit(AtLimit::Block(PATIENCE))
        .pauses(Duration::from_millis(2), Duration::from_millis(20))
        .observer(Watching(Arc::clone(steps)));
    let builder = match job.guards {
        // One by one, or else of two writes of one key only the last would be brought.
        Guards::NoOffset => builder.batch(1),
        _ => builder.batch(BATCH).exactly_once(),
    };
    match job.guards {
        Guards::Volatile => builder.journal(Volatile::new()).store(),
        _ => builder.journal(LocalLog::at(&job.log).segment_bytes(SEGMENT)).store(),
    }
}

fn store(job: &Job, steps: &Arc<Steps>) -> AnyStore {
    let open = |are_kept| open(&job.place, Effects { steps: Arc::clone(steps), are_kept });
    match job.guards {
        Guards::All | Guards::Volatile | Guards::NoOffset => open(true),
        guards => Arc::new(Unguarded {
            guards,
            effects: open(true),
            offsets: open(false),
            batches: AtomicU64::default(),
            late: tokio::sync::Mutex::default(),
        }),
    }
}

async fn write_for_ever(behind: WriteBehind<u64, u64>, writer: u64, steps: Arc<Steps>, next: Arc<AtomicU64>) {
    loop {
        let key = writer * KEYS_EACH + fastrand::u64(..KEYS_EACH);
        let operation = next.fetch_add(1, Ordering::SeqCst);
        Note::Asked { key, operation }.say();
        match behind.save(&key, &operation).await {
            Ok(_) => Note::Answered { operation }.say(),
            Err(_) if steps.is_closing.load(Ordering::SeqCst) => return,
            Err(error) => return Note::Failed { why: error.to_string() }.say(),
        }
        steps.answered();
        steps.take(Step::Answered).await;
        if fastrand::bool() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}
