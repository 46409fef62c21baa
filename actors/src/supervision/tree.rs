//! A node's whole tree: started, looked at, commanded, shut down.

use crate::directory::Directory;
use crate::supervision::cause::EndCause;
use crate::supervision::guardian::{News, Ward};
use crate::supervision::launch::{Launched, Surroundings};
use crate::supervision::life::Life;
use crate::supervision::machine::CommandError;
use crate::supervision::observer::{NoObserver, SupervisionObserver};
use crate::supervision::record::{PresentHandle, Record};
use crate::supervision::snapshot::{Status, TreeNode};
use crate::supervision::spec::{ChildSpec, SupervisorSpec};
use crate::supervision::supervisor::{Command, Control, launch_supervisor};
use dtvn_messages::limits::ACTOR_KILL_GRACE;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What a tree is started with beside its spec.
#[derive(Clone)]
pub struct TreeOptions {
    /// The node's own directory.
    pub directory: Directory,
    /// Who counts restarts and the like.
    pub observer: Arc<dyn SupervisionObserver>,
    /// Whether actors may be crashed on purpose.
    pub fault_injection: bool,
}

impl Default for TreeOptions {
    fn default() -> Self {
        Self { directory: Directory::new(), observer: Arc::new(NoObserver), fault_injection: false }
    }
}

/// A node's tree of actors. Cheap to clone; it goes on living when all clones are dropped.
#[derive(Clone)]
pub struct NodeTree {
    shared: Arc<Shared>,
}

struct Shared {
    root: Arc<Record>,
    options: TreeOptions,
    incarnations: AtomicU64,
    killed: AtomicBool,
    ended: watch::Sender<Option<RootEnd>>,
}

/// How a tree ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootEnd {
    /// As asked, every actor in good order or killed after its timeout.
    Stopped,
    /// The root failed; `Display` tells which actor, why, and how often it was restarted.
    Failed(EndCause),
}

impl fmt::Display for RootEnd {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => formatter.write_str("the tree was stopped"),
            Self::Failed(EndCause::GaveUp(escalation)) => write!(formatter, "{escalation}"),
            Self::Failed(cause) => write!(formatter, "the root supervisor {cause}"),
        }
    }
}

/// Why a tree did not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The spec itself is wrong.
    #[error("the tree cannot be built: {0}")]
    Spec(#[from] CommandError),
    /// An actor could not start. Those that had started were stopped again, in reverse order.
    #[error("the tree could not start: {0}")]
    Failed(RootEnd),
}

/// Why a shutdown was not in good order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShutdownError {
    /// Not over in time; what was left was killed.
    #[error("not stopped within {deadline:?}, so killed: {}", unfinished.join(", "))]
    Deadline {
        /// The time that was given.
        deadline: Duration,
        /// The paths of those that had not ended.
        unfinished: Vec<String>,
    },
    /// The root had failed or failed meanwhile.
    #[error("the tree failed before it was stopped: {0}")]
    Failed(RootEnd),
}

impl NodeTree {
    /// Starts a tree with default options, and returns when all its static children are up.
    ///
    /// # Errors
    /// The spec is wrong, or a child could not start; nothing is left running then.
    pub async fn start(root: SupervisorSpec) -> Result<Self, StartError> {
        Self::start_with(root, TreeOptions::default()).await
    }

    /// Starts a tree, and returns when all its static children are up.
    ///
    /// # Errors
    /// The spec is wrong, or a child could not start; nothing is left running then.
    pub async fn start_with(root: SupervisorSpec, options: TreeOptions) -> Result<Self, StartError> {
        root.check()?;
        let end_timeout = root.end_bound();
        let record = Record::root(Arc::new(root));
        let shared = Shared {
            root: Arc::clone(&record),
            options,
            incarnations: AtomicU64::new(0),
            killed: AtomicBool::new(false),
            ended: watch::Sender::new(None),
        };
        let tree = Self { shared: Arc::new(shared) };
        let life = Arc::new(Life::default());
        let surroundings = Surroundings { record: Arc::clone(&record), life: Arc::clone(&life), tree: tree.clone() };
        let launched = launch_supervisor(None, surroundings)
            .map_err(|why| StartError::Failed(RootEnd::Failed(EndCause::StartFailed(why))))?;
        record.set_present(Some(launched.present.clone()));
        tree.guard_root(
            Ward { record, life, start_timeout: None, end_timeout, supervisor_over: CancellationToken::new() },
            launched,
        )
        .await
    }

    async fn guard_root(self, ward: Ward, launched: Launched) -> Result<Self, StartError> {
        let up = watch::Sender::new(false);
        let mut is_up = up.subscribe();
        let (tree, life, record) = (self.clone(), Arc::clone(&ward.life), Arc::clone(&ward.record));
        let report = move |news| match news {
            News::Started => {
                record.set_status(Status::Running);
                up.send_replace(true);
            }
            News::Ended(known) => tree.root_has_ended(&record, &life, known),
        };
        tokio::spawn(ward.guard(launched, report));
        tokio::select! {
            biased;
            Ok(_) = is_up.wait_for(|up| *up) => Ok(self),
            end = self.ended() => Err(StartError::Failed(end)),
        }
    }

    fn root_has_ended(&self, record: &Record, life: &Life, known: Option<EndCause>) {
        let end = match known {
            Some(cause) => RootEnd::Failed(cause),
            None if life.finished().is_some() => RootEnd::Stopped,
            None if self.shared.killed.load(Ordering::Acquire) => RootEnd::Failed(EndCause::Killed),
            None => RootEnd::Failed(EndCause::Failed("it ended without a word".to_owned())),
        };
        record.set_status(if end == RootEnd::Stopped { Status::Stopped } else { Status::Failed });
        self.shared.ended.send_replace(Some(end));
    }

