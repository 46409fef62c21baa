//! Start, restart and the next epoch: one recovery (consensus.md sections 4, 10 and 11). The ledger says where it stands
//! and in which epoch, and of the log all records of that epoch are replayed.

use std::sync::Arc;
use std::time::Duration;

use dtvn_messages::membership::{Recovery, SignedRecovery};
use dtvn_messages::wire::PeerMessage;
use dtvn_messages::{
    CommittedProof, Epoch, EpochEnd, Evidence, Head, StableCheckpoint, Statement, ValidatorIndex, limits,
};
use dtvn_replication::consensus::{Consensus, Effect};
use dtvn_replication::recovery::Amnesia;

use super::actor::{Replica, deliver};
use super::message::ReplicaMessage;
use crate::gossip::GossipMessage;
use crate::intake::IntakeMessage;
use crate::mailbox::Address;
use crate::shared::Shared;
use crate::state_machine::{Standing, StateMachineMessage};
use crate::storage::{StorageMessage, StoreSlot};
use crate::supervision::{ActorError, Context};
use crate::sync::SyncMessage;

const WAIT: Duration = Duration::from_millis(limits::CORE_START_WAIT_MS);

/// Consensus as it goes on.
pub(super) struct Recovered {
    pub(super) consensus: Consensus,
    /// That this node must not vote in this epoch, if it must not.
    pub(super) amnesia: Option<Amnesia>,
}

/// Recovers from the ledger's state and the records of the log, and begins.
///
/// # Errors
/// If state machine or storage do not answer, or the log cannot be read.
pub(super) async fn recover(
    shared: &Shared,
    (state_machine, storage): (&Address<StateMachineMessage>, &Address<StorageMessage>),
    store: &StoreSlot,
    effects: &mut Vec<Effect>,
) -> Result<Recovered, ActorError> {
    let Standing { config, base, own_recovery } = state_machine.call(WAIT, StateMachineMessage::Reset).await?;
    let replayed = storage.call(WAIT, StorageMessage::Replay).await?.map_err(ActorError::new)?;
    let (mut amnesia, mut votes_from) = (replayed.amnesia, replayed.votes_from);
    if own_recovery.is_some() && amnesia.as_ref().map(|amnesia| amnesia.nonce) == own_recovery {
        // Durably, before the first vote: a mark that stayed would let the next loss of memory use the nonce again.
        let opened = config.epoch;
        let recovered = |reply| StorageMessage::Recovered { opened, reply };
        storage.call(WAIT, recovered).await?.map_err(ActorError::new)?;
        tracing::info!(epoch = config.epoch.0, "This node has recovered: it votes again from this epoch on.");
        (amnesia, votes_from) = (None, opened);
    }
    shared.board.post_epoch(config.clone());
    let remembers = amnesia.is_none() && config.epoch >= votes_from;
    shared.board.post_forgotten(match &amnesia {
        Some(amnesia) => Some(amnesia.why.clone()),
        None if remembers => None,
        None => Some(format!("it recovered in epoch {votes_from}, and is in epoch {} again", config.epoch)),
    });
    let voting = remembers && !shared.board.disk_is_full();
    let (epoch, records) = (config.epoch, replayed.records.len());
    let reader = store.clone();
    let stored = tokio::task::spawn_blocking(move || Stored::read(&reader)).await??;
    let docket = shared.epoch().verifier.evidence.docket.clone();
    stored.evidence.iter().for_each(|evidence| _ = docket.admit(evidence));
    let mut consensus = Consensus::new(config, base, voting, Arc::clone(&shared.signer)).with_docket(docket);
    for record in replayed.records {
        consensus.replay(shared.clock.now(), record);
    }
    consensus.start(shared.clock.now(), stored.uncertified, effects);
    let shown = consensus.show();
    let (height, view, voting) = (shown.committed.0, shown.view.0, shown.voting);
    tracing::info!(epoch = epoch.0, height, view, records, voting, "The replica has recovered.");
    Ok(Recovered { consensus, amnesia })
}

