//! The program at work, with a folder of its own for temporary files.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::Arc;
use std::thread;

use serde_json::Value;
use tempfile::TempDir;

pub(crate) fn command(args: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_blog"));
    command.args(args.split_whitespace()).stdin(Stdio::null());
    command
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// The report of a run that goes well.
#[track_caller]
pub(crate) fn finished(mut command: Command) -> Value {
    let output = command.output().expect("the program starts");
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Killed when dropped; what it started then ends with it.
pub(crate) struct Run {
    child: Child,
    stderr: BufReader<ChildStderr>,
    heard: String,
    folder: Arc<Folder>,
}

/// Where a run keeps its temporary files.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn is_empty(&self) -> bool {
        fs::read_dir(self.path()).expect("it is still there").next().is_none()
    }
}

impl Run {
    pub(crate) fn start(args: &str) -> Self {
        let folder = Folder(TempDir::new().expect("a folder"));
        let mut command = command(args);
        command.env("TMPDIR", folder.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        Self { child, stderr, heard: String::new(), folder: Arc::new(folder) }
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn folder(&self) -> Arc<Folder> {
        Arc::clone(&self.folder)
    }

    /// Waits until it says a line on standard error that begins like this.
    #[track_caller]
    pub(crate) fn said(&mut self, beginning: &str) {
        loop {
            let mut line = String::new();
            self.stderr.read_line(&mut line).expect("text");
            assert!(!line.is_empty(), "it has ended without saying {beginning:?}: {}", self.heard);
            self.heard += &line;
            if line.starts_with(beginning) {
                return;
            }
        }
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn signal(&self, name: &str) {
        let kill = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(kill.expect("there is a `kill`").success());
    }

    /// What it has printed, when it has ended well.
    #[track_caller]
    pub(crate) fn succeeded(mut self) -> String {
        let (ended_well, printed) = self.ended();
        assert!(ended_well, "{}", self.heard);
        printed
    }

    /// What it has said, when it has ended otherwise.
    #[cfg(target_os = "linux")]
    #[track_caller]
    pub(crate) fn failed(mut self) -> String {
        let (ended_well, printed) = self.ended();
        assert!(!ended_well, "{printed}");
        std::mem::take(&mut self.heard)
    }

    fn ended(&mut self) -> (bool, String) {
        let mut stdout = self.child.stdout.take().expect("a pipe");
        let printed = thread::spawn(move || {
            let mut printed = String::new();
            stdout.read_to_string(&mut printed).map(|_| printed)
        });
        self.stderr.read_to_string(&mut self.heard).expect("text");
        let printed = printed.join().expect("no panic").expect("text");
        (self.child.wait().expect("it was ours").success(), printed)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
