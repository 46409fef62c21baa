//! Who may connect: bounds on connections by validator, by stranger, by IP address, and bans.
//!
//! architecture.md section 6 ("connection limits"); faults.md: "unknown peers, many connections from one address";
//! "junk at line rate from one peer". libp2p's ready-made limits know neither validators nor addresses, and a peer that
//! bypasses them is not limited at all. The decisions are a plain value ([`Gate`]); [`GateBehaviour`] asks it at the
//! three moments when libp2p allows a connection to be refused: before any cryptography (by address), and once the
//! identity is proved (by peer).

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr};
use std::task::{Context, Poll};
use std::time::Instant;

use dtvn_messages::limits;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
    dummy,
};
use libp2p::{Multiaddr, PeerId};
use thiserror::Error;

/// Why a connection was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Denial {
    /// Too many connections wait for their identity.
    #[error("too many connections are being established")]
    TooManyPending,
    /// Too many of them come from one address.
    #[error("too many connections from {0} are being established")]
    TooManyPendingOfAddress(IpAddr),
    /// The address opens connections too fast.
    #[error("too many connections from {0}")]
    AddressTooFast(IpAddr),
    /// The peer has its share.
    #[error("the peer has too many connections")]
    TooManyOfPeer,
    /// The places for peers that are no validators are taken.
    #[error("too many connections of peers that are no validators")]
    TooManyStrangers,
    /// Its address has its share of them.
    #[error("too many connections from {0} of peers that are no validators")]
    TooManyStrangersOfAddress(IpAddr),
    /// The peer misbehaved.
    #[error("the peer is banned for now")]
    Banned,
}

/// A token bucket: how many connections an address may still open.
#[derive(Debug, Clone, Copy)]
struct Allowance {
    tokens: f64,
    updated: Instant,
}

impl Allowance {
    fn full(now: Instant) -> Self {
        Self { tokens: f64::from(limits::INBOUND_CONNECTIONS_PER_ADDRESS_BURST), updated: now }
    }

    fn refill(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.updated).as_secs_f64();
        let earned = seconds * f64::from(limits::INBOUND_CONNECTIONS_PER_ADDRESS_PER_SECOND);
        self.tokens = (self.tokens + earned).min(f64::from(limits::INBOUND_CONNECTIONS_PER_ADDRESS_BURST));
        self.updated = now;
    }

    fn take(&mut self, now: Instant) -> bool {
        self.refill(now);
        let allowed = self.tokens >= 1.0;
        if allowed {
            self.tokens -= 1.0;
        }
        allowed
    }

    fn is_full(&self) -> bool {
        self.tokens >= f64::from(limits::INBOUND_CONNECTIONS_PER_ADDRESS_BURST)
    }
}

/// A connection of a peer that has proved its identity.
#[derive(Debug, Clone, Copy)]
struct Established {
    peer: PeerId,
    came: Came,
}

/// A connection of which nothing is known but its address.
#[derive(Debug, Clone, Copy)]
struct Pending {
    address: Option<IpAddr>,
    /// A validator was last seen there.
    is_home: bool,
}

/// How a connection came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Came {
    /// This node dialed.
    Dialed,
    /// The peer did, from there.
    From(Option<IpAddr>),
}

/// The bookkeeping of connections and its decisions. All its tables are bounded.
#[derive(Debug, Default)]
pub struct Gate {
    validators: HashSet<PeerId>,
    bans: HashMap<PeerId, Instant>,
    pending: HashMap<ConnectionId, Pending>,
    established: HashMap<ConnectionId, Established>,
    /// Where each validator came from, or was reached, last.
    homes: HashMap<PeerId, IpAddr>,
    allowances: HashMap<IpAddr, Allowance>,
    /// What addresses beyond the table share.
    shared_allowance: Option<Allowance>,
}

impl Gate {
    /// Who is a validator from now on. Connections that stand are the peer manager's to close.
    pub fn set_validators(&mut self, validators: HashSet<PeerId>) {
        self.homes.retain(|peer, _| validators.contains(peer));
        self.validators = validators;
    }

    /// Refuses a peer until then.
    pub fn ban(&mut self, peer: PeerId, until: Instant) {
        self.bans.insert(peer, until);
        if self.bans.len() > limits::STRANGERS_REMEMBERED_MAX + self.validators.len() {
            let first = self.bans.iter().min_by_key(|(_, until)| **until).map(|(peer, _)| *peer);
            first.map(|peer| self.bans.remove(&peer));
        }
    }

