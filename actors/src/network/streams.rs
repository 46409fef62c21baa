//! The swarm's behaviour for our streams: opens one per class on a given connection and accepts one per class.
//!
//! architecture.md section 6: "Persistent framed streams per peer and class (not a new substream per message)" and
//! "Nobody else's consensus message is even decoded": to a peer that is no validator the consensus and bundle
//! protocols are not offered, so its stream is refused while the protocol is being negotiated. Each connection accepts
//! each class once; a session that ends takes its connection along, so there is no reason for a second time.
//!
//! This is not crate libp2p-stream because that opens on any connection of the peer, offers its protocols to everybody,
//! drops an inbound stream when two arrive at once, and keeps an entry for every connection that ever was.

use std::collections::{HashSet, VecDeque};
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};

use dtvn_messages::limits;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::{InboundUpgrade, OutboundUpgrade, UpgradeInfo};
use libp2p::swarm::handler::{ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour,
    NotifyHandler, StreamUpgradeError, SubstreamProtocol, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, Stream, StreamProtocol};

use super::class::{Class, ClassSet};

/// Which peers are offered which classes; shared with every connection.
#[derive(Debug, Default)]
pub struct Access {
    validators: RwLock<HashSet<PeerId>>,
    version: AtomicU64,
}

impl Access {
    /// Replaces the validators that are offered everything. Empty while this node is no validator itself.
    pub fn set(&self, validators: HashSet<PeerId>) {
        *self.validators.write().unwrap_or_else(PoisonError::into_inner) = validators;
        self.version.fetch_add(1, Ordering::Release);
    }

    fn classes(&self, peer: &PeerId) -> ClassSet {
        let validators = self.validators.read().unwrap_or_else(PoisonError::into_inner);
        if validators.contains(peer) { ClassSet::VALIDATORS } else { ClassSet::OBSERVERS }
    }
}

/// Why a stream could not be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenError {
    /// The peer does not offer the class to this node.
    NotOffered,
    /// The connection failed or took too long.
    Failed(String),
}

/// What happens to streams.
#[derive(Debug)]
pub enum StreamsEvent {
    /// A stream that we asked for is open.
    Opened(Stream),
    /// A stream that we asked for could not be opened.
    OpenFailed(OpenError),
    /// The peer opened a stream.
    Accepted(Stream),
}

/// An event with its place.
#[derive(Debug)]
pub struct StreamsNotice {
    /// The peer.
    pub peer: PeerId,
    /// The connection that carries the stream.
    pub connection: ConnectionId,
    /// The stream's class.
    pub class: Class,
    /// What happened.
    pub event: StreamsEvent,
}

/// The behaviour.
#[derive(Debug)]
pub struct Streams {
    access: Arc<Access>,
    actions: VecDeque<ToSwarm<StreamsNotice, Class>>,
}

impl Streams {
    /// A behaviour that offers its classes by `access`.
    #[must_use]
    pub const fn new(access: Arc<Access>) -> Self {
        Self { access, actions: VecDeque::new() }
    }

    /// Opens a stream on a connection. Answered by `Opened` or `OpenFailed`, unless the connection closes.
    pub fn open(&mut self, peer: PeerId, connection: ConnectionId, class: Class) {
        let handler = NotifyHandler::One(connection);
        self.actions.push_back(ToSwarm::NotifyHandler { peer_id: peer, handler, event: class });
    }
}

impl NetworkBehaviour for Streams {
    type ConnectionHandler = Handler;
    type ToSwarm = StreamsNotice;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new(peer, Arc::clone(&self.access)))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new(peer, Arc::clone(&self.access)))
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        (class, event): THandlerOutEvent<Self>,
    ) {
        self.actions.push_back(ToSwarm::GenerateEvent(StreamsNotice { peer, connection, class, event }));
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        // Both ways of adding an action are followed by a poll of the swarm.
        self.actions.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}

/// One connection's share of the behaviour.
#[derive(Debug)]
pub struct Handler {
    peer: PeerId,
    access: Arc<Access>,
    /// The offer made last, and the version of the access that it was made by.
    offer: Arc<[Class]>,
    offer_version: u64,
    accepted: ClassSet,
    wanted: VecDeque<Class>,
    events: VecDeque<(Class, StreamsEvent)>,
}

