//! What a supervisor starts, in which order, and how it mends it.

use crate::directory::Role;
use crate::supervision::launch::{Launch, WorkerLaunch};
use crate::supervision::machine::CommandError;
use crate::supervision::{ActorError, Behaviour, Context};
use dtvn_messages::limits::{
    ACTOR_END_TIMEOUT, ACTOR_KILL_GRACE, ACTOR_START_TIMEOUT, ACTOR_STOP_TIMEOUT, MAILBOX_BOUND_DEFAULT,
    SUPERVISOR_RESTART_WINDOW, SUPERVISOR_RESTARTS_MAX,
};
use serde::Serialize;
use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Which ends call for a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Restart {
    /// Every end that the supervisor did not ask for.
    Permanent,
    /// Every such end except an orderly [`Context::finish`].
    Transient,
    /// None. A temporary child is not started again when its neighbours are, either.
    Temporary,
}

/// Who is restarted together with a failed child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// The failed child alone.
    OneForOne,
    /// All children: stopped in reverse order, started in order.
    OneForAll,
    /// The failed child and those started after it. Dynamic children come after all others.
    RestForOne,
}

/// How many failures a supervisor mends before it gives up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Intensity {
    /// One failure more than this within the window, and the supervisor gives up.
    pub restarts_max: u32,
    /// The sliding window.
    pub window: Duration,
}

impl Default for Intensity {
    fn default() -> Self {
        Self { restarts_max: SUPERVISOR_RESTARTS_MAX, window: SUPERVISOR_RESTART_WINDOW }
    }
}

/// One child of a supervisor.
#[derive(Clone)]
pub struct ChildSpec {
    pub(crate) name: String,
    pub(crate) restart: Restart,
    pub(crate) start_timeout: Option<Duration>,
    pub(crate) stop_timeout: Duration,
    pub(crate) end_timeout: Duration,
    pub(crate) drains: bool,
    pub(crate) kind: ChildKind,
}

#[derive(Clone)]
pub(crate) enum ChildKind {
    Worker { launch: Arc<dyn Launch>, mailbox_bound: usize },
    Supervisor(Arc<SupervisorSpec>),
}

impl ChildSpec {
    /// A worker: permanent, with the default mailbox and timeouts. `factory` builds its state at every (re)start.
    pub fn worker<B, F, S>(role: Role<B::Message>, factory: F) -> Self
    where
        B: Behaviour,
        F: Fn(Context<B::Message>) -> S + Send + Sync + 'static,
        S: Future<Output = Result<B, ActorError>> + Send + 'static,
    {
        Self {
            name: role.name().to_owned(),
            restart: Restart::Permanent,
            start_timeout: Some(ACTOR_START_TIMEOUT),
            stop_timeout: ACTOR_STOP_TIMEOUT,
            end_timeout: ACTOR_END_TIMEOUT,
            drains: false,
            kind: ChildKind::Worker {
                launch: Arc::new(WorkerLaunch::new(role, factory)),
                mailbox_bound: MAILBOX_BOUND_DEFAULT,
            },
        }
    }

    /// A nested supervisor: permanent. Its start and stop take as long as those of its children may.
    pub fn supervisor(spec: SupervisorSpec) -> Self {
        Self {
            name: spec.name.clone(),
            restart: Restart::Permanent,
            start_timeout: None,
            stop_timeout: spec.stop_bound(),
            end_timeout: spec.end_bound(),
            drains: false,
            kind: ChildKind::Supervisor(Arc::new(spec)),
        }
    }

    /// Which ends call for a restart.
    #[must_use]
    pub fn restart(mut self, restart: Restart) -> Self {
        self.restart = restart;
        self
    }

    /// How many messages may wait in a worker's mailbox. Means nothing for a supervisor.
    #[must_use]
    pub fn mailbox(mut self, bound: usize) -> Self {
        if let ChildKind::Worker { mailbox_bound, .. } = &mut self.kind {
            *mailbox_bound = bound;
        }
        self
    }

    /// How long its start may take before it is killed, which counts as a failed start.
    #[must_use]
    pub fn start_timeout(mut self, timeout: Duration) -> Self {
        self.start_timeout = Some(timeout);
        self
    }

