//! Starts, watches and ends node processes on this machine: for `dtvn devnet`, `dtvn bench` and the tests.
//!
//! A [`Cluster`] is a development network on loopback, one process for each node. It knows when a node is ready by the
//! one JSON line on its stdout, never by waiting; and when it is dropped, or its process dies in whatever way, its nodes
//! end too (they watch the pipe at their stdin), unless they are detached.

mod ports;
mod process;
mod roster;
#[cfg(test)]
mod tests;
mod usage;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use dtvn_messages::KeyPair;
use dtvn_messages::crypto::DEVELOPMENT_SEED;
use futures::future::{select_all, try_join_all};
use thiserror::Error;

use crate::config::keys::peer_id;

pub use ports::free as free_ports;
pub use process::{NodeCommand, NodeEnd, NodeProcess, StartingNode};
pub use roster::{Roster, RosterNode};
pub use usage::Usage;

/// Why a cluster, or a node of it, does not run.
#[derive(Debug, Error)]
pub enum ClusterError {
    /// A file or program.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file or program.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The file that remembers which nodes run says nothing.
    #[error(
        "{} is damaged ({error}), so which nodes run is not known. Look (`pgrep -af 'dtvn validator'`), end those of \
         this network, and remove the file",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// In what way.
        error: serde_json::Error,
    },
    /// A node ended before it was ready.
    #[error("{name} ended with {status} before it was ready:\n{log}")]
    Ended {
        /// The node.
        name: String,
        /// How it ended.
        status: String,
        /// The end of its log.
        log: String,
    },
    /// A node did not get ready in time.
    #[error("{name} was not ready after {} s and was killed:\n{log}", waited.as_secs())]
    NotReady {
        /// The node.
        name: String,
        /// How long it had.
        waited: Duration,
        /// The end of its log.
        log: String,
    },
    /// No free ports.
    #[error("there are no {count} free ports from {first} to {last} on this machine")]
    NoPorts {
        /// How many were wanted.
        count: usize,
        /// The lowest that was tried.
        first: u16,
        /// The highest that was tried.
        last: u16,
    },
    /// The ports that were asked for do not exist.
    #[error("{count} nodes from port {base} on need ports above 65535")]
    PortsTooHigh {
        /// The first port.
        base: u16,
        /// How many nodes.
        count: usize,
    },
}

/// The ports of node 0; node k has each one plus k.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BasePorts {
    /// For peers.
    pub p2p: u16,
    /// Of the HTTP API. The admin endpoint's is 1,000 above.
    pub api: u16,
}

impl Default for BasePorts {
    fn default() -> Self {
        Self { p2p: 4_001, api: 8_081 }
    }
}

/// A development network to be started.
#[derive(Debug, Clone)]
pub struct ClusterConfig {
    /// The program `dtvn`.
    pub program: PathBuf,
    /// How many nodes.
    pub nodes: usize,
    /// Below it each node has its data directory `nodeK` and its log `nodeK.log`.
    pub data_dir: PathBuf,
    /// The ports; without: any that are free.
    pub ports: Option<BasePorts>,
    /// Further flags of `dtvn validator`, for all nodes.
    pub flags: Vec<String>,
    /// Yet further ones, for single nodes by number.
    pub node_flags: BTreeMap<usize, Vec<String>>,
    /// Variables to set for all nodes.
    pub variables: Vec<(String, String)>,
    /// Whether the nodes live on when we end.
    pub detached: bool,
}

impl ClusterConfig {
    /// `nodes` nodes of `program` below `data_dir`, on free ports.
    #[must_use]
    pub fn new(program: PathBuf, nodes: usize, data_dir: PathBuf) -> Self {
        Self {
            program,
            nodes,
            data_dir,
            ports: None,
            flags: Vec::new(),
            node_flags: BTreeMap::new(),
            variables: Vec::new(),
            detached: false,
        }
    }

    /// The seed text of the nodes' keys: as set for them, else as they inherit it.
    fn key_seed(&self) -> String {
        let set = self.variables.iter().find(|(name, _)| name == "DTVN_KEY_SEED").map(|(_, value)| value.clone());
        let inherited = || std::env::var("DTVN_KEY_SEED").ok();
        set.or_else(inherited).filter(|seed| !seed.is_empty()).unwrap_or_else(|| DEVELOPMENT_SEED.to_owned())
    }

    /// The ports of each node: p2p, API, admin.
    fn node_ports(&self) -> Result<Vec<[u16; 3]>, ClusterError> {
        match self.ports {
            None => {
                let free = ports::free(3 * self.nodes)?;
                Ok(free.chunks_exact(3).map(|chunk| [chunk[0], chunk[1], chunk[2]]).collect())
            }
            Some(base) => (0..self.nodes)
                .map(|number| {
                    let plus = |port: u16, offset: usize| {
                        u16::try_from(usize::from(port) + offset)
                            .map_err(|_| ClusterError::PortsTooHigh { base: port, count: self.nodes })
                    };
                    Ok([plus(base.p2p, number)?, plus(base.api, number)?, plus(base.api, number + 1_000)?])
                })
                .collect(),
        }
    }

