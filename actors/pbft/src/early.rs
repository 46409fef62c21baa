//! Messages that are too early: for a later view, for this one before it is active, or above a block that is not here
//! yet (consensus.md section 3: "wait in bounded buffers, per sender").

use dtvn_messages::limits::REPLICA_EARLY_PER_SENDER_MAX;
use dtvn_messages::{Height, Timestamp, ValidatorIndex, View};

use crate::effect::Effect;
use crate::input::Message;
use crate::replica::Replica;

/// A message that waits, with the wall time of its arrival.
#[derive(Debug)]
pub(crate) struct Early {
    arrived: Timestamp,
    message: Message,
}

/// What decides whether a message that waits is still too early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reached {
    view: View,
    active: bool,
    committed: Height,
    accepted: u64,
}

impl Replica {
    /// Keeps a message for a later view, or for this one before it is active. Says whether it did.
    pub(crate) fn buffer_early(&mut self, from: ValidatorIndex, message: &Message) -> bool {
        let view = match message {
            Message::PrePrepare { view, block, .. } if block.header.epoch == self.config.epoch => *view,
            Message::Vote(vote) if vote.body.epoch == self.config.epoch => vote.body.view,
            _ => return false,
        };
        let is_early = view > self.view || (view == self.view && !self.active);
        if is_early {
            self.keep_early(from, self.now.wall, message.clone());
        }
        is_early
    }

    /// Keeps a message. Above the bound the one for the farthest future is dropped; what is lost is sent again
    /// (section 7).
    pub(crate) fn keep_early(&mut self, from: ValidatorIndex, arrived: Timestamp, message: Message) {
        let waiting = self.early.entry(from).or_default();
        if waiting.iter().any(|early| is_same(&early.message, &message)) {
            return;
        }
        waiting.push(Early { arrived, message });
        if waiting.len() > REPLICA_EARLY_PER_SENDER_MAX {
            let farthest = (0..waiting.len()).max_by_key(|at| waiting.get(*at).map(|early| place_of(&early.message)));
            if let Some(farthest) = farthest {
                waiting.remove(farthest);
            }
        }
    }

    /// Looks again at what came too early, if there is reason to. Says whether anything was taken.
    pub(crate) fn replay_early(&mut self, effects: &mut Vec<Effect>) -> bool {
        let (view, active, committed) = (self.view, self.active, self.chain.committed());
        let reached = Reached { view, active, committed, accepted: self.accepted };
        if !active || self.early.is_empty() || self.early_seen == Some(reached) {
            return false;
        }
        self.early_seen = Some(reached);
        let mut progress = false;
        for (from, waiting) in std::mem::take(&mut self.early) {
            for Early { arrived, message } in waiting {
                let (of_view, height) = place_of(&message);
                if of_view < view || (of_view == view && height <= committed.min(self.selection.base)) {
                    continue;
                }
                match message {
                    Message::PrePrepare { block, digest, signature, .. }
                        if of_view == view && self.can_build(height) =>
                    {
                        progress = true;
                        self.on_pre_prepare(from, of_view, block, digest, signature, arrived, effects);
                    }
                    Message::Vote(vote) if of_view == view => {
                        progress = true;
                        self.on_vote(from, &vote, effects);
                    }
                    message => self.keep_early(from, arrived, message),
                }
            }
        }
        progress
    }
}

/// Whether a message only repeats another of its sender.
fn is_same(known: &Message, message: &Message) -> bool {
    match (known, message) {
        (
            Message::PrePrepare { view: known_view, digest: known_digest, .. },
            Message::PrePrepare { view, digest, .. },
        ) => (known_view, known_digest) == (view, digest),
        (Message::Vote(known), Message::Vote(vote)) => known.body == vote.body,
        _ => false,
    }
}

/// The view and height that a message is about.
fn place_of(message: &Message) -> (View, Height) {
    match message {
        Message::PrePrepare { view, block, .. } => (*view, block.header.height),
        Message::Vote(vote) => (vote.body.view, vote.body.height),
        _ => (View(0), Height(0)),
    }
}
