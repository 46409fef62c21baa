//! The state machine's actor: mailbox to ledger and back.

use std::sync::Arc;
use std::time::Duration;

use dtvn_ledger::{BlockEffects, BlockInput, Ledger, OperationResult};
use dtvn_messages::{Bundle, CommittedProof, Digest, Height, ValidatorSet, Verdict, limits};
use dtvn_pbft::Base;

use super::message::{CommitOrder, StateMachineMessage};
use crate::instruments::{Decided, Instruments};
use crate::intake::{self, IntakeMessage};
use crate::mailbox::Address;
use crate::replica::ReplicaMessage;
use crate::shared::Shared;
use crate::storage::store::AppliedBlock;
use crate::storage::{self, Loaded, StorageMessage};
use crate::supervision::{ActorError, Behaviour, Context};

/// Somebody outside the tree of the core who is told of every committed block; it must not block.
pub type Observer = Arc<dyn Fn(&Arc<BlockEffects>) + Send + Sync>;

/// What the state machine is made with.
#[derive(Clone)]
pub struct StateMachineArguments {
    /// What the node's actors share.
    pub shared: Shared,
    /// The instruments.
    pub instruments: Instruments,
    /// Who is told of committed blocks, beside intake and store.
    pub observers: Vec<Observer>,
}

/// The state machine.
pub struct StateMachine {
    ledger: Ledger,
    set: Arc<ValidatorSet>,
    base: Base,
    storage: Address<StorageMessage>,
    intake: Address<IntakeMessage>,
    arguments: StateMachineArguments,
}

impl StateMachine {
    /// Loads the ledger from the store.
    ///
    /// # Errors
    /// If the store does not answer, or what it holds is no state that a ledger can have.
    pub async fn start(
        context: Context<StateMachineMessage>,
        arguments: StateMachineArguments,
    ) -> Result<Self, ActorError> {
        let storage = context.address_of(&storage::ROLE);
        let wait = Duration::from_millis(limits::CORE_START_WAIT_MS);
        let loaded = storage.call(wait, StorageMessage::Load).await?.map_err(ActorError::new)?;
        let shared = &arguments.shared;
        let base = base_of(&loaded, shared);
        let genesis = Arc::clone(&shared.genesis);
        let ledger = tokio::task::spawn_blocking(move || Ledger::load(&genesis, loaded.image)).await??;
        let set = Arc::clone(&shared.config.set);
        let intake = context.address_of(&intake::ROLE);
        Ok(Self { ledger, set, base, storage, intake, arguments })
    }

    fn execute(
        &mut self,
        height: Height,
        timestamp: dtvn_messages::Timestamp,
        bundles: &[Arc<Bundle>],
    ) -> (u64, Digest) {
        let executed = self.ledger.execute(&BlockInput { height, timestamp, bundles, set: &self.set });
        (executed.log_size, executed.log_root)
    }

    fn on_commit(&mut self, order: CommitOrder) -> Result<(), ActorError> {
        let CommitOrder { committed, local } = order;
        let header = &committed.block.header;
        let effects = self.ledger.commit(header.height);
        let [effects] = <[BlockEffects; 1]>::try_from(effects)
            .map_err(|effects| ActorError::new(format!("{} blocks were committed where one was due", effects.len())))?;
        let effects = Arc::new(effects);
        self.base.height = header.height;
        self.base.digest = committed.digest;
        self.base.timestamp = header.timestamp;
        self.base.log = (header.log_size, header.log_root);
        self.base.empty_run = if committed.block.bundles.is_empty() { self.base.empty_run + 1 } else { 0 };
        for bundle in &committed.bundles {
            self.base.positions.insert(bundle.body.origin, bundle.position());
        }
        if let Some(certificate) = &committed.certificate {
            let proof = CommittedProof { header: header.clone(), certificate: certificate.clone() };
            self.base.proof = Some(Arc::new(proof));
        }
        self.count(&committed.bundles, &effects);
        let bundles = committed.bundles.clone();
        // An intake that is down has nobody waiting; its successor learns nothing of what was decided before.
        let _down = self.intake.try_send(IntakeMessage::Decided { bundles, effects: Arc::clone(&effects) });
        self.arguments.observers.iter().for_each(|observer| observer(&effects));
        let block = AppliedBlock {
            block: committed.block,
            certificate: committed.certificate,
            local,
            bundles: committed.bundles,
            effects,
        };
        self.storage.try_send(StorageMessage::Apply(Box::new(block)))?;
        Ok(())
    }

    fn count(&self, bundles: &[Arc<Bundle>], effects: &BlockEffects) {
        let instruments = &self.arguments.instruments;
        instruments.block_committed(bundles.len(), effects.results.len());
        let mut counts = std::collections::BTreeMap::new();
        for result in &effects.results {
            let (verdict, reason) = match result {
                OperationResult::Recorded(outcome) => match &outcome.verdict {
                    Verdict::Accepted { .. } => ("accepted", "none"),
                    Verdict::Refused { reason, .. } => ("refused", reason.name()),
                },
                OperationResult::Repeated(_) => ("repeated", "none"),
                OperationResult::KeyReused { .. } => ("key_reused", "none"),
            };
            let decided = Decided { kind: result.outcome().action_name(), verdict, reason };
            *counts.entry(decided).or_insert(0) += 1;
        }
        for (decided, count) in counts {
            instruments.operations_decided(decided, count);
        }
    }
}

/// Where the ledger stands, for a replica that starts.
fn base_of(loaded: &Loaded, shared: &Shared) -> Base {
    let mut base = Base::genesis(&shared.genesis);
    let Some(stored) = &loaded.block else { return base };
    let header = &stored.block.header;
    base.height = header.height;
    base.digest = stored.digest;
    base.timestamp = header.timestamp;
    base.log = (header.log_size, header.log_root);
    base.empty_run = u64::from(stored.block.bundles.is_empty());
    for (name, last) in &loaded.image.last_bundles {
        let index = shared.config.set.index_of_name(name.as_str());
        if let Some(index) = index.filter(|_| last.epoch == shared.config.epoch) {
            base.positions.insert(index, last.position);
        }
    }
    base.proof = stored
        .certificate
        .as_ref()
        .map(|certificate| Arc::new(CommittedProof { header: header.clone(), certificate: certificate.clone() }));
    base.stable = loaded.stable.clone().map(Arc::new);
    base
}

impl Behaviour for StateMachine {
    type Message = StateMachineMessage;

    async fn handle(
        &mut self,
        _context: &Context<StateMachineMessage>,
        message: StateMachineMessage,
    ) -> Result<(), ActorError> {
        match message {
            StateMachineMessage::Execute { id, height, timestamp, bundles, replica } => {
                let (log_size, log_root) = self.execute(height, timestamp, &bundles);
                // A replica that is gone waits for nothing; its successor resets the ledger.
                let _gone = replica.try_send(ReplicaMessage::Executed { id, log_size, log_root });
                Ok(())
            }
            StateMachineMessage::RollBack(to) => {
                self.ledger.roll_back(to);
                Ok(())
            }
            StateMachineMessage::Commit(order) => self.on_commit(*order),
            StateMachineMessage::Reset(reply) => {
                let committed = self.ledger.committed();
                self.ledger.roll_back(committed);
                reply.send(self.base.clone());
                Ok(())
            }
        }
    }
}
