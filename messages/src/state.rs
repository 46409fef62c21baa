//! The state map as a verifier sees it: the Merkle tree whose root each checkpoint signs (consensus.md section 5), proofs
//! that an entry is in the state or is not, and the checks of a snapshot's parts (section 7).
//!
//! # Layout
//!
//! The replicated state is a set of **entries**. The bytes of an entry are its kind (`u8`), its name (byte string) and its
//! value (byte string), as in [`crate::codec`]; the table of kinds is at [`kind`]. No two entries have one kind and name.
//!
//! - `path = SHA-256("dtvn/state-path/1" || kind || name)`: 256 bits, the most significant bit of the first byte first.
//! - `leaf = SHA-256("dtvn/state-leaf/1" || path || SHA-256(bytes of the entry))`
//! - `node = SHA-256("dtvn/state-node/1" || left || right)`
//!
//! The hash of a set of entries whose paths share their first `d` bits, at depth `d`, is 32 zero bytes if there is none,
//! the leaf if there is one, and else the node over the hash, at depth `d + 1`, of those whose next bit is 0 (left) and of
//! those where it is 1 (right). The state root is the hash of all entries at depth 0. So the root is a function of the set
//! alone, whatever order it was made in, and a tree of `n` entries is about `log2 n` deep.
//!
//! An entry's place follows from its name, so an inclusion proof is the list of the other hashes on the way from the root,
//! and a non-inclusion proof shows that the way ends earlier: at nothing, or at a single other leaf.

use std::iter::Peekable;
use std::slice::Iter;

use crate::codec::{DecodeError, Layout, Reader, Writer};
use crate::crypto::{Digest, sha256};
use crate::limits;

/// The kinds of entries. A kind that is added must not change those that are there.
pub mod kind {
    /// A ticket. Name: event (text), ticket (text). Value: layout of [`crate::Ticket`].
    pub const TICKET: u8 = 1;
    /// An event. Name: its name (text). Value: policy version `u8` (1), auto-issue `u8` (0 or 1).
    pub const EVENT: u8 = 2;
    /// An idempotency key that is held. Name: scope (kind `u8` 1, event as text), key (text). Value: layout of the
    /// [`crate::Outcome`] of the operation that used it up.
    pub const KEY: u8 = 3;
    /// The last ordered bundle of a validator. Name: the validator's name (text). Value: epoch `u64`, start `u64`, number
    /// `u64`.
    pub const LAST_BUNDLE: u8 = 4;
    /// The validators. Name: empty. Value: layout of [`crate::Membership`].
    pub const MEMBERSHIP: u8 = 5;
    /// The transparency log. Name: empty. Value: size `u64`, count of accepted outcomes `u64`, list of the roots of the
    /// perfect subtrees, largest first (RFC 6962).
    pub const LOG: u8 = 6;
    /// Devices with keys of their own. None under the first rules.
    pub const DEVICE: u8 = 7;
}

/// The hash of an empty set.
pub const NOTHING: Digest = Digest::ZERO;

/// Where an entry is.
#[must_use]
pub fn path(kind: u8, name: &[u8]) -> Digest {
    sha256(&[b"dtvn/state-path/1", &[kind], name])
}

/// The hash of a leaf, from its path and the SHA-256 of its entry's bytes.
#[must_use]
pub fn leaf_hash(path: &Digest, entry: &Digest) -> Digest {
    sha256(&[b"dtvn/state-leaf/1", &path.0, &entry.0])
}

/// The hash of an inner node.
#[must_use]
pub fn node_hash(left: &Digest, right: &Digest) -> Digest {
    sha256(&[b"dtvn/state-node/1", &left.0, &right.0])
}

/// A bit of a path; none of a path of 256 bits is behind its end, so `depth` is at most 255.
#[must_use]
pub fn bit(path: &Digest, depth: usize) -> bool {
    path.0[depth / 8] & (0x80 >> (depth % 8)) != 0
}

/// An entry as it is hashed and travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawEntry {
    /// Its kind: see [`kind`].
    pub kind: u8,
    /// Its name among those of its kind.
    pub name: Vec<u8>,
    /// What the state holds of it.
    pub value: Vec<u8>,
}

impl RawEntry {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> Digest {
        path(self.kind, &self.name)
    }

    /// The hash of its leaf.
    #[must_use]
    pub fn leaf(&self) -> Digest {
        leaf_hash(&self.path(), &sha256(&[&self.to_bytes()]))
    }
}

impl Layout for RawEntry {
    fn write(&self, writer: &mut Writer) {
        writer.u8(self.kind);
        writer.bytes(&self.name);
        writer.bytes(&self.value);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            kind: reader.u8()?,
            name: reader.bytes("the name of a state entry", limits::STATE_NAME_BYTES_MAX)?.to_vec(),
            value: reader.bytes("the value of a state entry", limits::STATE_VALUE_BYTES_MAX)?.to_vec(),
        })
    }
}

/// The single leaf at which a way ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndLeaf {
    /// Its path.
    pub path: Digest,
    /// The SHA-256 of its entry's bytes.
    pub entry: Digest,
}

/// What is on the way to an entry's place. Layout: list of siblings (from the root down), optional end leaf (path, entry
/// hash).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateProof {
    /// The hash beside the way at each depth, from the root down.
    pub siblings: Vec<Digest>,
    /// The leaf at which the way ends, if it is not the asked one.
    pub end: Option<EndLeaf>,
}

