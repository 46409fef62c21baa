//! The guardian of one incarnation: says exactly once that it is up, if it ever is, and exactly once that it has ended
//! and all that it owned is gone.
//!
//! ractor's own supervision event says *why* an actor ended, but too early and not always: before a failed actor's state
//! is dropped, and never for a failed start. The guardian joins the actor's task, then waits for the tasks and lifelines
//! of the incarnation, and only then reports.

use crate::supervision::behaviour::chain_of;
use crate::supervision::cause::EndCause;
use crate::supervision::launch::{Door, Launched};
use crate::supervision::life::{Left, Life};
use crate::supervision::record::Record;
use crate::supervision::snapshot::Status;
use dtvn_messages::limits::ACTOR_KILL_GRACE;
use ractor::{ActorCell, SpawnErr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinHandle};
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

type Starting = JoinHandle<Result<JoinHandle<()>, SpawnErr>>;

/// What became of a start.
enum Start {
    /// The actor's own task runs.
    Up(JoinHandle<()>),
    /// It failed, for this reason.
    Failed(String),
    /// It blocks a thread, so that not even a kill ends it.
    Stuck(Starting),
}

impl Ward {
    /// Watches the incarnation to its end.
    pub(crate) async fn guard(self, launched: Launched, report: impl Fn(News)) {
        let Launched { present, starting, ready, door } = launched;
        let up = || {
            door.open();
            report(News::Started);
        };
        let cause = match self.await_start(&present.cell, starting).await {
            Start::Up(actor) => {
                self.watch(&present.cell, actor, ready, up).await;
                self.life.gave_up().cloned().map(|escalation| EndCause::GaveUp(Box::new(escalation)))
            }
            Start::Failed(why) => Some(EndCause::StartFailed(why)),
            Start::Stuck(starting) => {
                // Said before it is true, so that nobody waits for ever. The role stays taken until it is.
                report(News::Ended(Some(EndCause::Stuck)));
                self.await_late_end(starting, door.as_ref()).await;
                return;
            }
        };
        door.shut();
        self.record.set_present(None);
        let cause = match self.life.end(self.end_timeout).await {
            Ok(()) => cause,
            Err(Left { count, lifelines: 0 }) => {
                tracing::error!(
                    actor = self.record.path(),
                    count,
                    "Tasks of an ended actor are still there; going on."
                );
                cause
            }
            Err(Left { lifelines, .. }) => {
                let path = self.record.path();
                tracing::error!(actor = path, lifelines, "An ended actor's threads still hold what is its own.");
                Some(EndCause::Outlived(self.end_timeout))
            }
        };
        self.record.keep_static_children();
        self.record.set_status(Status::Stopped);
        report(News::Ended(cause));
    }

    /// The actor's own task, or why there is none.
    async fn await_start(&self, cell: &ActorCell, mut starting: Starting) -> Start {
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
        match tokio::time::timeout(ACTOR_KILL_GRACE, &mut starting).await {
            // It came up in this very moment: it is killed all the same, and watched to its end.
            Ok(Ok(Ok(actor))) => Start::Up(actor),
            Ok(_) => Start::Failed(why_killed),
            Err(_elapsed) => Start::Stuck(starting),
        }
    }

    async fn await_late_end(&self, starting: Starting, door: &dyn Door) {
        let path = self.record.path();
        tracing::error!(
            actor = path,
            "The start of an actor cannot be ended, it blocks a thread; going on without it."
        );
        if let Ok(Ok(actor)) = starting.await {
            let _ended = actor.await;
        }
        door.shut();
        // A success or the number of those left: nobody waits for either any more.
        let _left = self.life.end(self.end_timeout).await;
    }

    fn start_result(started: Result<Result<JoinHandle<()>, SpawnErr>, JoinError>) -> Start {
        match started {
            Ok(Ok(actor)) => Start::Up(actor),
            Ok(Err(SpawnErr::StartupFailed(why))) => Start::Failed(chain_of(why.as_ref())),
            Ok(Err(error)) => Start::Failed(error.to_string()),
            Err(cancelled) => Start::Failed(cancelled.to_string()),
        }
    }

    /// Waits for the end, and before that, if it comes, for the moment when it is up.
    async fn watch(
        &self,
        cell: &ActorCell,
        mut actor: JoinHandle<()>,
        ready: Option<oneshot::Receiver<()>>,
        up: impl FnOnce(),
    ) {
        // ractor kills children with their supervisor, but passes over those that are in the middle of their own stop.
        let mut ended = Box::pin(async {
            tokio::select! {
                biased;
                _ended = &mut actor => return,
                () = self.supervisor_over.cancelled() => cell.kill(),
            }
            let _ended = actor.await;
        });
        let is_up = match ready {
            None => true,
            Some(ready) => tokio::select! {
                biased;
                ready = ready => ready.is_ok(),
                () = &mut ended => return,
            },
        };
        if is_up {
            up();
        }
        ended.await;
    }
}
