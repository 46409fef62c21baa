//! RFC 6962 Merkle tree hashing and proof verification (section 2.1), over SHA-256.

use crate::crypto::{Digest, sha256};

/// The hash of a leaf: SHA-256 of 0x00 and the leaf.
#[must_use]
pub fn leaf_hash(leaf: &[u8]) -> Digest {
    sha256(&[&[0], leaf])
}

/// The hash of an inner node: SHA-256 of 0x01, the left and the right hash.
#[must_use]
pub fn node_hash(left: &Digest, right: &Digest) -> Digest {
    sha256(&[&[1], &left.0, &right.0])
}

/// The root of the empty tree: SHA-256 of nothing.
#[must_use]
pub fn empty_root() -> Digest {
    sha256(&[])
}

/// The roots of the perfect subtrees that make up a tree, largest first: all that is needed to append and to know the
/// root. At most 64 hashes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Digest>,
}

impl Frontier {
    /// The frontier of the empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The frontier of a stored tree.
    ///
    /// # Errors
    /// None if `peaks` are not as many as the size has bits set.
    #[must_use]
    pub fn from_parts(size: u64, peaks: Vec<Digest>) -> Option<Self> {
        (peaks.len() == size.count_ones() as usize).then_some(Self { size, peaks })
    }

    /// How many leaves the tree has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the perfect subtrees, largest first.
    #[must_use]
    pub fn peaks(&self) -> &[Digest] {
        &self.peaks
    }

    /// Appends a leaf by its hash.
    pub fn append(&mut self, leaf: Digest) {
        let mut hash = leaf;
        let mut level = self.size;
        while level & 1 == 1 {
            // A set bit has its peak: there are as many peaks as bits set.
            if let Some(left) = self.peaks.pop() {
                hash = node_hash(&left, &hash);
            }
            level >>= 1;
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// The root of the tree.
    #[must_use]
    pub fn root(&self) -> Digest {
        let mut peaks = self.peaks.iter().rev();
        match peaks.next() {
            None => empty_root(),
            Some(smallest) => peaks.fold(*smallest, |right, left| node_hash(left, &right)),
        }
    }
}

/// Whether `path` proves that the leaf with this hash is at `index` in the tree of `size` leaves with this root
/// (RFC 9162 section 2.1.3.2, which is the algorithm for RFC 6962's audit paths).
#[must_use]
pub fn verify_inclusion(leaf: &Digest, index: u64, size: u64, path: &[Digest], root: &Digest) -> bool {
    if index >= size {
        return false;
    }
    let (mut node, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for sibling in path {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6962 section 2.1, as it is written there.
    fn tree_hash(leaves: &[Digest]) -> Digest {
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
    fn audit_path(index: usize, leaves: &[Digest]) -> Vec<Digest> {
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

    #[test]
    fn the_frontier_has_the_root_of_the_definition() {
        let mut frontier = Frontier::new();
        let mut leaves = Vec::new();
        assert_eq!(frontier.root(), tree_hash(&leaves));
        for number in 0u64..130 {
            let leaf = leaf_hash(&number.to_be_bytes());
            leaves.push(leaf);
            frontier.append(leaf);
            assert_eq!(frontier.root(), tree_hash(&leaves), "with {} leaves", leaves.len());
            assert_eq!(frontier.size(), leaves.len() as u64);
        }
    }

    #[test]
    fn an_audit_path_proves_its_leaf_and_no_other() {
        let leaves: Vec<Digest> = (0u64..37).map(|number| leaf_hash(&number.to_be_bytes())).collect();
        for size in 1..=leaves.len() {
            let root = tree_hash(&leaves[..size]);
            for index in 0..size {
                let path = audit_path(index, &leaves[..size]);
                let proves = |leaf: &Digest, at: u64| verify_inclusion(leaf, at, size as u64, &path, &root);
                assert!(proves(&leaves[index], index as u64));
                assert!(!proves(&leaf_hash(b"other"), index as u64));
                assert!(!proves(&leaves[index], size as u64));
                if size > 1 {
                    assert!(!proves(&leaves[index], ((index + 1) % size) as u64));
                    assert!(!verify_inclusion(&leaves[index], index as u64, size as u64, &path[1..], &root));
                }
            }
        }
    }

    #[test]
    fn a_frontier_needs_a_peak_for_each_bit() {
        assert!(Frontier::from_parts(5, vec![Digest::ZERO]).is_none());
        assert!(Frontier::from_parts(5, vec![Digest::ZERO; 2]).is_some());
    }
}
