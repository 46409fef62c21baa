use bytes::Bytes;
use dtvn_messages::crypto::Digest;
use dtvn_messages::ids::ChainId;
use dtvn_messages::limits;
use dtvn_messages::wire::WIRE_VERSION;

use super::*;
use crate::network::driver::DialFailure;
use crate::network::handshake::{Difference, GreetingError};
use crate::network::streams::OpenError;

/// A stream is a number here.
type TestPeer = Peer<u32>;

fn connection(number: usize) -> ConnectionId {
    ConnectionId::new_unchecked(number)
}

struct Story {
    peer: TestPeer,
    now: Instant,
}

impl Story {
    /// A validator that is dialed; `opener` says whether it is ours to open the streams.
    fn new(opener: bool) -> Self {
        let (one, other) = (PeerId::random(), PeerId::random());
        let (low, high) = if one < other { (one, other) } else { (other, one) };
        let (local, remote) = if opener { (low, high) } else { (high, low) };
        let role = Role {
            validator: Some((ValidatorIndex(1), NodeName::new("node1").unwrap())),
            willing: ClassSet::VALIDATORS,
            persistent: true,
        };
        let now = Instant::now();
        let addresses = AddressBook::new([address("/ip4/10.0.0.1/tcp/4001")]);
        Self { peer: Peer::new(local, remote, role, addresses, Moment { now, jitter: 0.0 }), now }
    }

    fn at(&self) -> Moment {
        Moment { now: self.now, jitter: 0.0 }
    }

    fn wait(&mut self, duration: Duration) {
        self.now += duration;
    }

    fn feed(&mut self, feed: impl FnOnce(&mut TestPeer, Moment, &mut Effects<u32>)) -> Vec<String> {
        let mut effects = Vec::new();
        let at = self.at();
        feed(&mut self.peer, at, &mut effects);
        effects.iter().map(told).collect()
    }

    fn connected(&mut self, connection: ConnectionId) -> Vec<String> {
        self.feed(|peer, at, effects| peer.on_connected(connection, address("/ip4/10.0.0.1/tcp/4001"), at, effects))
    }

    fn closed(&mut self, connection: ConnectionId) -> Vec<String> {
        self.feed(|peer, at, effects| peer.on_closed(connection, "reset", at, effects))
    }

    fn opened(&mut self, connection: ConnectionId, class: Class) -> Vec<String> {
        self.feed(|peer, _, effects| peer.on_opened(connection, class, 7, effects))
    }

    fn accepted(&mut self, connection: ConnectionId, class: Class) -> Vec<String> {
        self.feed(|peer, at, effects| peer.on_accepted(connection, class, 7, at, effects))
    }

    fn greeted(&mut self, connection: ConnectionId, class: Class, theirs: ClassSet) -> Vec<String> {
        self.feed(|peer, at, effects| peer.on_greeted(connection, class, 7, hello(theirs), at, effects))
    }

    fn heartbeat(&mut self, bytes_in: u64) -> Vec<String> {
        self.feed(|peer, at, effects| peer.on_heartbeat(bytes_in, at, effects))
    }

    fn pong(&mut self, connection: ConnectionId) -> Vec<String> {
        self.feed(|peer, at, effects| peer.on_pong(connection, Duration::from_millis(3), at, effects))
    }

    fn dial_time(&mut self) -> Vec<String> {
        self.feed(|peer, at, effects| peer.on_dial_time(at, effects))
    }

    /// Brings a session up on a connection, in either role.
    fn up(&mut self, connection: ConnectionId) {
        self.connected(connection);
        for class in [Class::Sync, Class::Consensus, Class::Bundles] {
            if self.peer.opener {
                self.opened(connection, class)
            } else {
                self.accepted(connection, class)
            };
            self.greeted(connection, class, ClassSet::VALIDATORS);
        }
        assert!(self.peer.is_up());
    }
}

