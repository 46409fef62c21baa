//! A liar: a real replica behind a filter that holds its key. What it says may be withheld, differ from peer to peer,
//! hide what it knows, or be made up (faults.md: lying leaders, voters, view changes, checkpoints).

use std::sync::Arc;

use dtvn_messages::bundle::BundlePosition;
use dtvn_messages::view_change::{Sealed, SealedNewView, SealedViewChange};
use dtvn_messages::wire::Status;
use dtvn_messages::{
    Block, Checkpoint, Digest, Epoch, Height, NewView, Signed, Timestamp, ValidatorIndex, View, Vote, VoteKind, sha256,
};
use dtvn_pbft::Message;

use super::node::{Node, Wire, bundle, execute};
use super::random::Random;
use super::sign;

/// What the liar sends to one peer instead of `wire`.
pub fn distort(node: &Node, to: ValidatorIndex, wire: &Wire, random: &mut Random) -> Vec<Wire> {
    let mut said = match wire {
        Wire::Core(message) if random.chance(40) => lie(node, to, message, random),
        Wire::Bundle(_) if random.chance(20) => Vec::new(),
        Wire::SyncBlocks { .. } | Wire::SyncRequest { .. } if random.chance(50) => Vec::new(),
        wire => vec![wire.clone()],
    };
    if random.chance(20) {
        said.push(junk(node, random));
    }
    said
}

fn lie(node: &Node, to: ValidatorIndex, message: &Message, random: &mut Random) -> Vec<Wire> {
    if random.chance(30) {
        return Vec::new();
    }
    let is_even = to.0.is_multiple_of(2);
    let lied = match message {
        Message::PrePrepare { view, block, .. } => proposal(node, *view, block, is_even, random),
        Message::Vote(vote) => Message::Vote(vote_for(node, vote.body, random)),
        Message::ViewChange(sealed) if sealed.signed.signer == node.index => {
            Message::ViewChange(hide(node, sealed, is_even))
        }
        Message::NewView(sealed) if sealed.signed.signer == node.index => {
            Message::NewView(choose(node, sealed, is_even, random))
        }
        Message::Checkpoint(vote) => {
            let state_root = sha256(&[b"another state"]);
            Message::Checkpoint(sign(&node.genesis, node.index, Checkpoint { state_root, ..vote.body }))
        }
        Message::Status(status) => Message::Status(boast(*status, random)),
        Message::Wish { epoch, .. } => Message::Wish { epoch: *epoch, view: View(u64::MAX) },
        other => other.clone(),
    };
    vec![Wire::Core(lied)]
}

/// Two blocks at one height, each for one half; or one with a fault.
fn proposal(node: &Node, view: View, block: &Arc<Block>, is_even: bool, random: &mut Random) -> Message {
    let mut block = Block::clone(block);
    match random.below(6) {
        0..=2 if is_even => {
            block.header.timestamp = block.header.timestamp.plus_micros(1);
            let below = node.states.get(&block.header.height.previous()).map(|state| state.log);
            if let Some(below) = below {
                let (size, root) = execute(below, block.header.timestamp, &block.bundles);
                (block.header.log_size, block.header.log_root) = (size, root);
            }
        }
        3 => block.header.log_root = sha256(&[b"wrong"]),
        4 => block.header.timestamp = Timestamp(u64::MAX),
        5 => block.header.height = block.header.height.plus(random.below(40)),
        _ => {}
    }
    let height = block.header.height;
    let digest = block.header.digest(node.genesis.chain_id());
    let vote = Vote { kind: VoteKind::Prepare, epoch: block.header.epoch, view, height, digest };
    let signature = sign(&node.genesis, node.index, vote).signature;
    Message::PrePrepare { view, block: Arc::new(block), digest, signature }
}

fn vote_for(node: &Node, mut vote: Vote, random: &mut Random) -> Signed<Vote> {
    match random.below(4) {
        0 => vote.digest = sha256(&[b"no such block"]),
        1 => vote.kind = VoteKind::Commit,
        2 => vote.height = vote.height.plus(random.below(4)),
        _ => vote.view = View(vote.view.0 + random.below(1_000)),
    }
    sign(&node.genesis, node.index, vote)
}

