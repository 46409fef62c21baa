//! The actor tree of a node (architecture.md section 2).

use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use dtvn_actors::board::{Board, Identity as BoardIdentity};
use dtvn_actors::directory::Directory;
use dtvn_actors::gossip::{self, Gossip, GossipArguments};
use dtvn_actors::health::{self, Health, HealthArguments};
use dtvn_actors::instruments::Instruments;
use dtvn_actors::intake::{self, Intake, IntakeArguments};
use dtvn_actors::links::{PRESENCE, Presence, PresenceArguments, validators_of};
use dtvn_actors::mailbox::Address;
use dtvn_actors::network::{self, Network, NetworkConfig, NetworkEvent};
use dtvn_actors::network_address::Multiaddr;
use dtvn_actors::replica::{self, Replica, ReplicaArguments};
use dtvn_actors::shared::{Shared, wall};
use dtvn_actors::state_machine::{self, StateMachine, StateMachineArguments};
use dtvn_actors::storage::{self, Storage, StorageArguments, StoreSlot};
use dtvn_actors::supervision::{ChildSpec, NodeTree, RootEnd, ShutdownError, Strategy, SupervisorSpec, TreeOptions};
use dtvn_actors::sync::{self, Sync, SyncArguments};
use dtvn_actors::verifier::{self, Inbound, Worker, WorkerArguments};
use dtvn_client::api::Ready;
use dtvn_messages::chronicle::Chronicle;
use dtvn_messages::{Ed25519, Genesis, limits};
use dtvn_replication::verify::Remembering;
use tokio::sync::{Mutex, mpsc, watch};

use super::files;
use crate::config::{Identity, ValidatorConfig, keys};
use crate::http::events::{self, EVENTS, EventsActor, EventsMessage, Passes};
use crate::http::{ADMIN, HTTP, HttpActor, HttpArguments, Rates, Server, Services};
use crate::telemetry::{Sources, Telemetry};

/// How long the core may take to stop: RocksDB is flushed.
const CORE_STOP: Duration = Duration::from_secs(10);

/// A running node.
pub struct Node {
    tree: NodeTree,
    board: Arc<Board>,
    api: Arc<RwLock<Option<SocketAddr>>>,
    admin: Arc<RwLock<Option<SocketAddr>>>,
    listening: watch::Receiver<Vec<Multiaddr>>,
}

/// Everything that the factories of actors are made of.
struct Parts {
    config: Arc<ValidatorConfig>,
    shared: Shared,
    instruments: Instruments,
    store: StoreSlot,
    inbound: Arc<Inbound>,
    listening: Arc<watch::Sender<Vec<Multiaddr>>>,
    /// The actors of the links themselves.
    links: Vec<ChildSpec>,
    events: Arc<Mutex<mpsc::Receiver<NetworkEvent>>>,
    /// Where committed blocks are told.
    hub: Address<EventsMessage>,
    /// Connections that the API may have at a time.
    api_connections: usize,
    used_before: bool,
}

impl Node {
    /// Starts all actors, in their order.
    ///
    /// # Errors
    /// If an actor cannot start: the message names it and says why.
    pub async fn start(config: Arc<ValidatorConfig>, identity: &Identity, used_before: bool) -> anyhow::Result<Self> {
        let genesis = Arc::new(identity.genesis.clone());
        let shared = shared(identity, &genesis);
        let board = Arc::clone(&shared.board);
        let (listening_sender, listening) = watch::channel(Vec::new());
        let directory = Directory::new();
        let inbound = Inbound::new();
        let (event_sender, events) = mpsc::channel(limits::NETWORK_EVENTS_MAX);
        let network = network_config(&config, identity, &genesis)?;
        let Network { handle, children } = network::network(network, inbound.sinks(), event_sender, &directory)?;
        shared.network.publish(Some(handle));
        let tree_slot = Arc::new(OnceLock::new());
        let store = StoreSlot::default();
        let listeners = Arc::default();
        let telemetry = Telemetry::new(Sources {
            board: Arc::clone(&board),
            tree: Arc::clone(&tree_slot),
            network: shared.network.clone(),
            store: store.clone(),
            listeners: Arc::clone(&listeners),
        })?;
        look_at_disk(&board, &config);
        let parts = Parts {
            links: children,
            hub: directory.address(&EVENTS),
            events: Arc::new(Mutex::new(events)),
            instruments: telemetry.instruments(),
            store,
            inbound,
            listening: Arc::new(listening_sender),
            shared,
            api_connections: files::api_connections()?,
            config,
            used_before,
        };
        let (api, admin) = (Arc::default(), Arc::default());
        let observer = telemetry.supervision_observer();
        let services = Services {
            board: Arc::clone(&board),
            intake: directory.address(&intake::ROLE),
            events: parts.hub.clone(),
            listeners,
            strangers: Arc::default(),
            passes: Passes::default(),
            rates: Rates::new(&parts.config.api),
            store: parts.store.clone(),
            chronicle: watch::Sender::new(Arc::new(Chronicle::new(&genesis))),
            network: parts.shared.network.clone(),
            listening: listening.clone(),
            config: Arc::clone(&parts.config),
            tree: Arc::clone(&tree_slot),
            peer_id: identity.peer_id(),
            telemetry,
        };
        let fault_injection = parts.config.development.fault_injection;
        let options = TreeOptions { directory, fault_injection, observer };
        let root = root(&parts, &services, (&api, &admin));
        let tree = NodeTree::start_with(root, options).await?;
        let _ = tree_slot.set(tree.clone());
        // The libp2p layer tells its real ports a moment after it has started.
        let mut told = listening.clone();
        let _listening = tokio::time::timeout(Duration::from_secs(10), told.wait_for(|it| !it.is_empty())).await;
        Ok(Self { tree, board, api, admin, listening })
    }

