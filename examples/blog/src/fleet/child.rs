//! A process of ours that ends with us. Its standard input is a pipe that we hold and write little into: when we let
//! go of it, or are killed, the process reads the end of it and stops.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, anyhow, bail};
use tokio::task::spawn_blocking;

/// How long it has for ending in good order.
const ENDING: Duration = Duration::from_secs(10);

/// How often we look whether it has ended.
const LOOK: Duration = Duration::from_millis(5);

/// How much of what it said last is worth repeating.
const LAST_WORDS: usize = 5;

pub(super) struct Child {
    name: String,
    process: std::process::Child,
    stdin: Option<ChildStdin>,
    log: PathBuf,
}

impl Child {
    /// What it says on standard error goes to `log`.
    pub(super) fn start(name: &str, command: &mut Command, log: PathBuf) -> Result<Self> {
        let said = File::create(&log).with_context(|| format!("cannot make the log of {name}"))?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(said);
        leave_ctrl_c_to_us(command);
        let mut process = command.spawn().with_context(|| format!("{name} cannot be started"))?;
        let stdin = process.stdin.take();
        Ok(Self { name: name.to_owned(), process, stdin, log })
    }

    /// Another program, in a folder of its own. It knows nothing of our pipe, so one of us runs between.
    pub(super) fn keep(program: &Path, args: &[&str], folder: &Path) -> Result<Self> {
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        let mut command = Command::new(ourselves()?);
        command.arg("keep").arg("--folder").arg(folder).arg("--").arg(program).args(args);
        Self::start(&name, &mut command, folder.join("log"))
    }

    /// Writes a line to its standard input.
    pub(super) fn tell(&mut self, line: &str) -> Result<()> {
        let told = self.stdin.as_mut().map_or(Ok(()), |stdin| writeln!(stdin, "{line}"));
        told.map_err(|_| self.trouble_or("does not listen"))
    }

    /// The first line that it prints. An error when it ends without one.
    pub(super) async fn first_line(&mut self) -> Result<String> {
        let stdout = self.process.stdout.take();
        let stdout = stdout.with_context(|| format!("{} has said its first line already", self.name))?;
        let line = spawn_blocking(move || {
            let mut line = String::new();
            BufReader::new(stdout).read_line(&mut line).map(|_| line)
        });
        let line = line.await?.with_context(|| format!("cannot read what {} prints", self.name))?;
        if line.is_empty() {
            self.wait(ENDING).await;
            return Err(self.trouble_or("has closed its output"));
        }
        Ok(line.trim_end().to_owned())
    }

    /// Why it has ended, if it has.
    pub(super) fn trouble(&mut self) -> Option<Error> {
        let status = self.ended()?;
        Some(anyhow!("{} has ended by itself ({status}){}", self.name, self.last_words()))
    }

    /// Lets it end in good order, and waits for that.
    pub(super) async fn close(mut self) -> Result<()> {
        self.stdin = None;
        match self.wait(ENDING).await {
            Some(status) if status.success() => Ok(()),
            Some(status) => bail!("{} has ended badly ({status}){}", self.name, self.last_words()),
            None => bail!("{} has not ended within {} s and was killed", self.name, ENDING.as_secs()),
        }
    }

    pub(super) fn log(&self) -> String {
        let said = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&said).into_owned()
    }

    fn trouble_or(&mut self, complaint: &str) -> Error {
        self.trouble().unwrap_or_else(|| anyhow!("{} {complaint}{}", self.name, self.last_words()))
    }

    fn last_words(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().filter(|line| !line.trim().is_empty()).collect();
        let last = lines.iter().skip(lines.len().saturating_sub(LAST_WORDS));
        last.fold(String::new(), |words, line| words + "\n  " + line)
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().ok().flatten()
    }

    async fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        let since = Instant::now();
        loop {
            match self.ended() {
                None if since.elapsed() < patience => tokio::time::sleep(LOOK).await,
                ended => return ended,
            }
        }
    }
}

/// Whatever becomes of us, it does not outlive this.
impl Drop for Child {
    fn drop(&mut self) {
        self.stdin = None;
        let since = Instant::now();
        while self.ended().is_none() && since.elapsed() < ENDING {
            thread::sleep(LOOK);
        }
        // Either fails only if it has ended.
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

/// This program.
pub(super) fn ourselves() -> Result<PathBuf> {
    std::env::current_exe().context("cannot tell where this program is")
}

/// A terminal sends its Ctrl-C to all processes of a group. We end our children ourselves, in order.
#[cfg(unix)]
fn leave_ctrl_c_to_us(command: &mut Command) {
    std::os::unix::process::CommandExt::process_group(command, 0);
}

#[cfg(not(unix))]
fn leave_ctrl_c_to_us(_command: &mut Command) {}

#[cfg(all(test, unix))]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn shell(script: &str) -> (TempDir, Child) {
        let folder = TempDir::new().expect("a folder");
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let child = Child::start("the process", &mut command, folder.path().join("log")).expect("a shell");
        (folder, child)
    }

    #[tokio::test]
    async fn a_process_that_dies_at_its_start_is_told_of_with_its_last_words() {
        let (_folder, mut child) = shell("echo no room >&2; exit 3");
        let said = child.first_line().await.unwrap_err().to_string();
        assert!(said.starts_with("the process has ended by itself") && said.ends_with("no room"), "{said}");
    }

    #[tokio::test]
    async fn a_process_ends_when_its_input_does() {
        let (_folder, mut child) = shell("echo here; cat >&2");
        assert_eq!(child.first_line().await.unwrap(), "here");
        child.tell("something").unwrap();
        assert!(child.trouble().is_none());
        child.close().await.unwrap();
    }

    #[tokio::test]
    async fn a_process_that_ends_badly_is_told_of() {
        let (_folder, child) = shell("cat; exit 4");
        assert!(child.close().await.unwrap_err().to_string().contains("has ended badly"));
    }
}
