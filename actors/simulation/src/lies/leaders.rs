//! Lying leaders.

use std::sync::Arc;

use dtvn_ledger::BlockInput;
use dtvn_messages::block::bundles_root;
use dtvn_messages::wire::{PeerMessage, PrePrepare};
use dtvn_messages::{Block, Digest, Height, Signature, Signed, Timestamp, Vote, VoteKind, limits, sha256};
use dtvn_replication::log::MemoryDisk;
use dtvn_replication::node::Node;

use super::{Behaviour, Filter, Lie, Moment, Payload, Said, also, any_digest, one};

/// How far a time lies off that nobody can take for a drift.
const LONG_US: u64 = 3_600 * 1_000_000;

impl Filter {
    pub(super) fn say_as_leader(&self, behaviour: Behaviour, message: &PeerMessage, moment: &mut Moment<'_>) -> Lie {
        match (behaviour, message) {
            (Behaviour::SilentLeader, PeerMessage::PrePrepare(_) | PeerMessage::NewView(_)) => Some(Vec::new()),
            (Behaviour::OneOut, PeerMessage::PrePrepare(_) | PeerMessage::Vote(_) | PeerMessage::Bundle(_)) => {
                (moment.to == self.victim()).then(Vec::new)
            }
            (Behaviour::TwoBlocks, PeerMessage::Vote(vote)) => {
                let both = moment.conspiracy.blocks.get(&(vote.body.view, vote.body.height))?.as_ref()?;
                let digest = both[usize::from(moment.is_even())].block.header.digest(self.chain());
                Some(self.vote_at_once(vote, digest))
            }
            (behaviour, PeerMessage::PrePrepare(proposal)) => self.propose_otherwise(behaviour, proposal, moment),
            _ => None,
        }
    }

    fn propose_otherwise(&self, behaviour: Behaviour, proposal: &Arc<PrePrepare>, moment: &mut Moment<'_>) -> Lie {
        let truth = PeerMessage::PrePrepare(Arc::clone(proposal));
        let height = proposal.block.header.height;
        let header = |change: &dyn Fn(&mut Block)| one(self.altered(proposal, change));
        match behaviour {
            Behaviour::TwoBlocks => {
                let slot = (proposal.view, height);
                let known = moment.conspiracy.blocks.get(&slot).cloned();
                let both = known.unwrap_or_else(|| self.two_blocks(moment.node, proposal));
                moment.conspiracy.blocks.insert(slot, both.clone());
                one(PeerMessage::PrePrepare(Arc::clone(&both?[usize::from(moment.is_even())])))
            }
            Behaviour::WindowJumped => {
                let far = limits::REPLICA_EARLY_PER_SENDER_MAX as u64 + 100_000;
                header(&|block| block.header.height = height.plus(far))
            }
            Behaviour::WindowExhausted => {
                let window = self.genesis.parameters().log_window;
                also(&truth, self.empty_blocks(proposal, window))
            }
            Behaviour::EmptyBlocks => also(&truth, self.empty_blocks(proposal, 1)),
            Behaviour::Slow => {
                let after_us = self.genesis.parameters().view_timeout_ms * 700;
                Some(vec![Said { after_us, payload: Payload::Message(truth) }])
            }
            Behaviour::TimePast => {
                header(&|block| block.header.timestamp.0 = block.header.timestamp.0.saturating_sub(LONG_US))
            }
            Behaviour::TimeFuture => {
                header(&|block| block.header.timestamp = block.header.timestamp.plus_micros(LONG_US))
            }
            Behaviour::TimeStill => header(&|block| block.header.timestamp = Timestamp(self.genesis.file().time.0 + 1)),
            Behaviour::WrongRoot => header(&|block| block.header.log_root = sha256(&[b"wrong"])),
            Behaviour::OversizedBlock => header(&|block| {
                let number = |number: usize| sha256(&[b"one too many", &number.to_be_bytes()]);
                block.bundles = (0..=limits::BLOCK_BUNDLES_MAX).map(number).collect();
            }),
            Behaviour::DigestWithoutData => {
                let digest = any_digest(moment.random);
                header(&|block| block.bundles = vec![digest])
            }
            Behaviour::OldBundle => {
                let old =
                    moment.node.store().block(Height(height.0.saturating_sub(2)))?.block.bundles.first().copied()?;
                header(&|block| block.bundles.insert(0, old))
            }
            Behaviour::ForgedOperation | Behaviour::MalformedOperation => self.bad_bundle(behaviour, proposal, moment),
            _ => None,
        }
    }