    /// Where the node listens.
    #[must_use]
    pub fn ready(&self) -> Ready {
        let address = |bound: &Arc<RwLock<Option<SocketAddr>>>| {
            let bound = *bound.read().unwrap_or_else(PoisonError::into_inner);
            bound.map(|address| address.to_string()).unwrap_or_default()
        };
        let peer_id = keys::peer_id(&self.board.identity.public_key);
        Ready {
            ready: true,
            node: self.board.identity.name.clone(),
            api: address(&self.api),
            admin: address(&self.admin),
            p2p: self.listening.borrow().iter().map(|it| format!("{it}/p2p/{peer_id}")).collect(),
            pid: std::process::id(),
        }
    }

    /// Resolves when the tree has failed.
    pub async fn ended(&self) -> RootEnd {
        self.tree.ended().await
    }

    /// Stops all actors in reverse order, and waits.
    ///
    /// # Errors
    /// If that takes longer than the deadline.
    pub async fn shutdown(&self, deadline: Duration) -> Result<(), ShutdownError> {
        self.board.post_stopping();
        self.tree.shutdown(deadline).await
    }
}

/// The first look at the disk comes before the replica starts: it shall not vote for a moment and then not.
fn look_at_disk(board: &Board, config: &ValidatorConfig) {
    board.post_disk_free_min(config.node.min_free_disk_mib.saturating_mul(1024 * 1024));
    match health::free_disk_bytes(&config.node.data_dir) {
        Ok(free) => _ = board.post_disk_free(free),
        Err(why) => tracing::warn!(why, "How much is free on the disk is not known."),
    }
}

/// What the node's actors share.
fn shared(identity: &Identity, genesis: &Arc<Genesis>) -> Shared {
    let who = BoardIdentity {
        name: identity.name.clone(),
        public_key: identity.key.public(),
        may_vote: identity.may_vote,
        genesis: Arc::clone(genesis),
        started_at: wall(),
    };
    let board = Board::new(who, Arc::new(Remembering::new(Ed25519)));
    Shared::new(board, Arc::new(identity.key.clone()))
}

fn network_config(config: &ValidatorConfig, identity: &Identity, genesis: &Genesis) -> anyhow::Result<NetworkConfig> {
    let (address, port) = (config.p2p.addr, config.p2p.port);
    let family = if address.is_ipv4() { "ip4" } else { "ip6" };
    let listen = [format!("/{family}/{address}/tcp/{port}"), format!("/{family}/{address}/udp/{port}/quic-v1")];
    let parse = |text: &String| {
        text.parse::<Multiaddr>().map_err(|error| anyhow::anyhow!("{text} is no multiaddress: {error}"))
    };
    Ok(NetworkConfig {
        key: identity.key.clone(),
        chain_id: genesis.chain_id().clone(),
        genesis: genesis.hash(),
        node_name: identity.name.clone(),
        start: wall().0,
        listen: listen.iter().map(parse).collect::<anyhow::Result<_>>()?,
        announce: config.p2p.announce.iter().map(parse).collect::<anyhow::Result<_>>()?,
        bootstrap: config.p2p.bootstrap.iter().map(parse).collect::<anyhow::Result<_>>()?,
        frames_per_second: NetworkConfig::FRAMES_PER_SECOND,
        validators: validators_of(genesis, genesis.validators()),
    })
}

type Bound = Arc<RwLock<Option<SocketAddr>>>;

fn root(parts: &Parts, services: &Services, bound: (&Bound, &Bound)) -> SupervisorSpec {
    SupervisorSpec::new("root", Strategy::OneForOne)
        .child(ChildSpec::supervisor(core(parts)))
        .child(ChildSpec::supervisor(verifiers(parts)))
        .child(ChildSpec::supervisor(links(parts)))
        .child(ChildSpec::supervisor(edge(parts, services, bound)))
}

