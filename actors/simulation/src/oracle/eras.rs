//! The epochs of the one history, worked out anew from its operations (consensus.md section 10): which validators are in
//! force at each height, and since when.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dtvn_messages::membership::{LastRecovery, SignedRecovery, ValidatorsChange};
use dtvn_messages::{Digest, Epoch, Genesis, Height, NodeName, Reason, Scheme, Timestamp, ValidatorSet};

use super::{Invariant, Violation, ensure};

/// An epoch.
#[derive(Debug, Clone)]
pub(crate) struct Era {
    /// The height on which it begins, and the digest there.
    pub(crate) base: (Height, Digest),
    pub(crate) set: Arc<ValidatorSet>,
    /// Its last height, if that is agreed.
    pub(crate) ends: Option<Height>,
    /// The validators of the next one, if a change of them is agreed.
    pub(crate) next: Option<Arc<ValidatorSet>>,
    /// Who recovers with the next one.
    recovering: BTreeSet<NodeName>,
}

impl Era {
    const fn new(base: (Height, Digest), set: Arc<ValidatorSet>) -> Self {
        Self { base, set, ends: None, next: None, recovering: BTreeSet::new() }
    }
}

/// All epochs.
#[derive(Debug)]
pub(crate) struct Eras {
    genesis: Arc<Genesis>,
    eras: Vec<Era>,
    /// How many changes of the validators took effect.
    changes: u64,
    /// The last recovery of each validator.
    recoveries: BTreeMap<NodeName, LastRecovery>,
}

impl Eras {
    pub(crate) fn new(genesis: Arc<Genesis>) -> Self {
        let set = Arc::new(genesis.validators().clone());
        let first = Era::new((Height(0), genesis.hash()), set);
        Self { genesis, eras: vec![first], changes: 0, recoveries: BTreeMap::new() }
    }

    /// An epoch, if it has begun somewhere.
    pub(crate) fn of(&self, epoch: Epoch) -> Option<&Era> {
        self.eras.get(usize::try_from(epoch.0).ok()?)
    }

    /// The epoch of the height above the last agreed one.
    #[expect(clippy::expect_used, reason = "there is always the first epoch")]
    pub(crate) fn latest(&self) -> (Epoch, &Era) {
        let era = self.eras.last().expect("there is always the first epoch");
        (Epoch(self.eras.len() as u64 - 1), era)
    }

    /// The epoch of a height.
    pub(crate) fn at(&self, height: Height) -> (Epoch, &Era) {
        let above = self.eras.partition_point(|era| era.base.0 < height).max(1);
        (Epoch(above as u64 - 1), &self.eras[above - 1])
    }

    /// How many changes of the validators took effect.
    pub(crate) const fn changes(&self) -> u64 {
        self.changes
    }

    fn end_after(&mut self, height: Height) {
        let interval = self.genesis.parameters().checkpoint_interval;
        let ends = Height(height.0.div_ceil(interval) * interval);
        if let Some(era) = self.eras.last_mut() {
            era.ends.get_or_insert(ends);
        }
    }

    /// Why the recovery of a validator is to be refused at this time; none if it is to be accepted.
    pub(crate) fn refuses_recovery(
        &self,
        recovery: &SignedRecovery,
        now: Timestamp,
        scheme: &dyn Scheme,
    ) -> Option<Reason> {
        let (epoch, era) = self.latest();
        let name = &recovery.body.validator;
        let is_early = || self.recoveries.get(name).is_some_and(|last| !last.is_over(now));
        if recovery.body.epoch != epoch {
            Some(Reason::StaleEpoch)
        } else if !recovery.verify(self.genesis.chain_id(), &era.set, scheme) {
            Some(Reason::NotSignedByValidators)
        } else if era.recovering.contains(name) || is_early() {
            Some(Reason::RecoveredRecently)
        } else {
            None
        }
    }

    /// The recovery of a validator was accepted at this height and time.
    pub(crate) fn recovers(
        &mut self,
        recovery: &SignedRecovery,
        (height, now): (Height, Timestamp),
        scheme: &dyn Scheme,
    ) -> Result<(), Violation> {
        let refused = self.refuses_recovery(recovery, now, scheme);
        ensure(refused.is_none(), Invariant::Rules, || {
            format!("a recovery is accepted at {height} and was to be refused, {refused:?}: {recovery:?}")
        })?;
        let name = recovery.body.validator.clone();
        let interval_us = self.genesis.parameters().recovery_interval_ms.saturating_mul(1_000);
        let last = LastRecovery::after(self.recoveries.get(&name), now, interval_us);
        self.recoveries.insert(name.clone(), last);
        self.end_after(height);
        if let Some(era) = self.eras.last_mut() {
            era.recovering.insert(name);
        }
        Ok(())
    }

    /// Why a change of the validators is to be refused; none if it is to be accepted: it must be the first of its epoch,
    /// replace the very set that is in force, and be signed by a quorum of it.
    pub(crate) fn refuses_change(&self, change: &ValidatorsChange, scheme: &dyn Scheme) -> Option<Reason> {
        let (epoch, era) = self.latest();
        let is_first = era.next.is_none() && change.epoch == epoch && change.replaces == era.set.hash();
        if !is_first {
            Some(Reason::StaleEpoch)
        } else if change.verify(self.genesis.chain_id(), &era.set, scheme).is_err() {
            Some(Reason::NotSignedByValidators)
        } else if self.genesis.parameters().check_set(&change.set).is_err() {
            Some(Reason::NotPermitted)
        } else {
            None
        }
    }

    /// A change of the validators was accepted at this height.
    pub(crate) fn changes_to(
        &mut self,
        change: &ValidatorsChange,
        height: Height,
        scheme: &dyn Scheme,
    ) -> Result<(), Violation> {
        if let Some(reason) = self.refuses_change(change, scheme) {
            let invariant = match reason {
                Reason::StaleEpoch => Invariant::ExactlyOnce,
                Reason::NotSignedByValidators => Invariant::Validity,
                _ => Invariant::Rules,
            };
            let details = format!("a change is accepted at {height} and was to be refused, {reason}: {change:?}");
            return Err(Violation::new(invariant, details));
        }
        self.end_after(height);
        if let Some(era) = self.eras.last_mut() {
            era.next = Some(Arc::new(change.set.clone()));
        }
        Ok(())
    }

    /// A block is agreed: if it is the last of its epoch, the next one begins on it.
    pub(crate) fn grow(&mut self, height: Height, digest: Digest) {
        let (_, era) = self.latest();
        if era.ends == Some(height) {
            let (is_change, set) = (era.next.is_some(), Arc::clone(era.next.as_ref().unwrap_or(&era.set)));
            self.changes += u64::from(is_change);
            self.recoveries.retain(|name, _| set.index_of_name(name.as_str()).is_some());
            self.eras.push(Era::new((height, digest), set));
        }
    }
}
