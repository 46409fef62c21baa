//! A peer value with a body: it feeds the value what happens and does what the value wants done.
//!
//! A validator's or bootstrap peer's member lives in an actor of its own, so that its failure is its own affair; those
//! of strangers live in the peer manager, which bounds their number.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dtvn_messages::ids::ValidatorIndex;
use dtvn_messages::limits;
use libp2p::Stream;
use libp2p::swarm::ConnectionId;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use super::peer::{Effect, Effects, Established, Moment, Peer};
use crate::mailbox::{FullPolicy, Mail};
use crate::network::class::{Class, ClassSet, PerClass};
use crate::network::config::{ConnectedPeer, NetworkEvent};
use crate::network::handshake::{Hello, Refusal};
use crate::network::link::Link;
use crate::network::notices::{PeerNotice, SwarmCommand};
use crate::network::pace::Pace;
use crate::network::score::Offence;
use crate::network::session::{self, LinkNotice, SessionContext};
use crate::network::shared::Shared;
use crate::network::status::PeerStatus;
use crate::network::streams::StreamsEvent;
use crate::supervision::ActorError;

/// What can be said to a peer.
#[derive(Debug)]
pub enum PeerMessage {
    /// The swarm tells.
    Swarm(PeerNotice),
    /// The tasks of its streams tell.
    Link(LinkNotice),
    /// One heartbeat interval has passed.
    Heartbeat,
    /// It may be time to dial.
    DialTime,
    /// Somebody connected who may know where this peer is.
    NewNeighbour,
    /// What it is to this node has changed: its link tells.
    NewRole,
    /// The manager started again: what it should have told in between is lost.
    NewManager,
    /// The receiver of its frames says that it misbehaved.
    Report(Offence),
    /// Close its connections.
    Disconnect,
    /// Refuse it for a while.
    Ban,
}

impl Mail for PeerMessage {
    fn kind(&self) -> &'static str {
        match self {
            Self::Swarm(_) => "swarm",
            Self::Link(_) => "link",
            Self::Heartbeat => "heartbeat",
            Self::DialTime => "dial_time",
            Self::NewNeighbour => "new_neighbour",
            Self::NewRole => "new_role",
            Self::NewManager => "new_manager",
            Self::Report(_) => "report",
            Self::Disconnect => "disconnect",
            Self::Ban => "ban",
        }
    }

    fn policy(&self) -> FullPolicy {
        match self {
            Self::Heartbeat | Self::NewNeighbour => FullPolicy::DropNewest,
            _ => FullPolicy::Wait,
        }
    }
}

/// The body.
pub struct Member {
    peer: Peer<Stream>,
    link: Arc<Link>,
    session: Option<AbortOnDropHandle<()>>,
    greetings: JoinSet<()>,
    /// The index under which the session was counted, if it was counted as a validator's.
    connected_as: Option<ValidatorIndex>,
    suspect: bool,
    /// The latest start of the node from which it connected.
    latest_start: u64,
    shared: Arc<Shared>,
    swarm: mpsc::Sender<SwarmCommand>,
    notices: mpsc::Sender<LinkNotice>,
    /// How fast it is read, whatever the session: who connects again gets no new burst.
    paces: Arc<PerClass<Pace>>,
}

impl Member {
    /// A peer that is not connected; its link says what it is. Its tasks tell `notices`.
    ///
    /// # Errors
    /// If there is no swarm.
    pub fn new(link: Arc<Link>, shared: Arc<Shared>, notices: mpsc::Sender<LinkNotice>) -> Result<Self, ActorError> {
        let swarm = shared.swarm()?;
        let peer = Peer::new(shared.local, link.peer(), link.role(), moment());
        let paces = Arc::new(PerClass::build(|class| Pace::new(*shared.config.frames_per_second.get(class))));
        Ok(Self {
            paces,
            peer,
            link,
            session: None,
            greetings: JoinSet::new(),
            connected_as: None,
            suspect: false,
            latest_start: 0,
            shared,
            swarm,
            notices,
        })
    }

    /// When the peer wants [`PeerMessage::DialTime`].
    pub const fn next_dial(&self) -> Option<Instant> {
        self.peer.next_dial()
    }

    /// Whether nothing needs to be remembered of it.
    pub fn is_forgettable(&self) -> bool {
        self.peer.is_forgettable(Instant::now())
    }

    /// Whether there is a connection, with or without a session.
    pub fn is_connected(&self) -> bool {
        self.peer.is_connected()
    }

    /// Closes whatever connections an earlier owner of the peer left behind.
    ///
    /// # Errors
    /// If the swarm is gone.
    pub async fn begin_afresh(&mut self) -> Result<(), ActorError> {
        self.command(SwarmCommand::Disconnect(self.peer.id())).await
    }