/// What the replica must know of the store.
struct Stored {
    /// Heads of recent blocks that have no receipt certificate.
    uncertified: Vec<Head>,
    evidence: Vec<Arc<Evidence>>,
}

impl Stored {
    fn read(store: &StoreSlot) -> Result<Self, ActorError> {
        let reader = store.get().ok_or_else(|| ActorError::new("the store is not open"))?;
        let read = reader.read(|view| {
            let uncertified = view.uncertified(limits::RECEIPTS_KEPT_HEIGHTS)?;
            Ok(Self { uncertified, evidence: view.all_evidence()?.into_iter().map(Arc::new).collect() })
        });
        read.map_err(ActorError::from)
    }
}

impl Replica {
    /// The epoch is over: ledger and store go over to the next one, then this replica, then its neighbours.
    pub(super) async fn begin_epoch(
        &mut self,
        committed: Arc<CommittedProof>,
        stable: Arc<StableCheckpoint>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ActorError> {
        let ended = |reply| StateMachineMessage::EndEpoch { committed, stable, reply };
        let end: Arc<EpochEnd> = self.state_machine.call(WAIT, ended).await?;
        let (epoch, height, validators) = (end.epoch().next().0, end.height().0, end.next.len());
        tracing::info!(epoch, height, validators, "An epoch is over, the next one begins.");
        self.run += 1;
        for (_, timer) in std::mem::take(&mut self.timers) {
            timer.cancel();
        }
        let of = (&self.state_machine, &self.storage);
        let recovered = recover(&self.shared, of, &self.store, effects).await?;
        self.consensus = recovered.consensus;
        self.amnesia = recovered.amnesia;
        self.tell_epoch()?;
        deliver(&self.gossip, GossipMessage::ReplicaRestarted)
    }

    /// The neighbours hear of another epoch.
    pub(super) fn tell_epoch(&self) -> Result<(), ActorError> {
        let now = self.shared.epoch().config.committee();
        deliver(&self.intake, IntakeMessage::Epoch { epoch: now.epoch, origin: now.me })?;
        deliver(&self.gossip, GossipMessage::Epoch(now))?;
        deliver(&self.sync, SyncMessage::Epoch)
    }

    /// A validator that is behind is shown the two certificates that end its epoch.
    pub(super) fn show_epoch_end(&self, context: &Context<ReplicaMessage>, to: ValidatorIndex, epoch: Epoch) {
        let Some(store) = self.store.get() else { return };
        let network = self.shared.network.clone();
        context.spawn(async move {
            let read = move || store.read(|view| view.epoch_end(epoch));
            match tokio::task::spawn_blocking(read).await {
                Ok(Ok(Some(end))) => {
                    network.send(to, &PeerMessage::Committed(Arc::new(end.committed)));
                    network.send(to, &PeerMessage::StableCheckpoint(Arc::new(end.stable)));
                }
                Ok(Ok(None)) => {}
                Ok(Err(error)) => tracing::warn!(peer = to.0, %error, "The end of an epoch could not be read."),
                Err(error) => tracing::warn!(peer = to.0, %error, "Reading the end of an epoch was cut off."),
            }
        });
    }

    /// A validator that lost its memory asks all others to end the epoch.
    pub(super) fn ask_for_recovery(&self) {
        let Some(amnesia) = &self.amnesia else { return };
        let epoch = self.shared.epoch();
        let config = &epoch.config;
        let Some(me) = config.me.and_then(|me| config.set.get(me)) else { return };
        let body = Recovery { epoch: config.epoch, validator: me.name.clone(), nonce: amnesia.nonce };
        let signature = self.shared.signer.sign(&body.signed_bytes(&config.chain));
        self.shared.network.broadcast(&PeerMessage::Recover(Box::new(SignedRecovery { body, signature })));
    }
}
