//! What the tests of whole trees share: an actor that does as it is told, and a journal of what happened.

use crate::directory::{Directory, Presence, Role};
use crate::mailbox::{Address, CallError, FullPolicy, Mail, Reply};
use crate::supervision::{
    ActorError, Behaviour, ChildSpec, CommandError, Context, NodeTree, SupervisionObserver, SupervisorSpec, TreeOptions,
};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// Far more than anything takes; a test that needs it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits, but not for ever.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

/// What happened, in order.
#[derive(Clone)]
pub(crate) struct Journal(Arc<watch::Sender<Vec<String>>>);

impl Journal {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Vec::new())))
    }

    pub(crate) fn note(&self, entry: impl Into<String>) {
        self.0.send_modify(|entries| entries.push(entry.into()));
    }

    /// Waits until `entry` was noted `times` times.
    pub(crate) async fn until_times(&self, entry: &str, times: usize) {
        let mut entries = self.0.subscribe();
        let enough = entries.wait_for(|all| all.iter().filter(|other| *other == entry).count() >= times);
        soon(entry, enough).await.unwrap();
    }

    pub(crate) async fn until(&self, entry: &str) {
        self.until_times(entry, 1).await;
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.0.borrow().clone()
    }

    pub(crate) fn clear(&self) {
        self.0.send_modify(Vec::clear);
    }
}

/// What can be said to a [`Probe`].
pub(crate) enum Say {
    /// Answer with the number of messages handled before.
    Count(Reply<u64>),
    /// Drop the reply.
    Ignore(Reply<u64>),
    Fail,
    Panic,
    Finish,
    /// Handle this message until a permit of the gate comes.
    Block(Arc<Semaphore>),
    /// Block the very thread until a permit of the gate comes.
    BlockThread(Arc<Semaphore>),
    /// Spawn a task that notes when it is gone.
    Linger(Journal),
    /// Spawn a task that panics.
    TaskPanic,
    /// A message of the given policy that does nothing.
    Noise(FullPolicy),
}

impl Mail for Say {
    fn kind(&self) -> &'static str {
        match self {
            Self::Count(_) => "count",
            Self::Block(_) | Self::BlockThread(_) => "block",
            Self::Noise(_) => "noise",
            _ => "order",
        }
    }

    fn policy(&self) -> FullPolicy {
        match self {
            Self::Noise(policy) => *policy,
            _ => FullPolicy::Wait,
        }
    }
}

/// How the probes of one test behave beyond what they are told.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) name: &'static str,
    pub(crate) journal: Journal,
    /// So many of the next starts fail.
    pub(crate) failing_starts: Arc<AtomicUsize>,
    /// A start listens before anything else.
    pub(crate) listens: bool,
    /// A start takes a permit first.
    pub(crate) start_gate: Option<Arc<Semaphore>>,
    /// A start blocks its thread until this gate has a permit.
    pub(crate) start_block: Option<Arc<Semaphore>>,
    /// A stop takes a permit first.
    pub(crate) stop_gate: Option<Arc<Semaphore>>,
}

impl Plan {
    pub(crate) fn new(name: &'static str, journal: &Journal) -> Self {
        let failing_starts = Arc::new(AtomicUsize::new(0));
        let journal = journal.clone();
        let (start_gate, start_block, stop_gate) = (None, None, None);
        Self { name, journal, failing_starts, listens: false, start_gate, start_block, stop_gate }
    }

    pub(crate) fn role(&self) -> Role<Say> {
        Role::new(self.name)
    }

    pub(crate) fn spec(&self) -> ChildSpec {
        let plan = self.clone();
        ChildSpec::worker(self.role(), move |context| Probe::start(context, plan.clone()))
    }
}

/// An actor that does as it is told, and notes `start x`, `stop x` and `gone x`: one `gone` for each `start`.
pub(crate) struct Probe {
    plan: Plan,
    handled: u64,
}

impl Probe {
    async fn start(context: Context<Say>, plan: Plan) -> Result<Self, ActorError> {
        if plan.listens {
            context.listen();
        }
        plan.journal.note(format!("start {}", plan.name));
        let probe = Self { plan, handled: 0 };
        if let Some(gate) = &probe.plan.start_gate {
            gate.acquire().await?.forget();
        }
        if let Some(gate) = &probe.plan.start_block {
            block_thread(gate);
        }
        let fails = &probe.plan.failing_starts;
        if fails.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1)).is_ok() {
            return Err(ActorError::new("no disk").context(format!("open {}", context.path())));
        }
        Ok(probe)
    }
}

impl Behaviour for Probe {
    type Message = Say;

