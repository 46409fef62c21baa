//! Liveness as the admin listener tells it, over a tree with an actor that hangs; readiness for reasons that no healthy
//! node has.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use dtvn_actors::board::{Board, Identity};
use dtvn_actors::directory::{Directory, Role};
use dtvn_actors::health::{self, Health, HealthArguments};
use dtvn_actors::mailbox::{FullPolicy, Mail};
use dtvn_actors::shared::NetworkSlot;
use dtvn_actors::storage::StoreSlot;
use dtvn_actors::storage::store::{IfMissing, Store, StoreIdentity, StoreOptions};
use dtvn_actors::supervision::{
    ActorError, Behaviour, ChildSpec, Context, NodeTree, Strategy, SupervisorSpec, TreeOptions,
};
use dtvn_client::api::Status;
use dtvn_messages::chronicle::Chronicle;
use dtvn_messages::crypto::DEVELOPMENT_SEED;
use dtvn_messages::limits::{READY_BEHIND_BLOCKS_MAX, STORE_BEHIND_BLOCKS_MAX};
use dtvn_messages::{Genesis, Height, KeyPair, NodeName, Timestamp};
use dtvn_pbft::{Base, Config, Replica, ReplicaView};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{Semaphore, watch};

use super::{Sources, Telemetry};
use crate::config::ValidatorConfig;
use crate::http::{ADMIN, HTTP, HttpActor, HttpArguments, Server, Services};

/// Far more than anything takes; a test that needs it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// An actor whose handler blocks its thread until the gate has a permit.
struct Blocker(Arc<Semaphore>);

struct Block;

impl Mail for Block {
    fn kind(&self) -> &'static str {
        "block"
    }

    fn policy(&self) -> FullPolicy {
        FullPolicy::Refuse
    }
}

const BLOCKER: Role<Block> = Role::new("blocker");

impl Behaviour for Blocker {
    type Message = Block;

    async fn handle(&mut self, _: &Context<Block>, _: Block) -> Result<(), ActorError> {
        let began = std::time::Instant::now();
        while self.0.try_acquire().is_err() && began.elapsed() < PATIENCE {
            std::thread::yield_now();
        }
        Ok(())
    }
}

/// What a node's handlers use, of a node that has not started.
pub(crate) fn services() -> (Services, Arc<OnceLock<NodeTree>>) {
    let seed = dtvn_messages::crypto::DEVELOPMENT_SEED;
    let board = Board::new(
        Identity {
            name: NodeName::new("node0").unwrap(),
            public_key: KeyPair::development(seed, "node0").public(),
            may_vote: true,
            genesis: Arc::new(Genesis::development(1, seed, false).unwrap()),
            started_at: Timestamp(0),
        },
        Arc::new(dtvn_messages::Ed25519),
    );
    let tree = Arc::new(OnceLock::new());
    let (network, store) = (NetworkSlot::default(), StoreSlot::default());
    let sources = Sources {
        board: Arc::clone(&board),
        tree: Arc::clone(&tree),
        network: network.clone(),
        store: store.clone(),
        listeners: Arc::default(),
    };
    let genesis = Genesis::development(1, DEVELOPMENT_SEED, false).unwrap();
    let chronicle = watch::Sender::new(Arc::new(Chronicle::new(&genesis)));
    let services = Services {
        board,
        intake: Directory::new().address(&dtvn_actors::intake::ROLE),
        events: Directory::new().address(&crate::http::events::EVENTS),
        listeners: Arc::default(),
        strangers: Arc::default(),
        passes: crate::http::events::Passes::default(),
        rates: crate::http::Rates::new(&ValidatorConfig::default().api),
        store,
        chronicle,
        network,
        listening: watch::channel(Vec::new()).1,
        config: Arc::new(ValidatorConfig::default()),
        tree: Arc::clone(&tree),
        peer_id: String::new(),
        telemetry: Telemetry::new(sources).unwrap(),
    };
    (services, tree)
}