fn address(text: &str) -> Multiaddr {
    text.parse().unwrap()
}

fn hello(classes: ClassSet) -> Hello {
    Hello {
        wire_version: WIRE_VERSION,
        chain_id: ChainId::new("test").unwrap(),
        genesis: Digest([0; 32]),
        start: 1,
        classes,
        summary: Bytes::new(),
        node_name: NodeName::new("node1").unwrap(),
    }
}

fn refusal(genesis: u8) -> Refusal {
    Refusal { differences: vec![Difference::Genesis { ours: Digest([0; 32]), theirs: Digest([genesis; 32]) }] }
}

/// An effect in a word or two.
fn told(effect: &Effect<u32>) -> String {
    match effect {
        Effect::Dial { addresses, discovered_too } => format!("dial {} {discovered_too}", addresses.len()),
        Effect::LookUp => "look up".to_owned(),
        Effect::Open(connection, class) => format!("open {connection} {}", class.name()),
        Effect::Greet { connection, class, opened_by_us, .. } => {
            format!("greet {connection} {} {opened_by_us}", class.name())
        }
        Effect::Start(established) => format!("start {} with {}", established.connection, established.streams.len()),
        Effect::Stop { .. } => "stop".to_owned(),
        Effect::Close(connection) => format!("close {connection}"),
        Effect::Refused(_) => "refused".to_owned(),
        Effect::Ban(_) => "ban".to_owned(),
        Effect::Suspect(suspect) => format!("suspect {suspect}"),
        Effect::Forget(_) => "forget".to_owned(),
    }
}

#[test]
fn the_lower_id_opens_sync_first_and_then_what_both_want() {
    let mut story = Story::new(true);
    assert_eq!(story.connected(connection(1)), ["open 1 sync"]);
    assert_eq!(story.opened(connection(1), Class::Sync), ["greet 1 sync true"]);
    assert_eq!(story.greeted(connection(1), Class::Sync, ClassSet::VALIDATORS), ["open 1 consensus", "open 1 bundles"]);
    assert_eq!(story.opened(connection(1), Class::Bundles), ["greet 1 bundles true"]);
    assert!(story.greeted(connection(1), Class::Bundles, ClassSet::VALIDATORS).is_empty());
    assert!(!story.peer.is_up(), "one class is missing");
    assert_eq!(story.opened(connection(1), Class::Consensus), ["greet 1 consensus true"]);
    assert_eq!(story.greeted(connection(1), Class::Consensus, ClassSet::VALIDATORS), ["start 1 with 3"]);
    assert_eq!(story.peer.status(story.now).state, PeerState::Connected);
}

#[test]
fn the_higher_id_follows_and_opens_nothing() {
    let mut story = Story::new(false);
    assert!(story.connected(connection(1)).is_empty());
    assert_eq!(story.accepted(connection(1), Class::Sync), ["greet 1 sync false"]);
    assert!(story.greeted(connection(1), Class::Sync, ClassSet::VALIDATORS).is_empty());
    for class in [Class::Consensus, Class::Bundles] {
        story.accepted(connection(1), class);
        story.greeted(connection(1), class, ClassSet::VALIDATORS);
    }
    assert!(story.peer.is_up());
}

#[test]
fn nodes_of_different_epochs_share_what_both_are_willing_to() {
    let mut story = Story::new(true);
    story.connected(connection(1));
    story.opened(connection(1), Class::Sync);
    assert_eq!(story.greeted(connection(1), Class::Sync, ClassSet::OBSERVERS), ["start 1 with 1"]);
}

#[test]
fn a_simultaneous_dial_ends_in_one_used_connection() {
    let mut opener = Story::new(true);
    opener.up(connection(1));
    assert!(opener.connected(connection(2)).is_empty(), "the second one is a spare");
    let mut follower = Story::new(false);
    follower.up(connection(1));
    assert!(follower.connected(connection(2)).is_empty());
    assert!(opener.closed(connection(2)).is_empty());
    assert!(opener.peer.is_up());
}

