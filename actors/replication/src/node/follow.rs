//! Following without being told (consensus.md section 7: "an observer follows the same way"): a node without a vote, or
//! one whose links carry the votes of no quorum, asks for what is committed. The others may be in an epoch in which it is
//! no validator, and say nothing to it. So does one that waits at the end of its epoch: those whose votes it lacks may be
//! in the next epoch, without a vote there. And the other end: requests are answered whoever asks.

use std::convert::Infallible;
use std::sync::Arc;

use dtvn_messages::wire::PeerMessage;
use dtvn_messages::{PublicKey, ValidatorIndex, limits};

use super::{Effect, Mail, Node, Timed, Timer};
use crate::log::Disk;
use crate::sync::{self, serve_manifest, serve_part};

/// Who asks for blocks or a state.
#[derive(Debug, Clone, Copy)]
pub(super) enum Asker {
    /// A validator.
    Validator(ValidatorIndex),
    /// A node without a vote.
    Observer(PublicKey),
}

impl Asker {
    fn answer(self, message: PeerMessage) -> Effect {
        match self {
            Self::Validator(to) => Effect::Send { to, message },
            Self::Observer(to) => Effect::Answered { to, message },
        }
    }
}

impl<D: Disk> Node<D> {
    /// Whether others say what is committed.
    fn is_told(&self) -> bool {
        self.config.me.is_some() && self.quorum && !self.consensus.show().at_epoch_end
    }

    /// Sets the timer, if it is wanted and not set.
    pub(super) fn follow_unless_told(&mut self, effects: &mut Vec<Effect>) {
        if !self.following && !self.is_told() {
            self.following = true;
            let timer = Timer { of: Timed::Follow, incarnation: 0, generation: 0 };
            let after_us = u64::try_from(limits::OBSERVER_FOLLOW_INTERVAL.as_micros()).unwrap_or(u64::MAX);
            effects.push(Effect::SetTimer { timer, after_us });
        }
    }

    /// Asks for what is committed above what is here.
    pub(super) fn follow(&mut self) {
        self.following = false;
        if self.is_told() || self.sync.is_fetching() {
            return;
        }
        let from = self.consensus.show().committed.next();
        let to = from.plus(limits::SYNC_BLOCKS_MAX as u64 - 1);
        let others = self.config.set.iter().map(|(index, _)| index);
        let holders = others.filter(|index| Some(*index) != self.config.me).collect();
        self.mail.push_back(Mail::Sync(sync::Input::Follow { from, to, holders }));
    }

    /// A node without a vote may ask, and nothing else that it says is looked at.
    pub(super) fn on_observer(&self, peer: PublicKey, message: PeerMessage, effects: &mut Vec<Effect>) {
        self.serve(Asker::Observer(peer), &message, effects);
    }

    /// Answers a request. One who asks for blocks that are collected is told so by an empty answer.
    pub(super) fn serve(&self, asker: Asker, request: &PeerMessage, effects: &mut Vec<Effect>) {
        let shelf = self.execution.shelf();
        match *request {
            PeerMessage::SyncRequest { from, to } => {
                if let Some(end) = shelf.ends.iter().rev().find(|end| end.height().next() == from) {
                    effects.push(asker.answer(PeerMessage::EpochEnd(Arc::clone(end))));
                }
                let Ok(blocks) = sync::serve(from, to, |height| Ok::<_, Infallible>(self.store.block(height)));
                if !blocks.is_empty() || from <= self.store.applied() {
                    effects.push(asker.answer(PeerMessage::SyncBlocks(blocks)));
                }
            }
            PeerMessage::SnapshotRequest { height, at_least, epoch } => {
                effects.push(asker.answer(serve_manifest(shelf, height, at_least, epoch)));
            }
            PeerMessage::PartRequest { height, part } => effects.push(asker.answer(serve_part(shelf, height, part))),
            _ => {}
        }
    }
}
