//! Liars: real nodes behind a filter that holds their key (faults.md: "the honest code is never forked"). What such a
//! node says may be withheld, differ from peer to peer, or be made up.

use std::collections::BTreeMap;
use std::sync::Arc;

use dtvn_ledger::BlockInput;
use dtvn_messages::wire::{PeerMessage, PrePrepare};
use dtvn_messages::{
    Block, ChainId, Checkpoint, Digest, Height, Signature, Signed, Signer, Statement, ValidatorIndex, View, Vote,
    VoteKind, sha256,
};
use dtvn_replication::log::MemoryDisk;
use dtvn_replication::node::Node;

use crate::random::Random;

/// How a node lies; the names are those of faults.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Behaviour {
    /// Says nothing at all.
    Silent,
    /// Proposes nothing, and starts no view.
    SilentLeader,
    /// Proposes two blocks at one height, one for each half, and votes for both.
    TwoBlocks,
    /// Votes for two blocks in one slot.
    TwoVotes,
    /// Proposes blocks with a wrong log root.
    WrongRoot,
    /// Shows its bundles to one peer only, and serves none.
    WithheldBundle,
    /// Hides in its VIEW-CHANGE what it knows to be prepared and committed.
    HiddenCertificate,
    /// Votes for checkpoints with another state.
    WrongCheckpoint,
    /// Runs twice under one key.
    Twin,
    /// Any of the others' lies, at any time.
    Mixed,
}

impl Behaviour {
    /// All behaviours.
    pub const ALL: [Self; 10] = [
        Self::Silent,
        Self::SilentLeader,
        Self::TwoBlocks,
        Self::TwoVotes,
        Self::WrongRoot,
        Self::WithheldBundle,
        Self::HiddenCertificate,
        Self::WrongCheckpoint,
        Self::Twin,
        Self::Mixed,
    ];

    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::SilentLeader => "leader-silent",
            Self::TwoBlocks => "leader-two-blocks",
            Self::TwoVotes => "voter-two-votes",
            Self::WrongRoot => "leader-wrong-root",
            Self::WithheldBundle => "bundle-withheld",
            Self::HiddenCertificate => "view-change-hides",
            Self::WrongCheckpoint => "checkpoint-wrong-root",
            Self::Twin => "twin",
            Self::Mixed => "mixed",
        }
    }
}

/// What liars tell each other: for each slot in which one of them proposed two blocks, that for odd and that for even
/// validators.
pub(crate) type Conspiracy = BTreeMap<(View, Height), Option<[Arc<PrePrepare>; 2]>>;

/// The filter of one liar.
pub(crate) struct Filter {
    behaviour: Behaviour,
    me: ValidatorIndex,
    chain: ChainId,
    signer: Arc<dyn Signer>,
}

impl Filter {
    pub(crate) fn new(behaviour: Behaviour, me: ValidatorIndex, chain: ChainId, signer: Arc<dyn Signer>) -> Self {
        Self { behaviour, me, chain, signer }
    }

    /// What the liar sends to one peer instead of `message`, and which lie that is.
    pub(crate) fn distort(
        &self,
        node: &Node<MemoryDisk>,
        to: ValidatorIndex,
        message: PeerMessage,
        (random, conspiracy): (&mut Random, &mut Conspiracy),
    ) -> (Vec<PeerMessage>, Option<Behaviour>) {
        let behaviour = match self.behaviour {
            Behaviour::Mixed if random.permille(500) => random.pick(&Behaviour::ALL[1..8]),
            other => other,
        };
        match self.say(behaviour, node, to, &message, (random, conspiracy)) {
            Some(said) => (said, Some(behaviour)),
            None => (vec![message], None),
        }
    }

