//! The public HTTP API and the admin listener of a node (api.md, architecture.md section 8).

mod actor;
mod admin;
mod auth;
mod body;
mod catalogue;
mod chain;
mod connection;
pub mod events;
mod info;
pub mod inputs;
mod measure;
mod metrics;
mod openapi;
mod operations;
mod places;
mod problem;
mod rate;
mod receipts;
mod routes;
mod tickets;
mod validators;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use dtvn_actors::board::Board;
use dtvn_actors::intake::IntakeMessage;
use dtvn_actors::mailbox::Address;
use dtvn_actors::network_address::Multiaddr;
use dtvn_actors::shared::NetworkSlot;
use dtvn_actors::storage::StoreSlot;
use dtvn_actors::storage::store::{StoreError, View};
use dtvn_actors::supervision::NodeTree;
use dtvn_messages::chronicle::Chronicle;
use dtvn_messages::{Height, Reason};
use tokio::sync::watch;

pub use rate::Rates;

pub use actor::{ADMIN, HTTP, HttpActor, HttpArguments, HttpMessage, Server};

use crate::config::ValidatorConfig;
use crate::telemetry::Telemetry;
use events::{EventsMessage, Passes};
use problem::Refusal;

/// How long a read waits until the store has caught up with what this node has committed.
const READ_WAIT: Duration = Duration::from_secs(2);

/// What handlers use. Cheap to clone.
#[derive(Clone)]
pub struct Services {
    /// What the node shows of itself.
    pub board: Arc<Board>,
    /// Where operations go.
    pub intake: Address<IntakeMessage>,
    /// Who tells what is committed.
    pub events: Address<EventsMessage>,
    /// How many clients listen for events.
    pub listeners: Arc<AtomicU64>,
    /// How many of them have not shown the key yet.
    pub strangers: Arc<AtomicU64>,
    /// Short-lived keys for WebSockets.
    pub passes: Passes,
    /// How often one may ask.
    pub rates: Rates,
    /// The committed state.
    pub store: StoreSlot,
    /// Who was a validator when, as far as anybody asked for it.
    pub chronicle: watch::Sender<Arc<Chronicle>>,
    /// The way to the peers, for their list.
    pub network: NetworkSlot,
    /// Where this node listens for peers.
    pub listening: watch::Receiver<Vec<Multiaddr>>,
    /// The settings.
    pub config: Arc<ValidatorConfig>,
    /// The actor tree, for the admin listener.
    pub tree: Arc<std::sync::OnceLock<NodeTree>>,
    /// The network identity, as text.
    pub peer_id: String,
    /// Metrics, readiness and liveness.
    pub telemetry: Arc<Telemetry>,
}

impl Services {
    /// As [`Services::read`], with who was a validator when.
    async fn read_with_names<T: Send + 'static>(
        &self,
        read: impl FnOnce(&View<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<(Height, T, Arc<Chronicle>), Refusal> {
        let known = Arc::clone(&self.chronicle.borrow());
        let from = known.last();
        let (height, (read, ends)) =
            self.read(move |view| Ok((read(view)?, view.epoch_ends(from, usize::MAX)?))).await?;
        if ends.is_empty() {
            return Ok((height, read, known));
        }
        let mut chronicle = Chronicle::clone(&known);
        for end in &ends {
            let internal = |fault| Refusal::new(Reason::Internal, format!("the stored ends of epochs: {fault}"));
            chronicle.follow_own(end).map_err(internal)?;
        }
        let chronicle = Arc::new(chronicle);
        self.chronicle.send_if_modified(|known| {
            let is_news = chronicle.last() > known.last();
            if is_news {
                *known = Arc::clone(&chronicle);
            }
            is_news
        });
        Ok((height, read, chronicle))
    }

    /// As [`Services::read`], of tickets and outcomes: refused while this node's state is known to be wrong or to lack what
    /// was decided, as "there is no such ticket" would then be a lie.
    async fn read_state<T: Send + 'static>(
        &self,
        read: impl FnOnce(&View<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<(Height, T), Refusal> {
        let refuse_if_unsound = || match self.board.is_unsound() {
            Some(why) => Err(Refusal::new(Reason::Syncing, format!("this node is not ready: {why}"))),
            None => Ok(()),
        };
        refuse_if_unsound()?;
        let read = self.read(read).await?;
        // It may have been found out meanwhile.
        refuse_if_unsound()?;
        Ok(read)
    }

    /// Reads from the committed state, once the store has caught up with what this node has committed; the height goes
    /// with the answer.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&View<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<(Height, T), Refusal> {
        let restarting = || Refusal::new(Reason::Restarting, "the store is not open");
        let store = self.store.get().ok_or_else(restarting)?;
        let committed = self.board.committed();
        let mut applied = store.applied_watch();
        if applied.borrow().height < committed {
            let caught_up = applied.wait_for(|applied| applied.height >= committed);
            match tokio::time::timeout(READ_WAIT, caught_up).await {
                Ok(Ok(_)) => {}
                Ok(Err(_)) => return Err(restarting()),
                Err(_) => return Err(Refusal::new(Reason::Overloaded, "the store is behind")),
            }
        }
        let read = tokio::task::spawn_blocking(move || store.read(|view| Ok((view.applied().height, read(view)?))));
        match read.await {
            Ok(Ok(read)) => Ok(read),
            Ok(Err(error)) => Err(problem::of_store(&error)),
            Err(error) => Err(Refusal::new(Reason::Internal, error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests;
