//! Evidence (consensus.md section 8).

use dtvn_messages::{Digest, Epoch, Evidence, Height, Layout, NodeName, ValidatorIndex, View, note};
use serde::{Deserialize, Serialize};

/// Proof that a validator lies, or the accusation that it does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EvidenceRecord {
    /// One for each culprit, kind and slot.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub name: Digest,
    /// What the culprit did, e.g. `two_votes`.
    pub kind: String,
    /// Whether it proves by itself. An accusation does not: only who holds the state can tell.
    pub is_proof: bool,
    /// Who lies.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub culprit: NodeName,
    /// Its place among the validators of the epoch.
    #[cfg_attr(feature = "openapi", schema(value_type = u16))]
    pub culprit_index: ValidatorIndex,
    /// The epoch.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub epoch: Epoch,
    /// The view; 0 where it does not matter.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub view: View,
    /// The height; 0 where it does not matter.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub height: Height,
    /// The evidence itself in base64, for `dtvn verify evidence`.
    pub bytes: String,
}

impl EvidenceRecord {
    /// A piece of evidence against a validator of this name.
    #[must_use]
    pub fn new(evidence: &Evidence, culprit: NodeName) -> Self {
        let slot = evidence.slot();
        Self {
            name: evidence.name(),
            kind: evidence.kind().name().to_owned(),
            is_proof: evidence.kind().is_proof(),
            culprit,
            culprit_index: evidence.culprit(),
            epoch: slot.epoch,
            view: slot.view,
            height: slot.height,
            bytes: note::encode_base64(&evidence.to_bytes()),
        }
    }
}

/// The answer to `GET /api/v1/evidence`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EvidencePage {
    /// The evidence.
    pub evidence: Vec<EvidenceRecord>,
    /// What to give as `after` to get more; `null` at the end.
    pub next: Option<String>,
}
