//! A node of its own for each test: a network of one validator, which commits at once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dtvn::config::{Identity, Secret, ValidatorConfig};
use dtvn::validator::Node;
use dtvn_client::api::Ready;
use dtvn_client::{Client, ClientConfig};
use dtvn_messages::IdempotencyKey;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http::{Answer, Ask, Line, PATIENCE};

/// The key of nodes that ask for one.
pub(crate) const KEY: &str = "correct-horse-battery-staple";

/// A node that runs.
pub(crate) struct TestNode {
    node: Node,
    config: Arc<ValidatorConfig>,
    identity: Identity,
    _directory: TempDir,
}

impl TestNode {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| ()).await
    }

    /// A node that asks for [`KEY`].
    pub(crate) async fn guarded() -> Self {
        Self::start_with(|config| config.api.key = Some(Secret::new(KEY))).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut ValidatorConfig)) -> Self {
        let node = Self::begin(change).await;
        node.until_ready().await;
        node
    }

    /// A node of the same network without a vote, which knows of nothing but this place. It is never ready to take
    /// operations.
    pub(crate) async fn observer(place: &str) -> Self {
        Self::begin(|config| {
            config.node.id = "observer".parse().unwrap();
            config.node.bootstrap_node = true;
            config.p2p.bootstrap = vec![place.to_owned()];
            config.check().unwrap();
        })
        .await
    }

    async fn begin(change: impl FnOnce(&mut ValidatorConfig)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut config = ValidatorConfig::default();
        config.node.data_dir = directory.path().to_path_buf();
        config.node.total_nodes = 1;
        config.p2p.port = 0;
        config.api.port = 0;
        config.development.fault_injection = true;
        change(&mut config);
        let config = Arc::new(config);
        let identity = Identity::load(&config).unwrap();
        let node = Node::start(Arc::clone(&config), &identity, false).await.unwrap();
        Self { node, config, identity, _directory: directory }
    }

    /// Stops the node and starts it again in the same directory.
    pub(crate) async fn restarted(self) -> Self {
        self.node.shutdown(PATIENCE).await.unwrap();
        let node = Node::start(Arc::clone(&self.config), &self.identity, true).await.unwrap();
        let node = Self { node, ..self };
        node.until_ready().await;
        node
    }

    async fn until_ready(&self) {
        let begin = std::time::Instant::now();
        while self.ask(&Ask::get("/health")).await.status != 200 {
            assert!(begin.elapsed() < PATIENCE, "the node does not become healthy");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) fn ready(&self) -> Ready {
        self.node.ready()
    }

    pub(crate) fn api(&self) -> SocketAddr {
        self.ready().api.parse().unwrap()
    }

    pub(crate) fn admin(&self) -> SocketAddr {
        self.ready().admin.parse().unwrap()
    }

    /// The client of the command line, for this node.
    pub(crate) fn client(&self) -> Client {
        Client::new(&ClientConfig::new(vec![format!("http://{}", self.api())])).unwrap()
    }

    pub(crate) async fn line(&self) -> Line {
        Line::open(self.api()).await
    }

    /// One request over a connection of its own.
    pub(crate) async fn ask(&self, ask: &Ask) -> Answer {
        self.line().await.ask(ask).await
    }

    pub(crate) async fn get(&self, target: &str) -> Answer {
        self.ask(&Ask::get(target)).await
    }

    pub(crate) async fn post(&self, target: &str, body: Value) -> Answer {
        self.ask(&Ask::post(target).json(&body)).await
    }

    pub(crate) async fn seed(&self) {
        assert_eq!(self.ask(&Ask::post("/api/v1/tickets/seed")).await.good()["seeded"], 500);
    }

    pub(crate) async fn issue(&self, ticket: &str) -> Value {
        self.post("/api/v1/tickets", json!({"ticket_id": ticket})).await.good()
    }

    pub(crate) async fn admin_post(&self, target: &str) -> Answer {
        Line::open(self.admin()).await.ask(&Ask::post(target)).await
    }

    pub(crate) async fn stop(self) {
        self.node.shutdown(PATIENCE).await.unwrap();
    }
}

/// An idempotency key with a number in it.
pub(crate) fn key(number: u64) -> String {
    IdempotencyKey::new(&format!("the-key-number-{number:06}")).unwrap().to_string()
}
