//! The tree: persistent, so that a version costs what changed since the one before.

use std::collections::BTreeMap;
use std::sync::Arc;

use dtvn_messages::state::{self, Cut, EndLeaf, Part, RawEntry, StateProof, bit, leaf_hash, node_hash, path};
use dtvn_messages::{Digest, Layout, sha256};

use super::{LogState, StateEntry};
use crate::effects::BlockEffects;

/// A version of the state. A clone is another handle on it, and costs nothing.
#[derive(Debug, Clone, Default)]
pub struct StateMap {
    root: Tree,
}

#[derive(Debug, Clone, Default)]
enum Tree {
    #[default]
    Nothing,
    Leaf(Arc<Leaf>),
    Node(Arc<Node>),
}

#[derive(Debug)]
struct Leaf {
    path: Digest,
    /// The SHA-256 of the entry's bytes.
    content: Digest,
    hash: Digest,
    bytes: u64,
    entry: StateEntry,
}

#[derive(Debug)]
struct Node {
    hash: Digest,
    leaves: u64,
    bytes: u64,
    left: Tree,
    right: Tree,
}

/// What becomes of an entry: its new value, or none if it goes.
type Change = (Digest, Option<Arc<Leaf>>);

impl Leaf {
    fn new(path: Digest, entry: StateEntry) -> Arc<Self> {
        let raw = entry.to_raw().to_bytes();
        let content = sha256(&[&raw]);
        Arc::new(Self { path, content, hash: leaf_hash(&path, &content), bytes: raw.len() as u64, entry })
    }
}

impl Tree {
    fn hash(&self) -> Digest {
        match self {
            Self::Nothing => state::NOTHING,
            Self::Leaf(leaf) => leaf.hash,
            Self::Node(node) => node.hash,
        }
    }

    fn leaves(&self) -> u64 {
        match self {
            Self::Nothing => 0,
            Self::Leaf(_) => 1,
            Self::Node(node) => node.leaves,
        }
    }

    fn bytes(&self) -> u64 {
        match self {
            Self::Nothing => 0,
            Self::Leaf(leaf) => leaf.bytes,
            Self::Node(node) => node.bytes,
        }
    }

    /// Two halves as one tree: a node only if there are two leaves.
    fn join(left: Self, right: Self) -> Self {
        match (left, right) {
            (Self::Nothing, half @ (Self::Nothing | Self::Leaf(_))) | (half @ Self::Leaf(_), Self::Nothing) => half,
            (left, right) => Self::Node(Arc::new(Node {
                hash: node_hash(&left.hash(), &right.hash()),
                leaves: left.leaves() + right.leaves(),
                bytes: left.bytes() + right.bytes(),
                left,
                right,
            })),
        }
    }

    /// The tree with changes: ascending by path, each path once, all in this tree's part.
    fn with(&self, depth: usize, changes: &[Change]) -> Self {
        if changes.is_empty() {
            return self.clone();
        }
        match self {
            Self::Nothing => Self::of(depth, &changes.iter().filter_map(|(_, leaf)| leaf.clone()).collect::<Vec<_>>()),
            Self::Leaf(own) => {
                let mut leaves: Vec<_> = changes.iter().filter_map(|(_, leaf)| leaf.clone()).collect();
                if changes.binary_search_by_key(&own.path, |(path, _)| *path).is_err() {
                    let at = leaves.partition_point(|leaf| leaf.path < own.path);
                    leaves.insert(at, Arc::clone(own));
                }
                Self::of(depth, &leaves)
            }
            Self::Node(node) => {
                let (left, right) = changes.split_at(changes.partition_point(|(path, _)| !bit(path, depth)));
                Self::join(node.left.with(depth + 1, left), node.right.with(depth + 1, right))
            }
        }
    }