async fn get(to: SocketAddr, path: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(to).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn until(admin: SocketAddr, path: &str, wanted: &str) -> String {
    let asked = async {
        loop {
            let answer = get(admin, path).await;
            if answer.contains(wanted) {
                return answer;
            }
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| panic!("{path} never said {wanted}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_actor_that_hangs_makes_the_node_not_live_until_it_moves() {
    let (services, tree_slot) = services();
    let (gate, bound) = (Arc::new(Semaphore::new(0)), Arc::<RwLock<Option<SocketAddr>>>::default());
    let watchdog = HealthArguments {
        look_every: Duration::from_millis(5),
        stall_after: Duration::from_millis(50),
        ..HealthArguments::new(Arc::clone(&services.board), Arc::new(|| Ok(0)))
    };
    let listener = HttpArguments {
        services: services.clone(),
        server: Server::Admin,
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        bound: Arc::clone(&bound),
        connections: 10,
        connections_per_client: 10,
    };
    let opened = Arc::clone(&gate);
    let root = SupervisorSpec::new("root", Strategy::OneForOne)
        .child(ChildSpec::worker(BLOCKER, move |_| std::future::ready(Ok(Blocker(Arc::clone(&opened))))))
        .child(ChildSpec::worker(health::ROLE, move |context| Health::start(context, watchdog.clone())))
        .child(ChildSpec::worker(ADMIN, move |context| HttpActor::start(context, listener.clone())));
    let tree = NodeTree::start_with(root, TreeOptions::default()).await.unwrap();
    tree_slot.set(tree.clone()).unwrap();
    let admin = bound.read().unwrap_or_else(PoisonError::into_inner).unwrap();
    until(admin, "/health/live", "healthy").await;
    let blocker = tree.directory().address(&BLOCKER);
    blocker.try_send(Block).unwrap();
    blocker.try_send(Block).unwrap();
    let answer = until(admin, "/health/live", "503 Service Unavailable").await;
    assert!(answer.contains("the actor blocker has handled nothing for"), "{answer}");
    until(admin, "/metrics", "dtvn_actor_stuck{actor=\"blocker\"} 1").await;
    assert!(get(admin, "/metrics").await.contains("dtvn_node_live 0"));
    gate.add_permits(2);
    until(admin, "/health/live", "200 OK").await;
    until(admin, "/metrics", "dtvn_actor_stuck{actor=\"blocker\"} 0").await;
    tree.shutdown(PATIENCE).await.unwrap();
}

/// These nodes think that they began in 1970: the time of day says nothing of how long a node has been up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_long_a_node_is_up_does_not_follow_the_time_of_day() {
    let (services, _) = services();
    let bound = Arc::<RwLock<Option<SocketAddr>>>::default();
    let listener = HttpArguments {
        services: services.clone(),
        server: Server::Public,
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        bound: Arc::clone(&bound),
        connections: 10,
        connections_per_client: 10,
    };
    let child = ChildSpec::worker(HTTP, move |context| HttpActor::start(context, listener.clone()));
    let tree = NodeTree::start(SupervisorSpec::new("root", Strategy::OneForOne).child(child)).await.unwrap();
    let address = bound.read().unwrap_or_else(PoisonError::into_inner).unwrap();
    let answer = get(address, "/api/v1/status").await;
    let status: Status = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert!(status.uptime_seconds <= PATIENCE.as_secs(), "{}", status.uptime_seconds);
    let metrics = services.telemetry.render().unwrap();
    let uptime = metrics.lines().find_map(|line| line.strip_prefix("dtvn_node_uptime_seconds ")).unwrap();
    assert!((0.0..=PATIENCE.as_secs_f64()).contains(&uptime.parse().unwrap()), "{uptime}");
    tree.shutdown(PATIENCE).await.unwrap();
}

#[test]
fn a_node_that_has_not_started_says_everything_that_it_lacks() {
    let (services, _) = services();
    let sources = services.telemetry.sources();
    assert_eq!(sources.not_ready(), ["the replica has not started", "fewer validators than a quorum are connected"]);
    services.board.post_quorum(true);
    services.board.post_disk_free_min(10 * 1024 * 1024);
    services.board.post_disk_free(1024 * 1024);
    services.board.post_stopping();
    assert_eq!(
        sources.not_ready(),
        ["the replica has not started", "its disk has 1 MiB free, and 10 must be", "the node is shutting down"]
    );
    assert!(sources.not_live().is_empty());
}

#[test]
fn a_node_that_is_too_far_behind_is_not_ready_and_says_so() {
    let (services, _) = services();
    let (sources, board) = (services.telemetry.sources(), &services.board);
    let genesis = Arc::clone(&board.identity.genesis);
    let directory = tempfile::tempdir().unwrap();
    let identity = StoreIdentity::new(&genesis, board.identity.name.clone(), board.identity.public_key);
    let (store, _) = Store::open(directory.path(), identity, StoreOptions::default(), IfMissing::Create).unwrap();
    services.store.publish(Some(store.reader()));
    board.post_quorum(true);
    let config = Config::from_genesis(&genesis, Some(&board.identity.public_key));
    let at = Replica::new(config, Base::genesis(&genesis), true).show();
    let reasons = |committed: u64, proved: u64| {
        let shown = ReplicaView { committed: Height(committed), proved: Height(proved), ..at };
        board.post_replica(shown, Timestamp(1));
        sources.not_ready()
    };
    let nothing: [&str; 0] = [];
    assert_eq!(reasons(5, 5 + READY_BEHIND_BLOCKS_MAX), nothing);
    assert_eq!(reasons(5, 6 + READY_BEHIND_BLOCKS_MAX), ["catching up: 9 blocks behind"]);
    assert_eq!(reasons(STORE_BEHIND_BLOCKS_MAX, 0), nothing);
    assert_eq!(reasons(STORE_BEHIND_BLOCKS_MAX + 1, 0), ["the store is 1025 blocks behind"]);
    services.store.publish(None);
    store.close(PATIENCE).unwrap();
    assert_eq!(reasons(0, 0), ["the store is not open"]);
}