    /// Takes one message.
    ///
    /// # Errors
    /// If the swarm is gone.
    pub async fn handle(&mut self, message: PeerMessage) -> Result<(), ActorError> {
        while self.greetings.try_join_next().is_some() {}
        if matches!(message, PeerMessage::NewManager) && !self.peer.is_up() {
            // A dial may have failed, or a connection ended, without anybody to tell of it: it would wait for ever.
            self.peer = Peer::new(self.shared.local, self.peer.id(), self.link.role(), moment());
            self.begin_afresh().await?;
        }
        let mut effects = Vec::new();
        self.feed(message, moment(), &mut effects);
        for effect in effects {
            self.apply(effect).await?;
        }
        self.link.publish(self.peer.status(Instant::now()));
        Ok(())
    }

    fn feed(&mut self, message: PeerMessage, at: Moment, effects: &mut Effects<Stream>) {
        let peer = &mut self.peer;
        match message {
            PeerMessage::Swarm(notice) => feed_swarm(peer, notice, at, effects),
            PeerMessage::Link(notice) => feed_link(peer, notice, at, effects),
            PeerMessage::Heartbeat => peer.on_heartbeat(self.link.traffic().bytes_in_total(), at, effects),
            PeerMessage::DialTime => peer.on_dial_time(at, effects),
            PeerMessage::NewNeighbour if peer.is_missing() => effects.push(Effect::LookUp),
            PeerMessage::NewNeighbour => {}
            PeerMessage::NewRole | PeerMessage::NewManager => peer.on_role(self.link.role(), at, effects),
            PeerMessage::Report(offence) => {
                self.shared.metrics.offences.add(1);
                peer.on_offence(offence, at, effects);
            }
            PeerMessage::Disconnect => peer.disconnect("an operator closed it", effects),
            PeerMessage::Ban => peer.ban(at, effects),
        }
    }

    async fn apply(&mut self, effect: Effect<Stream>) -> Result<(), ActorError> {
        let peer = self.peer.id();
        match effect {
            Effect::Dial { addresses, discovered_too } => {
                self.command(SwarmCommand::Dial { peer, addresses, discovered_too }).await?;
            }
            Effect::LookUp => self.command(SwarmCommand::LookUp(peer)).await?,
            Effect::Open(connection, class) => self.command(SwarmCommand::Open { peer, connection, class }).await?,
            Effect::Close(connection) => self.command(SwarmCommand::Close(connection)).await?,
            Effect::Forget(address) => self.command(SwarmCommand::Forget(peer, address)).await?,
            Effect::Ban(until) => {
                self.shared.metrics.bans.add(1);
                tracing::warn!(%peer, "A peer misbehaved and is banned for a while");
                self.command(SwarmCommand::Ban(peer, until)).await?;
            }
            Effect::Greet { connection, class, stream, opened_by_us } => {
                self.greet(connection, class, stream, opened_by_us);
            }
            Effect::Start(established) => self.start(*established),
            Effect::Stop { cause } => self.stop(cause),
            Effect::Refused(refusal) => self.refused(refusal),
            Effect::Suspect(suspect) => {
                self.note_suspect(suspect);
                self.shared.tell(NetworkEvent::Suspect { peer, validator: self.validator(), suspect });
            }
        }
        Ok(())
    }

    /// The swarm's task takes commands whatever else it does, so this wait is short. (`&mut`, for streams are not `Sync`.)
    async fn command(&mut self, command: SwarmCommand) -> Result<(), ActorError> {
        self.swarm.send(command).await.map_err(|_| ActorError::new("the swarm is gone"))
    }

    fn validator(&self) -> Option<ValidatorIndex> {
        self.peer.role().validator.as_ref().map(|(index, _)| *index)
    }

    fn greet(&mut self, connection: ConnectionId, class: Class, stream: Stream, opened_by_us: bool) {
        let ours = self.shared.hello(self.peer.role().willing);
        let notices = self.notices.clone();
        self.greetings.spawn(session::greeting(self.peer.id(), connection, class, stream, ours, opened_by_us, notices));
    }

