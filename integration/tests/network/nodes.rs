//! Nodes with key files and a genesis of their own.

use std::path::{Path, PathBuf};

use dtvn::cluster::{NodeCommand, NodeProcess};
use dtvn_client::{Client, ClientConfig};

use crate::kit::{PATIENCE, says, until};

/// Four nodes with key files of their own, on whatever ports are free.
pub(crate) struct Nodes {
    pub(crate) folder: PathBuf,
    /// Which chain they run: part of the names of their data directories.
    pub(crate) chain: &'static str,
    pub(crate) running: Vec<NodeProcess>,
}

impl Nodes {
    pub(crate) fn path(folder: &Path, name: &str) -> String {
        folder.join(name).display().to_string()
    }

    pub(crate) fn data_dir(folder: &Path, chain: &str, node: usize) -> PathBuf {
        folder.join(format!("{chain}-node{node}"))
    }

    /// The flags of a node.
    pub(crate) fn flags(folder: &Path, chain: &str, node: usize) -> Vec<String> {
        vec![
            format!("--id=node{node}"),
            format!("--key={}", Self::path(folder, &format!("node{node}.key"))),
            format!("--genesis={}", Self::path(folder, &format!("{chain}.json"))),
            format!("--data-dir={}", Self::data_dir(folder, chain, node).display()),
        ]
    }

    pub(crate) fn command(&self, node: usize, further: &[String]) -> NodeCommand {
        let addresses: Vec<String> = self.running.iter().flat_map(|node| node.ready().p2p.clone()).collect();
        let mut arguments = vec!["validator".to_owned()];
        arguments.extend(Self::flags(&self.folder, self.chain, node));
        let free = ["--port=0", "--api-port=0", "--admin-addr=127.0.0.1:0"];
        arguments.extend(free.into_iter().map(str::to_owned));
        if !addresses.is_empty() {
            arguments.push(format!("--bootstrap={}", addresses.join(",")));
        }
        arguments.extend_from_slice(further);
        NodeCommand {
            name: format!("node{node}"),
            program: env!("CARGO_BIN_EXE_dtvn-under-test").into(),
            arguments,
            variables: Vec::new(),
            data_dir: Self::data_dir(&self.folder, self.chain, node),
            log: self.folder.join(format!("{}-node{node}.log", self.chain)),
            detached: false,
        }
    }

    pub(crate) async fn start(&mut self, node: usize, further: &[String]) {
        let process = self.command(node, further).spawn().unwrap().ready().await;
        self.running.push(process.unwrap_or_else(|error| panic!("{error}")));
    }

    pub(crate) async fn all(folder: &Path, chain: &'static str, further: &[String]) -> Self {
        let mut nodes = Self { folder: folder.to_owned(), chain, running: Vec::new() };
        for node in 0..4 {
            nodes.start(node, further).await;
        }
        for node in 0..4 {
            nodes.until_votes(node).await;
        }
        nodes
    }

    pub(crate) fn client(&self, node: usize) -> Client {
        let mut config = ClientConfig::new(vec![format!("http://{}", self.running[node].ready().api)]);
        config.deadline = PATIENCE;
        Client::new(&config).unwrap()
    }

    pub(crate) async fn until_votes(&self, node: usize) {
        let client = self.client(node);
        until("it votes among the others", async || {
            let healthy = client.health().await.is_ok_and(|health| health.is_healthy());
            healthy && client.status().await.is_ok_and(|status| status.voting)
        })
        .await;
    }
}

/// The folder with four keys and the genesis of the chain `arena`.
pub(crate) fn files() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut new =
        vec!["genesis".to_owned(), "new".to_owned(), "--chain-id=arena".to_owned(), "--allow-seed".to_owned()];
    for node in 0..4 {
        let path = Nodes::path(folder.path(), &format!("node{node}.key"));
        let name = format!("--name=node{node}");
        let shown = says(&["keys", "generate", "--json", &format!("--out={path}"), &name], 0);
        let public = shown.lines().find_map(|line| line.trim().strip_prefix("\"public_key\": \"")).unwrap();
        new.push(format!("--validator=node{node}={}", &public[..64]));
    }
    new.push(format!("--out={}", Nodes::path(folder.path(), "arena.json")));
    says(&new.iter().map(String::as_str).collect::<Vec<_>>(), 0);
    folder
}
