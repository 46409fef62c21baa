//! How an incarnation of a worker is brought to life.

use crate::directory::{Claim, Role};
use crate::mailbox::{Envelope, Mail, Mailbox};
use crate::supervision::adaptor::{Adaptor, Birth, Factory};
use crate::supervision::behaviour::{ActorError, Behaviour};
use crate::supervision::context::Context;
use crate::supervision::life::Life;
use crate::supervision::record::{Present, PresentHandle, Record, lock};
use crate::supervision::tree::NodeTree;
use futures::FutureExt;
use ractor::{ActorCell, ActorRuntime, SpawnErr};
use std::future::Future;
use std::sync::{Arc, Mutex, OnceLock};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// What starting needs to know of the surroundings.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) record: Arc<Record>,
    pub(crate) life: Arc<Life>,
    pub(crate) tree: NodeTree,
}

/// An incarnation whose start is under way.
pub(crate) struct Launched {
    /// How it is reached from outside.
    pub(crate) present: Present,
    /// The start, and in it the actor's own task.
    pub(crate) starting: JoinHandle<Result<JoinHandle<()>, SpawnErr>>,
    /// Where a supervisor says that its children are up. A worker is up when its start is complete.
    pub(crate) ready: Option<oneshot::Receiver<()>>,
    /// What is opened when it is up, and shut when it has ended.
    pub(crate) door: Arc<dyn Door>,
}

/// How others get at an incarnation.
pub(crate) trait Door: Send + Sync {
    /// It is up: the role's addresses lead here from now on.
    fn open(&self);
    /// It is to stop: nothing more is let in, and who waits for a place learns it. What is inside stays.
    fn refuse(&self);
    /// Asks for a stop behind what waits in the mailbox; false when that cannot be asked any more.
    fn drain(&self) -> bool;
    /// It has ended: a successor may take the role.
    fn shut(&self);
}

/// Starts the incarnations of one worker.
pub(crate) trait Launch: Send + Sync {
    /// Begins a start under the given supervisor. `Err` says why not.
    fn launch(&self, supervisor: ActorCell, surroundings: Surroundings) -> Result<Launched, String>;
}

/// [`Launch`] for one type of behaviour.
pub(crate) struct WorkerLaunch<B: Behaviour> {
    role: Role<B::Message>,
    factory: Factory<B>,
}

impl<B: Behaviour> WorkerLaunch<B> {
    pub(crate) fn new<F, S>(role: Role<B::Message>, factory: F) -> Self
    where
        F: Fn(Context<B::Message>) -> S + Send + Sync + 'static,
        S: Future<Output = Result<B, ActorError>> + Send + 'static,
    {
        Self { role, factory: Arc::new(move |context| factory(context).boxed()) }
    }
}

impl<B: Behaviour> Launch for WorkerLaunch<B> {
    fn launch(&self, supervisor: ActorCell, surroundings: Surroundings) -> Result<Launched, String> {
        let Surroundings { record, life, tree } = surroundings;
        let slot = tree.directory().slot(&self.role);
        let Some(claim) = slot.claim() else {
            return Err(format!("the role `{}` is held by another actor", self.role.name()));
        };
        let mailbox = Arc::new(OnceLock::new());
        let entry = Mutex::new(Entry { claim: Some(claim), refusing: false });
        let door = Arc::new(WorkerDoor { entry, mailbox: Arc::clone(&mailbox) });
        let birth = Birth { factory: Arc::clone(&self.factory), slot, record, life, tree, mailbox };
        // No name: that would be an entry in the process-wide registry.
        let (actor, starting) = ActorRuntime::spawn_linked_instant(None, Adaptor::<B>::new(), birth, supervisor)
            .map_err(|error| error.to_string())?;
        let cell = actor.get_cell();
        let crash = Arc::new(move |reason| actor.send_message(Envelope::Crash(reason)).is_ok());
        let present = Present { cell, handle: PresentHandle::Worker { crash } };
        Ok(Launched { present, starting, ready: None, door })
    }
}

struct WorkerDoor<M: Mail> {
    entry: Mutex<Entry<M>>,
    mailbox: Arc<OnceLock<Arc<Mailbox<M>>>>,
}

struct Entry<M: Mail> {
    claim: Option<Claim<M>>,
    refusing: bool,
}

impl<M: Mail> Door for WorkerDoor<M> {
    fn open(&self) {
        let entry = lock(&self.entry);
        if let (Some(claim), Some(mailbox), false) = (&entry.claim, self.mailbox.get(), entry.refusing) {
            claim.publish(Arc::clone(mailbox));
        }
    }

    fn refuse(&self) {
        let mut entry = lock(&self.entry);
        entry.refusing = true;
        if let Some(claim) = &entry.claim {
            claim.withdraw();
        }
        if let Some(mailbox) = self.mailbox.get() {
            mailbox.close();
        }
    }

    fn drain(&self) -> bool {
        self.mailbox.get().is_some_and(|mailbox| mailbox.send_unmetered(Envelope::Drained))
    }

    fn shut(&self) {
        self.refuse();
        lock(&self.entry).claim = None;
    }
}
