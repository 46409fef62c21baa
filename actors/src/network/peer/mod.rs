//! One peer as a value: its connections, the session on one of them, when to dial it, whether it is alive, its score.
//!
//! architecture.md sections 2 and 6. Inputs are what happened, outputs are [`Effect`]s; it does no IO and is generic
//! over the stream, so it is tested without a network.
//!
//! **Sessions.** A session is one stream per agreed class on *one* connection. Of two nodes the one with the lower peer
//! id opens the streams, whoever dialed; the other one follows. So a simultaneous dial ends in one used connection,
//! and both sides agree which: the other one is a spare that nothing uses, and closes when it has been idle. The sync
//! stream comes first: its handshake tells which classes both sides are willing to share, which matters while two
//! nodes are in different epochs. Any failure ends the session and its connection, for a clean start.

mod liveness;
mod setup;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use dtvn_messages::ids::{NodeName, ValidatorIndex};
use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId};

use super::class::{Class, ClassSet};
use super::dialing::{AddressBook, Backoff};
use super::handshake::{Hello, Refusal};
use super::score::{Offence, Score};

/// When an input arrives, and a random number in 0..1 for jitter.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// The time.
    pub now: Instant,
    /// The random number.
    pub jitter: f64,
}

/// What a peer is to this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// Its place in the validator set; none for an observer or a stranger.
    pub validator: Option<(ValidatorIndex, NodeName)>,
    /// What we are willing to share with it.
    pub willing: ClassSet,
    /// Whether it is dialed for ever: validators and bootstrap peers are.
    pub persistent: bool,
}

/// A connection to the peer.
#[derive(Debug)]
struct Link {
    remote: Multiaddr,
    since: Instant,
    heard: Instant,
    /// No session will be tried on it (any more).
    given_up: bool,
}

#[derive(Debug)]
enum Stage<S> {
    /// No session, none being set up by us.
    Idle,
    /// Streams are being opened and greeted.
    Greeting(Greeting<S>),
    /// The session stands.
    Up { connection: ConnectionId, since: Instant },
}

#[derive(Debug)]
struct Greeting<S> {
    connection: ConnectionId,
    since: Instant,
    hello: Option<Hello>,
    agreed: ClassSet,
    ready: Vec<(Class, S)>,
}

/// A session that came to stand.
#[derive(Debug)]
pub struct Established<S> {
    /// Its connection.
    pub connection: ConnectionId,
    /// Its streams, one per agreed class.
    pub streams: Vec<(Class, S)>,
    /// What the peer said of itself.
    pub hello: Hello,
}

/// What a peer wants done.
#[derive(Debug)]
pub enum Effect<S> {
    /// Connect to it.
    Dial {
        /// Where.
        addresses: Vec<Multiaddr>,
        /// Whether to try addresses that discovery knows as well.
        discovered_too: bool,
    },
    /// Ask discovery where it is.
    LookUp,
    /// Open a stream.
    Open(ConnectionId, Class),
    /// Exchange handshakes on a fresh stream.
    Greet {
        /// The stream's connection.
        connection: ConnectionId,
        /// The stream's class.
        class: Class,
        /// The stream.
        stream: S,
        /// Whether we opened it.
        opened_by_us: bool,
    },
    /// The session stands: read and write, and tell.
    Start(Box<Established<S>>),
    /// The session is over: stop reading and writing, and tell.
    Stop {
        /// Why, in words.
        cause: String,
    },
    /// Close a connection.
    Close(ConnectionId),
    /// It belongs to another network, and this was not known before: tell.
    Refused(Refusal),
    /// It is refused until then.
    Ban(Instant),
    /// It fell silent (true) or was heard again (false): tell.
    Suspect(bool),
    /// Somebody else was found at the address.
    Forget(Multiaddr),
}

/// Effects in their order.
pub type Effects<S> = Vec<Effect<S>>;

/// How a peer is, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerState {
    /// A session stands and heartbeats are answered.
    Connected,
    /// A session stands and two heartbeats went unanswered.
    Suspect,
    /// No session stands.
    Disconnected,
    /// It misbehaved and is not talked to for a while.
    Banned,
}

/// The peer's view in the eyes of an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStatus {
    /// How it is.
    pub state: PeerState,
    /// Where it is connected, or may be found.
    pub addresses: Vec<Multiaddr>,
    /// How long the session has stood.
    pub connected_for: Option<Duration>,
    /// The last heartbeat's round trip.
    pub round_trip: Option<Duration>,
    /// Bytes received from it during the last heartbeat.
    pub bytes_in_last_heartbeat: u64,
    /// Its misbehaviour points.
    pub points: u32,
    /// What went wrong last.
    pub last_error: Option<String>,
}

/// One peer.
#[derive(Debug)]
pub struct Peer<S> {
    id: PeerId,
    /// Whether this node opens the streams.
    opener: bool,
    role: Role,
    addresses: AddressBook,
    links: BTreeMap<ConnectionId, Link>,
    stage: Stage<S>,
    dialing: bool,
    dials: u32,
    backoff: Backoff,
    next_dial: Option<Instant>,
    heard: Instant,
    bytes_in: u64,
    bytes_in_last_heartbeat: u64,
    round_trip: Option<Duration>,
    suspect: bool,
    score: Score,
    banned_until: Option<Instant>,
    refusal: Option<Refusal>,
    last_error: Option<String>,
}

