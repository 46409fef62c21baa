//! A stranger that lies about where others are: its answers to Kademlia's questions are laid out by hand.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dtvn_actors::network::identity;
use dtvn_messages::crypto::KeyPair;
use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use libp2p::swarm::SwarmEvent;
use libp2p::{
    Multiaddr, PeerId, Stream, StreamProtocol, Swarm, SwarmBuilder, identify, noise, ping, swarm, tcp, yamux,
};
use libp2p_stream::IncomingStreams;

use crate::harness::{TCP, soon};

/// The discovery of the tests' chain.
const KADEMLIA: &str = "/dtvn/network-test/kad/1";

/// So many answers are lies, before each third one is none.
const FIRST_LIES: u32 = 12;

/// Four bytes that are no message.
const JUNK: [u8; 5] = [4, 0xff, 0xff, 0xff, 0xff];

/// Somebody, and where it is said to be.
pub type Lie = (PeerId, Vec<Multiaddr>);

#[derive(swarm::NetworkBehaviour)]
#[behaviour(prelude = "libp2p::swarm::derive_prelude")]
struct Behaviour {
    streams: libp2p_stream::Behaviour,
    /// By which it says where it is itself, the truth, and that it can be asked.
    identify: identify::Behaviour,
    ping: ping::Behaviour,
}

/// Who was lied to, and what it had asked.
type Told = Arc<Mutex<Vec<(PeerId, Vec<u8>)>>>;

pub struct Liar {
    pub address: Multiaddr,
    told: Told,
}

impl Liar {
    /// Listens, connects to somebody, and tells whoever asks these lies, which may name its own address; later
    /// each third answer is none.
    pub async fn start(friend: Option<Multiaddr>, lies: impl Fn(&Multiaddr) -> Vec<Lie>) -> Self {
        let mut swarm = new_swarm();
        // Before there is a connection: what is offered is told when one begins.
        let asked = swarm.behaviour().streams.new_control().accept(StreamProtocol::new(KADEMLIA)).unwrap();
        swarm.listen_on(TCP.parse().unwrap()).unwrap();
        let address = loop {
            if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                break address;
            }
        };
        if let Some(friend) = friend {
            swarm.dial(friend).unwrap();
        }
        let told = Told::default();
        tokio::spawn(answer_all(asked, answer(&lies(&address)), Arc::clone(&told)));
        tokio::spawn(async move {
            loop {
                swarm.select_next_some().await;
            }
        });
        Self { address, told }
    }

    /// Waits until one has been lied to so often when it looked for another one.
    pub async fn has_lied(&self, to: PeerId, about: PeerId, times: usize) {
        soon("a few lies", self.lies(to, about, times)).await;
    }

    /// Waits for some seconds until one has been lied to twice when it looked for another one.
    pub async fn may_lie(&self, to: PeerId, about: PeerId) {
        let _nobody_asked = tokio::time::timeout(Duration::from_secs(5), self.lies(to, about, 2)).await;
    }

    async fn lies(&self, to: PeerId, about: PeerId, times: usize) {
        let about = about.to_bytes();
        let is_it = |(asker, question): &&(PeerId, Vec<u8>)| {
            *asker == to && question.windows(about.len()).any(|part| part == about)
        };
        while self.told.lock().unwrap_or_else(PoisonError::into_inner).iter().filter(is_it).count() < times {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn new_swarm() -> Swarm<Behaviour> {
    let key = identity(&KeyPair::development("somebody else", "liar"));
    let identify = identify::Config::new("/dtvn/1".to_owned(), key.public());
    let behaviour = Behaviour {
        streams: libp2p_stream::Behaviour::new(),
        identify: identify::Behaviour::new(identify),
        ping: ping::Behaviour::default(),
    };
    let builder = SwarmBuilder::with_existing_identity(key).with_tokio();
    let builder = builder.with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default).unwrap();
    builder.with_behaviour(|_| behaviour).unwrap().build()
}

async fn answer_all(mut asked: IncomingStreams, lie: Vec<u8>, told: Told) {
    let mut number = 0_u32;
    while let Some((asker, stream)) = asked.next().await {
        number += 1;
        // Who got no answer asks somebody else from then on: at first everybody is lied to.
        let is_lie = number <= FIRST_LIES || !number.is_multiple_of(3);
        let (answer, told) = (if is_lie { lie.clone() } else { JUNK.to_vec() }, Arc::clone(&told));
        tokio::spawn(async move {
            // Who hangs up in the middle of it was told nothing.
            if let Ok(question) = answer_one(stream, &answer).await
                && is_lie
            {
                told.lock().unwrap_or_else(PoisonError::into_inner).push((asker, question));
            }
        });
    }
}

async fn answer_one(mut stream: Stream, answer: &[u8]) -> io::Result<Vec<u8>> {
    // A question is short: the first byte is all of its length.
    let mut length = [0; 1];
    stream.read_exact(&mut length).await?;
    let mut question = vec![0; usize::from(length[0])];
    stream.read_exact(&mut question).await?;
    stream.write_all(answer).await?;
    stream.close().await?;
    Ok(question)
}

/// What Kademlia answers to FIND_NODE: a protobuf message, its length before it.
fn answer(lies: &[Lie]) -> Vec<u8> {
    // Field 1, the type: FIND_NODE.
    let mut message = vec![0x08, 4];
    for (peer, addresses) in lies {
        let mut entry = Vec::new();
        field(&mut entry, 1, &peer.to_bytes());
        for address in addresses {
            field(&mut entry, 2, &address.to_vec());
        }
        // Field 3, the connection: connected.
        entry.extend([0x18, 1]);
        field(&mut message, 8, &entry);
    }
    let mut answer = Vec::new();
    number(&mut answer, message.len());
    answer.extend(message);
    answer
}

/// A field of bytes, after its number and their length.
fn field(into: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    into.push((tag << 3) | 2);
    number(into, bytes.len());
    into.extend(bytes);
}

/// Seven bits in each byte, the lowest first.
fn number(into: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        into.push(((number & 0x7f) as u8) | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}
