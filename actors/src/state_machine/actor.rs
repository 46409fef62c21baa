//! The state machine's actor: mailbox to ledger and back.

use std::sync::Arc;
use std::time::Duration;

use dtvn_ledger::{BlockEffects, OperationResult};
use dtvn_messages::{Bundle, Verdict, limits};
use dtvn_replication::execution::{Execution, Rooted};

use super::message::{CommitOrder, Standing, StateMachineMessage};
use crate::instruments::{Decided, Instruments};
use crate::intake::{self, IntakeMessage};
use crate::mailbox::Address;
use crate::replica::{self, ReplicaMessage};
use crate::shared::Shared;
use crate::storage::store::AppliedBlock;
use crate::storage::{self, StorageMessage};
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
    execution: Execution,
    storage: Address<StorageMessage>,
    intake: Address<IntakeMessage>,
    replica: Address<ReplicaMessage>,
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
        let identity = shared.identity();
        let load = move || Execution::load(identity, loaded.into());
        let execution = match tokio::task::spawn_blocking(load).await? {
            Ok(execution) => execution,
            Err(error) => {
                // The storage sets it aside, and the core starts again on what it rebuilds.
                let _down = storage.try_send(StorageMessage::Condemn(error.to_string()));
                return Err(error.into());
            }
        };
        arguments.shared.shelf.publish(execution.shelf());
        let (intake, replica) = (context.address_of(&intake::ROLE), context.address_of(&replica::ROLE));
        Ok(Self { execution, storage, intake, replica, arguments })
    }

    /// Brings the state map up to date with the next checkpoint, beside the mailbox.
    fn root_next(&mut self, context: &Context<StateMachineMessage>) {
        let Some(rooting) = self.execution.next_rooting() else { return };
        let myself = context.myself();
        context.spawn(async move {
            // Cut off, it is done anew by the next incarnation.
            if let Ok(rooted) = tokio::task::spawn_blocking(|| rooting.run()).await {
                let _gone = myself.try_send(StateMachineMessage::Rooted(Box::new(rooted)));
            }
        });
    }

    fn on_rooted(&mut self, context: &Context<StateMachineMessage>, rooted: Rooted) {
        let (height, root) = self.execution.rooted(rooted);
        tracing::debug!(height = height.0, %root, "The root of the state is known.");
        self.arguments.shared.shelf.publish(self.execution.shelf());
        // A replica that starts is told where the ledger stands, this root included.
        let _down = self.replica.try_send(ReplicaMessage::StateRoot { height, root });
        self.root_next(context);
    }

    fn on_commit(&mut self, order: CommitOrder) -> Result<(), ActorError> {
        let CommitOrder { committed, local } = order;
        let effects = self.execution.commit(&committed)?;
        self.count(&committed.bundles, &effects);
        let bundles = committed.bundles.clone();
        // Before anybody hears of it: a read waits until the store has come as far.
        self.arguments.shared.board.post_decided(committed.block.header.height);
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

impl Behaviour for StateMachine {
    type Message = StateMachineMessage;

    async fn handle(
        &mut self,
        context: &Context<StateMachineMessage>,
        message: StateMachineMessage,
    ) -> Result<(), ActorError> {
        match message {
            StateMachineMessage::Execute { id, height, timestamp, bundles, replica, run } => {
                let executed = self.execution.execute(height, timestamp, &bundles);
                // A replica that is gone waits for nothing; its successor resets the ledger.
                let _gone = replica.try_send(ReplicaMessage::Executed { run, id, executed });
                Ok(())
            }
            StateMachineMessage::RollBack(to) => {
                self.execution.roll_back(to);
                Ok(())
            }
            StateMachineMessage::Commit(order) => {
                self.on_commit(*order)?;
                self.root_next(context);
                Ok(())
            }
            StateMachineMessage::Rooted(rooted) => {
                self.on_rooted(context, *rooted);
                Ok(())
            }
            StateMachineMessage::Stable(stable) => {
                self.execution.stable(&stable);
                self.arguments.shared.shelf.publish(self.execution.shelf());
                Ok(())
            }
            StateMachineMessage::EndEpoch { committed, stable, reply } => {
                let end = self.execution.end_epoch(&committed, &stable);
                self.arguments.shared.shelf.publish(self.execution.shelf());
                // Before any block of the next epoch.
                self.storage.try_send(StorageMessage::EpochEnd(Arc::clone(&end)))?;
                reply.send(end);
                Ok(())
            }
            StateMachineMessage::Reset(reply) => {
                let (config, base) = self.execution.reset();
                reply.send(Standing { config, base, own_recovery: self.execution.own_recovery() });
                Ok(())
            }
        }
    }
}
