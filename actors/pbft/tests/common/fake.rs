//! Stand-ins for the ledger and for bundles.

use dtvn_messages::bundle::BundlePosition;
use dtvn_messages::{Digest, Timestamp, ValidatorIndex, sha256};
use dtvn_pbft::BundleMeta;

/// The fake ledger: the log grows by one for each bundle, its root is a hash chain.
pub fn execute(before: (u64, Digest), timestamp: Timestamp, bundles: &[Digest]) -> (u64, Digest) {
    let mut root = sha256(&[&before.1.0, &timestamp.0.to_be_bytes()]);
    for bundle in bundles {
        root = sha256(&[&root.0, &bundle.0]);
    }
    (before.0 + bundles.len() as u64, root)
}

/// A bundle at a place; `salt` makes another one there.
pub fn bundle(origin: ValidatorIndex, position: BundlePosition, salt: u64) -> BundleMeta {
    let digest = sha256(&[
        b"bundle",
        &origin.0.to_be_bytes(),
        &position.start.to_be_bytes(),
        &position.number.to_be_bytes(),
        &salt.to_be_bytes(),
    ]);
    BundleMeta { digest, origin, position, operations: 1, bytes: 100 }
}
