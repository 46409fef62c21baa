//! What is said between the swarm's task and whoever decides for it.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use dtvn_messages::limits;
use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId};
use tokio::sync::{mpsc, oneshot};

use super::class::Class;
use super::streams::StreamsEvent;

/// A queue inside the network layer. When it is full, the asker waits.
pub fn queue<T>() -> (mpsc::Sender<T>, mpsc::Receiver<T>) {
    mpsc::channel(limits::NETWORK_QUEUE_MAX)
}

/// What the peer manager wants of the swarm.
#[derive(Debug)]
pub enum SwarmCommand {
    /// Connect to a peer, unless connected or connecting. Answered by `Connected` or `DialFailed`.
    Dial {
        /// The peer.
        peer: PeerId,
        /// Where.
        addresses: Vec<Multiaddr>,
        /// Whether to try addresses that discovery knows as well.
        discovered_too: bool,
    },
    /// Connect to whoever is there. Answered by `Found` or `NotFound`.
    DialAddress(Multiaddr),
    /// Open a stream. Answered by a stream notice, unless the connection closes.
    Open {
        /// The peer.
        peer: PeerId,
        /// On this connection.
        connection: ConnectionId,
        /// Of this class.
        class: Class,
    },
    /// Close a connection.
    Close(ConnectionId),
    /// Close all connections of a peer, whatever they are used for.
    Disconnect(PeerId),
    /// Send notices there from now on, and begin with a clean slate: all connections are closed.
    Attach(mpsc::Sender<SwarmNotice>),
    /// Ask discovery for a peer's addresses. May be answered by `Addresses`.
    LookUp(PeerId),
    /// Forget an address at which somebody else was found.
    Forget(PeerId, Multiaddr),
    /// Who is a validator from now on.
    SetValidators(HashSet<PeerId>),
    /// Refuse a peer's connections until then.
    Ban(PeerId, Instant),
    /// Close everything, and say when it is closed.
    Shutdown(oneshot::Sender<()>),
}

/// What happened in the swarm.
#[derive(Debug)]
pub enum SwarmNotice {
    /// All listeners have addresses; these.
    Listening(Vec<Multiaddr>),
    /// Somebody answered at an address dialed by `DialAddress`. Its `Connected` follows.
    Found(Multiaddr, PeerId),
    /// A dial by `DialAddress` failed.
    NotFound(Multiaddr, DialFailure),
    /// Something about a peer.
    Peer(PeerId, PeerNotice),
}

/// What happened to a peer in the swarm.
#[derive(Debug)]
pub enum PeerNotice {
    /// A connection stands.
    Connected {
        /// The connection.
        connection: ConnectionId,
        /// The other end.
        remote: Multiaddr,
    },
    /// A connection is gone.
    Closed {
        /// The connection.
        connection: ConnectionId,
        /// Why, in words.
        cause: String,
    },
    /// A dial failed.
    DialFailed(DialFailure),
    /// Something about a stream.
    Stream {
        /// The stream's connection.
        connection: ConnectionId,
        /// The stream's class.
        class: Class,
        /// What happened.
        event: StreamsEvent,
    },
    /// A heartbeat was answered.
    Pong {
        /// The connection.
        connection: ConnectionId,
        /// The round trip.
        round_trip: Duration,
    },
    /// The peer, or somebody else, says where it can be found.
    Addresses(Vec<Multiaddr>),
}

/// How a dial failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DialFailure {
    /// There is a connection or another attempt already.
    Busy,
    /// No address is known.
    NoAddress,
    /// It was this node itself.
    Ourselves,
    /// Somebody else was found at the address.
    SomebodyElse {
        /// Who.
        found: PeerId,
        /// Where.
        address: Multiaddr,
    },
    /// It could not be reached.
    Unreachable(String),
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn so_many_commands_wait_and_then_the_asker_does() {
        let (commands, mut queued) = queue();
        for number in 0..limits::NETWORK_QUEUE_MAX {
            let command = SwarmCommand::Close(ConnectionId::new_unchecked(number));
            assert!(matches!(commands.send(command).now_or_never(), Some(Ok(()))), "{number}");
        }
        let mut waiting = Box::pin(commands.send(SwarmCommand::LookUp(PeerId::random())));
        assert!(waiting.as_mut().now_or_never().is_none(), "there is no place");
        assert!(matches!(queued.try_recv(), Ok(SwarmCommand::Close(_))));
        assert!(matches!(waiting.now_or_never(), Some(Ok(()))));
    }
}