    /// None is the truth.
    fn say(
        &self,
        behaviour: Behaviour,
        node: &Node<MemoryDisk>,
        to: ValidatorIndex,
        message: &PeerMessage,
        (random, conspiracy): (&mut Random, &mut Conspiracy),
    ) -> Option<Vec<PeerMessage>> {
        let is_even = to.0.is_multiple_of(2);
        match (behaviour, message) {
            (Behaviour::Silent, _)
            | (Behaviour::SilentLeader, PeerMessage::PrePrepare(_) | PeerMessage::NewView(_)) => Some(Vec::new()),
            (Behaviour::TwoBlocks, PeerMessage::PrePrepare(proposal)) => {
                let slot = (proposal.view, proposal.block.header.height);
                let both = conspiracy.entry(slot).or_insert_with(|| self.two_blocks(node, proposal)).as_ref()?;
                Some(vec![PeerMessage::PrePrepare(Arc::clone(&both[usize::from(is_even)]))])
            }
            (Behaviour::TwoBlocks, PeerMessage::Vote(vote)) => {
                let both = conspiracy.get(&(vote.body.view, vote.body.height))?.as_ref()?;
                let digest = both[usize::from(is_even)].block.header.digest(&self.chain);
                Some(self.vote_at_once(vote, digest))
            }
            (Behaviour::TwoVotes, PeerMessage::Vote(vote)) => {
                let digest = sha256(&[b"no such block", &random.any().to_be_bytes()]);
                let second = self.sign(Vote { digest, ..vote.body });
                let (first, second) = (message.clone(), PeerMessage::Vote(second));
                Some(if is_even { vec![first, second] } else { vec![second, first] })
            }
            (Behaviour::WrongRoot, PeerMessage::PrePrepare(proposal)) => {
                let mut block = Block::clone(&proposal.block);
                block.header.log_root = sha256(&[b"wrong"]);
                Some(vec![PeerMessage::PrePrepare(self.propose(proposal.view, block))])
            }
            (Behaviour::WithheldBundle, PeerMessage::Bundle(_)) => {
                let favourite = ValidatorIndex(u16::from(self.me.0 == 0));
                (to != favourite).then(Vec::new)
            }
            (Behaviour::HiddenCertificate, PeerMessage::ViewChange(signed)) if signed.signer == self.me => {
                let mut body = signed.body.clone();
                body.prepared.clear();
                if is_even {
                    body.committed = None;
                }
                Some(vec![PeerMessage::ViewChange(Arc::new(self.sign(body)))])
            }
            (Behaviour::WrongCheckpoint, PeerMessage::Checkpoint(vote)) => {
                let state_root = sha256(&[b"another state"]);
                Some(vec![PeerMessage::Checkpoint(self.sign(Checkpoint { state_root, ..vote.body }))])
            }
            _ => None,
        }
    }

    fn sign<T: Statement>(&self, body: T) -> Signed<T> {
        let signature = self.signer.sign(&body.signed_bytes(&self.chain));
        Signed { body, signer: self.me, signature }
    }

    fn propose(&self, view: View, block: Block) -> Arc<PrePrepare> {
        let digest = block.header.digest(&self.chain);
        let mut proposal = PrePrepare { view, block: Arc::new(block), signature: Signature([0; 64]) };
        proposal.signature = self.sign(proposal.vote(digest)).signature;
        Arc::new(proposal)
    }

    /// A proposal, and another for the same slot that any replica would accept: a microsecond later, with the log root of
    /// its own execution.
    fn two_blocks(&self, node: &Node<MemoryDisk>, proposal: &Arc<PrePrepare>) -> Option<[Arc<PrePrepare>; 2]> {
        Some([Arc::clone(proposal), self.make_other(node, proposal)?])
    }

    fn make_other(&self, node: &Node<MemoryDisk>, proposal: &PrePrepare) -> Option<Arc<PrePrepare>> {
        let mut block = Block::clone(&proposal.block);
        let header = &mut block.header;
        let below = header.height.previous();
        let current = node.execution().ledger();
        if current.committed() > below || current.tip() < below {
            return None;
        }
        let mut ledger = current.clone();
        ledger.roll_back(below);
        let bundles: Option<Vec<_>> =
            block.bundles.iter().map(|digest| node.pool().bundle(digest).map(Arc::clone)).collect();
        header.timestamp = header.timestamp.plus_micros(1);
        let (height, timestamp, set) = (header.height, header.timestamp, &node.settings().config.set);
        let executed = ledger.execute(&BlockInput { height, timestamp, bundles: &bundles?, set });
        (header.log_size, header.log_root) = (executed.log_size, executed.log_root);
        Some(self.propose(proposal.view, block))
    }

    /// Both votes for a block, whatever is prepared.
    fn vote_at_once(&self, vote: &Signed<Vote>, digest: Digest) -> Vec<PeerMessage> {
        let kinds = [VoteKind::Prepare, VoteKind::Commit];
        kinds.map(|kind| PeerMessage::Vote(self.sign(Vote { kind, digest, ..vote.body }))).to_vec()
    }
}