    /// A connection arrived and nothing is known but its address.
    ///
    /// # Errors
    /// If it is to be closed unanswered.
    pub fn on_arrival(
        &mut self,
        connection: ConnectionId,
        address: Option<IpAddr>,
        now: Instant,
    ) -> Result<(), Denial> {
        let address = address.map(network_of);
        // Strangers that stall on many addresses keep no validator from coming back.
        let is_home = address.is_some_and(|address| self.homes.values().any(|home| *home == address));
        let alike = self.pending.values().filter(|other| other.is_home == is_home).count();
        if alike >= limits::PENDING_INBOUND_CONNECTIONS_MAX {
            return Err(Denial::TooManyPending);
        }
        if let Some(address) = address {
            let of_address = self.pending.values().filter(|other| other.address == Some(address)).count();
            if of_address >= limits::PENDING_INBOUND_CONNECTIONS_PER_ADDRESS_MAX {
                return Err(Denial::TooManyPendingOfAddress(address));
            }
            if !self.allowance(address, now).take(now) {
                return Err(Denial::AddressTooFast(address));
            }
        }
        self.pending.insert(connection, Pending { address, is_home });
        Ok(())
    }

    /// A connection's peer has proved its identity.
    ///
    /// # Errors
    /// If it is to be closed.
    pub fn on_identity(&mut self, connection: ConnectionId, peer: PeerId, now: Instant) -> Result<(), Denial> {
        let address = self.pending.remove(&connection).and_then(|pending| pending.address);
        self.establish(connection, Established { peer, came: Came::From(address) }, now)?;
        self.settle(peer, address);
        Ok(())
    }

    /// A peer that was dialed has proved its identity.
    ///
    /// # Errors
    /// If its connection is to be closed.
    pub fn on_dialed(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: Option<IpAddr>,
        now: Instant,
    ) -> Result<(), Denial> {
        self.establish(connection, Established { peer, came: Came::Dialed }, now)?;
        self.settle(peer, address.map(network_of));
        Ok(())
    }

    fn settle(&mut self, peer: PeerId, address: Option<IpAddr>) {
        if let Some(address) = address.filter(|_| self.validators.contains(&peer)) {
            self.homes.insert(peer, address);
        }
    }

    fn establish(&mut self, connection: ConnectionId, new: Established, now: Instant) -> Result<(), Denial> {
        let Established { peer, came } = new;
        if let Some(until) = self.bans.get(&peer) {
            if now < *until {
                return Err(Denial::Banned);
            }
            self.bans.remove(&peer);
        }
        let of_peer = self.established.values().filter(|other| other.peer == peer).count();
        if self.validators.contains(&peer) {
            if of_peer >= limits::CONNECTIONS_PER_VALIDATOR_MAX {
                return Err(Denial::TooManyOfPeer);
            }
        } else {
            if of_peer >= limits::CONNECTIONS_PER_STRANGER_MAX {
                return Err(Denial::TooManyOfPeer);
            }
            // Those that came take no place of those that this node wants to reach.
            let alike = |other: &&Established| (other.came == Came::Dialed) == (came == Came::Dialed);
            let strangers = || self.established.values().filter(|other| !self.validators.contains(&other.peer));
            if strangers().filter(alike).count() >= limits::STRANGER_CONNECTIONS_MAX {
                return Err(Denial::TooManyStrangers);
            }
            if let Came::From(Some(address)) = came
                && strangers().filter(|other| other.came == came).count()
                    >= limits::STRANGER_CONNECTIONS_PER_ADDRESS_MAX
            {
                return Err(Denial::TooManyStrangersOfAddress(address));
            }
        }
        self.established.insert(connection, new);
        Ok(())
    }

    /// A connection is gone, or never came to be.
    pub fn on_end(&mut self, connection: ConnectionId) {
        self.pending.remove(&connection);
        self.established.remove(&connection);
    }

    fn allowance(&mut self, address: IpAddr, now: Instant) -> &mut Allowance {
        if self.allowances.len() >= limits::INBOUND_ADDRESSES_MAX && !self.allowances.contains_key(&address) {
            self.allowances.retain(|_, allowance| {
                allowance.refill(now);
                !allowance.is_full()
            });
            if self.allowances.len() >= limits::INBOUND_ADDRESSES_MAX {
                return self.shared_allowance.get_or_insert_with(|| Allowance::full(now));
            }
        }
        self.allowances.entry(address).or_insert_with(|| Allowance::full(now))
    }
}

/// What counts as one address: with IPv6 everybody has 2^64, so the network counts.
fn network_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(mapped) => IpAddr::V4(mapped),
            None => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        },
    }
}

fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    address.iter().find_map(|part| match part {
        Protocol::Ip4(address) => Some(IpAddr::V4(address)),
        Protocol::Ip6(address) => Some(IpAddr::V6(address)),
        _ => None,
    })
}

/// The gate inside the swarm.
#[derive(Debug, Default)]
pub struct GateBehaviour {
    gate: Gate,
}

