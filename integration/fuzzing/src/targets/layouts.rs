//! Everything with a canonical layout, and the genesis file.

use std::fmt::Debug;

use dtvn_messages::membership::{SignedRecovery, ValidatorsChange};
use dtvn_messages::state::{RawEntry, StateProof};
use dtvn_messages::*;

use super::choice;
use crate::Judged;

/// A type that is read and written again, to the same bytes.
pub(super) fn canonical<T: Layout + PartialEq + Debug>(bytes: &[u8]) -> Judged {
    let Ok(value) = T::from_bytes(bytes) else { return Judged::Refused };
    assert_eq!(value.to_bytes(), bytes, "only the canonical form is accepted");
    Judged::Accepted
}

/// A type's name, and what reads it.
pub type Typed = (&'static str, fn(&[u8]) -> Judged);

/// The types that the first byte chooses from.
pub(super) const TYPES: &[Typed] = &[
    ("block", canonical::<Block>),
    ("header", canonical::<Header>),
    ("certificate", canonical::<Certificate>),
    ("prepared", canonical::<PreparedCertificate>),
    ("committed", canonical::<CommittedProof>),
    ("stable", canonical::<StableCheckpoint>),
    ("vote", canonical::<Signed<Vote>>),
    ("checkpoint", canonical::<Signed<Checkpoint>>),
    ("view-change", canonical::<Signed<ViewChange>>),
    ("new-view", canonical::<Signed<NewView>>),
    ("operation", canonical::<Operation>),
    ("outcome", canonical::<Outcome>),
    ("verdict", canonical::<Verdict>),
    ("validators", canonical::<ValidatorSet>),
    ("ticket", canonical::<Ticket>),
    ("clock", canonical::<VectorClock>),
    ("bundle-body", canonical::<BundleBody>),
    ("evidence", canonical::<Evidence>),
    ("receipt", canonical::<ReceiptCertificate>),
    ("membership", canonical::<Membership>),
    ("epoch-end", canonical::<EpochEnd>),
    ("recovery", canonical::<SignedRecovery>),
    ("change", canonical::<ValidatorsChange>),
    ("head", canonical::<Signed<Head>>),
    ("entry", canonical::<RawEntry>),
    ("state-proof", canonical::<StateProof>),
];

/// Any of them.
pub(super) fn any(input: &[u8]) -> Judged {
    let Some((of, bytes)) = choice(input, TYPES.len()) else { return Judged::Refused };
    TYPES[of].1(bytes)
}

/// The byte that chooses a type of [`any`].
#[must_use]
pub fn layout_choice(name: &str) -> Option<u8> {
    TYPES.iter().position(|(known, _)| *known == name).and_then(|position| u8::try_from(position).ok())
}

/// A genesis file: what is accepted is written, read again, and has the same hash.
pub(super) fn genesis(input: &[u8]) -> Judged {
    let Ok(text) = std::str::from_utf8(input) else { return Judged::Refused };
    let Ok(genesis) = Genesis::from_json(text) else { return Judged::Refused };
    let Ok(again) = serde_json::to_string(genesis.file()) else { panic!("a genesis that was read cannot be written") };
    let Ok(read) = Genesis::from_json(&again) else { panic!("a genesis that was written cannot be read: {again}") };
    assert_eq!(read.hash(), genesis.hash());
    Judged::Accepted
}
