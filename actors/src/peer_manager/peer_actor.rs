//! The actor `peer-<name>`: one for each validator and bootstrap peer.
//!
//! architecture.md section 2: peers are transient children; the failure of one ends its session and no other.

use std::sync::Arc;
use std::time::Instant;

use dtvn_messages::limits;

use super::member::{Member, PeerMessage, until};
use crate::network::link::Link;
use crate::network::notices;
use crate::network::shared::Shared;
use crate::supervision::{ActorError, Behaviour, Context, StopReason, TaskHandle};

/// The actor.
pub struct PeerActor {
    member: Member,
    /// The dial that a timer is set for.
    dial_timer: Option<(Instant, TaskHandle)>,
}

impl PeerActor {
    /// Takes over a peer; whatever connections it has are closed, and it is dialed.
    ///
    /// # Errors
    /// If there is no swarm.
    pub async fn start(
        context: Context<PeerMessage>,
        link: Arc<Link>,
        shared: Arc<Shared>,
    ) -> Result<Self, ActorError> {
        let (notices, mut received) = notices::queue();
        let mut neighbours = shared.neighbours.subscribe();
        let mut member = Member::new(link, shared, notices)?;
        member.begin_afresh().await?;
        let myself = context.myself();
        context.spawn(async move {
            while let Some(notice) = received.recv().await {
                // An error means that this incarnation has ended.
                if myself.send(PeerMessage::Link(notice)).await.is_err() {
                    return;
                }
            }
        });
        let myself = context.myself();
        context.spawn(async move {
            while neighbours.changed().await.is_ok() {
                // As above; and a hint may be dropped, for dialing goes on without it.
                let _ = myself.try_send(PeerMessage::NewNeighbour);
            }
        });
        context.send_every(limits::HEARTBEAT_INTERVAL, || PeerMessage::Heartbeat);
        let mut actor = Self { member, dial_timer: None };
        actor.arm(&context);
        Ok(actor)
    }

    /// Sets the timer for the next dial, if it is not set for that already.
    fn arm(&mut self, context: &Context<PeerMessage>) {
        let next = self.member.next_dial();
        if self.dial_timer.as_ref().map(|(time, _)| *time) != next {
            if let Some((_, timer)) = self.dial_timer.take() {
                timer.cancel();
            }
            self.dial_timer = next.map(|time| (time, context.send_after(until(time), PeerMessage::DialTime)));
        }
    }
}

impl Behaviour for PeerActor {
    type Message = PeerMessage;

    async fn handle(&mut self, context: &Context<PeerMessage>, message: PeerMessage) -> Result<(), ActorError> {
        if matches!(message, PeerMessage::DialTime) {
            self.dial_timer = None;
        }
        self.member.handle(message).await?;
        self.arm(context);
        Ok(())
    }

    async fn stop(&mut self, _: &Context<PeerMessage>, _: StopReason) -> Result<(), ActorError> {
        self.member.flush().await;
        Ok(())
    }
}