impl Handler {
    fn new(peer: PeerId, access: Arc<Access>) -> Self {
        let offer_version = access.version.load(Ordering::Acquire);
        let offer = access.classes(&peer).iter().collect();
        Self {
            peer,
            access,
            offer,
            offer_version,
            accepted: ClassSet::NONE,
            wanted: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    fn refresh_offer(&mut self) {
        let version = self.access.version.load(Ordering::Acquire);
        if version != self.offer_version {
            self.offer_version = version;
            self.offer = self.access.classes(&self.peer).iter().collect();
        }
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Class;
    type ToBehaviour = (Class, StreamsEvent);
    type InboundProtocol = Offer;
    type OutboundProtocol = Offer;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Class;

    fn listen_protocol(&self) -> SubstreamProtocol<Offer> {
        SubstreamProtocol::new(Offer(Arc::clone(&self.offer)), ())
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<Offer, Class, Self::ToBehaviour>> {
        self.refresh_offer();
        if let Some(event) = self.events.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(event));
        }
        if let Some(class) = self.wanted.pop_front() {
            let protocol =
                SubstreamProtocol::new(Offer(Arc::from([class])), class).with_timeout(limits::SESSION_SETUP_TIMEOUT);
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        // What adds to either queue is called by the connection, which polls again after it.
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, class: Class) {
        self.wanted.push_back(class);
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Offer, Offer, (), Class>) {
        match event {
            // A second stream of a class is dropped, which resets it.
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol: (class, _), .. })
                if self.accepted.contains(class) => {}
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol: (class, stream), .. }) => {
                self.accepted = self.accepted.with(class);
                self.events.push_back((class, StreamsEvent::Accepted(stream)));
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol: (class, stream), .. }) => {
                self.events.push_back((class, StreamsEvent::Opened(stream)))
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { error, info }) => {
                self.events.push_back((info, StreamsEvent::OpenFailed(open_error(error))));
            }
            _ => {}
        }
    }
}

fn open_error(error: StreamUpgradeError<Infallible>) -> OpenError {
    match error {
        StreamUpgradeError::NegotiationFailed => OpenError::NotOffered,
        StreamUpgradeError::Timeout => OpenError::Failed("the stream took too long to open".to_owned()),
        StreamUpgradeError::Io(error) => OpenError::Failed(error.to_string()),
        StreamUpgradeError::Apply(never) => match never {},
    }
}

/// The classes offered, as protocol names.
#[derive(Debug, Clone)]
pub struct Offer(Arc<[Class]>);

/// A class as a protocol name.
#[derive(Debug, Clone)]
pub struct Name(Class, StreamProtocol);

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        self.1.as_ref()
    }
}

/// The names of an offer.
#[derive(Debug, Clone)]
pub struct Names {
    offer: Arc<[Class]>,
    next: usize,
}

impl Iterator for Names {
    type Item = Name;

    fn next(&mut self) -> Option<Name> {
        let class = *self.offer.get(self.next)?;
        self.next += 1;
        Some(Name(class, class.protocol()))
    }
}

impl UpgradeInfo for Offer {
    type Info = Name;
    type InfoIter = Names;

    fn protocol_info(&self) -> Names {
        Names { offer: Arc::clone(&self.0), next: 0 }
    }
}

impl InboundUpgrade<Stream> for Offer {
    type Output = (Class, Stream);
    type Error = Infallible;
    type Future = Ready<Result<(Class, Stream), Infallible>>;

    fn upgrade_inbound(self, stream: Stream, Name(class, _): Name) -> Self::Future {
        ready(Ok((class, stream)))
    }
}

impl OutboundUpgrade<Stream> for Offer {
    type Output = (Class, Stream);
    type Error = Infallible;
    type Future = Ready<Result<(Class, Stream), Infallible>>;

    fn upgrade_outbound(self, stream: Stream, Name(class, _): Name) -> Self::Future {
        ready(Ok((class, stream)))
    }
}
