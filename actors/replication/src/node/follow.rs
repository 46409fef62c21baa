//! Following without being told (consensus.md section 7: "an observer follows the same way"): a node without a vote, or
//! one whose links carry the votes of no quorum, asks for what is committed. The others may be in an epoch in which it is
//! no validator, and say nothing to it. So does one that waits at the end of its epoch: those whose votes it lacks may be
//! in the next epoch, without a vote there. And the other end: requests are answered whoever asks.

use std::convert::Infallible;
use std::sync::Arc;

use dtvn_messages::wire::PeerMessage;
use dtvn_messages::{PublicKey, limits};

use super::{Effect, Mail, Node, Timed, Timer};
use crate::consensus;
use crate::log::Disk;
use crate::sync::{self, Peer, serve_manifest, serve_part};

/// Sends to whoever it is.
pub(super) const fn send(to: Peer, message: PeerMessage) -> Effect {
    match to {
        Peer::Validator(to) => Effect::Send { to, message },
        Peer::Stranger(to) => Effect::SendToStranger { to, message },
    }
}

/// Says that a peer broke the rules, whoever it is.
pub(super) fn blame(peer: Peer, why: String) -> Effect {
    match peer {
        Peer::Validator(peer) => Effect::Blame { peer, why },
        Peer::Stranger(peer) => Effect::BlameStranger { peer, why },
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
        let is_told = self.is_told();
        let strangers = self.strangers.iter().filter(|_| !is_told).copied().collect();
        self.mail.push_back(Mail::Sync(sync::Input::Strangers(strangers)));
        if is_told || self.sync.is_fetching() {
            return;
        }
        let from = self.consensus.show().committed.next();
        let to = from.plus(limits::SYNC_BLOCKS_MAX as u64 - 1);
        self.mail.push_back(Mail::Sync(sync::Input::Follow { from, to }));
    }

    /// One that is no validator may ask, and answer what it was asked. Nothing else that it says is looked at.
    pub(super) fn on_stranger(&mut self, peer: PublicKey, message: PeerMessage, effects: &mut Vec<Effect>) {
        let is_answer = !self.serve(Peer::Stranger(peer), &message, effects);
        if is_answer && self.sync.awaited_strangers().contains(&peer) {
            self.on_answer(Peer::Stranger(peer), message, effects);
        }
    }

    /// Answers a request; false if it is none. One who asks for blocks that are collected is told so by an empty answer.
    pub(super) fn serve(&self, asker: Peer, request: &PeerMessage, effects: &mut Vec<Effect>) -> bool {
        let shelf = self.execution.shelf();
        match *request {
            PeerMessage::SyncRequest { from, to } => {
                if let Some(end) = shelf.ends.iter().rev().find(|end| end.height().next() == from) {
                    effects.push(send(asker, PeerMessage::EpochEnd(Arc::clone(end))));
                }
                let Ok(blocks) = sync::serve(from, to, |height| Ok::<_, Infallible>(self.store.block(height)));
                if !blocks.is_empty() || from <= self.store.applied() {
                    effects.push(send(asker, PeerMessage::SyncBlocks(blocks)));
                }
            }
            PeerMessage::SnapshotRequest { height, at_least, epoch } => {
                effects.push(send(asker, serve_manifest(shelf, self.archived(), height, at_least, epoch)));
            }
            PeerMessage::PartRequest { height, part } => {
                effects.push(send(asker, serve_part(shelf, self.archived(), height, part)))
            }
            _ => return false,
        }
        true
    }

    /// The verifier and the sync: what was asked for is checked. It proves itself, whoever sent it.
    pub(super) fn on_answer(&mut self, from: Peer, answer: PeerMessage, effects: &mut Vec<Effect>) {
        let checked = match answer {
            PeerMessage::EpochEnd(end) => match self.verifier.epoch_end(&end) {
                Ok(true) => return self.mail.push_back(Mail::Replica(consensus::Input::EpochEnd(end))),
                Ok(false) => return,
                Err(fault) => Err(fault),
            },
            PeerMessage::SyncBlocks(blocks) => {
                self.verifier.blocks(blocks).map(|checked| Some(sync::Input::Blocks { from, checked }))
            }
            PeerMessage::Snapshot(manifest) => self
                .verifier
                .manifest(manifest)
                .map(|checked| checked.map(|checked| sync::Input::Manifest { from, checked })),
            PeerMessage::EpochEnds(ends) => {
                let led = self.verifier.epoch_ends(&ends);
                led.map(|leads_to| Some(sync::Input::EpochEnds { from, leads_to }))
            }
            PeerMessage::Part { height, part, entries } => {
                let part = self.verifier.part(height, part, entries);
                part.map(|part| Some(sync::Input::Part { from, part }))
            }
            PeerMessage::SnapshotRefused { height } => Ok(Some(sync::Input::Refused { from, height })),
            _ => Ok(None),
        };
        match checked {
            Ok(input) => self.mail.extend(input.map(Mail::Sync)),
            Err(fault) => {
                effects.push(blame(from, fault.to_string()));
                self.mail.push_back(Mail::Sync(sync::Input::Faulty(from)));
            }
        }
    }
}