    fn of(depth: usize, leaves: &[Arc<Leaf>]) -> Self {
        match leaves {
            [] => Self::Nothing,
            [leaf] => Self::Leaf(Arc::clone(leaf)),
            _ => {
                let (left, right) = leaves.split_at(leaves.partition_point(|leaf| !bit(&leaf.path, depth)));
                Self::join(Self::of(depth + 1, left), Self::of(depth + 1, right))
            }
        }
    }

    fn visit(&self, each: &mut impl FnMut(&Leaf)) {
        match self {
            Self::Nothing => {}
            Self::Leaf(leaf) => each(leaf),
            Self::Node(node) => {
                node.left.visit(each);
                node.right.visit(each);
            }
        }
    }

    fn cut(&self, depth: u8, bytes_max: u64, parts: &mut Vec<(u8, Digest)>) {
        match self {
            Self::Node(node) if node.bytes > bytes_max && depth < u8::MAX => {
                node.left.cut(depth + 1, bytes_max, parts);
                node.right.cut(depth + 1, bytes_max, parts);
            }
            _ => parts.push((depth, self.hash())),
        }
    }
}

/// The first entry, in the order of paths, that two states do not have alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Where it is.
    pub path: Digest,
    /// What the first state has there.
    pub own: Option<StateEntry>,
    /// What the second state has there.
    pub other: Option<StateEntry>,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words = |entry: &Option<StateEntry>| entry.as_ref().map_or("nothing".to_owned(), StateEntry::describe);
        write!(formatter, "{} here, {} there, at path {}", words(&self.own), words(&self.other), self.path)
    }
}

impl StateMap {
    /// A map of entries; of several under one name the last counts.
    #[must_use]
    pub fn of(entries: impl IntoIterator<Item = StateEntry>) -> Self {
        let mut map = Self::default();
        map.update(entries.into_iter().map(|entry| (entry.path(), Some(entry))));
        map
    }

