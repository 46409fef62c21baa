//! Changes of the validator set, and recoveries (consensus.md sections 4 and 10), decided at execution like every
//! operation: by the state at their place in the chain, and so the same on every replica.

use std::sync::Arc;

use dtvn_messages::canary::{Canary, planted};
use dtvn_messages::membership::{LastRecovery, PendingEnd, SignedRecovery, ValidatorsChange};
use dtvn_messages::{Action, Height, Membership, Reason, Scheme};

use crate::ledger::Ledger;
use crate::rules::Moment;

impl Ledger {
    /// The validator set in force at the tip, and what was agreed about the next one.
    #[must_use]
    pub fn membership(&self) -> &Arc<Membership> {
        &self.membership
    }

    /// The first block above the end of an epoch belongs to the next one.
    pub(crate) fn begin_epoch_if_due(&mut self, height: Height) {
        let is_over = self.membership.pending.as_ref().is_some_and(|pending| height > pending.ends);
        if let Some(next) = self.membership.next().filter(|_| is_over) {
            self.membership = Arc::new(next);
        }
    }

    /// Decides about an operation on the validators.
    pub(crate) fn decide_membership(
        &mut self,
        action: &Action,
        moment: &Moment,
        scheme: &dyn Scheme,
    ) -> Result<(), Reason> {
        let membership = match action {
            Action::ChangeValidators(change) => self.changed(change, moment, scheme)?,
            Action::Recover(recovery) => self.recovering(recovery, moment, scheme)?,
            _ => return Err(Reason::NotPermitted),
        };
        self.membership = Arc::new(membership);
        Ok(())
    }

    /// At most one change takes effect in an epoch: a later one is stale.
    fn changed(&self, change: &ValidatorsChange, moment: &Moment, scheme: &dyn Scheme) -> Result<Membership, Reason> {
        let now = &*self.membership;
        let is_taken = now.pending.as_ref().is_some_and(|pending| pending.set.is_some());
        if change.epoch != now.epoch || change.replaces != now.set.hash() || is_taken {
            return Err(Reason::StaleEpoch);
        }
        // The signatures first: the set of a change that nobody signed may be large, and its keys cost much to look at.
        if !planted(Canary::ChangeUnsigned) {
            change.verify(&self.chain, &now.set, scheme).map_err(|_| Reason::NotSignedByValidators)?;
        }
        if self.parameters.check_set(&change.set).is_err() {
            return Err(Reason::NotPermitted);
        }
        let mut membership = now.clone();
        self.pending(&mut membership, moment.height).set = Some(Arc::new(change.set.clone()));
        Ok(membership)
    }

    fn recovering(
        &self,
        recovery: &SignedRecovery,
        moment: &Moment,
        scheme: &dyn Scheme,
    ) -> Result<Membership, Reason> {
        let now = &*self.membership;
        let name = &recovery.body.validator;
        if recovery.body.epoch != now.epoch {
            return Err(Reason::StaleEpoch);
        }
        if !recovery.verify(&self.chain, &now.set, scheme) {
            return Err(Reason::NotSignedByValidators);
        }
        let is_pending = now.pending.as_ref().is_some_and(|pending| pending.recovering.contains_key(name));
        let interval_us = self.parameters.recovery_interval_ms.saturating_mul(1_000);
        let last = now.recoveries.get(name);
        if is_pending || last.is_some_and(|last| !last.is_over(moment.now)) {
            return Err(Reason::RecoveredRecently);
        }
        let mut membership = now.clone();
        membership.recoveries.insert(name.clone(), LastRecovery::after(last, moment.now, interval_us));
        self.pending(&mut membership, moment.height).recovering.insert(name.clone(), recovery.body.nonce);
        Ok(membership)
    }

    /// The end of the epoch: by position, at the first checkpoint height at or above the block that asks for it first.
    fn pending<'a>(&self, membership: &'a mut Membership, height: Height) -> &'a mut PendingEnd {
        let interval = self.parameters.checkpoint_interval;
        let ends = Height(height.0.div_ceil(interval).saturating_mul(interval));
        membership.pending.get_or_insert_with(|| PendingEnd { ends, set: None, recovering: Default::default() })
    }
}