impl GateBehaviour {
    /// The decisions.
    pub const fn gate(&mut self) -> &mut Gate {
        &mut self.gate
    }
}

impl NetworkBehaviour for GateBehaviour {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.gate.on_arrival(connection, ip_of(remote), Instant::now()).map_err(ConnectionDenied::new)
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.gate.on_identity(connection, peer, Instant::now()).map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        remote: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.gate.on_dialed(connection, peer, ip_of(remote), Instant::now()).map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionClosed(closed) => self.gate.on_end(closed.connection_id),
            FromSwarm::ListenFailure(failure) => self.gate.on_end(failure.connection_id),
            FromSwarm::DialFailure(failure) => self.gate.on_end(failure.connection_id),
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn connection(number: usize) -> ConnectionId {
        ConnectionId::new_unchecked(number)
    }

    fn gate_with(validators: &[PeerId]) -> Gate {
        Gate { validators: validators.iter().copied().collect(), ..Gate::default() }
    }

    #[test]
    fn strangers_share_few_places_and_leave_the_validators_theirs() {
        let validator = PeerId::random();
        let mut gate = gate_with(&[validator]);
        let now = Instant::now();
        for number in 0..limits::STRANGER_CONNECTIONS_MAX {
            gate.on_identity(connection(number), PeerId::random(), now).unwrap();
        }
        let late = connection(1_000);
        assert_eq!(gate.on_identity(late, PeerId::random(), now), Err(Denial::TooManyStrangers));
        for number in 0..limits::CONNECTIONS_PER_VALIDATOR_MAX {
            gate.on_identity(connection(2_000 + number), validator, now).unwrap();
        }
        assert_eq!(gate.on_identity(connection(3_000), validator, now), Err(Denial::TooManyOfPeer));
        gate.on_end(connection(0));
        assert_eq!(gate.on_identity(late, PeerId::random(), now), Ok(()));
    }

    #[test]
    fn one_address_leaves_strangers_of_others_their_places_and_none_of_them_takes_those_of_the_dialed() {
        let (mut gate, now) = (gate_with(&[]), Instant::now());
        let come = |gate: &mut Gate, number: usize, last: u8| {
            let address = IpAddr::from([10, 0, 0, last]);
            gate.on_arrival(connection(number), Some(address), now).unwrap();
            gate.on_identity(connection(number), PeerId::random(), now)
        };
        let share = limits::STRANGER_CONNECTIONS_PER_ADDRESS_MAX;
        for number in 0..share {
            come(&mut gate, number, 1).unwrap();
        }
        assert!(matches!(come(&mut gate, 100, 1), Err(Denial::TooManyStrangersOfAddress(_))));
        for number in share..limits::STRANGER_CONNECTIONS_MAX {
            come(&mut gate, number, u8::try_from(2 + number / share).unwrap()).unwrap();
        }
        assert_eq!(come(&mut gate, 100, 200), Err(Denial::TooManyStrangers));
        assert_eq!(gate.on_dialed(connection(101), PeerId::random(), None, now), Ok(()));
        gate.on_end(connection(0));
        assert_eq!(come(&mut gate, 100, 1), Ok(()));
    }

    #[test]
    fn one_stranger_has_few_connections() {
        let (mut gate, stranger, now) = (gate_with(&[]), PeerId::random(), Instant::now());
        for number in 0..limits::CONNECTIONS_PER_STRANGER_MAX {
            gate.on_identity(connection(number), stranger, now).unwrap();
        }
        assert_eq!(gate.on_identity(connection(9), stranger, now), Err(Denial::TooManyOfPeer));
    }

    #[test]
    fn an_address_that_hammers_is_slowed_and_others_are_not() {
        let (mut gate, now) = (gate_with(&[]), Instant::now());
        let hammering = Some(IpAddr::from([10, 0, 0, 1]));
        let arrive = |gate: &mut Gate, number: usize, address, now| {
            let result = gate.on_arrival(connection(number), address, now);
            gate.on_end(connection(number));
            result
        };
        let burst = limits::INBOUND_CONNECTIONS_PER_ADDRESS_BURST as usize;
        assert!((0..burst).all(|number| arrive(&mut gate, number, hammering, now).is_ok()));
        assert!(matches!(arrive(&mut gate, burst, hammering, now), Err(Denial::AddressTooFast(_))));
        assert_eq!(arrive(&mut gate, burst, Some(IpAddr::from([10, 0, 0, 2])), now), Ok(()));
        let later = now + Duration::from_secs(1);
        let allowed = (0..burst).filter(|number| arrive(&mut gate, *number, hammering, later).is_ok()).count();
        assert_eq!(allowed, limits::INBOUND_CONNECTIONS_PER_ADDRESS_PER_SECOND as usize);
    }

