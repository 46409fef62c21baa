//! Dialing, heartbeats, and the end of bans.
//!
//! architecture.md section 6: "a peer is suspect after two. Liveness is for people, redial and sync only: never for
//! quorum or leader."

use std::time::{Duration, Instant};

use dtvn_messages::limits;
use libp2p::Multiaddr;
use libp2p::swarm::ConnectionId;

use super::{Effect, Effects, Moment, Peer, Stage};
use crate::network::driver::DialFailure;

impl<S> Peer<S> {
    /// When the peer next wants [`Peer::on_dial_time`], if it is to be dialed.
    pub const fn next_dial(&self) -> Option<Instant> {
        self.next_dial
    }

    /// The time to dial may have come.
    pub fn on_dial_time(&mut self, at: Moment, effects: &mut Effects<S>) {
        if self.next_dial.is_none_or(|next| at.now < next) {
            return;
        }
        self.next_dial = None;
        if self.dialing || !self.links.is_empty() {
            return;
        }
        self.dialing = true;
        // Every other time only the configured addresses, so that wrong ones named by others cannot get in the way.
        let discovered_too = self.dials % 2 == 1 || !self.addresses.has_configured();
        self.dials = self.dials.wrapping_add(1);
        if discovered_too {
            effects.push(Effect::LookUp);
        }
        let addresses = if discovered_too { self.addresses.all() } else { self.addresses.configured() };
        effects.push(Effect::Dial { addresses, discovered_too });
    }

    /// A dial failed.
    pub fn on_dial_failed(&mut self, failure: DialFailure, at: Moment, effects: &mut Effects<S>) {
        if let DialFailure::SomebodyElse { address, .. } = &failure {
            self.addresses.forget(address);
            effects.push(Effect::Forget(address.clone()));
        }
        if !self.dialing {
            // Discovery's own attempt.
            return;
        }
        self.dialing = false;
        match failure {
            DialFailure::Busy => {}
            DialFailure::NoAddress => self.last_error = Some("no address is known yet".to_owned()),
            DialFailure::Ourselves => self.last_error = Some("its address is this node's own".to_owned()),
            DialFailure::SomebodyElse { found, address } => {
                self.last_error = Some(format!("{found} was found at {address} in its place"));
            }
            DialFailure::Unreachable(cause) => self.last_error = Some(cause),
        }
        if self.links.is_empty() {
            self.schedule_dial(at);
        }
    }

    /// Somebody says where the peer is.
    pub fn on_addresses(&mut self, addresses: Vec<Multiaddr>, at: Moment) {
        let mut news = false;
        for address in addresses.into_iter().take(limits::PEER_LEARNED_ADDRESSES_MAX) {
            news |= self.addresses.learn(address);
        }
        if news && self.next_dial.is_some() {
            self.next_dial = Some(at.now);
        }
    }

    /// A heartbeat was answered.
    pub fn on_pong(&mut self, connection: ConnectionId, round_trip: Duration, at: Moment, effects: &mut Effects<S>) {
        if let Some(link) = self.links.get_mut(&connection) {
            link.heard = at.now;
        }
        if self.stage_connection() == Some(connection) {
            self.round_trip = Some(round_trip);
            self.on_heard(at, effects);
        }
    }

    /// Once per heartbeat. `bytes_in` is what was received from the peer in all: a busy link is a live one.
    pub fn on_heartbeat(&mut self, bytes_in: u64, at: Moment, effects: &mut Effects<S>) {
        self.bytes_in_last_heartbeat = bytes_in.saturating_sub(self.bytes_in);
        if self.bytes_in_last_heartbeat > 0 {
            self.bytes_in = bytes_in;
            self.on_heard(at, effects);
            let current = self.stage_connection();
            if let Some(link) = current.and_then(|connection| self.links.get_mut(&connection)) {
                link.heard = at.now;
            }
        }
        let silence = at.now.saturating_duration_since(self.heard);
        if self.is_up() && !self.suspect && silence > limits::PEER_SUSPECT_AFTER {
            self.suspect = true;
            effects.push(Effect::Suspect(true));
        }
        self.close_silent_links(at, effects);
        self.close_unsettled_links(at, effects);
        if self.banned_until.is_some_and(|until| until <= at.now) {
            self.banned_until = None;
            self.backoff.reset();
            if self.links.is_empty() {
                self.schedule_dial(at);
            }
        }
    }

    fn on_heard(&mut self, at: Moment, effects: &mut Effects<S>) {
        self.heard = at.now;
        if std::mem::take(&mut self.suspect) {
            effects.push(Effect::Suspect(false));
        }
    }

    fn close_silent_links(&mut self, at: Moment, effects: &mut Effects<S>) {
        let silent: Vec<ConnectionId> = self
            .links
            .iter()
            .filter(|(_, link)| at.now.saturating_duration_since(link.heard) > limits::PEER_LOST_AFTER)
            .map(|(connection, _)| *connection)
            .collect();
        for connection in silent {
            if self.stage_connection() == Some(connection) {
                self.note_stability(at);
                self.lose_session("it stopped answering", effects);
            }
            self.close_link(connection, effects);
        }
        // Closing a dead connection takes a while; a spare one need not wait for it.
        self.begin_greeting(at, effects);
    }

    /// Closes what has not become a session in time: our own attempt, or, if it is the peer's to open the streams, a
    /// connection on which it did not. Strangers may stay for discovery; their connections close when idle.
    fn close_unsettled_links(&mut self, at: Moment, effects: &mut Effects<S>) {
        let late = |since: Instant| at.now.saturating_duration_since(since) > limits::SESSION_SETUP_TIMEOUT;
        match &self.stage {
            Stage::Greeting(greeting) if late(greeting.since) => {
                let connection = greeting.connection;
                self.abandon(connection, "the session was not set up in time", effects);
            }
            Stage::Idle if !self.opener && self.role.persistent => {
                let late: Vec<ConnectionId> =
                    self.links.iter().filter(|(_, link)| late(link.since)).map(|(connection, _)| *connection).collect();
                for connection in late {
                    self.last_error = Some("the peer did not set up a session in time".to_owned());
                    self.close_link(connection, effects);
                }
            }
            _ => {}
        }
    }

    /// Decides when to dial after the last connection went.
    pub(super) fn schedule_dial(&mut self, at: Moment) {
        if self.role.persistent && self.banned_until.is_none() && !self.dialing && self.next_dial.is_none() {
            self.next_dial = Some(at.now + self.backoff.next(at.jitter));
        }
    }

    /// A session that stood for a while was a good one: dial at once. A short one continues the back-off.
    pub(super) fn note_stability(&mut self, at: Moment) {
        if let Stage::Up { since, .. } = &self.stage
            && at.now.saturating_duration_since(*since) >= limits::SESSION_STABLE
        {
            self.backoff.reset();
        }
    }
}
