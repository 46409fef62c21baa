//! A peer that is not our code: plain libp2p with hand-made bytes, to misbehave with.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::task::Poll;

use dtvn_actors::network::identity;
use dtvn_messages::crypto::KeyPair;
use dtvn_messages::wire::WIRE_VERSION;
use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use libp2p::core::muxing::{StreamMuxerBox, StreamMuxerExt as _, SubstreamBox};
use libp2p::core::transport::{DialOpts, PortUse};
use libp2p::core::{Endpoint, Transport as _, upgrade};
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, PeerId, Stream, StreamProtocol, Swarm, SwarmBuilder, noise, ping, swarm, tcp, tls, yamux};
use libp2p_stream::{Control, OpenStreamError};
use tokio::sync::{mpsc, oneshot};
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
        Self::dial(swarm_of(key), target, address).await
    }

    /// Connects to a node that opens the streams, and takes its first one of a protocol.
    pub async fn connect_and_accept(
        key: &KeyPair,
        target: PeerId,
        address: Multiaddr,
        protocol: &'static str,
    ) -> (Self, Stream) {
        let swarm = swarm_of(key);
        // Before there is a connection: the node opens its stream at once.
        let mut accepted = swarm.behaviour().streams.new_control().accept(StreamProtocol::new(protocol)).unwrap();
        let raw = Self::dial(swarm, target, address).await;
        let (_, stream) = accepted.next().await.unwrap();
        (raw, stream)
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

fn swarm_of(key: &KeyPair) -> Swarm<Behaviour> {
    let builder = SwarmBuilder::with_existing_identity(identity(key)).with_tokio();
    let builder = builder.with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default).unwrap();
    builder.with_behaviour(|_| Behaviour::new()).unwrap().build()
}

/// A connection without a swarm: its streams carry nothing but what the test writes, and what the node opens is neither
/// answered nor closed.
pub struct RawConnection {
    asks: mpsc::Sender<oneshot::Sender<SubstreamBox>>,
}

impl RawConnection {
    pub async fn connect(key: &KeyPair, address: Multiaddr) -> Self {
        let transport = tcp::tokio::Transport::new(tcp::Config::default());
        let transport = transport.upgrade(upgrade::Version::V1);
        let transport = transport.authenticate(noise::Config::new(&identity(key)).unwrap());
        let mut transport = transport.multiplex(yamux::Config::default()).boxed();
        let options = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
        let (_, muxer) = transport.dial(address, options).unwrap().await.unwrap();
        let (asks, asked) = mpsc::channel(16);
        tokio::spawn(drive(muxer, asked));
        Self { asks }
    }

    /// Opens a stream; none if the connection has ended.
    pub async fn open(&self) -> Option<SubstreamBox> {
        let (ask, opened) = oneshot::channel();
        self.asks.send(ask).await.ok()?;
        opened.await.ok()
    }
}

/// Opens what is asked for until the connection ends.
async fn drive(mut muxer: StreamMuxerBox, mut asked: mpsc::Receiver<oneshot::Sender<SubstreamBox>>) {
    let (mut waiting, mut theirs) = (VecDeque::new(), Vec::new());
    let end: io::Error = poll_fn(|context| {
        while let Poll::Ready(Some(ask)) = asked.poll_recv(context) {
            waiting.push_back(ask);
        }
        while !waiting.is_empty() {
            match muxer.poll_outbound_unpin(context) {
                Poll::Ready(Ok(stream)) => drop(waiting.pop_front().map(|ask| ask.send(stream))),
                Poll::Ready(Err(error)) => return Poll::Ready(error),
                Poll::Pending => break,
            }
        }
        while let Poll::Ready(stream) = muxer.poll_inbound_unpin(context) {
            match stream {
                Ok(stream) => theirs.push(stream),
                Err(error) => return Poll::Ready(error),
            }
        }
        match muxer.poll_unpin(context) {
            Poll::Ready(Err(error)) => Poll::Ready(error),
            Poll::Ready(Ok(_)) | Poll::Pending => Poll::Pending,
        }
    })
    .await;
    drop(end);
}

/// The next frame of a stream.
pub async fn read_frame(stream: &mut Stream) -> Vec<u8> {
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

/// A handshake of another wire version, of which this one can read nothing but the first byte.
pub fn hello_of_version(version: u8) -> Vec<u8> {
    vec![0, 0, 0, 3, version, 0xff, 0xff]
}

fn text(into: &mut Vec<u8>, text: &str) {
    into.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
    into.extend(text.as_bytes());
}
