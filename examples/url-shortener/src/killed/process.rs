//! A process that serves, as the driver has it.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::pipe::{Answer, Asked, Request, Said, Start};
use crate::clicks::Written;

/// How long it may take to start or to end: it may have many clicks to bring to the database.
const PATIENCE: Duration = Duration::from_secs(120);

/// Killed when dropped. When we are killed it reads the end of its input, and closes.
pub(super) struct Process {
    child: Mutex<Child>,
    input: Mutex<Option<ChildStdin>>,
    waiting: Arc<Mutex<Waiting>>,
    ended: Mutex<Option<oneshot::Receiver<Result<Written>>>>,
    next: AtomicU64,
}

/// Who waits for an answer.
#[derive(Default)]
struct Waiting {
    /// It has said all that it ever will.
    is_over: bool,
    by_number: HashMap<u64, oneshot::Sender<Answer>>,
}

impl Process {
    pub(super) async fn start(folder: &Path, memory: u64, redis: Option<String>) -> Result<Self> {
        let program = std::env::current_exe().context("cannot tell where this program is")?;
        let mut command = Command::new(program);
        command.arg("app").arg("--folder").arg(folder).arg("--memory").arg(memory.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        leave_ctrl_c_to_us(&mut command);
        let mut child = command.spawn().context("the service cannot be started")?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let (tell_ready, ready) = oneshot::channel();
        let (tell_ended, ended) = oneshot::channel();
        let waiting = Arc::<Mutex<Waiting>>::default();
        let process = Self {
            child: Mutex::new(child),
            input: Mutex::new(input),
            waiting: Arc::clone(&waiting),
            ended: Mutex::new(Some(ended)),
            next: AtomicU64::new(0),
        };
        let output = output.context("the service has no output")?;
        thread::spawn(move || _ = tell_ended.send(listen(output, tell_ready, &waiting)));
        process.write(&Start { redis })?;
        match timeout(PATIENCE, ready).await.context("the service does not start")? {
            Ok(()) => Ok(process),
            Err(_) => Err(process.why_it_ended().await),
        }
    }

    /// `None`: it is dead, and has not answered.
    pub(super) async fn ask(&self, request: Request) -> Option<Answer> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (give, answer) = oneshot::channel();
        {
            let mut waiting = lock(&self.waiting);
            if waiting.is_over {
                return None;
            }
            waiting.by_number.insert(number, give);
        }
        // If it is not told, it is dead: the listener finds out as well, and lets everybody go.
        _ = self.write(&Asked { number, request });
        answer.await.ok()
    }

    /// Kills it, whatever it is doing.
    pub(super) fn kill(&self) -> Result<()> {
        let mut child = lock(&self.child);
        child.kill().context("the service cannot be killed")?;
        child.wait().context("the service does not die")?;
        Ok(())
    }

    /// Lets it bring all to the database, and end.
    pub(super) async fn close(&self) -> Result<Written> {
        drop(lock(&self.input).take());
        let ended = lock(&self.ended).take().context("the service was closed before")?;
        timeout(PATIENCE, ended)
            .await
            .context("the service does not end")?
            .context("nobody listened to the service")?
    }

    async fn why_it_ended(&self) -> anyhow::Error {
        match self.close().await {
            Ok(_) => anyhow::anyhow!("the service ended before it served"),
            Err(error) => error,
        }
    }

    fn write(&self, line: &impl serde::Serialize) -> Result<()> {
        let mut line = serde_json::to_string(line)?;
        line.push('\n');
        match &mut *lock(&self.input) {
            Some(input) => input.write_all(line.as_bytes()).context("the service does not listen"),
            None => bail!("the service is being closed"),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Either fails only if it has ended.
        let mut child = lock(&self.child);
        _ = child.kill();
        _ = child.wait();
    }
}

/// Hands out what it says until it has said all; then whoever still waits is let go.
fn listen(output: ChildStdout, ready: oneshot::Sender<()>, waiting: &Mutex<Waiting>) -> Result<Written> {
    let mut ready = Some(ready);
    let mut last = None;
    for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
        match serde_json::from_slice(&line) {
            Ok(Said::Ready) => _ = ready.take().map(|ready| ready.send(())),
            Ok(Said::Answered { number, answer }) => {
                if let Some(waits) = lock(waiting).by_number.remove(&number) {
                    // Whoever waited may have gone.
                    _ = waits.send(answer);
                }
            }
            Ok(said) => last = Some(said),
            // Cut off: it was killed.
            Err(_) => {}
        }
    }
    let mut waiting = lock(waiting);
    waiting.is_over = true;
    waiting.by_number.clear();
    match last {
        Some(Said::Closed(written)) => Ok(written),
        Some(Said::Failed(why)) => bail!("the service failed: {why}"),
        _ => bail!("the service is dead"),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A terminal sends its Ctrl-C to all processes of a group. We end this one ourselves.
fn leave_ctrl_c_to_us(command: &mut Command) {
    std::os::unix::process::CommandExt::process_group(command, 0);
}
