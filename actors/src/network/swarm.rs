//! The libp2p swarm: transports, behaviours and their bounds.
//!
//! architecture.md section 6: "TCP and QUIC, Noise (and TLS), yamux, identify, ping, Kademlia with the chain id in the
//! protocol name, connection limits."

use std::io;
use std::sync::Arc;
use std::time::Duration;

use dtvn_messages::ids::ChainId;
use dtvn_messages::limits;
use libp2p::core::transport::TransportError;
use libp2p::core::transport::dummy::DummyTransport;
use libp2p::identity::Keypair;
use libp2p::kad::store::MemoryStore;
use libp2p::swarm::{self, NetworkBehaviour};
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder, dns, identify, kad, noise, ping, quic, tcp, tls};
use thiserror::Error;

use super::gate::GateBehaviour;
use super::muxer::BoundedYamux;
use super::streams::{Access, Streams};

/// Everything that runs on a connection.
#[derive(NetworkBehaviour)]
#[behaviour(prelude = "libp2p::swarm::derive_prelude")]
pub struct Behaviour {
    /// Refuses connections; first, so that nothing else sees what it refuses.
    pub gate: GateBehaviour,
    /// Our streams.
    pub streams: Streams,
    /// Addresses of peers.
    pub identify: identify::Behaviour,
    /// Heartbeats and round trip times.
    pub ping: ping::Behaviour,
    /// Discovery.
    pub kademlia: kad::Behaviour<MemoryStore>,
}

/// Why the network layer did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// An address to listen on is in use, malformed or not of this machine.
    #[error("cannot listen on {address}: {cause}")]
    Listen {
        /// The address.
        address: Multiaddr,
        /// What the system says, and what that often means.
        cause: String,
    },
    /// A transport could not be set up.
    #[error("cannot set up the transport: {0}")]
    Transport(String),
    /// A key is not an Ed25519 key.
    #[error(transparent)]
    Key(#[from] super::keys::KeyError),
}

impl StartError {
    pub(super) fn listen(address: &Multiaddr, error: &TransportError<io::Error>) -> Self {
        let cause = match error {
            TransportError::MultiaddrNotSupported(_) => "this form of address is not supported".to_owned(),
            TransportError::Other(error) => innermost(error),
        };
        Self::refused(address, cause)
    }

    /// The address cannot be listened on; `cause` is what the system says.
    pub(super) fn refused(address: &Multiaddr, cause: String) -> Self {
        let is_taken = cause.contains("in use");
        let cause = if is_taken { format!("{cause}; is another node running?") } else { cause };
        Self::Listen { address: address.clone(), cause }
    }
}

/// The last cause in a chain of errors: the others only repeat that a transport failed.
pub fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// The discovery protocol of a chain: nodes of other chains never meet in it.
#[must_use]
pub fn kademlia_protocol(chain_id: &ChainId) -> StreamProtocol {
    // A chain id is a label, so the name begins with a slash as it must.
    StreamProtocol::try_from_owned(format!("/dtvn/{chain_id}/kad/1"))
        .unwrap_or_else(|_| StreamProtocol::new("/dtvn/kad/1"))
}

/// Builds a swarm that does not listen yet. `hidden`: peers are not told where it listens, only what is announced.
///
/// # Errors
/// If a transport cannot be set up.
pub fn build(
    keypair: Keypair,
    chain_id: &ChainId,
    hidden: bool,
    access: Arc<Access>,
) -> Result<Swarm<Behaviour>, StartError> {
    let behaviour = behaviour(&keypair, chain_id, hidden, access);
    let transport = |error: &dyn std::fmt::Display| StartError::Transport(error.to_string());
    let builder = SwarmBuilder::with_existing_identity(keypair)
        .with_tokio()
        .with_tcp(tcp::Config::new().nodelay(true), (noise::Config::new, tls::Config::new), BoundedYamux::default)
        .map_err(|error| transport(&error))?
        .with_quic_config(bounded_quic);
    // Two ways to one type: the builder's types in between cannot be named.
    let swarm = if has_system_resolver() {
        let builder = builder.with_dns().map_err(|error| transport(&error))?;
        let builder = builder.with_behaviour(|_| behaviour).map_err(|error| transport(&error))?;
        builder.with_swarm_config(bounded_swarm).with_connection_timeout(limits::SESSION_SETUP_TIMEOUT).build()
    } else {
        let builder = builder.with_dns_config(dns::ResolverConfig::default(), dns::ResolverOpts::default());
        let builder = builder.with_behaviour(|_| behaviour).map_err(|error| transport(&error))?;
        builder.with_swarm_config(bounded_swarm).with_connection_timeout(limits::SESSION_SETUP_TIMEOUT).build()
    };
    Ok(swarm)
}

fn bounded_swarm(config: swarm::Config) -> swarm::Config {
    config
        .with_idle_connection_timeout(limits::CONNECTION_IDLE_TIMEOUT)
        .with_max_negotiating_inbound_streams(limits::STREAMS_NEGOTIATING_MAX)
}

fn bounded_quic(mut config: quic::Config) -> quic::Config {
    config.max_concurrent_stream_limit = limit_u32(limits::STREAMS_PER_CONNECTION_MAX);
    config.max_stream_data = limit_u32(limits::STREAM_WINDOW_BYTES);
    config.max_connection_data = limit_u32(limits::QUIC_CONNECTION_WINDOW_BYTES);
    config.max_idle_timeout = u32::try_from(limits::PEER_LOST_AFTER.as_millis()).unwrap_or(u32::MAX);
    config.handshake_timeout = limits::PEER_LOST_AFTER;
    config.keep_alive_interval = limits::PEER_LOST_AFTER / 2;
    config
}