/// A VIEW-CHANGE that hides certificates.
fn hide(node: &Node, sealed: &SealedViewChange, is_even: bool) -> SealedViewChange {
    let mut body = sealed.signed.body.clone();
    body.prepared.retain(|prepared| is_even && prepared.height().0.is_multiple_of(2));
    if is_even {
        body.committed = None;
    }
    Sealed::new(sign(&node.genesis, node.index, body), node.genesis.chain_id())
}

/// A NEW-VIEW from other VIEW-CHANGEs, or from none that exist.
fn choose(node: &Node, sealed: &SealedNewView, is_even: bool, random: &mut Random) -> SealedNewView {
    let mut body = sealed.signed.body.clone();
    match random.below(3) {
        0 => body.view_changes.iter_mut().for_each(|(_, digest)| *digest = sha256(&[b"no such view change"])),
        1 => drop(body.view_changes.pop()),
        _ if is_even => drop(body.view_changes.remove(0)),
        _ => body.view = View(body.view.0 + node.genesis.validators().len() as u64),
    }
    Sealed::new(sign(&node.genesis, node.index, body), node.genesis.chain_id())
}

fn boast(status: Status, random: &mut Random) -> Status {
    match random.below(3) {
        0 => Status { wish: View(u64::MAX), committed: Height(u64::MAX), stable: Height(u64::MAX), ..status },
        1 => Status { view: View(0), committed: Height(0), stable: Height(0), active: true, pending: true, ..status },
        _ => Status { view: View(u64::MAX), active: false, ..status },
    }
}

/// Something that nobody asked for.
fn junk(node: &Node, random: &mut Random) -> Wire {
    let number = random.pick(&[0, 1, 7, 100, u64::MAX - 1, u64::MAX]);
    let (view, height) = (View(number), Height(number));
    let digest = Digest([7; 32]);
    let signed = |vote| Message::Vote(sign(&node.genesis, node.index, vote));
    Wire::Core(match random.below(9) {
        0 => Message::Wish { epoch: Epoch(0), view },
        1 => signed(Vote { kind: VoteKind::Commit, epoch: Epoch(0), view, height: Height(random.below(50)), digest }),
        2 => signed(Vote { kind: VoteKind::Prepare, epoch: Epoch(0), view: View(random.below(9)), height, digest }),
        3 => Message::FetchBlocks(vec![digest; 5]),
        4 => Message::FetchViewChanges { view, digests: vec![digest] },
        5 => {
            let interval = node.genesis.parameters().checkpoint_interval;
            let height = Height(random.below(1_000) * interval);
            let vote = Checkpoint {
                epoch: Epoch(0),
                height,
                block: digest,
                state_root: digest,
                next_epoch: Epoch(0),
                next_set: digest,
            };
            Message::Checkpoint(sign(&node.genesis, node.index, vote))
        }
        6 => {
            let count = node.genesis.validators().len() as u64;
            let view = View(u64::from(node.index.0) + count * random.pick(&[1, 2, 3, 1_000, u64::MAX / count - 1]));
            let named = node.genesis.validators().iter().map(|(index, _)| (index, digest)).collect();
            let body = NewView { epoch: Epoch(0), view, view_changes: named };
            Message::NewView(Sealed::new(sign(&node.genesis, node.index, body), node.genesis.chain_id()))
        }
        7 => {
            let body = dtvn_messages::ViewChange {
                epoch: Epoch(0),
                view: View(number.max(1)),
                stable: None,
                committed: None,
                prepared: Vec::new(),
            };
            Message::ViewChange(Sealed::new(sign(&node.genesis, node.index, body), node.genesis.chain_id()))
        }
        _ => {
            let position = BundlePosition { start: random.below(9), number: random.below(9) };
            return Wire::Bundle(bundle(node.index, position, random.below(3)));
        }
    })
}
