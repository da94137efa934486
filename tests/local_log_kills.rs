//! A process that is killed while it appends, again and again: no record that it was told of is lost.

#![cfg(all(feature = "local-log", unix))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use larder::journal::fault::Fault;
use larder::journal::files::Files;
use larder::journal::group_commit::GroupCommit;
use larder::journal::record::Record;
use larder::journal::segments::Segments;

const ROUNDS: usize = 20;
const SEGMENT: u64 = 16 << 10;
const CALLERS: u64 = 4;
/// Tells the process that is started here which directory is its own.
const DIRECTORY: &str = "LARDER_TEST_LOG";
const ACKNOWLEDGED: &str = "acknowledged ";

#[test]
fn no_acknowledged_record_is_lost_when_the_process_is_killed() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return append_for_ever(Path::new(&directory));
    }
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("kills-{}", std::process::id()));
    let _ = fs::remove_dir_all(&directory);
    let (mut acknowledged, mut cut) = (0, 0);
    for round in 0..ROUNDS {
        acknowledged = append_and_be_killed(&directory, round).max(acknowledged);
        let (log, records, recovered) = Segments::open(Files::open(&directory).unwrap(), SEGMENT).unwrap();
        cut += usize::from(recovered.cut > 0);
        assert!(records.len() as u64 >= acknowledged, "{} of {acknowledged} in round {round}", records.len());
        assert!((1..).zip(&records).all(|(due, record)| is_whole(due, record)), "in round {round}");
        drop(log);
    }
    println!("{ROUNDS} kills, {acknowledged} records acknowledged, {cut} torn tails");
    assert!(acknowledged >= ROUNDS as u64, "hardly anything was appended: {acknowledged}");
    fs::remove_dir_all(&directory).unwrap();
}

/// Every record is one that a caller made: its own letter, as often as the letter says.
fn is_whole(due: u64, record: &Record) -> bool {
    let Some(letter) = record.payload.first() else { return false };
    record.sequence == due && record.payload == payload(*letter)
}

fn payload(letter: u8) -> Vec<u8> {
    vec![letter; usize::from(letter) * 3]
}

/// Runs this very test as another process, kills it, and says which record it was last told of. Every second one is
/// killed wherever it is, which may be before its log is open.
fn append_and_be_killed(directory: &Path, round: usize) -> u64 {
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "no_acknowledged_record_is_lost_when_the_process_is_killed"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let last = Arc::new(AtomicU64::new(0));
    let listener = listen(process.stdout.take().unwrap(), Arc::clone(&last));
    let is_at_work = round.is_multiple_of(2);
    while is_at_work && last.load(Ordering::SeqCst) == 0 {
        assert!(process.try_wait().unwrap().is_none(), "it ended by itself");
        thread::sleep(Duration::from_millis(1));
    }
    thread::sleep(Duration::from_micros(fastrand::u64(0..60_000)));
    if is_at_work {
        assert_eq!(Files::open(directory).unwrap_err(), Fault::InUse, "the other process has it");
    }
    process.kill().unwrap();
    process.wait().unwrap();
    listener.join().unwrap();
    last.load(Ordering::SeqCst)
}

fn listen(told: ChildStdout, last: Arc<AtomicU64>) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let lines = BufReader::new(told).split(b'\n').map_while(Result::ok);
        let told = lines.filter_map(|line| sequence_in(std::str::from_utf8(&line).ok()?));
        for sequence in told {
            last.fetch_max(sequence, Ordering::SeqCst);
        }
    })
}

/// The harness prints on the same line, and a line may be cut off.
fn sequence_in(line: &str) -> Option<u64> {
    line.split_once(ACKNOWLEDGED)?.1.strip_suffix('.')?.parse().ok()
}

fn append_for_ever(directory: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (log, ..) = Segments::open(Files::open(directory).unwrap(), SEGMENT).unwrap();
        let log = GroupCommit::start(log).unwrap();
        // Not the macros: the test harness would catch what they print.
        let told = io::stdout();
        let callers = (0..CALLERS).map(|_| async {
            let mut told = &told;
            loop {
                let sequence = log.append(payload(fastrand::u8(1..=255))).await.unwrap();
                // The full stop shows that the line is whole.
                writeln!(told, "{ACKNOWLEDGED}{sequence}.").unwrap();
            }
        });
        futures_util::future::join_all(callers).await
    });
}
