//! What an actor has at hand: its own address, the directory, timers, and tasks that end with it.

use crate::directory::{Directory, Role, Slot};
use crate::mailbox::{Address, Envelope, Mail, Mailbox};
use crate::supervision::NodeTree;
use crate::supervision::life::{Life, Lifeline};
use dtvn_messages::limits::ACTOR_TASKS_MAX;
use futures::FutureExt;
use ractor::ActorCell;
use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};
use tokio_util::sync::CancellationToken;

/// What an actor of message type `M` has at hand. Cheap to clone; belongs to one incarnation.
///
/// Everything spawned through it is cancelled at its next `await` when the incarnation ends, however it ends, and no
/// successor starts before that has happened. A panic in such a task fails the actor.
pub struct Context<M: Mail> {
    inner: Arc<Inner<M>>,
}

struct Inner<M: Mail> {
    path: String,
    slot: Arc<Slot<M>>,
    mailbox: Arc<Mailbox<M>>,
    cell: ActorCell,
    life: Arc<Life>,
    tree: NodeTree,
}

impl<M: Mail> Context<M> {
    pub(crate) fn new(
        path: String,
        slot: Arc<Slot<M>>,
        mailbox: Arc<Mailbox<M>>,
        cell: ActorCell,
        life: Arc<Life>,
        tree: NodeTree,
    ) -> Self {
        Self { inner: Arc::new(Inner { path, slot, mailbox, cell, life, tree }) }
    }

    /// Where the actor stands in the tree, e.g. `core/storage`.
    pub fn path(&self) -> &str {
        &self.inner.path
    }

    /// This incarnation's number; grows with every start, never reused within a node.
    pub fn incarnation(&self) -> u64 {
        self.inner.mailbox.incarnation()
    }

    /// From here on messages of neighbours are taken, to be handled once the start is complete: for a start that asks a
    /// neighbour where things stand and must hear of everything that comes after the answer. If the start fails, they are
    /// dropped, as they are when an actor fails.
    pub fn listen(&self) {
        self.inner.slot.listen(Arc::clone(&self.inner.mailbox));
    }

    /// The actor's role address, which neighbours may keep across its restarts. Down while the actor still starts, unless
    /// it listens already.
    pub fn address(&self) -> Address<M> {
        Address::of(Arc::clone(&self.inner.slot))
    }

    /// The address of this very incarnation: usable during start already, down for ever after the end. For callbacks
    /// and threads of the actor's own, whose messages a successor would not understand.
    pub fn myself(&self) -> Address<M> {
        Address::pinned(Arc::clone(&self.inner.slot), Arc::clone(&self.inner.mailbox))
    }

    /// The node's directory.
    pub fn directory(&self) -> &Directory {
        self.inner.tree.directory()
    }

    /// The address of another role, whether or not it is filled yet.
    pub fn address_of<N: Mail>(&self, role: &Role<N>) -> Address<N> {
        self.directory().address(role)
    }

    /// The node's tree: for adding and removing dynamic children, and for inspection.
    pub fn tree(&self) -> &NodeTree {
        &self.inner.tree
    }

    /// Ends this actor in good order after the present message; what waits in its mailbox is dropped. Normal for a transient or temporary child; a permanent
    /// one is restarted, and it counts as a failure.
    pub fn finish(&self, reason: impl Into<String>) {
        self.inner.life.finish(reason.into());
        self.inner.mailbox.close();
        self.inner.cell.stop(None);
    }

    /// Cancelled when this incarnation has ended; for threads and callbacks that cannot be spawned here.
    pub fn over(&self) -> CancellationToken {
        self.inner.life.over().clone()
    }

    /// No successor starts before this is dropped. Move it into a thread that owns what the successor will want.
    pub fn lifeline(&self) -> Lifeline {
        self.inner.life.lifeline()
    }

