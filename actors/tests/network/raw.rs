//! A peer that is not our code: plain libp2p with hand-made bytes, to misbehave with.

use dtvn_actors::network::identity;
use dtvn_messages::crypto::KeyPair;
use dtvn_messages::wire::WIRE_VERSION;
use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, PeerId, Stream, StreamProtocol, Swarm, SwarmBuilder, noise, ping, swarm, tcp, tls, yamux};
use libp2p_stream::{Control, OpenStreamError};
use tokio::task::JoinHandle;

#[derive(swarm::NetworkBehaviour)]
#[behaviour(prelude = "libp2p::swarm::derive_prelude")]
struct Behaviour {
    streams: libp2p_stream::Behaviour,
    ping: ping::Behaviour,
}

impl Behaviour {
    fn new() -> Self {
        Self { streams: libp2p_stream::Behaviour::new(), ping: ping::Behaviour::default() }
    }
}

pub struct RawPeer {
    control: Control,
    target: PeerId,
    task: JoinHandle<()>,
}

impl RawPeer {
    /// Connects to a node with any key.
    pub async fn connect(key: &KeyPair, target: PeerId, address: Multiaddr) -> Self {
        let builder = SwarmBuilder::with_existing_identity(identity(key)).with_tokio();
        let builder = builder.with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default).unwrap();
        let swarm = builder.with_behaviour(|_| Behaviour::new()).unwrap().build();
        Self::dial(swarm, target, address).await
    }

    /// Connects to a node that shall speak TLS instead of Noise.
    pub async fn connect_by_tls(key: &KeyPair, target: PeerId, address: Multiaddr) -> Self {
        let builder = SwarmBuilder::with_existing_identity(identity(key)).with_tokio();
        let builder = builder.with_tcp(tcp::Config::default(), tls::Config::new, yamux::Config::default).unwrap();
        let swarm = builder.with_behaviour(|_| Behaviour::new()).unwrap().build();
        Self::dial(swarm, target, address).await
    }

    async fn dial(mut swarm: Swarm<Behaviour>, target: PeerId, address: Multiaddr) -> Self {
        let control = swarm.behaviour().streams.new_control();
        swarm.dial(address).unwrap();
        // Only then: a stream asked for while the connection is being made may be forgotten by the library.
        while !matches!(
            swarm.select_next_some().await,
            SwarmEvent::ConnectionEstablished { .. } | SwarmEvent::OutgoingConnectionError { .. }
        ) {}
        let task = tokio::spawn(async move {
            loop {
                swarm.select_next_some().await;
            }
        });
        Self { control, target, task }
    }

    pub async fn open(&mut self, protocol: &'static str) -> Result<Stream, OpenStreamError> {
        loop {
            match self.control.open_stream(self.target, StreamProtocol::new(protocol)).await {
                // Not connected yet, or the connection was just closed.
                Err(OpenStreamError::Io(_)) => tokio::task::yield_now().await,
                other => return other,
            }
        }
    }

    /// Opens a stream and exchanges handshakes on it, as the lower peer id must.
    pub async fn open_greeted(&mut self, protocol: &'static str) -> Stream {
        let mut stream = self.open(protocol).await.unwrap();
        stream.write_all(&hello(0b111)).await.unwrap();
        stream.flush().await.unwrap();
        let answer = read_frame(&mut stream).await;
        assert_eq!(answer[0], WIRE_VERSION);
        stream
    }

    pub fn hang_up(self) {
        self.task.abort();
    }
}

async fn read_frame(stream: &mut Stream) -> Vec<u8> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await.unwrap();
    let mut frame = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut frame).await.unwrap();
    frame
}

/// A handshake of the tests' chain, laid out by hand.
pub fn hello(classes: u8) -> Vec<u8> {
    let mut body = vec![WIRE_VERSION];
    text(&mut body, "network-test");
    body.extend([1; 32]);
    body.extend(7_u64.to_be_bytes());
    body.push(classes);
    text(&mut body, "");
    text(&mut body, "raw");
    let mut frame = u32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
    frame.extend(body);
    frame
}

fn text(into: &mut Vec<u8>, text: &str) {
    into.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
    into.extend(text.as_bytes());
}