    #[test]
    fn the_table_of_addresses_is_bounded_and_ipv6_counts_by_network() {
        let (mut gate, now) = (gate_with(&[]), Instant::now());
        for number in 0..3 * limits::INBOUND_ADDRESSES_MAX {
            let address = IpAddr::from(u32::try_from(number).unwrap().to_be_bytes());
            let _ = gate.on_arrival(connection(number), Some(address), now);
            gate.on_end(connection(number));
        }
        assert_eq!(gate.allowances.len(), limits::INBOUND_ADDRESSES_MAX);
        let one: IpAddr = "2001:db8::1".parse().unwrap();
        let neighbour: IpAddr = "2001:db8::ffff:2".parse().unwrap();
        assert_eq!(network_of(one), network_of(neighbour));
        assert_ne!(network_of(one), network_of("2001:db8:0:1::1".parse().unwrap()));
    }

    #[test]
    fn connections_without_identity_are_bounded() {
        let (mut gate, now) = (gate_with(&[]), Instant::now());
        let (stalling, other) = (Some(IpAddr::from([10, 0, 0, 1])), Some(IpAddr::from([10, 0, 0, 2])));
        for number in 0..limits::PENDING_INBOUND_CONNECTIONS_PER_ADDRESS_MAX {
            gate.on_arrival(connection(number), stalling, now).unwrap();
        }
        let denied = gate.on_arrival(connection(999), stalling, now);
        assert!(matches!(denied, Err(Denial::TooManyPendingOfAddress(_))), "{denied:?}");
        assert_eq!(gate.on_arrival(connection(1_000), other, now), Ok(()), "one address leaves room for others");
        for number in limits::PENDING_INBOUND_CONNECTIONS_PER_ADDRESS_MAX + 1..limits::PENDING_INBOUND_CONNECTIONS_MAX {
            gate.on_arrival(connection(number), None, now).unwrap();
        }
        assert_eq!(gate.on_arrival(connection(999), None, now), Err(Denial::TooManyPending));
        gate.on_identity(connection(0), PeerId::random(), now).unwrap();
        assert_eq!(gate.on_arrival(connection(999), None, now), Ok(()));
    }

    #[test]
    fn strangers_that_stall_leave_validators_where_they_were_last_seen_their_places() {
        let [came, dialed, former] = [PeerId::random(), PeerId::random(), PeerId::random()];
        let (mut gate, now) = (gate_with(&[came, dialed, former]), Instant::now());
        let home = |last: u8| Some(IpAddr::from([10, 0, 0, last]));
        gate.on_arrival(connection(1), home(1), now).unwrap();
        gate.on_identity(connection(1), came, now).unwrap();
        gate.on_dialed(connection(2), dialed, home(2), now).unwrap();
        gate.on_dialed(connection(3), former, home(3), now).unwrap();
        gate.on_dialed(connection(4), PeerId::random(), home(4), now).unwrap();
        gate.set_validators(HashSet::from([came, dialed]));
        for number in 0..limits::PENDING_INBOUND_CONNECTIONS_MAX {
            let address = IpAddr::from([10, 1, u8::try_from(number / 32).unwrap(), 1]);
            gate.on_arrival(connection(100 + number), Some(address), now).unwrap();
        }
        let arrive = |gate: &mut Gate, last: u8| gate.on_arrival(connection(usize::from(last)), home(last), now);
        for last in [3, 4, 5] {
            assert_eq!(arrive(&mut gate, last), Err(Denial::TooManyPending));
        }
        for last in [1, 2] {
            assert_eq!(arrive(&mut gate, last), Ok(()));
            for number in 1..limits::PENDING_INBOUND_CONNECTIONS_PER_ADDRESS_MAX {
                gate.on_arrival(connection(1_000 * usize::from(last) + number), home(last), now).unwrap();
            }
            assert!(matches!(arrive(&mut gate, last), Err(Denial::TooManyPendingOfAddress(_))));
        }
    }

    #[test]
    fn a_ban_ends_and_the_list_of_bans_is_bounded() {
        let (mut gate, peer, now) = (gate_with(&[]), PeerId::random(), Instant::now());
        gate.ban(peer, now + limits::BAN_DURATION);
        assert_eq!(gate.on_identity(connection(1), peer, now), Err(Denial::Banned));
        assert_eq!(gate.on_identity(connection(1), peer, now + limits::BAN_DURATION), Ok(()));
        for _ in 0..2 * limits::STRANGERS_REMEMBERED_MAX {
            gate.ban(PeerId::random(), now + limits::BAN_DURATION);
        }
        assert_eq!(gate.bans.len(), limits::STRANGERS_REMEMBERED_MAX);
    }
}
