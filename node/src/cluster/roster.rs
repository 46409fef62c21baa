//! The file that remembers which nodes run: for `dtvn devnet status` and `stop`, also after `--detach`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dtvn_messages::limits;
use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use super::{ClusterError, usage};
use crate::durable;

/// Nodes that were started, as a file remembers them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roster {
    /// The nodes, by number.
    pub nodes: Vec<RosterNode>,
}

/// A node that was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RosterNode {
    /// Its name.
    pub name: String,
    /// Its process.
    pub pid: u32,
    /// When that process started, in clock ticks since the machine did: ids are used again, pairs are not.
    pub started_at: u64,
    /// Where its API listens.
    pub api: String,
    /// Where its admin endpoint listens.
    pub admin: String,
}

impl Roster {
    /// The file that remembers them.
    #[must_use]
    pub fn file(data_dir: &Path) -> PathBuf {
        data_dir.join("devnet.json")
    }

    /// Reads the file; none if there is none.
    ///
    /// # Errors
    /// If it cannot be read or understood.
    pub fn load(data_dir: &Path) -> Result<Option<Self>, ClusterError> {
        let path = Self::file(data_dir);
        match std::fs::read_to_string(&path) {
            Ok(text) => match serde_json::from_str(&text) {
                Ok(roster) => Ok(Some(roster)),
                Err(error) => Err(ClusterError::Damaged { path, error }),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ClusterError::Io { path, error }),
        }
    }

    /// Writes the file, as a whole or not at all.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save(&self, data_dir: &Path) -> Result<(), ClusterError> {
        let path = Self::file(data_dir);
        let io = |error: std::io::Error| ClusterError::Io { path: path.clone(), error };
        let text = serde_json::to_string_pretty(self).map_err(|error| io(error.into()))?;
        durable::replace(&path, durable::PUBLIC, |file| file.write_all(text.as_bytes())).map_err(io)
    }

    /// Ends those that still run, the last one first, waiting for each; removes the file. The names of those that had
    /// to be killed.
    ///
    /// # Errors
    /// If the file cannot be removed.
    pub async fn stop(&self, data_dir: &Path) -> Result<Vec<String>, ClusterError> {
        let mut unwilling = Vec::new();
        for node in self.nodes.iter().rev().filter(|node| node.is_running()) {
            if !node.stop().await {
                unwilling.push(node.name.clone());
            }
        }
        let path = Self::file(data_dir);
        std::fs::remove_file(&path).map_err(|error| ClusterError::Io { path, error })?;
        Ok(unwilling)
    }
}

impl RosterNode {
    /// Whether that very process still runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        usage::started_at(self.pid) == Some(self.started_at)
    }

    /// SIGTERM, a bounded wait for the end, SIGKILL. True if it needed no killing.
    async fn stop(&self) -> bool {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        let Some(Ok(process)) = pid.map(|pid| pidfd_open(pid, PidfdFlags::empty())) else {
            return true;
        };
        // The process may have changed between the look and the opening; from here on it cannot.
        if !self.is_running() || pidfd_send_signal(&process, Signal::TERM).is_err() {
            return true;
        }
        let process = Arc::new(process);
        let watched = Arc::clone(&process);
        let ended = tokio::task::spawn_blocking(move || {
            let timeout = rustix::event::Timespec::try_from(limits::NODE_STOP_TIMEOUT).ok();
            rustix::event::poll(&mut [PollFd::new(&*watched, PollFlags::IN)], timeout.as_ref())
        });
        if matches!(ended.await, Ok(Ok(1))) {
            return true;
        }
        // It fails only if the process has just ended.
        let _ = pidfd_send_signal(&*process, Signal::KILL);
        false
    }
}
