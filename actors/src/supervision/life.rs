//! The life of one incarnation: what must be over before its successor may start.
//!
//! ractor says that an actor ended *before* its state is dropped (after a failure), and knows nothing of the tasks that
//! the actor spawned. A successor that starts on that word finds the database still locked. So everything that an
//! incarnation owns is tracked here, and its guardian (`guardian.rs`) speaks only when all of it is gone.

use crate::supervision::Escalation;
use std::sync::OnceLock;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// Held by whatever outlives the actor's own state for a moment, e.g. by the thread that owns a database: no successor
/// starts before it is dropped.
#[derive(Debug)]
pub struct Lifeline {
    _token: TaskTrackerToken,
}

/// What outlived its actor for longer than is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Left {
    /// Tasks and lifelines.
    pub(crate) count: usize,
    /// Lifelines among them: with one of them left, no successor may start.
    pub(crate) lifelines: usize,
}

/// What one incarnation owns beside its state.
#[derive(Debug, Default)]
pub(crate) struct Life {
    over: CancellationToken,
    tasks: TaskTracker,
    lifelines: TaskTracker,
    finished: OnceLock<String>,
    gave_up: OnceLock<Escalation>,
}

impl Life {
    pub(crate) fn over(&self) -> &CancellationToken {
        &self.over
    }

    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    pub(crate) fn lifeline(&self) -> Lifeline {
        Lifeline { _token: self.lifelines.token() }
    }

    /// Notes that the actor itself wants to end. The first reason stays.
    pub(crate) fn finish(&self, reason: String) {
        let _already_said = self.finished.set(reason);
    }

    pub(crate) fn finished(&self) -> Option<&str> {
        self.finished.get().map(String::as_str)
    }

    /// Notes why a supervisor gave up, for its guardian.
    pub(crate) fn give_up(&self, escalation: Escalation) {
        let _already_said = self.gave_up.set(escalation);
    }

    pub(crate) fn gave_up(&self) -> Option<&Escalation> {
        self.gave_up.get()
    }

    /// Cancels the tasks and waits until they and all lifelines are gone. `Err`: what outlived the timeout.
    pub(crate) async fn end(&self, timeout: Duration) -> Result<(), Left> {
        self.over.cancel();
        self.tasks.close();
        self.lifelines.close();
        let all_gone = async {
            self.tasks.wait().await;
            self.lifelines.wait().await;
        };
        tokio::time::timeout(timeout, all_gone).await.map_err(|_elapsed| {
            let lifelines = self.lifelines.len();
            Left { count: self.tasks.len() + lifelines, lifelines }
        })
    }
}