#[test]
fn when_the_used_connection_goes_the_spare_one_is_used() {
    let mut opener = Story::new(true);
    opener.up(connection(1));
    opener.connected(connection(2));
    assert_eq!(opener.closed(connection(1)), ["stop", "open 2 sync"]);
    let mut follower = Story::new(false);
    follower.up(connection(1));
    follower.connected(connection(2));
    // It hears of the new session before it hears that the old connection is gone.
    assert_eq!(follower.accepted(connection(2), Class::Sync), ["stop", "close 1", "greet 2 sync false"]);
    assert!(follower.closed(connection(1)).is_empty(), "the old connection's end does not disturb the new session");
    for class in [Class::Sync, Class::Consensus, Class::Bundles] {
        follower.greeted(connection(2), class, ClassSet::VALIDATORS);
    }
    assert!(follower.peer.is_up());
}

#[test]
fn it_is_dialed_for_ever_with_growing_waits_and_at_once_after_a_good_session() {
    let mut story = Story::new(true);
    assert_eq!(story.dial_time(), ["dial 1 false"]);
    let mut waits = Vec::new();
    for _ in 0..20 {
        story.feed(|peer, at, effects| {
            peer.on_dial_failed(DialFailure::Unreachable("refused".to_owned()), at, effects);
        });
        let next = story.peer.next_dial().unwrap();
        waits.push(next - story.now);
        story.now = next;
        assert!(story.dial_time().iter().any(|effect| effect.starts_with("dial")));
    }
    assert_eq!(waits[1], limits::DIAL_BACKOFF_FIRST);
    assert!(waits.is_sorted());
    assert_eq!(waits[19], limits::DIAL_BACKOFF_CAP);
    story.up(connection(1));
    assert_eq!(story.peer.next_dial(), None, "a connected peer is not dialed");
    story.wait(limits::SESSION_STABLE);
    assert_eq!(story.closed(connection(1)), ["stop"]);
    assert_eq!(story.peer.next_dial(), Some(story.now));
}

#[test]
fn a_session_that_breaks_at_once_continues_the_backoff() {
    let mut story = Story::new(true);
    let mut waits = Vec::new();
    for number in 10..15 {
        let id = connection(number);
        story.up(id);
        story.closed(id);
        waits.push(story.peer.next_dial().unwrap() - story.now);
    }
    assert!(waits.windows(2).all(|pair| pair[0] < pair[1]), "{waits:?}");
}

#[test]
fn learned_addresses_are_tried_every_other_time_and_the_wrong_ones_forgotten() {
    let mut story = Story::new(true);
    let (learned, at) = (address("/ip4/10.0.0.9/tcp/1"), story.at());
    story.peer.on_addresses(vec![learned.clone()], at);
    assert_eq!(story.dial_time(), ["dial 1 false"], "the configured address alone");
    let fail = |story: &mut Story, failure: DialFailure| {
        let effects = story.feed(|peer, at, effects| peer.on_dial_failed(failure, at, effects));
        story.now = story.peer.next_dial().unwrap();
        effects
    };
    fail(&mut story, DialFailure::Unreachable(String::new()));
    assert_eq!(story.dial_time(), ["look up", "dial 2 true"]);
    let imposter = DialFailure::SomebodyElse { found: PeerId::random(), address: learned };
    assert_eq!(fail(&mut story, imposter), ["forget"]);
    assert_eq!(story.dial_time(), ["dial 1 false"]);
    fail(&mut story, DialFailure::Busy);
    assert_eq!(story.dial_time(), ["look up", "dial 1 true"]);
}

