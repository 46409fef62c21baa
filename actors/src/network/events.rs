//! Events that wait for a slow listener: bounded, without forgetting what state a peer is in.
//!
//! architecture.md section 4: fan-out is bounded and never silent. At the bound, refusals are dropped and counted, and a
//! peer's older news gives way to its later news; so at most a few events per connected peer can wait.

use std::collections::VecDeque;

use dtvn_messages::limits;

use super::config::NetworkEvent;

/// The queue.
#[derive(Debug, Default)]
pub struct WaitingEvents {
    events: VecDeque<NetworkEvent>,
}

impl WaitingEvents {
    /// Appends an event; gives how many events were dropped for it or with it.
    pub fn push(&mut self, event: NetworkEvent) -> u64 {
        if self.events.len() < limits::NETWORK_EVENTS_MAX {
            self.events.push_back(event);
            return 0;
        }
        let waiting = self.events.len();
        match &event {
            NetworkEvent::Refused { .. } => return 1,
            NetworkEvent::Listening(_) => self.events.retain(|other| !matches!(other, NetworkEvent::Listening(_))),
            NetworkEvent::Suspect { peer, .. } => {
                self.events.retain(|other| !is_suspect(other) || other.peer() != Some(*peer));
            }
            NetworkEvent::Connected(_) => {}
            NetworkEvent::Disconnected { peer, .. } => {
                let peer = Some(*peer);
                let last = self.events.iter().rposition(|other| is_connected(other) && other.peer() == peer);
                if let Some(position) = last {
                    // It came and went unseen.
                    self.events.remove(position);
                    let mut later = self.events.split_off(position);
                    later.retain(|other| !is_suspect(other) || other.peer() != peer);
                    self.events.append(&mut later);
                    return (waiting - self.events.len()) as u64 + 1;
                }
            }
        }
        self.events.push_back(event);
        (waiting + 1 - self.events.len()) as u64
    }

    /// The next event.
    pub fn pop(&mut self) -> Option<NetworkEvent> {
        self.events.pop_front()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
}

const fn is_suspect(event: &NetworkEvent) -> bool {
    matches!(event, NetworkEvent::Suspect { .. })
}

const fn is_connected(event: &NetworkEvent) -> bool {
    matches!(event, NetworkEvent::Connected(_))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use dtvn_messages::ids::NodeName;
    use libp2p::PeerId;

    use super::*;
    use crate::network::class::ClassSet;
    use crate::network::config::ConnectedPeer;
    use crate::network::handshake::Refusal;

    fn connected(peer: PeerId) -> NetworkEvent {
        NetworkEvent::Connected(ConnectedPeer {
            peer,
            validator: None,
            node_name: NodeName::new("node0").unwrap(),
            start: 1,
            summary: Bytes::new(),
            classes: ClassSet::OBSERVERS,
        })
    }

    fn disconnected(peer: PeerId) -> NetworkEvent {
        NetworkEvent::Disconnected { peer, validator: None, cause: "test".to_owned() }
    }

    fn suspect(peer: PeerId, suspect: bool) -> NetworkEvent {
        NetworkEvent::Suspect { peer, validator: None, suspect }
    }

    fn drain(events: &mut WaitingEvents) -> Vec<NetworkEvent> {
        std::iter::from_fn(|| events.pop()).collect()
    }

    fn full_of(event: &NetworkEvent) -> WaitingEvents {
        let mut events = WaitingEvents::default();
        (0..limits::NETWORK_EVENTS_MAX).for_each(|_| assert_eq!(events.push(event.clone()), 0));
        events
    }

    #[test]
    fn below_the_bound_everything_is_told_in_order() {
        let peer = PeerId::random();
        let told = [connected(peer), suspect(peer, true), suspect(peer, false), disconnected(peer), connected(peer)];
        let mut events = WaitingEvents::default();
        told.iter().for_each(|event| assert_eq!(events.push(event.clone()), 0));
        assert_eq!(drain(&mut events), told);
    }

    #[test]
    fn at_the_bound_what_came_and_went_is_left_out_and_state_is_kept() {
        let (filler, peer) = (PeerId::random(), PeerId::random());
        let mut events = full_of(&suspect(filler, true));
        let refusal = Refusal { differences: Vec::new() };
        assert_eq!(events.push(NetworkEvent::Refused { peer, validator: None, refusal }), 1);
        for _ in 0..10_000 {
            assert_eq!(events.push(connected(peer)), 0);
            assert_eq!(events.push(disconnected(peer)), 2);
        }
        events.push(disconnected(filler));
        events.push(connected(peer));
        events.push(suspect(peer, true));
        events.push(suspect(peer, false));
        let drained = drain(&mut events);
        assert_eq!(
            drained[limits::NETWORK_EVENTS_MAX..],
            [disconnected(filler), connected(peer), suspect(peer, false)]
        );
    }
}
