//! What must hold whatever happens (consensus.md section 12), checked on everything that leaves a node and on every commit.

use std::collections::BTreeMap;

use dtvn_messages::{Digest, Height, ValidatorIndex, View, VoteKind};
use dtvn_pbft::{Message, Record};

use super::node::{Entry, Node, Wire};

/// All that honest nodes said and committed.
#[derive(Debug, Default)]
pub struct Oracle {
    /// The block at each height, as the first honest node committed it.
    pub chain: BTreeMap<Height, Digest>,
    /// What each honest node voted for.
    votes: BTreeMap<(ValidatorIndex, View, Height), Digest>,
    /// The highest view in which each honest node said COMMIT at a height.
    commits: BTreeMap<(ValidatorIndex, Height), View>,
    view_changes: BTreeMap<(ValidatorIndex, View), Digest>,
    new_views: BTreeMap<(ValidatorIndex, View), Digest>,
    checkpoints: BTreeMap<(ValidatorIndex, Height), Digest>,
    pub count: Count,
}

/// How often something happened: a batch of runs in which one stays zero is blind to it.
#[derive(Debug, Default, Clone, Copy)]
pub struct Count {
    pub commits: u64,
    pub new_views: u64,
    /// NEW-VIEWs that took over blocks, that left out prepared blocks above the end, and that chose one of two at a height.
    pub selected: u64,
    pub stopped: u64,
    pub outvoted: u64,
    pub stable: u64,
    pub synced: u64,
    pub crashes: u64,
    pub resumed_views: u64,
}

impl Count {
    pub fn add(&mut self, other: &Self) {
        self.commits += other.commits;
        self.new_views += other.new_views;
        self.selected += other.selected;
        self.stopped += other.stopped;
        self.outvoted += other.outvoted;
        self.stable += other.stable;
        self.synced += other.synced;
        self.crashes += other.crashes;
        self.resumed_views += other.resumed_views;
    }

    /// The counters by name.
    pub fn all(&self) -> [(&'static str, u64); 9] {
        [
            ("commits", self.commits),
            ("new views", self.new_views),
            ("new views that took over blocks", self.selected),
            ("new views that left out prepared blocks", self.stopped),
            ("new views that chose one of two prepared blocks", self.outvoted),
            ("stable checkpoints", self.stable),
            ("answers to sync", self.synced),
            ("crashes", self.crashes),
            ("restarts above view 0", self.resumed_views),
        ]
    }
}

impl Oracle {
    /// An honest node committed a block.
    pub fn on_commit(&mut self, node: &Node, height: Height, digest: Digest) {
        let known = *self.chain.entry(height).or_insert(digest);
        assert_eq!(known, digest, "agreement: {} commits another block at height {height}", node.index);
        self.count.commits += 1;
    }

    /// An honest node sends something.
    pub fn on_sent(&mut self, node: &Node, wire: &Wire) {
        let Wire::Core(message) = wire else { return };
        match message {
            Message::PrePrepare { view, block, digest, .. } => {
                let leader = node.genesis.validators().leader(block.header.epoch, *view);
                assert_eq!(leader, node.index, "only the leader proposes");
                self.on_vote(node, VoteKind::Prepare, *view, block.header.height, *digest);
            }
            Message::Vote(vote) => {
                assert_eq!(vote.signer, node.index, "a vote is sent by its signer");
                self.on_vote(node, vote.body.kind, vote.body.view, vote.body.height, vote.body.digest);
            }
            Message::ViewChange(sealed) if sealed.signed.signer == node.index => {
                let body = &sealed.signed.body;
                let known = *self.view_changes.entry((node.index, body.view)).or_insert(sealed.digest);
                assert_eq!(known, sealed.digest, "{} says two VIEW-CHANGEs for {}", node.index, body.view);
                let durable = has(node, |record| matches!(record, Record::ViewChange(known) if known == sealed));
                assert!(durable, "a VIEW-CHANGE is durable before it is sent");
                let covered = body.base(Height(0));
                for ((_, height), view) in self.commits.range((node.index, Height(0))..=(node.index, Height(u64::MAX)))
                {
                    let shown =
                        body.prepared.iter().any(|prepared| prepared.height() == *height && prepared.view() >= *view);
                    assert!(
                        *height <= covered || *view >= body.view || shown,
                        "{} said COMMIT at height {height} in view {view}, and hides it in its VIEW-CHANGE for {}",
                        node.index,
                        body.view
                    );
                }
            }
            Message::NewView(sealed) if sealed.signed.signer == node.index => {
                let view = sealed.signed.body.view;
                let known = *self.new_views.entry((node.index, view)).or_insert(sealed.digest);
                assert_eq!(known, sealed.digest, "{} says two NEW-VIEWs for {view}", node.index);
                let durable =
                    has(node, |record| matches!(record, Record::NewView { new_view, .. } if new_view == sealed));
                assert!(durable, "a NEW-VIEW is durable before it is sent");
            }
            Message::Checkpoint(vote) => {
                let height = vote.body.height;
                let known = *self.checkpoints.entry((node.index, height)).or_insert(vote.body.block);
                assert_eq!(known, vote.body.block, "{} says two CHECKPOINTs at {height}", node.index);
                let durable = has(node, |record| matches!(record, Record::Checkpoint(known) if known == vote));
                assert!(durable || height <= node.applied, "a CHECKPOINT is durable before it is sent");
                assert!(is_committed(node, height), "a CHECKPOINT is sent for what is committed and durable");
            }
            _ => {}
        }
    }

    fn on_vote(&mut self, node: &Node, kind: VoteKind, view: View, height: Height, digest: Digest) {
        let known = *self.votes.entry((node.index, view, height)).or_insert(digest);
        assert_eq!(known, digest, "{} votes for two blocks in view {view} at height {height}", node.index);
        let chain = node.genesis.chain_id();
        let is_proposal = |record: &Record| match record {
            Record::Proposal { view: logged, block } => *logged == view && block.header.digest(chain) == digest,
            _ => false,
        };
        assert!(
            height <= node.applied || has(node, is_proposal),
            "{}: the proposal is durable before PREPARE, view {view} height {height}",
            node.index
        );
        if kind == VoteKind::Commit {
            let highest = self.commits.entry((node.index, height)).or_insert(view);
            *highest = view.max(*highest);
            let is_prepared = |at: Height| {
                has(
                    node,
                    |record| matches!(record, Record::Prepared(prepared) if prepared.height() == at && prepared.view() >= view),
                )
            };
            assert!(
                height <= node.applied || is_prepared(height),
                "{}: the prepared certificate is durable before COMMIT, view {view} height {height}",
                node.index
            );
            let mut below = height.previous();
            while below > node.applied && !node.committed.contains_key(&below) {
                assert!(
                    is_prepared(below),
                    "{}: COMMIT at {height} while {below} is not prepared in {view}",
                    node.index
                );
                below = below.previous();
            }
        }
    }
}

fn has(node: &Node, wanted: impl Fn(&Record) -> bool) -> bool {
    node.log[..node.durable].iter().any(|entry| matches!(entry, Entry::Replica(record) if wanted(record)))
}

fn is_committed(node: &Node, height: Height) -> bool {
    height <= node.applied
        || has(node, |record| matches!(record, Record::Committed { block, .. } if block.header.height == height))
}