    /// The node's directory.
    pub fn directory(&self) -> &Directory {
        &self.shared.options.directory
    }

    /// Resolves when the tree has ended, and all that its actors owned is gone; at once if that was before.
    pub async fn ended(&self) -> RootEnd {
        let mut ended = self.shared.ended.subscribe();
        match ended.wait_for(Option::is_some).await.map(|end| end.clone()) {
            Ok(Some(end)) => end,
            // `self` holds the sender, so the channel cannot close while we wait.
            Ok(None) | Err(_) => RootEnd::Failed(EndCause::Cancelled),
        }
    }

    /// Stops everything in reverse order and waits for it; past the deadline, kills what is left.
    ///
    /// # Errors
    /// It took longer, or the tree failed.
    pub async fn shutdown(&self, deadline: Duration) -> Result<(), ShutdownError> {
        if let Ok(control) = self.control("") {
            control.stop();
        }
        if let Ok(end) = tokio::time::timeout(deadline, self.ended()).await {
            return match end {
                RootEnd::Stopped => Ok(()),
                failed @ RootEnd::Failed(_) => Err(ShutdownError::Failed(failed)),
            };
        }
        let snapshot = self.snapshot();
        let unfinished = snapshot.walk().filter(|node| !matches!(node.status, Status::Stopped | Status::Failed));
        let unfinished = unfinished.map(|node| node.name.clone()).collect();
        self.shared.killed.store(true, Ordering::Release);
        if let Some(present) = self.shared.root.present() {
            present.cell.kill();
        }
        // Whether the kill was seen or not, there is nothing more that could be done.
        let _seen = tokio::time::timeout(ACTOR_KILL_GRACE, self.ended()).await;
        Err(ShutdownError::Deadline { deadline, unfinished })
    }

    /// The whole tree, as it is now. Asks nobody, so it works while actors are busy or being restarted.
    pub fn snapshot(&self) -> TreeNode {
        self.shared.root.snapshot()
    }

    /// Starts one more child of a supervisor (path; empty for the root), and returns when it is up.
    ///
    /// # Errors
    /// The name is bad or taken, there are too many, the child could not start (then it is not added), or the
    /// supervisor is stopping or down.
    pub async fn add(&self, supervisor: &str, child: ChildSpec) -> Result<(), CommandError> {
        self.control(supervisor)?.ask(Command::Add(Box::new(child))).await
    }

    /// Stops a dynamic child in good order, forgets it, and returns when it is gone. A child that wants to go itself
    /// says `finish` instead: it cannot wait for its own end.
    ///
    /// # Errors
    /// It is unknown or not dynamic, or the supervisor is down.
    pub async fn remove(&self, path: &str) -> Result<(), CommandError> {
        let (supervisor, name) = split(path);
        self.control(supervisor)?.ask(Command::Remove(name.to_owned())).await
    }

    /// Restarts an actor or a subtree in good order, and by the strategy those that depend on it; returns when they
    /// are up again. Does not count against the intensity. An actor must not wait for its own restart.
    ///
    /// # Errors
    /// It is unknown or temporary, or its supervisor is stopping (perhaps because the restart failed too often).
    pub async fn restart(&self, path: &str) -> Result<(), CommandError> {
        let (supervisor, name) = split(path);
        self.control(supervisor)?.ask(Command::Restart(name.to_owned())).await
    }

    /// Makes a worker panic in its handler, behind the messages that wait in its mailbox.
    ///
    /// # Errors
    /// Fault injection is off, or there is no such worker, or it is down.
    pub fn crash(&self, path: &str, reason: &str) -> Result<(), CommandError> {
        if !self.shared.options.fault_injection {
            return Err(CommandError::FaultInjectionOff);
        }
        let record = self.find(path)?;
        match record.present().ok_or(CommandError::Down)?.handle {
            PresentHandle::Worker { crash } if crash(reason.to_owned()) => Ok(()),
            PresentHandle::Worker { .. } => Err(CommandError::Down),
            PresentHandle::Supervisor(_) => Err(CommandError::WrongKind(path.to_owned())),
        }
    }

    fn control(&self, path: &str) -> Result<Control, CommandError> {
        let record = if path.is_empty() { Arc::clone(&self.shared.root) } else { self.find(path)? };
        match record.present().ok_or(CommandError::Down)?.handle {
            PresentHandle::Supervisor(control) => Ok(control),
            PresentHandle::Worker { .. } => Err(CommandError::WrongKind(path.to_owned())),
        }
    }

    pub(crate) fn find(&self, path: &str) -> Result<Arc<Record>, CommandError> {
        self.shared.root.find(path).ok_or_else(|| CommandError::Unknown(path.to_owned()))
    }

    pub(crate) fn observer(&self) -> &dyn SupervisionObserver {
        self.shared.options.observer.as_ref()
    }

    pub(crate) fn next_incarnation(&self) -> u64 {
        self.shared.incarnations.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// What the paths of a supervisor's children begin with; nothing below the root.
    pub(crate) fn prefix_below<'a>(&self, supervisor: &'a Arc<Record>) -> &'a str {
        if Arc::ptr_eq(supervisor, &self.shared.root) { "" } else { supervisor.path() }
    }
}

impl fmt::Debug for NodeTree {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "NodeTree({})", self.shared.root.name())
    }
}

/// A path's supervisor (empty for the root) and last name.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}
