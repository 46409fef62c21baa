//! Setting up a session: connection, sync stream, handshake, the other streams (see the head of the module above).

use libp2p::Multiaddr;
use libp2p::swarm::ConnectionId;

use super::{Effect, Effects, Established, Greeting, Link, Moment, Peer, Stage};
use crate::network::class::{Class, ClassSet};
use crate::network::handshake::{GreetingError, Hello, Refusal};
use crate::network::score::Offence;
use crate::network::streams::OpenError;

impl<S> Peer<S> {
    /// A connection stands.
    pub fn on_connected(&mut self, connection: ConnectionId, remote: Multiaddr, at: Moment, effects: &mut Effects<S>) {
        let given_up = self.banned_until.is_some();
        self.links.insert(connection, Link { remote, since: at.now, heard: at.now, given_up });
        self.dialing = false;
        self.next_dial = None;
        if given_up {
            effects.push(Effect::Close(connection));
        }
        self.begin_greeting(at, effects);
    }

    /// A connection is gone.
    pub fn on_closed(&mut self, connection: ConnectionId, cause: &str, at: Moment, effects: &mut Effects<S>) {
        let Some(link) = self.links.remove(&connection) else { return };
        if self.stage_connection() == Some(connection) {
            self.note_stability(at);
            self.lose_session(cause, effects);
            self.last_error = Some(cause.to_owned());
        } else if link.given_up && self.last_error.is_none() {
            self.last_error = Some(cause.to_owned());
        }
        if self.links.is_empty() {
            self.schedule_dial(at);
        } else {
            self.begin_greeting(at, effects);
        }
    }

    /// If it is ours to open the streams and there is a fresh connection, opens the first one.
    pub(super) fn begin_greeting(&mut self, at: Moment, effects: &mut Effects<S>) {
        if !self.opener || !matches!(self.stage, Stage::Idle) || self.banned_until.is_some() {
            return;
        }
        let fresh = self.links.iter().find(|(_, link)| !link.given_up).map(|(connection, _)| *connection);
        if let Some(connection) = fresh {
            self.enter_greeting(connection, at);
            effects.push(Effect::Open(connection, Class::Sync));
        }
    }

    fn enter_greeting(&mut self, connection: ConnectionId, at: Moment) {
        self.stage = Stage::Greeting(Greeting {
            connection,
            since: at.now,
            hello: None,
            agreed: ClassSet::NONE,
            ready: Vec::new(),
        });
    }

    /// A stream that we asked for is open.
    pub fn on_opened(&mut self, connection: ConnectionId, class: Class, stream: S, effects: &mut Effects<S>) {
        if self.is_greeting_on(connection) {
            effects.push(Effect::Greet { connection, class, stream, opened_by_us: true });
        }
    }

    /// A stream that we asked for could not be opened.
    pub fn on_open_failed(
        &mut self,
        connection: ConnectionId,
        class: Class,
        error: &OpenError,
        at: Moment,
        effects: &mut Effects<S>,
    ) {
        if !self.is_greeting_on(connection) {
            return;
        }
        let cause = match error {
            OpenError::NotOffered => format!("it does not offer the {} stream", class.name()),
            OpenError::Failed(cause) => cause.clone(),
        };
        if *error == OpenError::NotOffered && class == Class::Sync {
            // Not a node of ours. It may stay for discovery until it is idle.
            self.give_up(connection, cause, at, effects);
        } else {
            self.abandon(connection, &cause, effects);
        }
    }

    /// The peer opened a stream.
    pub fn on_accepted(
        &mut self,
        connection: ConnectionId,
        class: Class,
        stream: S,
        at: Moment,
        effects: &mut Effects<S>,
    ) {
        let usable = self.links.get(&connection).is_some_and(|link| !link.given_up);
        if self.opener {
            // It is ours to open; a peer that does it nevertheless does not follow the protocol.
            self.on_offence(Offence::UnexpectedStream, at, effects);
            return;
        }
        if !usable {
            return;
        }
        if class == Class::Sync {
            // The opener starts anew, here: whatever we had is over for it.
            let previous = self.stage_connection().filter(|previous| *previous != connection);
            self.lose_session("the peer started a new session", effects);
            if let Some(previous) = previous {
                self.close_link(previous, effects);
            }
            self.enter_greeting(connection, at);
        } else if !self.is_greeting_on(connection) {
            self.on_offence(Offence::UnexpectedStream, at, effects);
            return;
        }
        effects.push(Effect::Greet { connection, class, stream, opened_by_us: false });
    }

