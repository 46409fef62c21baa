//! A validator that lies, for the scenario `attacker`: the real network layer with the key of a development node, and in the
//! place of the node a loop that says as much as its links take. It has what a real attacker has: a place in the set, a
//! session of every class with each honest node, and no shame.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use dtvn_actors::directory::Directory;
use dtvn_actors::links::validators_of;
use dtvn_actors::network::{
    Class, FairReceiver, FrameSinks, Network, NetworkConfig, NetworkHandle, fair_inbox, network,
};
use dtvn_actors::shared::wall;
use dtvn_actors::supervision::{ChildSpec, NodeTree, Strategy, SupervisorSpec, TreeOptions};
use dtvn_messages::bundle::BundleBody;
use dtvn_messages::wire::{PeerMessage, encode};
use dtvn_messages::{
    Action, Bundle, Digest, Epoch, Genesis, Height, IdempotencyKey, KeyPair, Operation, Signature, Signed, TicketId,
    ValidatorIndex, View, Vote, VoteKind, limits,
};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;

/// How the attacker attacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attack {
    /// Votes for random blocks, well signed: each contradicts another.
    Votes,
    /// Requests for bundles that nobody has.
    Fetches,
    /// Requests for all blocks that there are.
    Blocks,
    /// Votes and bundles with signatures that do not hold.
    BadSignatures,
    /// Frames that hold no message, and on the bare port bytes that hold no frame.
    Junk,
}

/// Junk in one frame, or in one write.
const JUNK_BYTES: usize = 64 << 10;
/// Connections to the bare port of each victim.
const JUNK_CONNECTIONS: usize = 4;

/// An attacker at work. It stops when it is dropped.
pub(super) struct Attacker {
    tree: NodeTree,
    _work: JoinSet<()>,
    _idle: Vec<AbortOnDropHandle<()>>,
    _over: DropGuard,
}

impl Attacker {
    /// Takes the place of a node that has ended, with its key.
    pub(super) async fn start(
        genesis: &Genesis,
        (index, key): (ValidatorIndex, KeyPair),
        bootstrap: &[String],
        attack: Attack,
    ) -> anyhow::Result<Self> {
        let validators = genesis.validators();
        let name =
            validators.get(index).map(|it| it.name.clone()).ok_or_else(|| anyhow::anyhow!("no such validator"))?;
        let config = NetworkConfig {
            key: key.clone(),
            chain_id: genesis.chain_id().clone(),
            genesis: genesis.hash(),
            node_name: name,
            start: wall().0,
            listen: vec!["/ip4/127.0.0.1/tcp/0".parse()?],
            announce: Vec::new(),
            bootstrap: bootstrap.iter().map(|address| address.parse()).collect::<Result<_, _>>()?,
            frames_per_second: NetworkConfig::FRAMES_PER_SECOND,
            validators: validators_of(genesis, validators),
        };
        let (consensus, first) = fair_inbox(Class::Consensus.inbound_bounds());
        let (bundles, second) = fair_inbox(Class::Bundles.inbound_bounds());
        let (sync, third) = fair_inbox(Class::Sync.inbound_bounds());
        let (events, mut told) = mpsc::channel(64);
        let directory = Directory::new();
        let Network { handle, children } =
            network(config, FrameSinks { consensus, bundles, sync }, events, &directory)?;
        let links = SupervisorSpec::new("links", Strategy::RestForOne);
        let links = children.into_iter().fold(links, SupervisorSpec::child);
        let root = SupervisorSpec::new("attacker", Strategy::OneForOne).child(ChildSpec::supervisor(links));
        let tree = NodeTree::start_with(root, TreeOptions { directory, ..TreeOptions::default() }).await?;
        let mut idle: Vec<_> = [first, second, third].map(deaf).into();
        idle.push(AbortOnDropHandle::new(tokio::spawn(async move { while told.recv().await.is_some() {} })));
        let over = CancellationToken::new();
        let mut work = JoinSet::new();
        for victim in validators.iter().map(|(victim, _)| victim).filter(|victim| *victim != index) {
            for class in Class::ALL {
                let liar = Liar { genesis: genesis.clone(), me: index, key: key.clone(), attack, said: 0 };
                work.spawn(liar.pester(handle.clone(), victim, class));
            }
        }
        if attack == Attack::Junk {
            let ports = bootstrap.iter().filter_map(|address| port_of(address));
            pour_into(ports.collect(), over.clone())?;
        }
        Ok(Self { tree, _work: work, _idle: idle, _over: over.drop_guard() })
    }

    /// Goes away in good order.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        let Self { tree, _work, _idle, _over } = self;
        drop((_work, _over));
        Ok(tree.shutdown(limits::NODE_STOP_TIMEOUT).await?)
    }
}

