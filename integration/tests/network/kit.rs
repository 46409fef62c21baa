//! A network under test, and what is asked of it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use dtvn::cluster::{Cluster, ClusterConfig};
use dtvn_client::api::{Kind, SeedRequest, TicketRequest};
use dtvn_client::{Client, ClientConfig, ClientError};
use dtvn_messages::{IdempotencyKey, TicketId, TicketState};
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

/// One network at a time: two cores carry no more.
static ONE: Mutex<()> = Mutex::const_new(());

/// The turn of a network, for who starts one of its own.
pub(crate) async fn one() -> MutexGuard<'static, ()> {
    ONE.lock().await
}

/// How long anything may take: generous, because machines are noisy. What is tested is results, not times.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Four nodes that run.
pub(crate) struct Network {
    pub(crate) cluster: Cluster,
    pub(crate) client: Client,
    _directory: TempDir,
    _one: MutexGuard<'static, ()>,
}

impl Network {
    /// Starts four nodes with further flags, and waits until all are healthy.
    pub(crate) async fn start(flags: &[&str]) -> Self {
        let one = one().await;
        let directory = tempfile::tempdir().unwrap();
        let program = env!("CARGO_BIN_EXE_dtvn-under-test").into();
        let mut config = ClusterConfig::new(program, 4, directory.path().to_path_buf());
        config.flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let cluster = Cluster::start(&config).await.unwrap_or_else(|error| panic!("{error}"));
        let mut client_config = ClientConfig::new(cluster.urls());
        client_config.deadline = PATIENCE;
        let client = Client::new(&client_config).unwrap();
        let network = Self { cluster, client, _directory: directory, _one: one };
        for node in 0..4 {
            network.until_healthy(node).await;
        }
        network
    }

    /// A client of one node only.
    pub(crate) fn at(&self, node: usize) -> Client {
        self.client.only(node)
    }

    pub(crate) async fn until_healthy(&self, node: usize) {
        let client = self.at(node);
        until("the node is healthy", async || client.health().await.is_ok_and(|health| health.is_healthy())).await;
    }

    /// Seeds the 500 tickets, once.
    pub(crate) async fn seed(&self) {
        assert_eq!(self.client.seed(SeedRequest::default()).await.unwrap().seeded, 500);
    }

    /// The node that leads.
    pub(crate) async fn leader(&self, ask: usize) -> usize {
        let primary = self.at(ask).stats().await.unwrap().primary;
        primary.as_str().trim_start_matches("node").parse().unwrap()
    }

    /// Waits until all nodes are at one height, and checks that they have the same history.
    pub(crate) async fn assert_equal_histories(&self) {
        until("all nodes are at one height", async || {
            let mut heights = Vec::new();
            for node in 0..4 {
                heights.push(self.at(node).sequence(None).await.ok().map(|sequence| sequence.height));
            }
            heights.iter().all(|height| height.is_some() && *height == heights[0])
        })
        .await;
        let first = self.at(0).sequence(None).await.unwrap();
        for node in 1..4 {
            let other = self.at(node).sequence(Some(first.height)).await.unwrap();
            assert_eq!(
                (other.digest, other.log_size),
                (first.digest, first.log_size),
                "node{node} at {}",
                first.height
            );
        }
    }

    /// The state of a ticket at a node.
    pub(crate) async fn state(&self, node: usize, ticket: &str) -> TicketState {
        self.at(node).ticket(&id(ticket), None).await.unwrap().state
    }

    /// Ends all nodes in good order, and looks through their logs for what must never be there.
    pub(crate) async fn stop(self) {
        let logs: Vec<_> = self.cluster.nodes().iter().map(|node| node.command().log.clone()).collect();
        let unwilling = self.cluster.stop().await;
        assert!(unwilling.is_empty(), "did not stop in good order: {unwilling:?}");
        for log in logs {
            let text = std::fs::read_to_string(&log).unwrap();
            let lines: Vec<_> = text.lines().collect();
            let asked = |pair: &[&str]| !pair[0].contains("panicked") || pair[1].contains("asked for by the operator");
            assert!(lines.windows(2).all(asked), "{}: {text}", log.display());
        }
    }

    /// What a node has logged.
    pub(crate) fn log(&self, node: usize) -> String {
        std::fs::read_to_string(&self.cluster.nodes()[node].command().log).unwrap()
    }
}

/// Waits until something holds.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begin = Instant::now();
    while !holds().await {
        assert!(begin.elapsed() < PATIENCE, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub(crate) fn id(ticket: &str) -> TicketId {
    TicketId::new(ticket).unwrap()
}

pub(crate) fn seed_ticket(number: usize) -> String {
    format!("TICKET-{number:03}")
}

pub(crate) fn request(ticket: &str) -> TicketRequest {
    TicketRequest::new(id(ticket))
}

pub(crate) fn with_key(ticket: &str, key: &str) -> TicketRequest {
    TicketRequest { idempotency_key: Some(IdempotencyKey::new(key).unwrap()), ..request(ticket) }
}

/// One operation; its name and ticket go into the message if it fails.
pub(crate) async fn accepted(client: &Client, kind: Kind, ticket: &str) -> dtvn_client::api::Accepted {
    client.on_ticket(kind, request(ticket)).await.unwrap_or_else(|error| panic!("{} {ticket}: {error}", kind.name()))
}

/// The reason of a refusal by the network.
pub(crate) fn reason(result: Result<dtvn_client::api::Accepted, ClientError>) -> String {
    match result {
        Ok(accepted) => panic!("accepted at height {}", accepted.height),
        Err(ClientError::Refused(problem)) => problem.reason.to_string(),
        Err(error) => panic!("{error}"),
    }
}

/// The body of an answer of a node's API, which must be good.
pub(crate) fn get(url: &str, path: &str) -> String {
    let (head, body) = answer(url, path);
    assert!(head.starts_with("HTTP/1.1 200"), "{path}: {head} {body}");
    body
}

/// Head and body of an answer of a node's API.
pub(crate) fn answer(url: &str, path: &str) -> (String, String) {
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

/// What a command of `dtvn` does.
pub(crate) fn dtvn(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dtvn-under-test"));
    command.env_remove("DTVN_NODES").env_remove("DTVN_KEY_SEED").env_remove("DTVN_API_KEY");
    command.env_remove("DTVN_AUTO_ISSUE");
    command.args(arguments).output().unwrap()
}

/// What it says, and that it ends with this exit code.
pub(crate) fn says(arguments: &[&str], code: i32) -> String {
    let output = dtvn(arguments);
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
    assert!(!text.contains("panicked"), "{arguments:?}: {text}");
    text.into_owned()
}

/// What `dtvn verify` says of these bytes with the keys of a development network, and its exit code.
pub(crate) fn verify(what: &str, contents: impl AsRef<[u8]>) -> (Option<i32>, String) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, contents).unwrap();
    let output = dtvn(&["verify", what, &file.display().to_string(), "--development=4"]);
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}
