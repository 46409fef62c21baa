//! The way of a node that is many epochs behind (consensus.md section 10): how the epochs from its own on ended, as peers
//! showed it, some in each answer. It leads to the validators who signed the checkpoint of a snapshot.

use std::sync::{Arc, Mutex, PoisonError};

use dtvn_messages::membership::follow;
use dtvn_messages::{Epoch, EpochEnd, ValidatorSet};

use super::{Fault, Verifier};

/// How the epochs from that of a verifier on ended, as far as it was shown: without a gap, and each proved. Shared by all
/// who check.
#[derive(Debug, Clone, Default)]
pub struct Way(Arc<Mutex<Vec<Arc<EpochEnd>>>>);

impl Way {
    /// The ends of the epochs before this one.
    pub(super) fn before(&self, epoch: Epoch) -> Vec<Arc<EpochEnd>> {
        let ends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ends.iter().take_while(|end| end.epoch() < epoch).cloned().collect()
    }

    /// Goes on with proved ends, of which some may be known by now. Returns the epoch to which all lead; `own` is the one
    /// with which they begin.
    fn extend<'a>(&self, own: Epoch, news: impl Iterator<Item = &'a Arc<EpochEnd>>) -> Epoch {
        let mut ends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let leads_to = |ends: &[Arc<EpochEnd>]| ends.last().map_or(own, |last| last.epoch().next());
        for end in news {
            if end.epoch() == leads_to(&ends) {
                ends.push(Arc::clone(end));
            }
        }
        leads_to(&ends)
    }
}

impl Verifier {
    /// The epoch to which these ends lead from the present one, and its validators.
    pub(super) fn led_by<'a>(&'a self, ends: &'a [Arc<EpochEnd>]) -> (Epoch, &'a ValidatorSet) {
        ends.last().map_or((self.epoch, &*self.set), |last| (last.epoch().next(), &last.next))
    }

    /// Checks how epochs ended, from the present one on or from the last of which that was shown before, and keeps it.
    /// Returns the epoch to which all of them lead. What begins above that is left out without blame: it was asked for
    /// when more was known.
    ///
    /// # Errors
    /// With the fault for which its sender is to blame.
    pub fn epoch_ends(&self, ends: &[Arc<EpochEnd>]) -> Result<Epoch, Fault> {
        let known = self.way.before(Epoch(u64::MAX));
        let (epoch, set) = self.led_by(&known);
        let news = || ends.iter().filter(move |end| end.epoch() >= epoch);
        if news().next().is_none_or(|first| first.epoch() > epoch) {
            return Ok(epoch);
        }
        follow(&self.chain, (epoch, set.clone()), news().map(|end| &**end), &*self.scheme)?;
        Ok(self.way.extend(self.epoch, news()))
    }
}
