//! Merkle roots and proofs by their definition.

use dtvn_messages::Digest;
use dtvn_messages::merkle::{empty_root, node_hash};

/// RFC 6962 section 2.1, as it is written there.
pub fn tree_hash(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => empty_root(),
        [leaf] => *leaf,
        _ => {
            let split = leaves.len().next_power_of_two() / 2;
            node_hash(&tree_hash(&leaves[..split]), &tree_hash(&leaves[split..]))
        }
    }
}

/// RFC 6962 section 2.1.1, as it is written there.
pub fn audit_path(index: usize, leaves: &[Digest]) -> Vec<Digest> {
    if leaves.len() <= 1 {
        return Vec::new();
    }
    let split = leaves.len().next_power_of_two() / 2;
    let (mut path, sibling) = if index < split {
        (audit_path(index, &leaves[..split]), tree_hash(&leaves[split..]))
    } else {
        (audit_path(index - split, &leaves[split..]), tree_hash(&leaves[..split]))
    };
    path.push(sibling);
    path
}
