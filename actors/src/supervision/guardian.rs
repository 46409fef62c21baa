//! The guardian of one incarnation: says exactly once that it is up, if it ever is, and exactly once that it has ended
//! and all that it owned is gone.
//!
//! ractor's own supervision event says *why* an actor ended, but too early and not always: before a failed actor's state
//! is dropped, and never for a failed start. The guardian joins the actor's task, then waits for the tasks and lifelines
//! of the incarnation, and only then reports.

use crate::supervision::behaviour::chain_of;
use crate::supervision::cause::EndCause;
use crate::supervision::launch::Launched;
use crate::supervision::life::Life;
use crate::supervision::record::Record;
use crate::supervision::snapshot::Status;
use ractor::{ActorCell, SpawnErr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What a guardian says.
#[derive(Debug)]
pub(crate) enum News {
    /// It is up.
    Started,
    /// It and all that it owned is gone. The cause, as far as the guardian knows it.
    Ended(Option<EndCause>),
}

/// One incarnation under guard.
pub(crate) struct Ward {
    pub(crate) record: Arc<Record>,
    pub(crate) life: Arc<Life>,
    pub(crate) start_timeout: Option<Duration>,
    pub(crate) end_timeout: Duration,
    /// Cancelled when the supervisor itself is gone. ractor kills an actor with its supervisor, but not one that is
    /// still starting.
    pub(crate) supervisor_over: CancellationToken,
}

impl Ward {
    /// Watches the incarnation to its end.
    pub(crate) async fn guard(self, launched: Launched, report: impl Fn(News)) {
        let Launched { present, starting, ready, door } = launched;
        let cause = match self.await_start(&present.cell, starting).await {
            Ok(actor) => {
                self.watch(actor, ready, || {
                    door.open();
                    report(News::Started);
                })
                .await;
                self.life.gave_up().cloned().map(|escalation| EndCause::GaveUp(Box::new(escalation)))
            }
            Err(why) => Some(EndCause::StartFailed(why)),
        };
        door.shut();
        self.record.set_present(None);
        if let Err(count) = self.life.end(self.end_timeout).await {
            tracing::error!(actor = self.record.path(), count, "Tasks of an ended actor are still there; going on.");
        }
        self.record.keep_static_children();
        self.record.set_status(Status::Stopped);
        report(News::Ended(cause));
    }

    /// The actor's own task, or why it did not start.
    async fn await_start(
        &self,
        cell: &ActorCell,
        mut starting: JoinHandle<Result<JoinHandle<()>, SpawnErr>>,
    ) -> Result<JoinHandle<()>, String> {
        let overdue = async {
            match self.start_timeout {
                Some(timeout) => tokio::time::sleep(timeout).await,
                None => std::future::pending().await,
            }
        };
        let why_killed = tokio::select! {
            biased;
            started = &mut starting => return Self::start_result(started),
            () = self.supervisor_over.cancelled() => "its supervisor is gone".to_owned(),
            () = overdue => format!("it was not up within {:?}", self.start_timeout.unwrap_or_default()),
        };
        cell.kill();
        match starting.await {
            // It came up in this very moment: it is killed all the same, and watched to its end.
            Ok(Ok(actor)) => Ok(actor),
            _ => Err(why_killed),
        }
    }

    fn start_result(
        started: Result<Result<JoinHandle<()>, SpawnErr>, tokio::task::JoinError>,
    ) -> Result<JoinHandle<()>, String> {
        match started {
            Ok(Ok(actor)) => Ok(actor),
            Ok(Err(SpawnErr::StartupFailed(why))) => Err(chain_of(why.as_ref())),
            Ok(Err(error)) => Err(error.to_string()),
            Err(cancelled) => Err(cancelled.to_string()),
        }
    }

    /// Waits for the end, and before that, if it comes, for the moment when it is up.
    async fn watch(&self, mut actor: JoinHandle<()>, ready: Option<oneshot::Receiver<()>>, up: impl FnOnce()) {
        let is_up = match ready {
            None => true,
            Some(ready) => tokio::select! {
                biased;
                ready = ready => ready.is_ok(),
                _ended = &mut actor => return,
            },
        };
        if is_up {
            up();
        }
        let _ended = actor.await;
    }
}