    /// The root: the name of the state in a checkpoint.
    #[must_use]
    pub fn root(&self) -> Digest {
        self.root.hash()
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.root.leaves()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Changes entries, each by its path; of several changes of one, the last counts. In one sweep: each node that
    /// changes is hashed once.
    pub fn update(&mut self, changes: impl IntoIterator<Item = (Digest, Option<StateEntry>)>) {
        let last: BTreeMap<Digest, Option<StateEntry>> = changes.into_iter().collect();
        let leaf = |(path, entry): (Digest, Option<StateEntry>)| (path, entry.map(|entry| Leaf::new(path, entry)));
        let changes: Vec<Change> = last.into_iter().map(leaf).collect();
        self.root = self.root.with(0, &changes);
    }

    /// Brings the map up to date with blocks, in their order.
    pub fn apply(&mut self, blocks: &[Arc<BlockEffects>]) {
        let mut changes = Vec::new();
        for block in blocks {
            let gone = block.keys_expired.iter().map(|key| (StateEntry::Key(key.clone()).path(), None));
            changes.extend(gone);
            let tickets = block.tickets.iter().map(|ticket| StateEntry::Ticket(Arc::clone(ticket)));
            let keys = block.keys_added.iter().map(|key| StateEntry::Key(key.clone()));
            let bundles = block.last_bundles.iter();
            let bundles = bundles.map(|(origin, last)| StateEntry::LastBundle(origin.clone(), *last));
            let log = LogState { frontier: block.log.frontier.clone(), accepted: block.log.accepted };
            let log = [StateEntry::Log(Arc::new(log))];
            let membership = block.membership.iter().map(|membership| StateEntry::Membership(Arc::clone(membership)));
            let added = tickets.chain(keys).chain(bundles).chain(log).chain(membership);
            changes.extend(added.map(|entry| (entry.path(), Some(entry))));
        }
        self.update(changes);
    }

    /// All entries, in the order of their paths.
    #[must_use]
    pub fn entries(&self) -> Vec<StateEntry> {
        let mut entries = Vec::with_capacity(usize::try_from(self.len()).unwrap_or(0));
        self.root.visit(&mut |leaf| entries.push(leaf.entry.clone()));
        entries
    }

    /// The entry at a path.
    #[must_use]
    pub fn get(&self, path: &Digest) -> Option<&StateEntry> {
        let mut tree = &self.root;
        for depth in 0.. {
            match tree {
                Tree::Nothing => return None,
                Tree::Leaf(leaf) => return (leaf.path == *path).then_some(&leaf.entry),
                Tree::Node(node) => tree = if bit(path, depth) { &node.right } else { &node.left },
            }
        }
        None
    }

    /// What proves that there is, or is not, an entry of this kind and name; and the entry.
    #[must_use]
    pub fn prove(&self, kind: u8, name: &[u8]) -> (Option<RawEntry>, StateProof) {
        let path = path(kind, name);
        let mut siblings = Vec::new();
        let mut tree = &self.root;
        for depth in 0.. {
            match tree {
                Tree::Nothing => break,
                Tree::Leaf(leaf) if leaf.path == path => {
                    return (Some(leaf.entry.to_raw()), StateProof { siblings, end: None });
                }
                Tree::Leaf(leaf) => {
                    let end = Some(EndLeaf { path: leaf.path, entry: leaf.content });
                    return (None, StateProof { siblings, end });
                }
                Tree::Node(node) => {
                    let (way, beside) =
                        if bit(&path, depth) { (&node.right, &node.left) } else { (&node.left, &node.right) };
                    siblings.push(beside.hash());
                    tree = way;
                }
            }
        }
        (None, StateProof { siblings, end: None })
    }

    /// The tree cut into parts of at most so many bytes of entries each, or a single entry.
    #[must_use]
    pub fn cut(&self, bytes_max: u64) -> Cut {
        let mut parts = Vec::new();
        self.root.cut(0, bytes_max, &mut parts);
        Cut(parts)
    }

    /// The entries of a part, in the order of their paths; none if they have more than so many bytes.
    #[must_use]
    pub fn part(&self, part: &Part, bytes_max: u64) -> Option<Vec<RawEntry>> {
        let mut tree = &self.root;
        for depth in 0..usize::from(part.depth) {
            match tree {
                Tree::Node(node) => tree = if bit(&part.prefix, depth) { &node.right } else { &node.left },
                Tree::Nothing | Tree::Leaf(_) => break,
            }
        }
        if tree.bytes() > bytes_max {
            return None;
        }
        let mut entries = Vec::new();
        tree.visit(&mut |leaf| {
            if part.holds(&leaf.path) {
                entries.push(leaf.entry.to_raw());
            }
        });
        Some(entries)
    }

    /// The first entry that this state and another do not have alike; none if they are the same.
    #[must_use]
    pub fn first_difference(&self, other: &Self) -> Option<Difference> {
        first_difference(&self.root, &other.root)
    }
}

fn first_difference(own: &Tree, other: &Tree) -> Option<Difference> {
    if own.hash() == other.hash() {
        return None;
    }
    match (own, other) {
        (Tree::Node(own), Tree::Node(other)) => {
            first_difference(&own.left, &other.left).or_else(|| first_difference(&own.right, &other.right))
        }
        // One of them has at most one entry here.
        _ => {
            let (mut left, mut right) = (BTreeMap::new(), BTreeMap::new());
            own.visit(&mut |leaf| drop(left.insert(leaf.path, (leaf.hash, leaf.entry.clone()))));
            other.visit(&mut |leaf| drop(right.insert(leaf.path, (leaf.hash, leaf.entry.clone()))));
            let paths = left.keys().chain(right.keys()).copied();
            let hash = |side: &BTreeMap<Digest, (Digest, StateEntry)>, path| side.get(&path).map(|(hash, _)| *hash);
            let path = paths.filter(|path| hash(&left, *path) != hash(&right, *path)).min()?;
            let entry = |side: &BTreeMap<Digest, (Digest, StateEntry)>| side.get(&path).map(|(_, entry)| entry.clone());
            Some(Difference { path, own: entry(&left), other: entry(&right) })
        }
    }
}
