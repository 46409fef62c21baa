//! Evidence as it travels and is stored: read, and judged.

use dtvn_messages::evidence::EpochContext;
use dtvn_messages::{Digest, Ed25519, Evidence, Height, Layout as _, ValidatorIndex};

use super::trusted;
use crate::Judged;

/// The only one of the trusted validators that ever signed what an honest one does not.
pub const LIAR: ValidatorIndex = ValidatorIndex(1);
/// Where the epochs of the evidence begin.
pub const BASE: (Height, Digest) = (Height(4), Digest([0xba; 32]));

/// Whether it proves what it says, in any epoch of the trusted validators.
#[must_use]
pub fn holds(evidence: &Evidence) -> bool {
    let genesis = trusted::genesis();
    let context = EpochContext { set: genesis.validators(), base: BASE, rotation_interval: 100 };
    evidence.verify(genesis.chain_id(), |_| Some(context), &Ed25519).is_ok()
}

/// Canonical. Whatever is made of true evidence, it proves nothing against anybody but the liar.
pub(super) fn judged(input: &[u8]) -> Judged {
    let Ok(evidence) = Evidence::decode(input) else { return Judged::Refused };
    assert_eq!(evidence.to_bytes(), input, "only the canonical form is accepted");
    assert!(!holds(&evidence) || evidence.culprit() == LIAR, "{evidence:?} accuses an honest validator");
    Judged::Accepted
}
