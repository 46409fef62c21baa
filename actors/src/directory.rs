//! A node's directory: from a role ("storage", "peer-node3") to the slot through which that role is reached.
//!
//! Architecture, section 2: "An actor is addressed by role through the node's own directory, which survives restarts;
//! the process-wide registry is not used (several nodes may live in one test process)". A slot outlives the
//! incarnations that fill it one after the other; it goes when nobody holds an address to it and nobody fills it.

use crate::mailbox::{Address, Mail, Mailbox};
use std::any::Any;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use tokio::sync::watch;

/// How many entries the directory may hold before it looks for slots that nobody holds any more.
const SWEEP_FLOOR: usize = 64;

/// The typed name under which an actor is reached, e.g. `const STORAGE: Role<StorageMessage> = Role::new("storage")`.
///
/// The role is also the actor's name in the supervision tree. A name belongs to one message type in a whole node.
pub struct Role<M> {
    name: Cow<'static, str>,
    message: PhantomData<fn(M)>,
}

impl<M> Role<M> {
    /// The role of a resident actor.
    pub const fn new(name: &'static str) -> Self {
        Self { name: Cow::Borrowed(name), message: PhantomData }
    }

    /// The role of one of many alike, e.g. `peer-node3`.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: Cow::Owned(name.into()), message: PhantomData }
    }

    /// The name, as shown in the tree.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl<M> Clone for Role<M> {
    fn clone(&self) -> Self {
        Self { name: self.name.clone(), message: PhantomData }
    }
}

impl<M> fmt::Debug for Role<M> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Role({})", self.name)
    }
}

/// Whether a role is filled at the moment, and by which incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Presence {
    /// Grows with every start, never reused within a node; 0 before the first start.
    pub incarnation: u64,
    /// Whether that incarnation has started and not yet ended.
    pub up: bool,
}

/// The place of one role: who fills it now, and news about that.
pub(crate) struct Slot<M> {
    role: Role<M>,
    current: RwLock<Option<Arc<Mailbox<M>>>>,
    presence: watch::Sender<Presence>,
    claimed: AtomicBool,
}

impl<M: Mail> Slot<M> {
    fn new(role: Role<M>) -> Self {
        Self {
            role,
            current: RwLock::new(None),
            presence: watch::Sender::new(Presence::default()),
            claimed: AtomicBool::new(false),
        }
    }

    pub(crate) fn role(&self) -> &Role<M> {
        &self.role
    }

    pub(crate) fn current(&self) -> Option<Arc<Mailbox<M>>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn presence(&self) -> watch::Receiver<Presence> {
        self.presence.subscribe()
    }

    /// The role's addresses lead to this mailbox although its actor still starts, which is what the presence says.
    pub(crate) fn listen(&self, mailbox: Arc<Mailbox<M>>) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if mailbox.is_open() {
            *current = Some(mailbox);
        }
    }

    /// Reserves the role for one incarnation; `None` while another one holds it.
    pub(crate) fn claim(self: &Arc<Self>) -> Option<Claim<M>> {
        let free = self.claimed.compare_exchange(false, true, Ordering::AcqRel, Ordering::Acquire).is_ok();
        free.then(|| Claim { slot: Arc::clone(self) })
    }
}

/// The right of one incarnation to fill a slot. Dropping it empties the slot and tells the watchers.
pub(crate) struct Claim<M: Mail> {
    slot: Arc<Slot<M>>,
}

impl<M: Mail> Claim<M> {
    /// From now on the role's addresses lead to this mailbox.
    pub(crate) fn publish(&self, mailbox: Arc<Mailbox<M>>) {
        let incarnation = mailbox.incarnation();
        *self.slot.current.write().unwrap_or_else(PoisonError::into_inner) = Some(mailbox);
        self.slot.presence.send_replace(Presence { incarnation, up: true });
    }

    /// From now on the role's addresses lead nowhere, and the watchers are told.
    pub(crate) fn withdraw(&self) {
        let former = self.slot.current.write().unwrap_or_else(PoisonError::into_inner).take();
        if former.is_some() {
            self.slot.presence.send_modify(|presence| presence.up = false);
        }
    }
}

