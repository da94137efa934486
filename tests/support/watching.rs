//! Watching caches from outside: what an observer hears, what an error says, how long things take.

use std::error::Error as StdError;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use larder::{Event, Observer};

/// No call of a cache takes longer, whatever becomes of its server.
pub const LONGEST_CALL: Duration = Duration::from_secs(5);
/// What happens behind the scenes has happened by then, on a slow machine too.
const PATIENCE: Duration = Duration::from_secs(15);

/// All events of a cache in their order, as text. Clones hear the same.
#[derive(Clone, Default)]
pub struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    /// How many events have this name.
    pub fn count(&self, name: &str) -> usize {
        let events = self.0.lock().expect("no panic");
        events.iter().filter(|event| event.split([' ', '{']).next() == Some(name)).count()
    }

    /// Every word that the observer could have written to a log.
    pub fn everything(&self) -> String {
        self.0.lock().expect("no panic").join("\n")
    }
}

impl Observer for Heard {
    fn on(&self, cache: &str, event: &Event<'_>) {
        let why = match event {
            Event::LoadFailed { error } | Event::WriteFailed { error } | Event::TierFailed { error, .. } => {
                everything_in(*error)
            }
            _ => String::new(),
        };
        self.0.lock().expect("no panic").push(format!("{event:?} in {cache}: {why}"));
    }
}

/// What an error says in any way of printing it, and what its sources say.
pub fn everything_in(error: &dyn StdError) -> String {
    let sources = std::iter::successors(Some(error), |&error| error.source());
    sources.map(|error| format!("{error} {error:?} {error:#?}\n")).collect()
}

/// The answer of a call that must not hang.
pub async fn soon<A>(call: impl IntoFuture<Output = A>) -> A {
    tokio::time::timeout(LONGEST_CALL, call).await.expect("no call hangs")
}

/// Waits for what comes in its own time.
pub async fn until(what: &str, mut has_come: impl AsyncFnMut() -> bool) {
    let begin = Instant::now();
    while !has_come().await {
        assert!(begin.elapsed() < PATIENCE, "{what}: it does not come");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
