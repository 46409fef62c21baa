//! The actor `events`: the hub behind a mailbox.

use std::sync::Arc;

use dtvn_actors::board::{Board, Leadership};
use dtvn_actors::directory::Role;
use dtvn_actors::mailbox::{Address, FullPolicy, Mail, Reply};
use dtvn_actors::shared::wall;
use dtvn_actors::state_machine::Observer;
use dtvn_actors::supervision::{ActorError, Behaviour, Context};
use dtvn_client::api::{Event, EventKind, Time};
use dtvn_ledger::BlockEffects;

use super::hub::{Hub, Subscription};

/// The role of the hub of events.
pub const EVENTS: Role<EventsMessage> = Role::new("events");

/// What can be said to the hub of events.
pub enum EventsMessage {
    /// A block is committed.
    Committed(Arc<BlockEffects>),
    /// Another validator leads.
    Leads(Leadership),
    /// Somebody wants to listen.
    Subscribe(Reply<Listening>),
}

/// A subscription on its way to who asked for it.
pub struct Listening(pub(super) Subscription);

impl Mail for EventsMessage {
    fn kind(&self) -> &'static str {
        match self {
            Self::Committed(_) => "committed",
            Self::Leads(_) => "leads",
            Self::Subscribe(_) => "subscribe",
        }
    }

    fn policy(&self) -> FullPolicy {
        match self {
            // Who listens reads from the store what is missing before the next block.
            Self::Committed(_) => FullPolicy::DropNewest,
            Self::Leads(_) => FullPolicy::Wait,
            Self::Subscribe(_) => FullPolicy::Refuse,
        }
    }
}

/// Tells the hub of committed blocks.
#[must_use]
pub fn observer(events: Address<EventsMessage>) -> Observer {
    Arc::new(move |effects| {
        // A hub that is down has no listeners: they were told to resume.
        let _down = events.try_send(EventsMessage::Committed(Arc::clone(effects)));
    })
}

/// The hub of events.
pub struct EventsActor {
    hub: Hub,
    board: Arc<Board>,
}

impl EventsActor {
    /// Begins without listeners, and follows who leads.
    ///
    /// # Errors
    /// Never.
    #[expect(clippy::unused_async, reason = "the signature is every actor's")]
    pub async fn start(context: Context<EventsMessage>, board: Arc<Board>) -> Result<Self, ActorError> {
        let mut leadership = board.leadership();
        let mut known = *leadership.borrow_and_update();
        let myself = context.myself();
        context.spawn(async move {
            while leadership.changed().await.is_ok() {
                let now = *leadership.borrow_and_update();
                let before = std::mem::replace(&mut known, now);
                if let (Some(_), Some(now)) = (before, now)
                    && myself.send(EventsMessage::Leads(now)).await.is_err()
                {
                    return;
                }
            }
        });
        Ok(Self { hub: Hub::default(), board })
    }

    fn on_leads(&mut self, leadership: Leadership) {
        let epoch = self.board.epoch();
        let leader = epoch.config.set.get(leadership.leader).map(|validator| validator.name.clone());
        let leader = leader.unwrap_or_else(|| self.board.identity.name.clone());
        let event = Event::local(EventKind::ViewChanged, leader, self.board.committed(), Time(wall()));
        self.hub.tell(&Event { view: Some(leadership.view), ..event });
    }
}

impl Behaviour for EventsActor {
    type Message = EventsMessage;

    async fn handle(&mut self, _context: &Context<EventsMessage>, message: EventsMessage) -> Result<(), ActorError> {
        match message {
            EventsMessage::Committed(effects) => self.hub.committed(&effects),
            EventsMessage::Leads(leadership) => self.on_leads(leadership),
            EventsMessage::Subscribe(reply) => {
                reply.send(Listening(self.hub.subscribe()));
                tracing::debug!(listeners = self.hub.len(), "Somebody listens for events.");
            }
        }
        Ok(())
    }
}