fn limit_u32(limit: usize) -> u32 {
    u32::try_from(limit).unwrap_or(u32::MAX)
}

/// Whether the system says how names are resolved. Without it addresses still work, so it is no reason not to start.
fn has_system_resolver() -> bool {
    let probe = dns::tokio::Transport::system(DummyTransport::<()>::new());
    if let Err(error) = &probe {
        tracing::warn!(%error, "The system has no usable resolver configuration; /dns addresses may not resolve");
    }
    probe.is_ok()
}

fn behaviour(keypair: &Keypair, chain_id: &ChainId, hidden: bool, access: Arc<Access>) -> Behaviour {
    let public = keypair.public();
    let identify = identify::Config::new("/dtvn/1".to_owned(), public.clone())
        .with_agent_version(concat!("dtvn/", env!("CARGO_PKG_VERSION")).to_owned())
        .with_push_listen_addr_updates(true)
        .with_hide_listen_addrs(hidden)
        .with_cache_size(0);
    let heartbeat = ping::Config::new().with_interval(limits::HEARTBEAT_INTERVAL).with_timeout(limits::PEER_LOST_AFTER);
    Behaviour {
        gate: GateBehaviour::default(),
        streams: Streams::new(access),
        identify: identify::Behaviour::new(identify),
        ping: ping::Behaviour::new(heartbeat),
        kademlia: kademlia(public.to_peer_id(), chain_id),
    }
}

/// Kademlia for finding peers only: it stores no records for anybody.
fn kademlia(local: PeerId, chain_id: &ChainId) -> kad::Behaviour<MemoryStore> {
    let mut config = kad::Config::new(kademlia_protocol(chain_id));
    config
        .set_kbucket_inserts(kad::BucketInserts::Manual)
        .set_record_filtering(kad::StoreInserts::FilterBoth)
        .set_replication_interval(None)
        .set_publication_interval(None)
        .set_provider_publication_interval(None)
        .set_query_timeout(Duration::from_secs(10));
    let mut kademlia = kad::Behaviour::with_config(local, MemoryStore::new(local), config);
    kademlia.set_mode(Some(kad::Mode::Server));
    kademlia
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures::future::join;
    use futures::{AsyncReadExt as _, AsyncWriteExt as _, FutureExt as _, StreamExt as _};
    use libp2p::core::Endpoint;
    use libp2p::core::muxing::StreamMuxerExt as _;
    use libp2p::core::transport::{Boxed, DialOpts, ListenerId, PortUse, Transport as _, TransportEvent};

    use super::*;
    use crate::supervision::tests::soon;

    type End = quic::Connection;

    fn transport() -> Boxed<(PeerId, End)> {
        let config = quic::Config::new(&Keypair::generate_ed25519());
        quic::tokio::Transport::new(bounded_quic(config)).boxed()
    }

    /// The two ends of a QUIC connection, and what must live on for it.
    async fn connected() -> (End, End, impl Sized) {
        let (mut here, mut there) = (transport(), transport());
        there.listen_on(ListenerId::next(), "/ip4/127.0.0.1/udp/0/quic-v1".parse().unwrap()).unwrap();
        let address = match soon("listening", there.select_next_some()).await {
            TransportEvent::NewAddress { listen_addr, .. } => listen_addr,
            other => panic!("{other:?}"),
        };
        let dialed = here.dial(address, DialOpts { role: Endpoint::Dialer, port_use: PortUse::New }).unwrap();
        let accepted = async {
            loop {
                if let TransportEvent::Incoming { upgrade, .. } = there.select_next_some().await {
                    return upgrade.await.unwrap().1;
                }
            }
        };
        let (dialed, accepted) = soon("a connection", join(dialed, accepted)).await;
        (dialed.unwrap().1, accepted, (here, there))
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_quic_connection_has_so_many_unread_bytes_and_then_the_other_side_stops() {
        const STREAMS: usize = limits::QUIC_CONNECTION_WINDOW_BYTES / limits::STREAM_WINDOW_BYTES;
        let (mut sender, mut reader, _alive) = connected().await;
        let window = vec![7; limits::STREAM_WINDOW_BYTES];
        let mut streams = Vec::new();
        for _ in 0..=STREAMS {
            streams.push(soon("a stream", poll_fn(|context| sender.poll_outbound_unpin(context))).await.unwrap());
        }
        let mut further = streams.pop().unwrap();
        for stream in &mut streams {
            soon("a full stream", stream.write_all(&window)).await.unwrap();
        }
        assert!(further.write(b"x").now_or_never().is_none(), "the connection is full, whatever the stream has left");
        for _ in 0..STREAMS / 2 {
            let mut arrived = soon("a stream", poll_fn(|context| reader.poll_inbound_unpin(context))).await.unwrap();
            soon("a stream's bytes", arrived.read_exact(&mut vec![0; window.len()])).await.unwrap();
        }
        soon("more", further.write_all(b"x")).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_quic_connection_has_so_many_streams() {
        let (mut opener, _other, _alive) = connected().await;
        let mut streams = Vec::new();
        for _ in 0..limits::STREAMS_PER_CONNECTION_MAX {
            streams.push(soon("a stream", poll_fn(|context| opener.poll_outbound_unpin(context))).await.unwrap());
        }
        assert!(poll_fn(|context| opener.poll_outbound_unpin(context)).now_or_never().is_none());
    }
}
