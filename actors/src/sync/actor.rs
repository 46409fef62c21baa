//! The sync's actor: mailbox to planner and back, and blocks from the store for peers.

use std::time::Duration;

use dtvn_messages::wire::{CommittedBlock, PeerMessage};
use dtvn_messages::{Height, ValidatorIndex};
use dtvn_replication::sync::{Effect, Input, Sync as Planner, serve};

use super::message::SyncMessage;
use crate::mailbox::Address;
use crate::replica::{self, ReplicaMessage};
use crate::shared::Shared;
use crate::storage::StoreSlot;
use crate::storage::store::{StoreError, StoreReader};
use crate::supervision::{ActorError, Behaviour, Context, TaskHandle};

/// What the sync is made with.
#[derive(Clone)]
pub struct SyncArguments {
    /// What the node's actors share.
    pub shared: Shared,
    /// Where the store is.
    pub store: StoreSlot,
}

/// The sync.
pub struct Sync {
    planner: Planner,
    shared: Shared,
    store: StoreSlot,
    replica: Address<ReplicaMessage>,
    timer: Option<TaskHandle>,
}

impl Sync {
    /// Starts with nothing to do.
    ///
    /// # Errors
    /// Never; the signature is every actor's.
    #[expect(clippy::unused_async, reason = "the signature is every actor's")]
    pub async fn start(context: Context<SyncMessage>, arguments: SyncArguments) -> Result<Self, ActorError> {
        let SyncArguments { shared, store } = arguments;
        Ok(Self { planner: Planner::new(), shared, store, replica: context.address_of(&replica::ROLE), timer: None })
    }

    fn step(&mut self, context: &Context<SyncMessage>, input: Input) {
        let mut effects = Vec::new();
        self.planner.step(self.shared.clock.now(), input, &mut effects);
        for effect in effects {
            match effect {
                Effect::Send { to, message } => self.shared.network.send(to, &message),
                Effect::Deliver(checked) => {
                    // A replica that starts again asks again.
                    let _down = self.replica.try_send(ReplicaMessage::Synced(Box::new(checked)));
                }
                Effect::SetTimer { generation, after_us } => {
                    let after = Duration::from_micros(after_us);
                    let handle = context.send_after(after, SyncMessage::Timer(generation));
                    if let Some(former) = self.timer.replace(handle) {
                        former.cancel();
                    }
                }
            }
        }
    }

    /// Reads blocks beside the mailbox, and sends them.
    fn serve(&self, context: &Context<SyncMessage>, peer: ValidatorIndex, from: Height, to: Height) {
        let Some(store) = self.store.get() else { return };
        let network = self.shared.network.clone();
        context.spawn(async move {
            let read = tokio::task::spawn_blocking(move || read_blocks(&store, from, to)).await;
            match read {
                Ok(Ok(blocks)) if blocks.is_empty() => {}
                Ok(Ok(blocks)) => network.send(peer, &PeerMessage::SyncBlocks(blocks)),
                Ok(Err(error)) => tracing::warn!(peer = peer.0, %error, "Blocks for a peer could not be read."),
                Err(error) => tracing::warn!(peer = peer.0, %error, "Reading blocks for a peer was cut off."),
            }
        });
    }
}

/// The blocks from `from` on, up to `to` and the limits of one answer; the last has a certificate.
fn read_blocks(store: &StoreReader, from: Height, to: Height) -> Result<Vec<CommittedBlock>, StoreError> {
    store.read(|view| serve(from, to, |height| view.committed_block(height)))
}

impl Behaviour for Sync {
    type Message = SyncMessage;

    async fn handle(&mut self, context: &Context<SyncMessage>, message: SyncMessage) -> Result<(), ActorError> {
        match message {
            SyncMessage::Ask { from, to, holders } => self.step(context, Input::Ask { from, to, holders }),
            SyncMessage::Request { peer, from, to, credit } => {
                self.serve(context, peer, from, to);
                drop(credit);
            }
            SyncMessage::Blocks { peer, checked, credit } => {
                drop(credit);
                self.step(context, Input::Blocks { from: peer, checked: *checked });
            }
            SyncMessage::Faulty(peer) => self.step(context, Input::Faulty(peer)),
            SyncMessage::Timer(generation) => self.step(context, Input::Timer { generation }),
        }
        Ok(())
    }
}
