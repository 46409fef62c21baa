//! The watchdog's actor.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dtvn_messages::limits;

use super::stalls::{Stall, Stalls};
use crate::board::Board;
use crate::directory::Role;
use crate::mailbox::{FullPolicy, Mail};
use crate::supervision::{ActorError, Behaviour, Context};

/// The watchdog's role.
pub const ROLE: Role<HealthMessage> = Role::new("health");

/// Where the replica stands in the tree: it starts anew when voting is to stop or to go on.
const REPLICA: &str = "core/replica";

/// What can be said to the watchdog.
pub enum HealthMessage {
    /// Look at the mailboxes.
    Look,
    /// Look at the disk.
    LookAtDisk,
    /// So many bytes are free, or why that is not known.
    DiskFree(Result<u64, String>),
}

impl Mail for HealthMessage {
    fn kind(&self) -> &'static str {
        match self {
            Self::Look => "look",
            Self::LookAtDisk => "look_at_disk",
            Self::DiskFree(_) => "disk_free",
        }
    }

    fn policy(&self) -> FullPolicy {
        match self {
            Self::Look | Self::LookAtDisk => FullPolicy::DropNewest,
            Self::DiskFree(_) => FullPolicy::Wait,
        }
    }
}

/// Tells how many bytes are free on the disk of the data directory; may block.
pub type Probe = Arc<dyn Fn() -> Result<u64, String> + Send + Sync>;

/// What the watchdog is made with.
#[derive(Clone)]
pub struct HealthArguments {
    /// Where it shows what it finds, and reads how many bytes must be free.
    pub board: Arc<Board>,
    /// How much is free on the disk.
    pub probe: Probe,
    /// How often it looks at the mailboxes.
    pub look_every: Duration,
    /// How often it looks at the disk.
    pub look_at_disk_every: Duration,
    /// After what time without a handled message a mailbox counts as stuck.
    pub stall_after: Duration,
}

impl HealthArguments {
    /// A watchdog with the intervals of the product.
    #[must_use]
    pub fn new(board: Arc<Board>, probe: Probe) -> Self {
        Self {
            board,
            probe,
            look_every: limits::WATCHDOG_INTERVAL,
            look_at_disk_every: limits::DISK_LOOK_INTERVAL,
            stall_after: limits::WATCHDOG_STALL_AFTER,
        }
    }
}

/// The watchdog.
pub struct Health {
    board: Arc<Board>,
    probe: Probe,
    stalls: Stalls,
    stuck: Vec<Stall>,
}

impl Health {
    /// Begins to look.
    ///
    /// # Errors
    /// Never; the signature is every actor's.
    #[expect(clippy::unused_async, reason = "the signature is every actor's")]
    pub async fn start(context: Context<HealthMessage>, arguments: HealthArguments) -> Result<Self, ActorError> {
        let HealthArguments { board, probe, look_every, look_at_disk_every, stall_after } = arguments;
        context.send_every(look_every, || HealthMessage::Look);
        if board.health().disk_free_bytes_min > 0 {
            context.send_every(look_at_disk_every, || HealthMessage::LookAtDisk);
        }
        board.post_looked(Instant::now(), Vec::new());
        Ok(Self { board, probe, stalls: Stalls::new(stall_after), stuck: Vec::new() })
    }

    fn on_look(&mut self, context: &Context<HealthMessage>) {
        let now = Instant::now();
        let stuck = self.stalls.look(&context.tree().snapshot(), now);
        for stall in &stuck {
            if !self.stuck.iter().any(|known| known.actor == stall.actor) {
                let Stall { actor, waiting, lasts, .. } = stall;
                tracing::error!(actor, waiting, seconds = lasts.as_secs(), "An actor does not handle its messages.");
            }
        }
        for former in &self.stuck {
            if !stuck.iter().any(|stall| stall.actor == former.actor) {
                tracing::warn!(actor = former.actor, "An actor handles its messages again.");
            }
        }
        self.stuck.clone_from(&stuck);
        self.board.post_looked(now, stuck);
    }

    fn look_at_disk(&self, context: &Context<HealthMessage>) {
        let probe = Arc::clone(&self.probe);
        let work = tokio::task::spawn_blocking(move || probe());
        let failed = |error: tokio::task::JoinError| Err(error.to_string());
        context.spawn_then(async move { work.await.unwrap_or_else(failed) }, HealthMessage::DiskFree);
    }

    fn on_disk_free(&self, context: &Context<HealthMessage>, free: Result<u64, String>) {
        let free = match free {
            Ok(free) => free,
            Err(why) => {
                tracing::warn!(why, "How much is free on the disk is not known.");
                return;
            }
        };
        let was_full = self.board.health().disk_full;
        let is_full = self.board.post_disk_free(free);
        if is_full == was_full {
            return;
        }
        let least = self.board.health().disk_free_bytes_min;
        if is_full {
            tracing::error!(free, least, "The disk is nearly full: this node stops voting until there is space.");
        } else {
            tracing::info!(free, least, "The disk has space again: this node votes again.");
        }
        if self.board.epoch().config.me.is_some() {
            // What the replica may not sign it does not log either, so it recovers from the log before it votes again.
            let tree = context.tree().clone();
            context.spawn(async move {
                if let Err(error) = tree.restart(REPLICA).await {
                    tracing::warn!(%error, "The replica was not restarted; its next start looks at the disk itself.");
                }
            });
        }
    }
}

/// Bytes that are free for this process on the disk of a directory. May block.
///
/// # Errors
/// If the directory is gone or its file system does not answer.
pub fn free_disk_bytes(directory: &Path) -> Result<u64, String> {
    let found = rustix::fs::statvfs(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

impl Behaviour for Health {
    type Message = HealthMessage;

    async fn handle(&mut self, context: &Context<HealthMessage>, message: HealthMessage) -> Result<(), ActorError> {
        match message {
            HealthMessage::Look => self.on_look(context),
            HealthMessage::LookAtDisk => self.look_at_disk(context),
            HealthMessage::DiskFree(free) => self.on_disk_free(context, free),
        }
        Ok(())
    }
}
