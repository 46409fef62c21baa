//! A network of real processes whose links, lives and disks are in our hands.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use dtvn::cluster::{NodeCommand, NodeProcess, free_ports, node_name};
use dtvn::config::keys::peer_id;
use dtvn_client::api::{EvidencePage, Time};
use dtvn_client::{Client, ClientConfig};
use dtvn_integration::history::{Ask, Entry, Place, Said};
use dtvn_messages::crypto::DEVELOPMENT_SEED;
use dtvn_messages::{Height, KeyPair};
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

use crate::proxy::Links;

/// One network at a time: two cores carry no more.
static ONE: Mutex<()> = Mutex::const_new(());

/// How long anything may take: generous, because machines are noisy.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// An address at which nobody is: all that nodes are told of each other beside the doors of the proxy.
const NOWHERE: &str = "/ip4/127.0.0.1/tcp/1";

/// What clients need to know of the network while it is tormented.
#[derive(Clone)]
pub struct Shared {
    /// All nodes, by number.
    pub client: Client,
    /// In which of its lives each node is.
    pub lives: Arc<Vec<AtomicU32>>,
    /// When it began.
    pub begin: Instant,
}

impl Shared {
    /// Now, in microseconds since the beginning.
    pub fn now_us(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_micros()).unwrap()
    }

    /// A node in its present life.
    pub fn life(&self, node: usize) -> (usize, u32) {
        (node, self.lives[node].load(Ordering::SeqCst))
    }
}

/// The network.
pub struct Field {
    pub links: Links,
    pub shared: Shared,
    processes: Vec<Option<NodeProcess>>,
    commands: Vec<NodeCommand>,
    directory: TempDir,
    _one: MutexGuard<'static, ()>,
}

impl Field {
    /// Starts `nodes` nodes, each with its data below the directory that `place` chooses for it.
    pub async fn start(nodes: usize) -> Self {
        Self::start_with(nodes, |_, command| command).await
    }

    /// Starts nodes whose commands are changed first.
    pub async fn start_with(nodes: usize, change: impl Fn(usize, NodeCommand) -> NodeCommand) -> Self {
        let one = ONE.lock().await;
        let directory = tempfile::Builder::new().prefix("dtvn-nemesis-").tempdir().unwrap();
        let ports = free_ports(3 * nodes).unwrap();
        let links = Links::open(&ports[..nodes]).await;
        let command = |node: usize| {
            let ports = [ports[node], ports[nodes + node], ports[2 * nodes + node]];
            change(node, command(directory.path(), node, nodes, ports, &links))
        };
        let commands: Vec<_> = (0..nodes).map(command).collect();
        let urls = (0..nodes).map(|node| format!("http://127.0.0.1:{}", ports[nodes + node])).collect();
        let mut config = ClientConfig::new(urls);
        config.deadline = PATIENCE;
        let client = Client::new(&config).unwrap();
        let lives = Arc::new((0..nodes).map(|_| AtomicU32::new(0)).collect());
        let shared = Shared { client, lives, begin: Instant::now() };
        let processes = (0..nodes).map(|_| None).collect();
        let mut field = Self { links, shared, processes, commands, directory, _one: one };
        for node in 0..nodes {
            field.restart(node).await;
        }
        for node in 0..nodes {
            field.until_healthy(node).await;
        }
        field
    }

    pub fn nodes(&self) -> usize {
        self.commands.len()
    }

    /// A client of one node only, that does not wait long.
    pub fn at(&self, node: usize) -> Client {
        self.shared.client.only(node).with_deadline(Duration::from_secs(3))
    }

    /// How a node is started.
    pub fn command(&self, node: usize) -> &NodeCommand {
        &self.commands[node]
    }

    /// The folder of everything.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The segments of a node's consensus log, oldest first.
    pub fn segments(&self, node: usize) -> Vec<PathBuf> {
        let folder = self.commands[node].data_dir.join("log");
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut segments: Vec<_> = files.filter(|path| path.extension().is_some_and(|end| end == "segment")).collect();
        segments.sort();
        segments
    }

    /// Whether a node found its consensus log damaged or gone, and kept what was left aside.
    pub fn log_was_set_aside(&self, node: usize) -> bool {
        self.commands[node].data_dir.join("log.damaged-1").is_dir()
    }