    /// Handshakes were exchanged on a stream and they agree.
    pub fn on_greeted(
        &mut self,
        connection: ConnectionId,
        class: Class,
        stream: S,
        hello: Hello,
        at: Moment,
        effects: &mut Effects<S>,
    ) {
        let willing = self.role.willing;
        let opener = self.opener;
        let Stage::Greeting(greeting) = &mut self.stage else { return };
        if greeting.connection != connection {
            return;
        }
        if class == Class::Sync {
            greeting.agreed = willing.and(hello.classes);
            greeting.hello = Some(hello);
            if opener {
                let others = greeting.agreed.iter().filter(|class| *class != Class::Sync);
                effects.extend(others.map(|class| Effect::Open(connection, class)));
            }
        }
        greeting.ready.push((class, stream));
        let complete = greeting.hello.is_some()
            && greeting.agreed.iter().all(|class| greeting.ready.iter().any(|(ready, _)| *ready == class));
        if complete {
            self.enter_session(at, effects);
        }
    }

    fn enter_session(&mut self, at: Moment, effects: &mut Effects<S>) {
        let stage = std::mem::replace(&mut self.stage, Stage::Idle);
        let Stage::Greeting(Greeting { connection, hello: Some(hello), agreed, ready, .. }) = stage else { return };
        self.stage = Stage::Up { connection, since: at.now };
        self.heard = at.now;
        self.suspect = false;
        self.refusal = None;
        self.last_error = None;
        let streams = ready.into_iter().filter(|(class, _)| agreed.contains(*class)).collect();
        effects.push(Effect::Start(Box::new(Established { connection, streams, hello })));
    }

    /// The handshake on a stream failed.
    pub fn on_greeting_failed(
        &mut self,
        connection: ConnectionId,
        error: GreetingError,
        at: Moment,
        effects: &mut Effects<S>,
    ) {
        if !self.is_greeting_on(connection) {
            return;
        }
        match error {
            GreetingError::Refused(refusal) => self.on_refused(connection, refusal, at, effects),
            GreetingError::TooLong { .. } | GreetingError::Malformed(_) => {
                self.on_offence(Offence::BadHandshake, at, effects);
                self.abandon(connection, &error.to_string(), effects);
            }
            GreetingError::Io(_) | GreetingError::TimedOut => self.abandon(connection, &error.to_string(), effects),
        }
    }

    /// Another network. The connection is left to itself, so that the peer can read our handshake and learn why; idle,
    /// it closes soon. It is told once, and again only if something else differs.
    fn on_refused(&mut self, connection: ConnectionId, refusal: Refusal, at: Moment, effects: &mut Effects<S>) {
        self.give_up(connection, refusal.to_string(), at, effects);
        if self.refusal.as_ref() != Some(&refusal) {
            effects.push(Effect::Refused(refusal.clone()));
            self.refusal = Some(refusal);
        }
    }

    /// A session ended by itself: the peer closed it, the stream broke, or the peer broke the rules.
    pub fn on_session_ended(
        &mut self,
        connection: ConnectionId,
        cause: &str,
        offence: Option<Offence>,
        at: Moment,
        effects: &mut Effects<S>,
    ) {
        let is_current = matches!(&self.stage, Stage::Up { connection: current, .. } if *current == connection);
        if is_current {
            self.note_stability(at);
            self.lose_session(cause, effects);
        }
        if let Some(offence) = offence {
            self.on_offence(offence, at, effects);
        }
        if is_current && self.banned_until.is_none() {
            self.close_link(connection, effects);
        }
    }

    fn is_greeting_on(&self, connection: ConnectionId) -> bool {
        matches!(&self.stage, Stage::Greeting(greeting) if greeting.connection == connection)
    }

    /// No session on this connection, ever; it closes when idle. The next try is made on another connection.
    fn give_up(&mut self, connection: ConnectionId, cause: String, at: Moment, effects: &mut Effects<S>) {
        self.last_error = Some(cause);
        self.backoff.slow_down();
        if let Some(link) = self.links.get_mut(&connection) {
            link.given_up = true;
        }
        self.stage = Stage::Idle;
        self.begin_greeting(at, effects);
    }

    /// Ends the setup of a session together with its connection.
    pub(super) fn abandon(&mut self, connection: ConnectionId, cause: &str, effects: &mut Effects<S>) {
        self.last_error = Some(cause.to_owned());
        self.stage = Stage::Idle;
        self.close_link(connection, effects);
    }

    pub(super) fn close_link(&mut self, connection: ConnectionId, effects: &mut Effects<S>) {
        if let Some(link) = self.links.get_mut(&connection)
            && !link.given_up
        {
            link.given_up = true;
            effects.push(Effect::Close(connection));
        }
    }
}