/// Hears, and does not listen.
fn deaf(mut inbox: FairReceiver) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            inbox.receive().await;
        }
    }))
}

struct Liar {
    genesis: Genesis,
    me: ValidatorIndex,
    key: KeyPair,
    attack: Attack,
    said: u64,
}

impl Liar {
    /// Says to one validator in one class as much as the link takes.
    async fn pester(mut self, handle: NetworkHandle, victim: ValidatorIndex, class: Class) {
        loop {
            let Some(frame) = self.frame(class) else { return };
            if handle.send_when_room(victim, class, &frame).await.is_err() {
                // It has been hung up on, or is not connected yet.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    fn frame(&mut self, class: Class) -> Option<Bytes> {
        match self.attack {
            Attack::Junk => Some(Bytes::from_static(junk())),
            _ => encode(&self.message(class)?).ok().map(Bytes::from),
        }
    }

    fn message(&mut self, class: Class) -> Option<PeerMessage> {
        self.said += 1;
        let digest = Digest(rand::random());
        match (class, self.attack) {
            (Class::Consensus, attack @ (Attack::Votes | Attack::BadSignatures)) => {
                let kind = if self.said.is_multiple_of(2) { VoteKind::Prepare } else { VoteKind::Commit };
                // Near the tip of a young chain, so that some of it is kept.
                let height = Height(1 + self.said % 1_000);
                let vote = Vote { kind, epoch: Epoch(0), view: View(self.said % 4), height, digest };
                Some(PeerMessage::Vote(match attack {
                    Attack::BadSignatures => Signed { body: vote, signer: self.me, signature: noise() },
                    _ => Signed::new(vote, self.genesis.chain_id(), self.me, &self.key),
                }))
            }
            (Class::Bundles, Attack::BadSignatures) => Some(PeerMessage::Bundle(Arc::new(self.bundle()?))),
            (Class::Bundles, Attack::Fetches) => {
                Some(PeerMessage::FetchBundles((0..64).map(|_| Digest(rand::random())).collect()))
            }
            (Class::Sync, Attack::Blocks) => Some(PeerMessage::SyncRequest { from: Height(1), to: Height(1_000) }),
            _ => None,
        }
    }

    /// A bundle of one operation that nobody signed.
    fn bundle(&self) -> Option<Vec<u8>> {
        let operation = Operation::new(
            IdempotencyKey::new(&format!("{:032x}", rand::random::<u128>())).ok()?,
            Action::Consume { ticket: TicketId::new("TICKET-001").ok()?, data: None },
        );
        let body = BundleBody {
            epoch: Epoch(0),
            origin: self.me,
            start: 1 + self.said,
            number: 0,
            operations: vec![operation],
        };
        Some(Bundle::assemble(body, noise(), self.genesis.chain_id()).bytes.clone())
    }
}

/// Made once: the attacker shares the processors with its victims.
fn junk() -> &'static [u8] {
    static JUNK: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mut bytes = vec![0; JUNK_BYTES];
        rand::fill(&mut bytes[..]);
        bytes
    });
    &JUNK
}

/// Writes junk to these ports until it is over, on a thread of its own: one that is behind all others, as the attacker of a
/// real network has its own processors, and this one must not take those of whoever measures.
fn pour_into(ports: Vec<SocketAddr>, over: CancellationToken) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("junk".to_owned()).spawn(move || {
        // On Linux a thread has a niceness of its own. Without it only the figures are worse.
        let _ = rustix::process::nice(19);
        let pouring = ports.into_iter().flat_map(|port| (0..JUNK_CONNECTIONS).map(move |_| pour(port)));
        runtime.block_on(over.run_until_cancelled(futures::future::join_all(pouring)));
    })?;
    Ok(())
}

/// Writes junk to a port as fast as it is taken, on one connection after the other.
async fn pour(port: SocketAddr) {
    loop {
        if let Ok(mut stream) = TcpStream::connect(port).await {
            while stream.write_all(junk()).await.is_ok() {}
        }
        // It was hung up on, or refused.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Where an address such as `/ip4/127.0.0.1/tcp/4001/p2p/...` leads by TCP.
fn port_of(address: &str) -> Option<SocketAddr> {
    let mut values = address.split('/').skip(2).step_by(2);
    let (host, port) = (values.next()?.parse::<IpAddr>().ok()?, values.next()?.parse::<u16>().ok()?);
    Some((host, port).into())
}

fn noise() -> Signature {
    let mut bytes = [0; 64];
    rand::fill(&mut bytes[..]);
    Signature(bytes)
}
