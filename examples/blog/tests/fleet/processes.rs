//! Which processes of this machine work in a folder, or have it on their command line.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::run::Folder;

/// Only for what never ends: it is a matter of milliseconds.
const PATIENCE: Duration = Duration::from_secs(60);

struct Found {
    id: String,
    line: String,
}

/// Their command lines; not that of the driver, which has nothing of it.
pub(crate) fn with(folder: &Folder) -> Vec<String> {
    found(folder).into_iter().map(|process| process.line).collect()
}

/// Waits until nothing of a run is left, neither processes nor files.
#[track_caller]
pub(crate) fn wait_until_gone(folder: &Folder) {
    let since = Instant::now();
    while !with(folder).is_empty() || !folder.is_empty() {
        assert!(since.elapsed() < PATIENCE, "there are still {:?}", with(folder));
        thread::sleep(Duration::from_millis(10));
    }
}

/// One whose first argument is this.
#[track_caller]
pub(crate) fn kill_one(folder: &Folder, argument: &str) {
    let victim = found(folder).into_iter().find(|process| process.line.split('\0').nth(1) == Some(argument));
    let victim = victim.expect("there is such a process");
    let kill = Command::new("kill").args(["-KILL", &victim.id]).status();
    assert!(kill.expect("there is a `kill`").success());
}

fn found(folder: &Folder) -> Vec<Found> {
    let folder = folder.path().to_str().expect("text");
    let processes = fs::read_dir("/proc").expect("there is a /proc").flatten();
    let process = |entry: fs::DirEntry| {
        // A process may end while it is looked at; the dead who wait for their parents have no command line.
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        let place = fs::read_link(entry.path().join("cwd")).unwrap_or_default();
        let id = entry.file_name().to_string_lossy().into_owned();
        let is_it = !line.is_empty() && (line.contains(folder) || place.starts_with(folder));
        is_it.then_some(Found { id, line })
    };
    processes.filter_map(process).collect()
}