    /// How long an orderly stop may take before it is killed.
    #[must_use]
    pub fn stop_timeout(mut self, timeout: Duration) -> Self {
        self.stop_timeout = timeout;
        self
    }

    /// How long its tasks and lifelines may still take when it has ended itself; then they are no longer waited for.
    #[must_use]
    pub fn end_timeout(mut self, timeout: Duration) -> Self {
        self.end_timeout = timeout;
        self
    }

    /// An orderly stop lets the worker handle first what waits in its mailbox, within the stop timeout.
    #[must_use]
    pub fn drain_before_stop(mut self) -> Self {
        self.drains = true;
        self
    }

    /// The child's name among its siblings.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether names and bounds make sense, all the way down.
    pub(crate) fn check(&self) -> Result<(), CommandError> {
        if self.name.is_empty() || self.name.contains('/') {
            return Err(CommandError::BadName(self.name.clone()));
        }
        match &self.kind {
            ChildKind::Worker { mailbox_bound, .. } if !(1..=Semaphore::MAX_PERMITS).contains(mailbox_bound) => {
                Err(CommandError::BadBound { name: self.name.clone(), bound: *mailbox_bound })
            }
            ChildKind::Worker { .. } => Ok(()),
            ChildKind::Supervisor(spec) => spec.check(),
        }
    }

    /// How long after a kill the end must be there.
    pub(crate) fn kill_grace(&self) -> Duration {
        self.end_timeout + ACTOR_KILL_GRACE
    }
}

/// A supervisor and its children, in start order.
#[derive(Clone)]
pub struct SupervisorSpec {
    pub(crate) name: String,
    pub(crate) strategy: Strategy,
    pub(crate) intensity: Intensity,
    pub(crate) children: Vec<ChildSpec>,
    pub(crate) dynamic_max: usize,
}

impl SupervisorSpec {
    /// A supervisor without children yet, with the default intensity. The root's name is shown as it is given here,
    /// but is no part of its descendants' paths.
    pub fn new(name: impl Into<String>, strategy: Strategy) -> Self {
        Self { name: name.into(), strategy, intensity: Intensity::default(), children: Vec::new(), dynamic_max: 0 }
    }

    /// How many failures it mends.
    #[must_use]
    pub fn intensity(mut self, restarts_max: u32, window: Duration) -> Self {
        self.intensity = Intensity { restarts_max, window };
        self
    }

    /// One more child, started after those before it and stopped before them.
    #[must_use]
    pub fn child(mut self, child: ChildSpec) -> Self {
        self.children.push(child);
        self
    }

    /// Allows so many dynamic children at a time (none without this). They stop side by side, and the time that this
    /// supervisor has for its stop assumes that none of them takes longer than the default stop timeout.
    #[must_use]
    pub fn dynamic(mut self, children_max: usize) -> Self {
        self.dynamic_max = children_max;
        self
    }

    /// Whether the children make sense, all the way down, and no two siblings share a name.
    pub(crate) fn check(&self) -> Result<(), CommandError> {
        let mut names = BTreeSet::new();
        for child in &self.children {
            child.check()?;
            if !names.insert(&child.name) {
                return Err(CommandError::AlreadyThere(child.name.clone()));
            }
        }
        Ok(())
    }

    /// How long after its own end the guardians of its children may take: theirs, which run side by side, and a little.
    pub(crate) fn end_bound(&self) -> Duration {
        let longest = self.children.iter().map(|child| child.end_timeout).max().unwrap_or_default();
        let dynamic = if self.dynamic_max > 0 { ACTOR_END_TIMEOUT } else { Duration::ZERO };
        longest.max(dynamic) + ACTOR_KILL_GRACE
    }

    /// The longest that an orderly stop can take: static children one after the other, dynamic ones together.
    fn stop_bound(&self) -> Duration {
        let dynamic = if self.dynamic_max > 0 { ACTOR_STOP_TIMEOUT + ACTOR_END_TIMEOUT } else { Duration::ZERO };
        let one = |child: &ChildSpec| child.stop_timeout + child.kill_grace();
        self.children.iter().map(one).sum::<Duration>() + dynamic + ACTOR_KILL_GRACE
    }
}