/// `core`: a restart is a crash recovery from the log, the same path as a process start.
fn core(parts: &Parts) -> SupervisorSpec {
    let storage = StorageArguments {
        shared: parts.shared.clone(),
        directory: parts.config.node.data_dir.clone(),
        used_before: Arc::new(AtomicBool::new(parts.used_before)),
        store: parts.store.clone(),
        instruments: parts.instruments.clone(),
    };
    let state_machine = StateMachineArguments {
        shared: parts.shared.clone(),
        instruments: parts.instruments.clone(),
        observers: vec![events::observer(parts.hub.clone())],
    };
    let replica = ReplicaArguments {
        shared: parts.shared.clone(),
        instruments: parts.instruments.clone(),
        store: parts.store.clone(),
    };
    let sync = SyncArguments {
        shared: parts.shared.clone(),
        store: parts.store.clone(),
        directory: parts.config.node.data_dir.clone(),
        instruments: parts.instruments.clone(),
    };
    let start = Duration::from_millis(limits::CORE_START_WAIT_MS);
    let resident =
        |spec: ChildSpec| spec.mailbox(limits::CORE_MAILBOX_MAX).start_timeout(start).stop_timeout(CORE_STOP);
    // Their threads write to files that no successor may share with them.
    let owner = |spec: ChildSpec| resident(spec).end_timeout(limits::CORE_END_TIMEOUT);
    SupervisorSpec::new("core", Strategy::RestForOne)
        .child(owner(ChildSpec::worker(storage::ROLE, move |context| Storage::start(context, storage.clone()))))
        .child(resident(ChildSpec::worker(state_machine::ROLE, move |context| {
            StateMachine::start(context, state_machine.clone())
        })))
        .child(resident(ChildSpec::worker(replica::ROLE, move |context| Replica::start(context, replica.clone()))))
        .child(owner(ChildSpec::worker(sync::ROLE, move |context| Sync::start(context, sync.clone()))))
}

fn verifiers(parts: &Parts) -> SupervisorSpec {
    let mut spec = SupervisorSpec::new("verifier", Strategy::OneForOne);
    for worker in 0..limits::VERIFIER_WORKERS {
        let (shared, inbound) = (parts.shared.clone(), Arc::clone(&parts.inbound));
        let arguments = WorkerArguments { shared, inbound, worker };
        spec = spec.child(
            ChildSpec::worker(verifier::role(worker), move |context| Worker::start(context, arguments.clone()))
                .mailbox(limits::CORE_MAILBOX_MAX),
        );
    }
    spec
}

fn links(parts: &Parts) -> SupervisorSpec {
    let presence = PresenceArguments {
        shared: parts.shared.clone(),
        events: Arc::clone(&parts.events),
        listening: Arc::clone(&parts.listening),
    };
    let gossip = GossipArguments { shared: parts.shared.clone() };
    let start = Duration::from_millis(limits::CORE_START_WAIT_MS);
    let links = SupervisorSpec::new("links", Strategy::RestForOne);
    let links = parts.links.iter().cloned().fold(links, SupervisorSpec::child);
    links.child(ChildSpec::worker(PRESENCE, move |context| Presence::start(context, presence.clone()))).child(
        ChildSpec::worker(gossip::ROLE, move |context| Gossip::start(context, gossip.clone()))
            .mailbox(limits::CORE_MAILBOX_MAX)
            .start_timeout(start),
    )
}

fn edge(parts: &Parts, services: &Services, (api, admin): (&Bound, &Bound)) -> SupervisorSpec {
    let intake = IntakeArguments { shared: parts.shared.clone(), instruments: parts.instruments.clone() };
    let start = Duration::from_millis(limits::CORE_START_WAIT_MS);
    let api_address = SocketAddr::new(parts.config.api.addr, parts.config.api.port);
    let listeners = [
        (HTTP, Server::Public, api_address, Arc::clone(api), parts.api_connections),
        (ADMIN, Server::Admin, parts.config.admin_addr(), Arc::clone(admin), limits::ADMIN_CONNECTIONS_MAX),
    ];
    let mut spec = SupervisorSpec::new("edge", Strategy::OneForOne).child(
        ChildSpec::worker(intake::ROLE, move |context| Intake::start(context, intake.clone()))
            .mailbox(limits::EDGE_MAILBOX_MAX)
            .start_timeout(start),
    );
    let board = Arc::clone(&parts.shared.board);
    let hub = ChildSpec::worker(EVENTS, move |context| EventsActor::start(context, Arc::clone(&board)));
    spec = spec.child(hub.mailbox(limits::EVENTS_MAILBOX_MAX)).dynamic(limits::API_CONNECTIONS_MAX);
    for (role, server, address, bound, connections) in listeners {
        let services = services.clone();
        let connections_per_client = limits::API_CONNECTIONS_PER_CLIENT_MAX.min(connections.div_ceil(2));
        let arguments = HttpArguments { services, server, address, bound, connections, connections_per_client };
        spec = spec.child(ChildSpec::worker(role, move |context| HttpActor::start(context, arguments.clone())));
    }
    let directory = parts.config.node.data_dir.clone();
    let probe = Arc::new(move || health::free_disk_bytes(&directory));
    let watchdog = HealthArguments::new(Arc::clone(&parts.shared.board), probe);
    spec.child(ChildSpec::worker(health::ROLE, move |context| Health::start(context, watchdog.clone())))
}
