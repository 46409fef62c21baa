//! The epochs of the one history, worked out anew from its operations (consensus.md section 10): which validators are in
//! force at each height, and since when.

use std::sync::Arc;

use dtvn_messages::membership::ValidatorsChange;
use dtvn_messages::{Digest, Epoch, Genesis, Height, Scheme, ValidatorSet};

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
}

/// All epochs.
#[derive(Debug)]
pub(crate) struct Eras {
    genesis: Arc<Genesis>,
    eras: Vec<Era>,
    /// How many changes of the validators took effect.
    changes: u64,
}

impl Eras {
    pub(crate) fn new(genesis: Arc<Genesis>) -> Self {
        let set = Arc::new(genesis.validators().clone());
        let first = Era { base: (Height(0), genesis.hash()), set, ends: None, next: None };
        Self { genesis, eras: vec![first], changes: 0 }
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

    /// The recovery of a validator was accepted at this height.
    pub(crate) fn recovers(&mut self, height: Height) {
        self.end_after(height);
    }

    /// A change of the validators was accepted at this height: it must be the first of its epoch, replace the very set
    /// that is in force, and be signed by a quorum of it.
    pub(crate) fn changes_to(
        &mut self,
        change: &ValidatorsChange,
        height: Height,
        scheme: &dyn Scheme,
    ) -> Result<(), Violation> {
        let (epoch, era) = self.latest();
        let is_first = era.next.is_none() && change.epoch == epoch && change.replaces == era.set.hash();
        ensure(is_first, Invariant::ExactlyOnce, || {
            format!("a second change of epoch {epoch}, or one of another set, is accepted at {height}: {change:?}")
        })?;
        let verified = change.verify(self.genesis.chain_id(), &era.set, scheme);
        ensure(verified.is_ok(), Invariant::Validity, || {
            format!("a change of the validators is accepted at {height}: {verified:?}")
        })?;
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
            self.eras.push(Era { base: (height, digest), set, ends: None, next: None });
        }
    }
}