    async fn handle(&mut self, context: &Context<Say>, message: Say) -> Result<(), ActorError> {
        match message {
            Say::Count(reply) => {
                reply.send(self.handled);
            }
            Say::Ignore(reply) => drop(reply),
            Say::Fail => return Err(ActorError::new("told to fail")),
            Say::Panic => panic!("told to panic"),
            Say::Finish => context.finish("told to finish"),
            Say::Block(gate) => {
                self.plan.journal.note(format!("busy {}", self.plan.name));
                gate.acquire().await?.forget();
            }
            Say::BlockThread(gate) => {
                self.plan.journal.note(format!("busy {}", self.plan.name));
                block_thread(&gate);
            }
            Say::Linger(journal) => {
                let farewell = Farewell(journal, "task gone");
                context.spawn(async move {
                    let _farewell = farewell;
                    std::future::pending::<()>().await;
                });
            }
            Say::TaskPanic => {
                context.spawn(async { panic!("told to panic in a task") });
            }
            Say::Noise(_) => {}
        }
        self.handled += 1;
        Ok(())
    }

    async fn stop(&mut self, _: &Context<Say>, _: crate::supervision::StopReason) -> Result<(), ActorError> {
        self.plan.journal.note(format!("stop {}", self.plan.name));
        if let Some(gate) = &self.plan.stop_gate {
            gate.acquire().await?.forget();
        }
        Ok(())
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.plan.journal.note(format!("gone {}", self.plan.name));
    }
}

fn block_thread(gate: &Semaphore) {
    let began = std::time::Instant::now();
    while gate.try_acquire().is_err() && began.elapsed() < PATIENCE {
        std::thread::yield_now();
    }
}

/// Notes something when it is dropped.
pub(crate) struct Farewell(pub(crate) Journal, pub(crate) &'static str);

impl Drop for Farewell {
    fn drop(&mut self) {
        self.0.note(self.1);
    }
}

/// Notes what supervisors do.
pub(crate) struct Observer(pub(crate) Journal);

impl SupervisionObserver for Observer {
    fn restarted(&self, path: &str, reason: &str) {
        self.0.note(format!("restarted {path}: {reason}"));
    }

    fn escalated(&self, supervisor: &str, child: &str, _: &str) {
        self.0.note(format!("escalated {supervisor} for {child}"));
    }

    fn killed_after_timeout(&self, path: &str) {
        self.0.note(format!("killed {path}"));
    }

    fn abandoned(&self, path: &str) {
        self.0.note(format!("abandoned {path}"));
    }
}

/// A running tree with its journal of actors and its journal of supervision.
pub(crate) struct Stage {
    pub(crate) tree: NodeTree,
    pub(crate) events: Journal,
}

impl Stage {
    pub(crate) async fn open(root: SupervisorSpec) -> Self {
        let events = Journal::new();
        let options = TreeOptions {
            directory: Directory::new(),
            observer: Arc::new(Observer(events.clone())),
            fault_injection: true,
        };
        let tree = soon("start", NodeTree::start_with(root, options)).await.unwrap();
        Self { tree, events }
    }

    pub(crate) fn address(&self, name: &'static str) -> Address<Say> {
        self.tree.directory().address(&Role::new(name))
    }

    pub(crate) async fn say(&self, name: &'static str, message: Say) {
        self.address(name).send(message).await.unwrap();
    }

    /// Says something that ends the actor, and waits until its successor is up.
    pub(crate) async fn say_and_await_successor(&self, name: &'static str, message: Say) {
        let address = self.address(name);
        let former = address.incarnation();
        address.send(message).await.unwrap();
        self.await_successor(name, former).await;
    }

    pub(crate) async fn await_successor(&self, name: &'static str, former: u64) {
        self.await_successor_of(&self.address(name), former).await;
    }

    pub(crate) async fn await_successor_of<M: Mail>(&self, address: &Address<M>, former: u64) {
        let newer = |now: &Presence| now.up && now.incarnation > former;
        soon("successor", address.watch().wait_for(newer)).await.unwrap();
    }

    pub(crate) async fn count(&self, name: &'static str) -> Result<u64, CallError> {
        self.address(name).call(PATIENCE, Say::Count).await
    }

    pub(crate) async fn restart(&self, path: &str) -> Result<(), CommandError> {
        soon(path, self.tree.restart(path)).await
    }

    pub(crate) async fn shutdown(&self) {
        soon("shutdown", self.tree.shutdown(PATIENCE)).await.unwrap();
    }

    /// Kills an actor as nobody in production can.
    pub(crate) fn kill(&self, path: &str) {
        self.tree.find(path).unwrap().present().unwrap().cell.kill();
    }

    /// Stops an actor behind its supervisor's back, as nobody in production can.
    pub(crate) fn stop_unasked(&self, path: &str) {
        self.tree.find(path).unwrap().present().unwrap().cell.stop(Some("unasked".to_owned()));
    }

    pub(crate) fn restarts(&self, path: &str) -> u64 {
        self.tree.snapshot().find(path).unwrap().restarts
    }
}

/// A gate that lets nobody through until the test adds permits.
pub(crate) fn gate() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(0))
}
