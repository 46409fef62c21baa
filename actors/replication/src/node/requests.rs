//! What peers ask for, whoever they are, and what they answer.

use std::convert::Infallible;
use std::sync::Arc;

use dtvn_messages::PublicKey;
use dtvn_messages::wire::PeerMessage;

use super::{Effect, Mail, Node};
use crate::consensus;
use crate::log::Disk;
use crate::sync::{self, Answer, Peer, serve_manifest, serve_part};

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

    /// The verifier: what was asked for is checked, and handed to whom it concerns.
    pub(super) fn on_answer(&mut self, from: Peer, answer: PeerMessage, effects: &mut Vec<Effect>) {
        match Answer::check(&self.verifier, from, answer) {
            Ok(None) => {}
            Ok(Some(Answer::Replica(end))) => self.mail.push_back(Mail::Replica(consensus::Input::EpochEnd(end))),
            Ok(Some(Answer::Sync(input))) => self.mail.push_back(Mail::Sync(input)),
            Err(fault) => {
                effects.push(blame(from, fault.to_string()));
                self.mail.push_back(Mail::Sync(sync::Input::Faulty(from)));
            }
        }
    }
}