    /// How to start each node.
    fn commands(&self) -> Result<Vec<NodeCommand>, ClusterError> {
        let ports = self.node_ports()?;
        let seed = self.key_seed();
        let address = |number: usize| {
            let key = KeyPair::development(&seed, &node_name(number));
            format!("/ip4/127.0.0.1/tcp/{}/p2p/{}", ports[number][0], peer_id(&key.public()))
        };
        let command = |number: usize| {
            let [p2p, api, admin] = ports[number];
            let others = (0..self.nodes).filter(|other| *other != number).map(address).collect::<Vec<_>>().join(",");
            let name = node_name(number);
            let mut arguments = vec![
                "validator".to_owned(),
                format!("--id={name}"),
                format!("--total-nodes={}", self.nodes),
                format!("--data-dir={}", self.data_dir.join(&name).display()),
                format!("--port={p2p}"),
                format!("--api-port={api}"),
                format!("--admin-addr=127.0.0.1:{admin}"),
                format!("--bootstrap={others}"),
            ];
            if !self.detached {
                arguments.push("--die-with-parent".to_owned());
            }
            let own = self.node_flags.get(&number).into_iter().flatten();
            arguments.extend(self.flags.iter().chain(own).cloned());
            NodeCommand {
                data_dir: self.data_dir.join(&name),
                log: self.data_dir.join(format!("{name}.log")),
                name,
                program: self.program.clone(),
                arguments,
                variables: self.variables.clone(),
                detached: self.detached,
            }
        };
        Ok((0..self.nodes).map(command).collect())
    }
}

/// The name of a development network's node.
#[must_use]
pub fn node_name(number: usize) -> String {
    format!("node{number}")
}

/// The key of a development network's node; DTVN_KEY_SEED counts, if it is set.
#[must_use]
pub fn development_key(name: &str) -> KeyPair {
    let seed = std::env::var("DTVN_KEY_SEED").ok().filter(|seed| !seed.is_empty());
    KeyPair::development(seed.as_deref().unwrap_or(DEVELOPMENT_SEED), name)
}

/// A development network that runs. Dropped, its nodes are killed, unless they are detached.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<NodeProcess>,
    detached: bool,
}

impl Cluster {
    /// Starts all nodes at once and waits until each is ready. If one does not get there, all end.
    ///
    /// # Errors
    /// With the end of the log of the first node that failed.
    pub async fn start(config: &ClusterConfig) -> Result<Self, ClusterError> {
        std::fs::create_dir_all(&config.data_dir)
            .map_err(|error| ClusterError::Io { path: config.data_dir.clone(), error })?;
        let starting: Result<Vec<_>, _> = config.commands()?.iter().map(NodeCommand::spawn).collect();
        let nodes = try_join_all(starting?.into_iter().map(StartingNode::ready)).await?;
        Ok(Self { nodes, detached: config.detached })
    }

    /// The nodes, by number.
    #[must_use]
    pub fn nodes(&self) -> &[NodeProcess] {
        &self.nodes
    }

    /// The URLs of the nodes' APIs.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(|node| format!("http://{}", node.ready().api)).collect()
    }

    /// The URLs of the nodes' admin endpoints.
    #[must_use]
    pub fn admin_urls(&self) -> Vec<String> {
        self.nodes.iter().map(|node| format!("http://{}", node.ready().admin)).collect()
    }

    /// Kills a node (`kill -9`) and waits for its end.
    ///
    /// # Panics
    /// If there is no such node.
    pub async fn kill(&mut self, number: usize) {
        self.nodes[number].kill().await;
    }

    /// Asks a node to end, waits, and kills it if it takes too long. True if it ended by itself with status 0.
    ///
    /// # Panics
    /// If there is no such node.
    pub async fn terminate(&mut self, number: usize) -> bool {
        self.nodes[number].terminate().await
    }

    /// Starts a node that has ended again, with the same ports and data, and waits until it is ready.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    ///
    /// # Panics
    /// If there is no such node.
    pub async fn restart(&mut self, number: usize) -> Result<(), ClusterError> {
        let command = self.nodes[number].command().clone();
        self.nodes[number].kill().await;
        self.nodes[number] = command.spawn()?.ready().await?;
        Ok(())
    }

    /// Waits until one of the nodes that run ends: its number, and how it ended. None if none runs. May be given up and
    /// called again.
    pub async fn next_end(&mut self) -> Option<(usize, NodeEnd)> {
        let running = self.nodes.iter_mut().enumerate().filter(|(_, node)| node.pid().is_some());
        let ends: Vec<_> =
            running.map(|(number, node)| Box::pin(async move { (number, node.ended().await) })).collect();
        if ends.is_empty() {
            return None;
        }
        let (end, ..) = select_all(ends).await;
        Some(end)
    }

    /// Ends all nodes in order, the last one first. The names of those that had to be killed or failed at the end.
    pub async fn stop(mut self) -> Vec<String> {
        let mut unwilling = Vec::new();
        for node in self.nodes.iter_mut().rev() {
            if node.pid().is_some() && !node.terminate().await {
                unwilling.push(node.ready().node.to_string());
            }
        }
        unwilling
    }

    /// Which processes these are, for a file.
    #[must_use]
    pub fn roster(&self) -> Roster {
        let node = |node: &NodeProcess| RosterNode {
            name: node.ready().node.to_string(),
            pid: node.ready().pid,
            started_at: usage::started_at(node.ready().pid).unwrap_or(0),
            api: node.ready().api.clone(),
            admin: node.ready().admin.clone(),
        };
        Roster { nodes: self.nodes.iter().map(node).collect() }
    }

    /// Leaves the nodes running.
    ///
    /// # Panics
    /// If the cluster was not started detached: its nodes watch our end.
    pub fn detach(self) {
        assert!(self.detached, "nodes that watch our end cannot be left running");
        self.nodes.into_iter().for_each(NodeProcess::release);
    }
}
