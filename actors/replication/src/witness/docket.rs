//! Which evidence is known: one piece for each culprit, kind and slot, and not more than enough against each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use dtvn_messages::limits::{EVIDENCE_BYTES_MAX, EVIDENCE_PER_CULPRIT_MAX};
use dtvn_messages::{Digest, Epoch, Evidence, Layout, ValidatorIndex};

/// The names of what is known. Shared by who checks evidence, who finds it, and who stores it.
#[derive(Debug, Clone, Default)]
pub struct Docket(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    names: BTreeSet<Digest>,
    /// In another epoch an index may be another validator's.
    counts: BTreeMap<(Epoch, ValidatorIndex), usize>,
    /// The first proof against each culprit of the latest epoch that there is any of: for peers that were not there.
    firsts: BTreeMap<(Epoch, ValidatorIndex), Arc<Evidence>>,
}

fn culprit(evidence: &Evidence) -> (Epoch, ValidatorIndex) {
    (evidence.slot().epoch, evidence.culprit())
}

/// Whoever made it may have made it as long as a frame.
fn is_short(evidence: &Evidence) -> bool {
    evidence.to_bytes().len() <= EVIDENCE_BYTES_MAX
}

impl Docket {
    /// Whether a piece would be new, is not longer than what can be kept and told, and there is room against its culprit:
    /// else it is not even checked.
    #[must_use]
    pub fn wants(&self, evidence: &Evidence) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = known.counts.get(&culprit(evidence)).copied().unwrap_or(0);
        count < EVIDENCE_PER_CULPRIT_MAX && !known.names.contains(&evidence.name()) && is_short(evidence)
    }

    /// Notes a piece that holds; says whether it is wanted: new, and not more than enough.
    #[must_use]
    pub fn admit(&self, evidence: &Arc<Evidence>) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = known.counts.get(&culprit(evidence)).copied().unwrap_or(0);
        let is_wanted = count < EVIDENCE_PER_CULPRIT_MAX && is_short(evidence) && known.names.insert(evidence.name());
        if is_wanted {
            known.counts.insert(culprit(evidence), count + 1);
            if evidence.kind().is_proof() {
                known.firsts.entry(culprit(evidence)).or_insert_with(|| Arc::clone(evidence));
                let latest = known.firsts.last_key_value().map(|((epoch, _), _)| *epoch);
                known.firsts.retain(|(epoch, _), _| Some(*epoch) == latest);
            }
        }
        is_wanted
    }

    /// One proof against each culprit of an epoch, if it is the latest of which there are any.
    #[must_use]
    pub fn proofs(&self, epoch: Epoch) -> Vec<Arc<Evidence>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_epoch = known.firsts.iter().filter(|((of, _), _)| *of == epoch);
        of_epoch.map(|(_, evidence)| Arc::clone(evidence)).collect()
    }
}