#[test]
fn news_of_an_address_is_tried_at_once() {
    let mut story = Story::new(true);
    for _ in 0..10 {
        story.dial_time();
        story.feed(|peer, at, effects| peer.on_dial_failed(DialFailure::NoAddress, at, effects));
        story.now = story.peer.next_dial().unwrap();
    }
    story.dial_time();
    story.feed(|peer, at, effects| peer.on_dial_failed(DialFailure::NoAddress, at, effects));
    assert!(story.peer.next_dial().unwrap() > story.now);
    let at = story.at();
    story.peer.on_addresses(vec![address("/ip4/10.0.0.9/tcp/1")], at);
    assert_eq!(story.peer.next_dial(), Some(story.now));
}

#[test]
fn two_missed_heartbeats_make_it_suspect_and_five_lose_it() {
    let mut story = Story::new(true);
    story.up(connection(1));
    for _ in 0..3 {
        story.wait(limits::HEARTBEAT_INTERVAL);
        assert!(story.pong(connection(1)).is_empty());
        assert!(story.heartbeat(0).is_empty());
    }
    assert_eq!(story.peer.status(story.now).round_trip, Some(Duration::from_millis(3)));
    story.wait(limits::PEER_SUSPECT_AFTER);
    assert!(story.heartbeat(0).is_empty(), "not yet");
    story.wait(Duration::from_millis(1));
    assert_eq!(story.heartbeat(0), ["suspect true"]);
    assert_eq!(story.peer.status(story.now).state, PeerState::Suspect);
    assert_eq!(story.pong(connection(1)), ["suspect false"]);
    story.wait(limits::PEER_LOST_AFTER + Duration::from_millis(1));
    assert_eq!(story.heartbeat(0), ["suspect true", "stop", "close 1"]);
    assert_eq!(story.peer.status(story.now).state, PeerState::Disconnected);
    assert!(story.heartbeat(0).is_empty(), "it is closed once");
}

#[test]
fn a_busy_link_is_a_live_one() {
    let mut story = Story::new(true);
    story.up(connection(1));
    for second in 1..20 {
        story.wait(limits::HEARTBEAT_INTERVAL);
        assert!(story.heartbeat(second * 1_000).is_empty());
    }
    assert_eq!(story.peer.status(story.now).bytes_in_last_heartbeat, 1_000);
}

#[test]
fn a_silent_connection_gives_way_to_the_spare_one_without_waiting_for_its_end() {
    let mut story = Story::new(true);
    story.up(connection(1));
    story.wait(limits::PEER_LOST_AFTER);
    story.connected(connection(2));
    story.wait(Duration::from_millis(1));
    assert_eq!(story.heartbeat(0), ["suspect true", "stop", "close 1", "open 2 sync"]);
}

#[test]
fn a_session_that_does_not_come_to_stand_in_time_is_given_up_on_both_sides() {
    let mut opener = Story::new(true);
    opener.connected(connection(1));
    let mut follower = Story::new(false);
    follower.connected(connection(1));
    for story in [&mut opener, &mut follower] {
        for _ in 0..10 {
            story.wait(limits::SESSION_SETUP_TIMEOUT / 10);
            story.pong(connection(1));
            assert!(story.heartbeat(0).is_empty());
        }
        story.wait(Duration::from_millis(1));
        assert_eq!(story.heartbeat(0), ["close 1"]);
        story.closed(connection(1));
        assert!(story.peer.next_dial().is_some());
    }
}

#[test]
fn another_network_is_told_once_and_again_only_when_something_else_differs() {
    let mut story = Story::new(true);
    let mut refused = |number: usize, genesis: u8| {
        let id = connection(number);
        story.connected(id);
        story.opened(id, Class::Sync);
        let error = GreetingError::Refused(refusal(genesis));
        let effects = story.feed(|peer, at, effects| peer.on_greeting_failed(id, error, at, effects));
        assert!(!effects.contains(&format!("close {id}")), "the peer must be able to read our handshake");
        story.closed(id);
        assert_eq!(story.peer.next_dial(), Some(story.now + limits::DIAL_BACKOFF_CAP), "no hurry");
        effects
    };
    assert_eq!(refused(1, 1), ["refused"]);
    assert!(refused(2, 1).is_empty());
    assert!(refused(3, 1).is_empty());
    assert_eq!(refused(4, 2), ["refused"]);
    assert!(story.peer.status(story.now).last_error.unwrap().contains("genesis hash"));
    story.up(connection(5));
    assert_eq!(story.peer.status(story.now).last_error, None);
}