    /// A proposal with another block, whose bundles its header names.
    fn altered(&self, proposal: &PrePrepare, change: &dyn Fn(&mut Block)) -> PeerMessage {
        let mut block = Block::clone(&proposal.block);
        change(&mut block);
        block.header.bundles_root = bundles_root(&block.bundles);
        PeerMessage::PrePrepare(self.propose(proposal.view, block))
    }

    /// Empty blocks above a proposal: what they leave behind is what is there, so all about them is right.
    fn empty_blocks(&self, proposal: &PrePrepare, count: u64) -> Vec<PeerMessage> {
        let mut below = Block::clone(&proposal.block);
        let mut blocks = Vec::new();
        for _ in 0..count {
            let mut block = Block { header: below.header.clone(), bundles: Vec::new() };
            block.header.height = below.header.height.next();
            block.header.parent = below.header.digest(self.chain());
            block.header.timestamp = below.header.timestamp.plus_micros(1);
            block.header.bundles_root = bundles_root(&[]);
            blocks.push(PeerMessage::PrePrepare(self.propose(proposal.view, block.clone())));
            below = block;
        }
        blocks
    }

    /// A block with a bundle that the leader forged in another's name, or that is none.
    fn bad_bundle(&self, behaviour: Behaviour, proposal: &PrePrepare, moment: &mut Moment<'_>) -> Lie {
        let first = proposal.block.bundles.first()?;
        let honest = moment.node.pool().bundle(first)?;
        let mut body = honest.body.clone();
        body.origin = self.victim();
        body.start += 1;
        body.number = 0;
        let forged = self.assemble(body);
        let (digest, bytes) = match behaviour {
            Behaviour::ForgedOperation => (forged.digest, forged.bytes.clone()),
            _ => (forged.digest, forged.bytes[..forged.bytes.len() / 2].to_vec()),
        };
        let proposal = self.altered(proposal, &|block| block.bundles = vec![digest]);
        Some(vec![proposal.into(), PeerMessage::Bundle(Arc::new(bytes)).into()])
    }

    /// A proposal, and another for the same slot that any replica would accept: a microsecond later, with the log root of
    /// its own execution.
    fn two_blocks(&self, node: &Node<MemoryDisk>, proposal: &Arc<PrePrepare>) -> Option<[Arc<PrePrepare>; 2]> {
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
        let (height, timestamp, set) = (header.height, header.timestamp, &node.config().set);
        let executed = ledger.execute(&BlockInput {
            height,
            timestamp,
            bundles: &bundles?,
            set,
            scheme: &*node.settings().scheme,
        });
        (header.log_size, header.log_root) = (executed.log_size, executed.log_root);
        Some([Arc::clone(proposal), self.propose(proposal.view, block)])
    }

    /// Both votes for a block, whatever is prepared.
    pub(super) fn vote_at_once(&self, vote: &Signed<Vote>, digest: Digest) -> Vec<Said> {
        let kinds = [VoteKind::Prepare, VoteKind::Commit];
        kinds.map(|kind| self.vote(Vote { kind, digest, ..vote.body }).into()).into()
    }

    /// A signature of nobody.
    pub(super) const NO_SIGNATURE: Signature = Signature([7; 64]);
}
