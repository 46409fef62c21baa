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

/// Hashes in a full tile of the tree ([C2SP tlog-tiles]): the height of a tile is 8.
///
/// [C2SP tlog-tiles]: https://c2sp.org/tlog-tiles
const TILE_WIDTH: usize = 256;

/// The right edge of the tree in tiles: at each level the hashes that are in no full tile yet. It is what a log that is
/// continued without its former leaves must have, so that it can prove what is appended. At most 255 hashes a level.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogEdge {
    size: u64,
    levels: Vec<Vec<Digest>>,
}

impl LogEdge {
    /// The edge of the empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The edge of a tree of `size` leaves; none if the levels do not have as many hashes as such a tree's.
    #[must_use]
    pub fn from_parts(size: u64, levels: Vec<Vec<Digest>>) -> Option<Self> {
        let on_level = |level: usize| size.checked_shr(8 * u32::try_from(level).unwrap_or(u32::MAX)).unwrap_or(0);
        let fits = levels
            .iter()
            .enumerate()
            .all(|(level, hashes)| on_level(level) > 0 && hashes.len() as u64 == on_level(level) % TILE_WIDTH as u64);
        (fits && on_level(levels.len()) == 0).then_some(Self { size, levels })
    }

    /// How many leaves the tree has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The hashes of each level, the leaves' first.
    #[must_use]
    pub fn levels(&self) -> &[Vec<Digest>] {
        &self.levels
    }

    /// Appends a leaf by its hash.
    pub fn append(&mut self, leaf: Digest) {
        self.size += 1;
        let mut hash = leaf;
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            self.levels[level].push(hash);
            if self.levels[level].len() < TILE_WIDTH {
                return;
            }
            hash = fold(&std::mem::take(&mut self.levels[level]));
        }
    }

    /// The frontier of the same tree.
    #[must_use]
    pub fn frontier(&self) -> Frontier {
        let mut peaks = Vec::new();
        for hashes in self.levels.iter().rev() {
            let mut rest = hashes.as_slice();
            for height in (0..8).rev() {
                if let Some((subtree, after)) = rest.split_at_checked(1 << height) {
                    peaks.push(fold(subtree));
                    rest = after;
                }
            }
        }
        Frontier { size: self.size, peaks }
    }
}

/// The root over hashes, of which there are a power of two.
fn fold(hashes: &[Digest]) -> Digest {
    let mut row: Vec<Digest> = hashes.to_vec();
    while row.len() > 1 {
        row = row.chunks_exact(2).map(|pair| node_hash(&pair[0], &pair[1])).collect();
    }
    row[0]
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
    fn the_edge_has_the_frontier_of_its_tree_and_no_other_size() {
        let (mut frontier, mut edge) = (Frontier::new(), LogEdge::new());
        for number in 0u64..66_000 {
            let leaf = leaf_hash(&number.to_be_bytes());
            frontier.append(leaf);
            edge.append(leaf);
            if number % 251 == 0 || (number + 1) % 256 < 2 {
                assert_eq!(edge.frontier(), frontier, "of {} leaves", number + 1);
                let again = LogEdge::from_parts(number + 1, edge.levels().to_vec());
                assert_eq!(again.as_ref(), Some(&edge));
                assert_eq!(LogEdge::from_parts(number + 2, edge.levels().to_vec()), None);
                assert_eq!(LogEdge::from_parts(number + 1, edge.levels()[1..].to_vec()), None);
            }
        }
        assert_eq!(LogEdge::from_parts(0, Vec::new()), Some(LogEdge::new()));
    }

    #[test]
    fn a_frontier_needs_a_peak_for_each_bit() {
        assert!(Frontier::from_parts(5, vec![Digest::ZERO]).is_none());
        assert!(Frontier::from_parts(5, vec![Digest::ZERO; 2]).is_some());
    }
}