#[test]
fn streams_out_of_turn_and_bad_handshakes_end_in_a_ban_that_ends() {
    let mut story = Story::new(true);
    story.up(connection(1));
    let mut effects = Vec::new();
    for _ in 0..4 {
        effects = story.accepted(connection(1), Class::Consensus);
    }
    assert_eq!(effects, ["ban", "stop", "close 1"]);
    assert_eq!(story.peer.status(story.now).state, PeerState::Banned);
    story.closed(connection(1));
    assert_eq!(story.peer.next_dial(), None);
    assert_eq!(story.connected(connection(2)), ["close 2"]);
    story.closed(connection(2));
    story.wait(limits::BAN_DURATION);
    story.heartbeat(0);
    assert_eq!(story.peer.next_dial(), Some(story.now));
    story.up(connection(3));
}

#[test]
fn a_malformed_handshake_counts_and_closes() {
    let mut story = Story::new(false);
    story.connected(connection(1));
    story.accepted(connection(1), Class::Sync);
    let error = GreetingError::TooLong { announced: 1_000_000 };
    let effects = story.feed(|peer, at, effects| peer.on_greeting_failed(connection(1), error, at, effects));
    assert_eq!(effects, ["close 1"]);
    assert_eq!(story.peer.status(story.now).points, Offence::BadHandshake.points());
}

#[test]
fn an_offence_in_a_session_ends_it_with_its_connection() {
    let mut story = Story::new(true);
    story.up(connection(1));
    let effects = story.feed(|peer, at, effects| {
        peer.on_session_ended(connection(1), "a frame was too long", Some(Offence::FrameTooLong), at, effects);
    });
    assert_eq!(effects, ["stop", "close 1"]);
    assert_eq!(story.peer.status(story.now).points, Offence::FrameTooLong.points());
    let late = story.feed(|peer, at, effects| peer.on_session_ended(connection(1), "again", None, at, effects));
    assert!(late.is_empty(), "a session ends once");
}

#[test]
fn somebody_who_does_not_offer_our_streams_may_stay_but_is_not_asked_again() {
    let mut story = Story::new(true);
    story.connected(connection(1));
    let effects = story.feed(|peer, at, effects| {
        peer.on_open_failed(connection(1), Class::Sync, &OpenError::NotOffered, at, effects);
    });
    assert!(effects.is_empty());
    assert_eq!(story.connected(connection(2)), ["open 2 sync"], "a new connection is a new try");
}

#[test]
fn a_change_of_role_ends_the_session_and_a_mere_change_of_index_does_not() {
    let mut story = Story::new(true);
    story.up(connection(1));
    let mut role = story.peer.role().clone();
    role.validator = Some((ValidatorIndex(3), NodeName::new("node1").unwrap()));
    assert!(story.feed(|peer, at, effects| peer.on_role(role.clone(), at, effects)).is_empty());
    let observer = Role { validator: None, willing: ClassSet::OBSERVERS, persistent: false };
    assert_eq!(story.feed(|peer, at, effects| peer.on_role(observer, at, effects)), ["stop", "close 1"]);
    story.closed(connection(1));
    assert_eq!(story.peer.next_dial(), None, "an observer is not dialed");
    assert!(story.peer.is_forgettable(story.now));
    story.feed(|peer, at, effects| peer.on_role(role, at, effects));
    assert_eq!(story.peer.next_dial(), Some(story.now), "a validator is");
}