    fn start(&mut self, established: Established<Stream>) {
        let Established { connection, streams, hello: Hello { node_name, start, summary, .. } } = established;
        let (peer, validator) = (self.peer.id(), self.validator());
        let classes = streams.iter().fold(ClassSet::NONE, |all, (class, _)| all.with(*class));
        tracing::info!(%peer, node = %node_name, start, "A peer is connected");
        // A node that is no validator itself shares no more with anybody.
        let may_share_votes = self.peer.role().willing.contains(Class::Consensus);
        if validator.is_some() && may_share_votes && !classes.contains(Class::Consensus) {
            tracing::warn!(%peer, node = %node_name, "A validator shares only sync: one of us is in another epoch");
        }
        if start < self.latest_start {
            let latest = self.latest_start;
            tracing::error!(%peer, node = %node_name, start, latest, "A node of an earlier start is back: does its key run twice?");
        }
        self.latest_start = self.latest_start.max(start);
        self.shared.metrics.sessions_started.add(1);
        self.connected_as = validator;
        if validator.is_some() {
            self.shared.metrics.peers_connected.step(true);
        }
        self.shared.neighbours.send_modify(|sessions| *sessions = sessions.wrapping_add(1));
        let connected = ConnectedPeer { peer, validator, node_name, start, summary, classes };
        // Who hears of it has something to say at once.
        streams.iter().for_each(|(class, _)| self.link.open(*class));
        self.shared.tell(NetworkEvent::Connected(connected));
        let context = SessionContext {
            connection,
            link: Arc::clone(&self.link),
            is_validator: validator.is_some(),
            sinks: self.shared.sinks.clone(),
            metrics: Arc::clone(&self.shared.metrics),
            paces: Arc::clone(&self.paces),
        };
        self.session = Some(session::spawn(context, streams, self.notices.clone()));
    }

    fn stop(&mut self, cause: String) {
        let connected_as = self.connected_as.take();
        let (peer, validator) = (self.peer.id(), self.validator().or(connected_as));
        self.session = None;
        self.link.close();
        tracing::info!(%peer, %cause, "A peer is disconnected");
        self.shared.metrics.sessions_ended.add(1);
        self.note_suspect(false);
        if connected_as.is_some() {
            self.shared.metrics.peers_connected.step(false);
        }
        self.shared.tell(NetworkEvent::Disconnected { peer, validator, cause });
    }

    fn note_suspect(&mut self, suspect: bool) {
        if self.suspect != suspect {
            self.suspect = suspect;
            self.shared.metrics.peers_suspect.step(suspect);
        }
    }

    fn refused(&self, refusal: Refusal) {
        let (peer, validator) = (self.peer.id(), self.validator());
        self.shared.metrics.refused.add(1);
        tracing::warn!(%peer, %refusal, "A peer belongs to another network and is refused");
        self.shared.tell(NetworkEvent::Refused { peer, validator, refusal });
    }

    /// Accepts nothing more, writes what is queued, says goodbye, and waits until the peer has read it or the time is
    /// over.
    pub async fn flush(&mut self) {
        Class::ALL.iter().for_each(|class| self.link.drain(*class));
        if let Some(session) = self.session.take() {
            // Both errors mean that there is nothing left to wait for: it took too long, or it had failed.
            let _ = tokio::time::timeout(limits::NETWORK_FLUSH_TIMEOUT, session).await;
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if self.peer.is_up() {
            self.stop("this node let go of it".to_owned());
        }
        self.link.close();
        self.link.publish(PeerStatus::default());
    }
}

fn feed_swarm(peer: &mut Peer<Stream>, notice: PeerNotice, at: Moment, effects: &mut Effects<Stream>) {
    match notice {
        PeerNotice::Connected { connection, remote } => peer.on_connected(connection, remote, at, effects),
        PeerNotice::Closed { connection, cause } => peer.on_closed(connection, &cause, at, effects),
        PeerNotice::DialFailed(failure) => peer.on_dial_failed(failure, at, effects),
        PeerNotice::Stream { connection, class, event } => match event {
            StreamsEvent::Opened(stream) => peer.on_opened(connection, class, stream, effects),
            StreamsEvent::OpenFailed(error) => peer.on_open_failed(connection, class, &error, at, effects),
            StreamsEvent::Accepted(stream) => peer.on_accepted(connection, class, stream, at, effects),
        },
        PeerNotice::Pong { connection, round_trip } => peer.on_pong(connection, round_trip, at, effects),
        PeerNotice::Addresses(addresses) => peer.on_addresses(addresses, at),
    }
}

fn feed_link(peer: &mut Peer<Stream>, notice: LinkNotice, at: Moment, effects: &mut Effects<Stream>) {
    match notice {
        LinkNotice::Greeted { connection, class, stream, hello, .. } => {
            peer.on_greeted(connection, class, stream, *hello, at, effects);
        }
        LinkNotice::GreetingFailed { connection, error, .. } => {
            peer.on_greeting_failed(connection, error, at, effects);
        }
        LinkNotice::Ended { connection, cause, offence, .. } => {
            peer.on_session_ended(connection, &cause, offence, at, effects);
        }
    }
}

/// Now, and a random number.
pub fn moment() -> Moment {
    Moment { now: Instant::now(), jitter: rand::random() }
}

/// How long until then; nothing if it has passed.
pub fn until(time: Instant) -> Duration {
    time.saturating_duration_since(Instant::now())
}
