//! When and where to dial a peer: back-off and addresses, as plain values.
//!
//! architecture.md section 6: "An unreachable bootstrap peer is retried for ever, and is never fatal."

use std::collections::VecDeque;
use std::time::Duration;

use dtvn_messages::limits;
use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

/// Exponential back-off with jitter. The first attempt is made at once.
#[derive(Debug, Clone, Copy, Default)]
pub struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// The wait before the next attempt. `jitter` is random in 0..1 and takes away up to half, so that nodes that lost
    /// each other at one moment do not come back at one moment.
    pub fn next(&mut self, jitter: f64) -> Duration {
        let attempts = self.attempts;
        self.attempts = attempts.saturating_add(1);
        if attempts == 0 {
            return Duration::ZERO;
        }
        let factor = 1_u32.checked_shl(attempts - 1).unwrap_or(u32::MAX);
        let full = limits::DIAL_BACKOFF_FIRST.saturating_mul(factor).min(limits::DIAL_BACKOFF_CAP);
        full.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0)
    }

    /// The next attempt is made at once again.
    pub const fn reset(&mut self) {
        self.attempts = 0;
    }

    /// Further attempts are made at the slowest pace: nothing will change soon.
    pub const fn slow_down(&mut self) {
        self.attempts = 31;
    }
}

/// Where a peer may be found: configured addresses for ever, learned ones while there is room.
#[derive(Debug, Clone, Default)]
pub struct AddressBook {
    configured: Vec<Multiaddr>,
    learned: VecDeque<Multiaddr>,
}

impl AddressBook {
    /// A book with configured addresses; their peer id, if they have one, is left out.
    pub fn new(configured: impl IntoIterator<Item = Multiaddr>) -> Self {
        let mut book = Self::default();
        book.configure(configured);
        book
    }

    /// Replaces the configured addresses.
    pub fn configure(&mut self, configured: impl IntoIterator<Item = Multiaddr>) {
        self.configured.clear();
        for address in configured.into_iter().map(without_peer) {
            if !self.configured.contains(&address) {
                self.configured.push(address);
            }
        }
    }

    /// Remembers an address that another node named. Says whether it is new and worth dialing.
    pub fn learn(&mut self, address: Multiaddr) -> bool {
        let address = without_peer(address);
        if !is_dialable(&address) || self.configured.contains(&address) || self.learned.contains(&address) {
            return false;
        }
        if self.learned.len() == limits::PEER_LEARNED_ADDRESSES_MAX {
            self.learned.pop_front();
        }
        self.learned.push_back(address);
        true
    }

    /// Forgets a learned address at which somebody else was found.
    pub fn forget(&mut self, address: &Multiaddr) {
        let address = without_peer(address.clone());
        self.learned.retain(|other| *other != address);
    }

    /// All addresses, configured ones first.
    #[must_use]
    pub fn all(&self) -> Vec<Multiaddr> {
        self.configured.iter().chain(&self.learned).cloned().collect()
    }

    /// The configured addresses.
    #[must_use]
    pub fn configured(&self) -> Vec<Multiaddr> {
        self.configured.clone()
    }

    /// Whether no address is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.configured.is_empty() && self.learned.is_empty()
    }

    /// Whether an address is configured.
    #[must_use]
    pub const fn has_configured(&self) -> bool {
        !self.configured.is_empty()
    }
}

/// The address without a peer id at its end.
#[must_use]
pub fn without_peer(mut address: Multiaddr) -> Multiaddr {
    if matches!(address.iter().last(), Some(Protocol::P2p(_))) {
        address.pop();
    }
    address
}

/// Whether an address that a stranger named is of a form that we dial: an address or name and a port, nothing relayed.
fn is_dialable(address: &Multiaddr) -> bool {
    if address.len() > limits::PEER_ADDRESS_BYTES_MAX {
        return false;
    }
    let mut parts = address.iter();
    let host = match parts.next() {
        Some(Protocol::Ip4(ip)) => !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast(),
        Some(Protocol::Ip6(ip)) => !ip.is_unspecified() && !ip.is_multicast(),
        Some(Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_)) => true,
        _ => false,
    };
    let port = match parts.next() {
        Some(Protocol::Tcp(port)) => port != 0,
        Some(Protocol::Udp(port)) => port != 0 && parts.next() == Some(Protocol::QuicV1),
        _ => false,
    };
    host && port && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    #[test]
    fn dials_start_at_once_double_and_reach_a_cap() {
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..12).map(|_| backoff.next(0.0).as_millis()).collect();
        assert_eq!(waits[..9], [0, 100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000]);
        assert_eq!(waits[11], 10_000);
        backoff.reset();
        assert_eq!(backoff.next(0.0), Duration::ZERO);
        backoff.slow_down();
        assert_eq!(backoff.next(0.0), limits::DIAL_BACKOFF_CAP);
        assert_eq!(backoff.next(1.0), limits::DIAL_BACKOFF_CAP / 2, "jitter takes at most half");
        for _ in 0..100 {
            assert!(backoff.next(0.5) <= limits::DIAL_BACKOFF_CAP);
        }
    }

    #[test]
    fn learned_addresses_are_bounded_and_never_push_out_configured_ones() {
        let configured = address("/dns4/node0/tcp/4001");
        let mut book = AddressBook::new([configured.clone()]);
        for port in 1..100 {
            assert!(book.learn(address(&format!("/ip4/10.0.0.1/tcp/{port}"))));
        }
        let all = book.all();
        assert_eq!(all.len(), 1 + limits::PEER_LEARNED_ADDRESSES_MAX);
        assert_eq!(all[0], configured);
        assert_eq!(all.last(), Some(&address("/ip4/10.0.0.1/tcp/99")));
        assert!(!book.learn(all[3].clone()), "known already");
        book.forget(&all[3]);
        assert_eq!(book.all().len(), all.len() - 1);
        book.forget(&configured);
        assert_eq!(book.all()[0], configured);
    }

    #[test]
    fn what_strangers_name_is_dialed_only_in_plain_forms() {
        let mut book = AddressBook::default();
        let peer = libp2p::PeerId::random();
        for good in ["/ip4/127.0.0.1/tcp/1", "/ip6/::1/tcp/1", "/ip4/1.2.3.4/udp/5/quic-v1", "/dns/a.b/tcp/1"] {
            assert!(book.learn(address(&format!("{good}/p2p/{peer}"))), "{good}");
        }
        assert_eq!(book.all()[0], address("/ip4/127.0.0.1/tcp/1"));
        let relayed = format!("/ip4/1.2.3.4/tcp/1/p2p/{peer}/p2p-circuit");
        for bad in ["/ip4/0.0.0.0/tcp/1", "/ip4/1.2.3.4/tcp/0", "/ip4/1.2.3.4/udp/5", "/memory/7", relayed.as_str()] {
            assert!(!book.learn(address(bad)), "{bad}");
        }
    }

    #[test]
    fn an_address_of_a_stranger_that_is_too_long_is_ignored() {
        let named = |length: usize| address(&format!("/dns4/{}/tcp/1", "x".repeat(length)));
        let rest = named(200).len() - 200;
        let longest = named(limits::PEER_ADDRESS_BYTES_MAX - rest);
        let longer = named(limits::PEER_ADDRESS_BYTES_MAX - rest + 1);
        assert_eq!((longest.len(), longer.len()), (limits::PEER_ADDRESS_BYTES_MAX, limits::PEER_ADDRESS_BYTES_MAX + 1));
        let mut book = AddressBook::default();
        assert!(book.learn(longest.clone()));
        assert!(!book.learn(longer));
        assert_eq!(book.all(), [longest]);
    }
}