impl<M: Mail> Drop for Claim<M> {
    fn drop(&mut self) {
        self.withdraw();
        self.slot.claimed.store(false, Ordering::Release);
    }
}

/// All roles of one node. Cheap to clone; two directories know nothing of each other.
#[derive(Clone, Default)]
pub struct Directory {
    slots: Arc<Mutex<Slots>>,
}

#[derive(Default)]
struct Slots {
    by_role: BTreeMap<String, Weak<dyn Any + Send + Sync>>,
    sweep_at: usize,
}

impl Directory {
    /// An empty directory for one node.
    pub fn new() -> Self {
        Self::default()
    }

    /// The address of a role, whether or not anybody fills it yet.
    ///
    /// # Panics
    /// When the same name is already used for another message type: two roles of a node must not share a name.
    pub fn address<M: Mail>(&self, role: &Role<M>) -> Address<M> {
        Address::of(self.slot(role))
    }

    pub(crate) fn slot<M: Mail>(&self, role: &Role<M>) -> Arc<Slot<M>> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = slots.by_role.get(role.name()).and_then(Weak::upgrade) {
            let Ok(slot) = known.downcast::<Slot<M>>() else {
                panic!("role `{}` is already used for another message type", role.name());
            };
            return slot;
        }
        slots.sweep();
        let slot = Arc::new(Slot::new(role.clone()));
        let erased: Arc<dyn Any + Send + Sync> = slot.clone();
        slots.by_role.insert(role.name().to_owned(), Arc::downgrade(&erased));
        slot
    }
}

impl Slots {
    /// Forgets slots that nobody holds, whenever the map has doubled since the last time.
    fn sweep(&mut self) {
        if self.by_role.len() >= self.sweep_at.max(SWEEP_FLOOR) {
            self.by_role.retain(|_, slot| slot.strong_count() > 0);
            self.sweep_at = self.by_role.len() * 2;
        }
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        formatter.debug_set().entries(slots.by_role.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailbox::FullPolicy;

    struct Ping;
    struct Pong;

    impl Mail for Ping {
        fn kind(&self) -> &'static str {
            "ping"
        }

        fn policy(&self) -> FullPolicy {
            FullPolicy::Refuse
        }
    }

    impl Mail for Pong {
        fn kind(&self) -> &'static str {
            "pong"
        }

        fn policy(&self) -> FullPolicy {
            FullPolicy::Refuse
        }
    }

    #[test]
    fn an_address_may_be_had_before_anybody_fills_the_role() {
        let address = Directory::new().address(&Role::<Ping>::new("ping"));
        assert_eq!((address.is_up(), address.incarnation(), address.depth()), (false, 0, 0));
        assert_eq!(*address.watch().borrow(), Presence::default());
        assert_eq!(format!("{address:?}"), "Address(ping#0)");
    }

    #[test]
    fn one_role_has_one_slot_which_one_actor_at_a_time_may_claim() {
        let directory = Directory::new();
        let role = Role::<Ping>::named("ping-1");
        let (one, two) = (directory.slot(&role), directory.slot(&role));
        assert!(Arc::ptr_eq(&one, &two));
        let claim = one.claim().unwrap();
        assert!(two.claim().is_none());
        drop(claim);
        assert!(two.claim().is_some());
    }

    #[test]
    #[should_panic(expected = "role `ping` is already used for another message type")]
    fn two_message_types_cannot_share_a_role() {
        let directory = Directory::new();
        let _held = directory.address(&Role::<Ping>::new("ping"));
        let _other = directory.address(&Role::<Pong>::new("ping"));
    }

    #[test]
    fn slots_that_nobody_holds_are_forgotten() {
        let directory = Directory::new();
        let held = directory.address(&Role::<Ping>::new("held"));
        for number in 0..10 * SWEEP_FLOOR {
            directory.address(&Role::<Ping>::named(format!("ping-{number}")));
        }
        let slots = directory.slots.lock().unwrap().by_role.len();
        assert!(slots <= SWEEP_FLOOR + 1, "{slots} slots");
        assert!(directory.slots.lock().unwrap().by_role.contains_key(held.role().name()));
    }
}