    /// Fails this incarnation from a thread or callback that cannot be spawned here.
    pub fn alarm(&self) -> Alarm {
        let mailbox = Arc::clone(&self.inner.mailbox);
        // False means that the incarnation has ended already.
        let ring = move |why| _ = mailbox.send_unmetered(Envelope::Failed(why));
        Alarm { ring: Arc::new(ring) }
    }

    /// Sends `message` to this incarnation after `delay`, waiting for a place in the mailbox if need be. A timer that
    /// was cancelled may have fired already, so give the message a generation where that matters.
    pub fn send_after(&self, delay: Duration, message: M) -> TaskHandle {
        self.spawn_then(sleep(delay), move |()| message)
    }

    /// Sends a message to this incarnation every `period`, the first one after `period`, by the message's policy:
    /// choose [`FullPolicy::DropNewest`](crate::mailbox::FullPolicy) for ticks. Late ticks delay the next.
    pub fn send_every(&self, period: Duration, mut message: impl FnMut() -> M + Send + 'static) -> TaskHandle {
        let mailbox = Arc::clone(&self.inner.mailbox);
        self.spawn(async move {
            let mut ticks = interval_at(Instant::now() + period, period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                if mailbox.try_send(message()).is_err() && !mailbox.is_open() {
                    return;
                }
            }
        })
    }

    /// Runs work beside the handler and hands its result back as a message, waiting for a place in the mailbox.
    pub fn spawn_then<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
        message: impl FnOnce(T) -> M + Send + 'static,
    ) -> TaskHandle {
        let mailbox = Arc::clone(&self.inner.mailbox);
        self.spawn(async move {
            let result = work.await;
            // An error means that this incarnation has ended, and then nobody wants the result.
            let _ended = mailbox.send_waiting(message(result)).await;
        })
    }

    /// Runs a task beside the handler.
    ///
    /// # Panics
    /// Above `ACTOR_TASKS_MAX` tasks of one incarnation: the actor spawns without bound, which is a broken invariant.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> TaskHandle {
        let life = &self.inner.life;
        let count = life.tasks().len();
        assert!(count < ACTOR_TASKS_MAX, "actor `{}` has {count} tasks, which is the limit", self.inner.path);
        let over = life.over().clone();
        let mailbox = Arc::clone(&self.inner.mailbox);
        let task = life.tasks().spawn(async move {
            let work = AssertUnwindSafe(work).catch_unwind();
            if let Some(Err(panic)) = over.run_until_cancelled(work).await {
                let why = format!("a background task panicked: {}", panic_text(panic.as_ref()));
                mailbox.send_unmetered(Envelope::Failed(why));
            }
        });
        TaskHandle { abort: task.abort_handle() }
    }
}

impl<M: Mail> Clone for Context<M> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

/// A timer or task of an actor. Dropping the handle does not cancel it.
#[derive(Debug, Clone)]
pub struct TaskHandle {
    abort: AbortHandle,
}

impl TaskHandle {
    /// Cancels the task at its next `await`. A message that it has sent already is not called back.
    pub fn cancel(&self) {
        self.abort.abort();
    }

    /// Whether it has run to its end or was cancelled.
    pub fn is_finished(&self) -> bool {
        self.abort.is_finished()
    }
}

/// Fails the actor that it belongs to, from a thread or callback of its own; needs no place in the mailbox. Rings by
/// itself when it is dropped by a panic, so move one into every thread.
#[derive(Clone)]
pub struct Alarm {
    ring: Arc<dyn Fn(String) + Send + Sync>,
}

impl Alarm {
    /// The actor fails for this reason, behind the messages that wait in its mailbox.
    pub fn ring(&self, why: impl Into<String>) {
        (self.ring)(why.into());
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let thread = std::thread::current().name().map_or_else(String::new, |name| format!(" `{name}`"));
            self.ring(format!("its thread{thread} panicked"));
        }
    }
}

impl fmt::Debug for Alarm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Alarm")
    }
}

/// What a panic said, as far as it is text.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without text".to_owned())
}
