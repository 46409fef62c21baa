//! A bootstrap address without a peer id: dialed until it is known who is there; from then on it is that peer's address.
//!
//! architecture.md section 6: "An unreachable bootstrap peer is retried for ever, and is never fatal."

use std::time::Instant;

use libp2p::{Multiaddr, PeerId};

use super::dialing::Backoff;
use super::peer::Moment;

/// One such address.
#[derive(Debug)]
pub struct Bootstrap {
    address: Multiaddr,
    backoff: Backoff,
    next_dial: Option<Instant>,
    found: Option<PeerId>,
}

impl Bootstrap {
    /// An address to dial at once.
    pub fn new(address: Multiaddr, at: Moment) -> Self {
        Self { address, backoff: Backoff::default(), next_dial: Some(at.now), found: None }
    }

    /// The address.
    pub const fn address(&self) -> &Multiaddr {
        &self.address
    }

    /// Who answered there last, if that one is still there.
    pub const fn found(&self) -> Option<PeerId> {
        self.found
    }

    /// When it is to be dialed, if it is.
    pub const fn next_dial(&self) -> Option<Instant> {
        self.next_dial
    }

    /// Whether to dial now.
    pub fn on_dial_time(&mut self, at: Moment) -> bool {
        let due = self.next_dial.is_some_and(|next| next <= at.now);
        if due {
            self.next_dial = None;
        }
        due
    }

    /// A peer answered there.
    pub const fn on_found(&mut self, peer: PeerId) {
        self.found = Some(peer);
        self.next_dial = None;
        self.backoff.reset();
    }

    /// Nobody answered there.
    pub fn on_failed(&mut self, at: Moment) {
        self.next_dial = Some(at.now + self.backoff.next(at.jitter).max(dtvn_messages::limits::DIAL_BACKOFF_FIRST));
    }

    /// It is this node's own address: never dialed again.
    pub const fn on_ourselves(&mut self) {
        self.next_dial = None;
    }

    /// The peer that was there is no longer: somebody else is.
    pub fn on_replaced(&mut self, peer: PeerId, at: Moment) {
        if self.found == Some(peer) {
            self.found = None;
            self.on_failed(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use dtvn_messages::limits;

    use super::*;

    #[test]
    fn it_is_dialed_until_somebody_is_found_and_again_when_that_one_is_gone() {
        let at = Moment { now: Instant::now(), jitter: 0.0 };
        let mut bootstrap = Bootstrap::new("/ip4/127.0.0.1/tcp/1".parse().unwrap(), at);
        assert!(bootstrap.on_dial_time(at));
        assert!(!bootstrap.on_dial_time(at), "one attempt at a time");
        let mut now = at.now;
        for _ in 0..50 {
            bootstrap.on_failed(Moment { now, ..at });
            let next = bootstrap.next_dial().unwrap();
            assert!(next - now >= limits::DIAL_BACKOFF_FIRST && next - now <= limits::DIAL_BACKOFF_CAP);
            now = next;
            assert!(bootstrap.on_dial_time(Moment { now, ..at }), "it is retried for ever");
        }
        let peer = PeerId::random();
        bootstrap.on_found(peer);
        assert_eq!(bootstrap.next_dial(), None);
        bootstrap.on_replaced(PeerId::random(), at);
        assert_eq!(bootstrap.next_dial(), None);
        bootstrap.on_replaced(peer, at);
        assert!(bootstrap.next_dial().is_some());
    }
}