impl<S> Peer<S> {
    /// A peer that is not connected. A persistent one is dialed at once.
    pub fn new(local: PeerId, id: PeerId, role: Role, addresses: AddressBook, at: Moment) -> Self {
        Self {
            id,
            opener: local < id,
            next_dial: role.persistent.then_some(at.now),
            role,
            addresses,
            links: BTreeMap::new(),
            stage: Stage::Idle,
            dialing: false,
            dials: 0,
            backoff: Backoff::default(),
            heard: at.now,
            bytes_in: 0,
            bytes_in_last_heartbeat: 0,
            round_trip: None,
            suspect: false,
            score: Score::new(at.now),
            banned_until: None,
            refusal: None,
            last_error: None,
        }
    }

    /// Its identity.
    pub const fn id(&self) -> PeerId {
        self.id
    }

    /// What it is to this node.
    pub const fn role(&self) -> &Role {
        &self.role
    }

    /// Its addresses.
    pub const fn addresses(&mut self) -> &mut AddressBook {
        &mut self.addresses
    }

    /// Whether a session stands.
    pub const fn is_up(&self) -> bool {
        matches!(self.stage, Stage::Up { .. })
    }

    /// Whether its session stands and it is silent.
    pub const fn is_suspect(&self) -> bool {
        self.suspect
    }

    /// Whether it is to be found, and nobody said where yet.
    pub fn is_missing(&self) -> bool {
        self.role.persistent && self.links.is_empty() && self.addresses.is_empty()
    }

    /// Whether nothing needs to be remembered of it.
    pub fn is_forgettable(&self, now: Instant) -> bool {
        !self.role.persistent && self.links.is_empty() && self.banned_until.is_none() && self.score.points(now) == 0
    }

    /// The peer's place in the validator set, or what is shared with it, has changed. Sessions that were made for
    /// another role end; the peers meet again in the new one.
    pub fn on_role(&mut self, role: Role, at: Moment, effects: &mut Effects<S>) {
        let fresh_start = role.willing != self.role.willing;
        self.role = role;
        if fresh_start {
            self.backoff.reset();
            self.close_all("its role changed", effects);
        }
        match (self.role.persistent, self.next_dial) {
            (true, None) if self.links.is_empty() && !self.dialing => self.next_dial = Some(at.now),
            (false, _) => self.next_dial = None,
            _ => {}
        }
    }

    /// The peer misbehaved.
    pub fn on_offence(&mut self, offence: Offence, at: Moment, effects: &mut Effects<S>) {
        if self.score.add(offence, at.now) {
            self.ban(at, effects);
        }
    }

    /// Refuse the peer for a while.
    pub fn ban(&mut self, at: Moment, effects: &mut Effects<S>) {
        let until = at.now + dtvn_messages::limits::BAN_DURATION;
        self.banned_until = Some(until);
        self.next_dial = None;
        effects.push(Effect::Ban(until));
        self.close_all("it is banned for misbehaviour", effects);
    }

    /// Close all connections. A persistent peer is dialed again.
    pub fn disconnect(&mut self, cause: &str, effects: &mut Effects<S>) {
        self.close_all(cause, effects);
    }

    /// How it is now.
    pub fn status(&self, now: Instant) -> PeerStatus {
        let state = match &self.stage {
            _ if self.banned_until.is_some() => PeerState::Banned,
            Stage::Up { .. } if self.suspect => PeerState::Suspect,
            Stage::Up { .. } => PeerState::Connected,
            Stage::Idle | Stage::Greeting(_) => PeerState::Disconnected,
        };
        let connected_for = match &self.stage {
            Stage::Up { since, .. } => Some(now.saturating_duration_since(*since)),
            Stage::Idle | Stage::Greeting(_) => None,
        };
        let addresses = match &self.stage {
            Stage::Up { connection, .. } if self.links.contains_key(connection) => {
                vec![self.links[connection].remote.clone()]
            }
            _ => self.addresses.all(),
        };
        PeerStatus {
            state,
            addresses,
            connected_for,
            round_trip: self.round_trip,
            bytes_in_last_heartbeat: self.bytes_in_last_heartbeat,
            points: self.score.points(now),
            last_error: self.last_error.clone(),
        }
    }

    fn close_all(&mut self, cause: &str, effects: &mut Effects<S>) {
        self.lose_session(cause, effects);
        for (connection, link) in &mut self.links {
            link.given_up = true;
            effects.push(Effect::Close(*connection));
        }
    }

    /// Leaves the session or its setup behind; the connection is the caller's affair.
    fn lose_session(&mut self, cause: &str, effects: &mut Effects<S>) {
        let stage = std::mem::replace(&mut self.stage, Stage::Idle);
        if matches!(stage, Stage::Up { .. }) {
            self.last_error = Some(cause.to_owned());
            self.suspect = false;
            effects.push(Effect::Stop { cause: cause.to_owned() });
        }
    }

    fn stage_connection(&self) -> Option<ConnectionId> {
        match &self.stage {
            Stage::Idle => None,
            Stage::Greeting(greeting) => Some(greeting.connection),
            Stage::Up { connection, .. } => Some(*connection),
        }
    }
}