    /// Waits until a node votes.
    pub async fn until_voting(&self, node: usize) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(120);
        loop {
            let status = self.at(node).status().await;
            if status.as_ref().is_ok_and(|status| status.voting) {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "node {node} does not vote again: {status:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// What a node has logged in all its lives.
    pub fn log(&self, node: usize) -> String {
        std::fs::read_to_string(&self.commands[node].log).unwrap_or_default()
    }

    /// `kill -9`. What was told before by this life binds the next one no more.
    pub async fn kill(&mut self, node: usize) {
        if let Some(mut process) = self.processes[node].take() {
            process.kill().await;
        }
        self.shared.lives[node].fetch_add(1, Ordering::SeqCst);
    }

    /// Starts a node that does not run.
    pub async fn restart(&mut self, node: usize) {
        if self.processes[node].is_none() {
            let starting = self.commands[node].spawn().unwrap();
            self.processes[node] = Some(starting.ready().await.unwrap_or_else(|error| panic!("{error}")));
        }
    }

    pub fn pause(&self, node: usize) {
        self.processes[node].iter().for_each(NodeProcess::pause);
    }

    /// What the system says of the process of a node: `T` if it stands still; none if there is none.
    pub fn process_state(&self, node: usize) -> Option<char> {
        let pid = self.processes[node].as_ref()?.pid()?;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // Behind its name, which may hold anything.
        stat.rsplit_once(") ")?.1.chars().next()
    }

    /// All links pass, all nodes run.
    pub async fn heal(&mut self) {
        self.links.heal();
        self.processes.iter().flatten().for_each(NodeProcess::resume);
        for node in 0..self.nodes() {
            self.restart(node).await;
        }
    }

    /// The node that leads, as the others see it: the most of those that answer.
    pub async fn leader(&self) -> usize {
        let mut votes = vec![0; self.nodes()];
        for node in 0..self.nodes() {
            let stats = tokio::time::timeout(Duration::from_secs(2), self.at(node).stats()).await;
            if let Ok(Ok(stats)) = stats {
                let leader: usize = stats.primary.as_str().trim_start_matches("node").parse().unwrap();
                votes[leader] += 1;
            }
        }
        (0..votes.len()).max_by_key(|node| votes[*node]).unwrap_or(0)
    }

    /// How far a node is that is up: asked again while it has no time to answer.
    pub async fn height(&self, node: usize) -> u64 {
        let begin = Instant::now();
        loop {
            match self.at(node).sequence(None).await {
                Ok(sequence) => return sequence.height.0,
                Err(error) => assert!(begin.elapsed() < PATIENCE, "node{node} does not say its height: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// How far these nodes are once none of them moves any more.
    pub async fn settled(&self, nodes: [usize; 2]) -> [u64; 2] {
        let begin = Instant::now();
        let (mut before, mut same) = (None, 0);
        loop {
            let heights = [self.height(nodes[0]).await, self.height(nodes[1]).await];
            same = if before == Some(heights) { same + 1 } else { 0 };
            // A disk may take more than a second for what is under way.
            if same == 3 {
                return heights;
            }
            before = Some(heights);
            assert!(begin.elapsed() < PATIENCE, "nodes {nodes:?} still move: {heights:?}");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// How far a node is, if it answers.
    pub async fn height_if_up(&self, node: usize) -> Option<u64> {
        self.at(node).sequence(None).await.ok().map(|sequence| sequence.height.0)
    }

    pub async fn until_healthy(&self, node: usize) {
        let client = self.at(node);
        until("the node is healthy", async || client.health().await.is_ok_and(|health| health.is_healthy())).await;
    }

    /// Waits until all these nodes are at one height twice in a row.
    pub async fn until_level(&self, nodes: &[usize]) -> u64 {
        let begin = Instant::now();
        let mut before = None;
        loop {
            let mut heights = Vec::new();
            for node in nodes {
                heights.push(self.height_if_up(*node).await);
            }
            let level = heights[0].filter(|height| heights.iter().all(|other| *other == Some(*height)));
            if let Some(height) = level.filter(|_| level == before) {
                return height;
            }
            before = level;
            assert!(begin.elapsed() < PATIENCE, "not all at one height: {heights:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// The whole log of outcomes as a node serves it, up to a height.
    pub async fn outcomes(&self, node: usize, height: u64) -> Vec<Entry> {
        let client = self.shared.client.only(node);
        let mut entries = Vec::new();
        for height in 1..=height {
            let block = client.block(Height(height)).await.unwrap_or_else(|error| panic!("block {height}: {error}"));
            entries.extend(block.outcomes.iter().map(entry));
        }
        entries
    }

    /// Equal checksums, then each node's log.
    pub async fn logs(&self, nodes: &[usize]) -> Vec<(String, Vec<Entry>)> {
        let height = self.until_level(nodes).await;
        let first = self.at(nodes[0]).sequence(Some(Height(height))).await.unwrap();
        let mut logs = Vec::new();
        for node in nodes {
            let other = self.at(*node).sequence(Some(Height(height))).await.unwrap();
            assert_eq!((other.digest, other.log_size), (first.digest, first.log_size), "node{node} at {height}");
            logs.push((node_name(*node), self.outcomes(*node, height).await));
        }
        logs
    }

    /// Whom the evidence accuses that a node has.
    pub async fn accused(&self, node: usize) -> Vec<String> {
        let page: EvidencePage = self.shared.client.only(node).get("/api/v1/evidence").await.unwrap();
        page.evidence.into_iter().map(|record| record.culprit.to_string()).collect()
    }

    /// The time of a node's clock when it last logged something.
    pub fn clock(&self, node: usize) -> Time {
        let time = |line: &str| line.split(['"', ' ']).find_map(|word| word.parse::<Time>().ok());
        self.log(node).lines().rev().find_map(time).unwrap_or_else(|| panic!("node{node} logs no times"))
    }

    /// Ends all, and looks through the logs for what must never be there.
    pub async fn stop(mut self) {
        for process in self.processes.iter_mut().flatten() {
            assert!(process.terminate().await, "{} did not stop in good order", process.ready().node);
        }
        for command in &self.commands {
            let text = std::fs::read_to_string(&command.log).unwrap();
            assert!(!text.contains("panicked"), "{}: {text}", command.log.display());
        }
    }
}

fn entry(record: &dtvn_client::api::OutcomeRecord) -> Entry {
    let said = match (record.reason, record.state) {
        (Some(reason), state) => Said::Refused { reason, state },
        (None, Some(state)) => Said::Accepted { state, version: record.version_after },
        (None, None) => Said::Unknown,
    };
    let about = record.ticket_id.clone().and_then(|ticket| Some((ticket, Ask::of_name(&record.kind)?)));
    let place = Place { height: record.height.0, index: record.index };
    Entry { place, key: record.idempotency_key.to_string(), about, said }
}

fn command(directory: &Path, node: usize, nodes: usize, [p2p, api, admin]: [u16; 3], links: &Links) -> NodeCommand {
    let name = node_name(node);
    let door = |other: usize| {
        let key = KeyPair::development(DEVELOPMENT_SEED, &node_name(other));
        format!("/ip4/127.0.0.1/tcp/{}/p2p/{}", links.door(node, other).port(), peer_id(&key.public()))
    };
    let doors = (0..nodes).filter(|other| *other != node).map(door).collect::<Vec<_>>().join(",");
    let data_dir = directory.join(&name);
    NodeCommand {
        arguments: vec![
            "validator".to_owned(),
            format!("--id={name}"),
            format!("--total-nodes={nodes}"),
            format!("--data-dir={}", data_dir.display()),
            format!("--port={p2p}"),
            format!("--api-port={api}"),
            format!("--admin-addr=127.0.0.1:{admin}"),
            format!("--bootstrap={doors}"),
            format!("--announce={NOWHERE}"),
            "--die-with-parent".to_owned(),
        ],
        log: directory.join(format!("{name}.log")),
        name,
        program: env!("CARGO_BIN_EXE_dtvn-under-test").into(),
        variables: Vec::new(),
        data_dir,
        detached: false,
    }
}

/// Says what this machine cannot show, past the harness: that keeps to itself what a test prints and ends well.
pub fn left_out(what: &str) {
    std::io::stderr().write_all(format!("LEFT OUT: {what}\n").as_bytes()).unwrap();
}

/// Waits until something holds.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begin = Instant::now();
    while !holds().await {
        assert!(begin.elapsed() < PATIENCE, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