impl StateProof {
    /// Whether it proves that this entry is in the state with this root.
    #[must_use]
    pub fn proves(&self, entry: &RawEntry, root: &Digest) -> bool {
        self.end.is_none() && self.leads(&entry.path(), entry.leaf(), root)
    }

    /// Whether it proves that no entry of this kind and name is in the state with this root.
    #[must_use]
    pub fn proves_absent(&self, kind: u8, name: &[u8], root: &Digest) -> bool {
        let path = path(kind, name);
        match &self.end {
            None => self.leads(&path, NOTHING, root),
            Some(end) => {
                let shares_way = (0..self.siblings.len().min(256)).all(|at| bit(&end.path, at) == bit(&path, at));
                end.path != path && shares_way && self.leads(&path, leaf_hash(&end.path, &end.entry), root)
            }
        }
    }

    fn leads(&self, path: &Digest, end: Digest, root: &Digest) -> bool {
        if self.siblings.len() > 256 {
            return false;
        }
        let climbed = self.siblings.iter().enumerate().rev().fold(end, |hash, (depth, sibling)| {
            if bit(path, depth) { node_hash(sibling, &hash) } else { node_hash(&hash, sibling) }
        });
        climbed == *root
    }
}

impl Layout for StateProof {
    fn write(&self, writer: &mut Writer) {
        writer.list(&self.siblings);
        match &self.end {
            None => writer.u8(0),
            Some(end) => {
                writer.u8(1);
                end.path.write(writer);
                end.entry.write(writer);
            }
        }
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let siblings = reader.list("the length of a state proof", 256, 32)?;
        let end = match reader.u8()? {
            0 => None,
            1 => Some(EndLeaf { path: Layout::read(reader)?, entry: Layout::read(reader)? }),
            _ => return Err(DecodeError::Invalid("an option's marker is neither 0 nor 1")),
        };
        Ok(Self { siblings, end })
    }
}

/// The hash of a set of leaves that share their first `depth` bits: paths in ascending order, each once.
#[must_use]
pub fn subtree_hash(depth: usize, leaves: &[(Digest, Digest)]) -> Digest {
    match leaves {
        [] => NOTHING,
        [(_, leaf)] => *leaf,
        _ if depth >= 256 => NOTHING,
        _ => {
            let (left, right) = leaves.split_at(leaves.partition_point(|(path, _)| !bit(path, depth)));
            node_hash(&subtree_hash(depth + 1, left), &subtree_hash(depth + 1, right))
        }
    }
}

/// A part of the tree: everything whose path begins with the first `depth` bits of `prefix`, whose other bits are 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, bincode::Encode, bincode::Decode)]
pub struct Part {
    /// The bits that all of it begins with, and zeros behind them.
    pub prefix: Digest,
    /// How many bits those are.
    pub depth: u8,
}

impl Part {
    /// The whole tree.
    pub const WHOLE: Self = Self { prefix: Digest::ZERO, depth: 0 };

    /// Whether a path is in it.
    #[must_use]
    pub fn holds(&self, path: &Digest) -> bool {
        (0..usize::from(self.depth)).all(|depth| bit(path, depth) == bit(&self.prefix, depth))
    }

    /// Its half whose next bit is `right`; none below depth 255.
    #[must_use]
    pub fn half(&self, right: bool) -> Option<Self> {
        let depth = self.depth.checked_add(1)?;
        let mut prefix = self.prefix;
        if right {
            prefix.0[usize::from(self.depth) / 8] |= 0x80 >> (self.depth % 8);
        }
        Some(Self { prefix, depth })
    }

    /// The hash of this part, if it holds these entries and no others; none if one is foreign to it, or they are not in
    /// the order of their paths.
    #[must_use]
    pub fn hash_of(&self, entries: &[RawEntry]) -> Option<Digest> {
        let leaves: Vec<(Digest, Digest)> = entries.iter().map(|entry| (entry.path(), entry.leaf())).collect();
        let ascend = leaves.windows(2).all(|pair| pair[0].0 < pair[1].0);
        let fits = ascend && leaves.iter().all(|(path, _)| self.holds(path));
        fits.then(|| subtree_hash(usize::from(self.depth), &leaves))
    }
}

/// The tree cut into parts, from left to right: the depth and hash of each. Their prefixes follow from the depths.
#[derive(Debug, Clone, Default, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Cut(pub Vec<(u8, Digest)>);

impl Cut {
    /// The parts with their hashes, if together they are the whole tree with this root, each once; else none.
    #[must_use]
    pub fn parts(&self, root: &Digest) -> Option<Vec<(Part, Digest)>> {
        let mut parts = Vec::with_capacity(self.0.len());
        let folded = fold(Part::WHOLE, &mut self.0.iter().peekable(), &mut parts)?;
        (folded == *root && parts.len() == self.0.len()).then_some(parts)
    }
}

/// Folds the parts that make up `part`.
fn fold(part: Part, rest: &mut Peekable<Iter<'_, (u8, Digest)>>, parts: &mut Vec<(Part, Digest)>) -> Option<Digest> {
    let (depth, hash) = **rest.peek()?;
    if depth < part.depth {
        return None;
    }
    if depth == part.depth {
        rest.next();
        parts.push((part, hash));
        return Some(hash);
    }
    let left = fold(part.half(false)?, rest, parts)?;
    let right = fold(part.half(true)?, rest, parts)?;
    Some(node_hash(&left, &right))
}
