//! A place where calls stop until a test lets them pass.

use std::sync::Arc;

use tokio::sync::watch;

/// Stops calls at a chosen point, so that a test can put other steps between two steps of a call.
#[derive(Clone, Debug)]
pub struct Gate(Arc<State>);

#[derive(Debug)]
struct State {
    open: watch::Sender<bool>,
    arrived: watch::Sender<usize>,
}

impl Gate {
    pub(super) fn closed() -> Self {
        Self(Arc::new(State { open: watch::Sender::new(false), arrived: watch::Sender::new(0) }))
    }

    /// Waits until `calls` calls, counted from the beginning, have come to the gate.
    pub async fn arrived(&self, calls: usize) {
        _ = self.0.arrived.subscribe().wait_for(|arrived| *arrived >= calls).await;
    }

    /// Lets all calls pass, those at the gate and those to come.
    pub fn open(&self) {
        self.0.open.send_replace(true);
    }

    pub(super) async fn pass(&self) {
        self.0.arrived.send_modify(|arrived| *arrived += 1);
        _ = self.0.open.subscribe().wait_for(|open| *open).await;
    }
}
