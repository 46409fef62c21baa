//! The links: who is connected, what peers say, bundles, and catching up.

use std::sync::Arc;

use dtvn_messages::ValidatorIndex;
use dtvn_messages::wire::{self, Class, PeerMessage};

use super::messages::LogWork;
use super::requests::{blame, send};
use super::{Checked, Effect, Failure, Mail, Node, Timed, Timer, Work};
use crate::log::Disk;
use crate::record::LogRecord;
use crate::sync::Peer;
use crate::{consensus, intake, pool, sync, verify};

impl<D: Disk> Node<D> {
    /// Presence: gossip and replica hear of a new link, then everyone of the quorum.
    pub(super) fn on_peer_up(&mut self, peer: ValidatorIndex) {
        self.connected.insert(peer);
        self.tell_gossip(pool::Input::PeerUp(peer));
        self.mail.push_back(Mail::Replica(consensus::Input::PeerUp(peer)));
        self.tell_quorum();
    }

    pub(super) fn on_peer_down(&mut self, peer: ValidatorIndex) {
        if self.connected.remove(&peer) {
            self.tell_gossip(pool::Input::PeerDown(peer));
            self.tell_quorum();
        }
    }

    pub(super) fn tell_quorum(&mut self) {
        let config = &self.config;
        let power = config.set.power_of(self.connected.iter().copied().chain(config.me));
        let quorum = power >= config.set.quorum();
        if quorum != self.quorum {
            self.quorum = quorum;
            self.mail.push_back(Mail::Replica(consensus::Input::QuorumConnected(quorum)));
            self.mail.push_back(Mail::Intake(intake::Input::Quorum(quorum)));
        }
    }

    /// The verifier: decoded, checked, and handed to whom it concerns.
    pub(super) fn on_frame(&mut self, from: ValidatorIndex, class: Class, bytes: &[u8], effects: &mut Vec<Effect>) {
        match wire::decode(bytes, class) {
            Ok(message) => self.on_message(from, message, effects),
            Err(error) => effects.push(Effect::Blame { peer: from, why: error.to_string() }),
        }
    }

    pub(super) fn on_message(&mut self, from: ValidatorIndex, message: PeerMessage, effects: &mut Vec<Effect>) {
        let message = match self.verifier.receipts(from, message) {
            Ok(verify::Checked::Other(message)) => message,
            Ok(verify::Checked::Said(said)) => {
                return self.mail.push_back(Mail::Replica(consensus::Input::Receipts { from, said }));
            }
            Ok(verify::Checked::Evidence(evidence)) => {
                return self.mail.push_back(Mail::Replica(consensus::Input::Evidence(evidence)));
            }
            Ok(verify::Checked::Nothing) => return,
            Err(fault) => return effects.push(Effect::Blame { peer: from, why: fault.to_string() }),
        };
        match message {
            PeerMessage::Bundle(bytes) => self.tell_gossip(pool::Input::Received { from, bytes }),
            PeerMessage::FetchBundles(digests) => self.tell_gossip(pool::Input::Fetch { from, digests }),
            PeerMessage::AnnounceBundles(digests) => self.tell_gossip(pool::Input::Announce { from, digests }),
            PeerMessage::Recover(asked) => self.on_recover(from, *asked, effects),
            message if message.class() == Class::Sync => {
                let from = Peer::Validator(from);
                if !self.serve(from, &message, effects) {
                    self.on_answer(from, message, effects);
                }
            }
            message => match self.verifier.consensus(from, message) {
                Ok(None) => {}
                Ok(Some(message)) => {
                    self.mail.push_back(Mail::Replica(consensus::Input::Message { from, message }));
                }
                Err(fault) => {
                    if let Some(evidence) = fault.evidence() {
                        self.mail.push_back(Mail::Replica(consensus::Input::Evidence(Arc::clone(evidence))));
                    }
                    effects.push(Effect::Blame { peer: from, why: fault.to_string() });
                }
            },
        }
    }

    pub(super) fn step_sync(&mut self, input: sync::Input, effects: &mut Vec<Effect>) -> Result<(), Failure> {
        let mut said = Vec::new();
        self.sync.step(self.now, input, &mut said);
        for effect in said {
            match effect {
                sync::Effect::Send { to, message } => effects.push(send(to, message)),
                sync::Effect::Deliver(checked) => {
                    effects.push(Effect::CaughtUp { blocks: checked.blocks.len() });
                    self.mail.push_back(Mail::Replica(consensus::Input::Synced(checked)));
                }
                sync::Effect::SetTimer { generation, after_us } => {
                    let timer = Timer { of: Timed::Sync, incarnation: self.incarnations.sync, generation };
                    effects.push(Effect::SetTimer { timer, after_us });
                }
                sync::Effect::Keep(part) => drop(self.parts.insert(part.hash, part.entries.to_vec())),
                sync::Effect::Install(checked) => self.install(&checked, effects)?,
                sync::Effect::InstallGenesis => self.install_genesis(effects)?,
                sync::Effect::Blame { peer, why } => effects.push(blame(peer, why.to_owned())),
            }
        }
        Ok(())
    }

    pub(super) fn step_gossip(&mut self, input: pool::Input, effects: &mut Vec<Effect>) {
        let mut said = Vec::new();
        self.pool.step(self.now, input, &mut said);
        for effect in said {
            self.carry_out_gossip(effect, effects);
        }
    }

    fn carry_out_gossip(&mut self, effect: pool::Effect, effects: &mut Vec<Effect>) {
        match effect {
            pool::Effect::Send { to, message } => effects.push(Effect::Send { to, message }),
            pool::Effect::Broadcast(message) => effects.push(Effect::Broadcast(message)),
            pool::Effect::Verify { from, bundle } => {
                let ok = self.verifier.bundle(&bundle);
                effects.push(Effect::Work(Work::Verify(Checked { from, bundle, ok })));
            }
            pool::Effect::Log(bundle) => {
                self.desk.queue.push_back(LogWork::Append(LogRecord::Bundle(bundle).encode()));
            }
            pool::Effect::Available(meta) => {
                if let Some(bundle) = self.pool.bundle(&meta.digest) {
                    self.mail.push_back(Mail::Replica(consensus::Input::Bundle(Arc::clone(bundle))));
                }
            }
            pool::Effect::Superseded { bundle, last } => {
                if self.config.is_me(bundle.body.epoch, bundle.body.origin) {
                    self.mail.push_back(Mail::Intake(intake::Input::BundleGone { bundle, last }));
                }
            }
            pool::Effect::Conflict { first, .. } => {
                effects.push(Effect::Conflict { origin: first.body.origin });
            }
            pool::Effect::Refused { .. } | pool::Effect::WantRefused { .. } => {}
            pool::Effect::ReserveFull { held } => {
                self.mail.push_back(Mail::Replica(consensus::Input::PoolFull(held)));
            }
            pool::Effect::Full(full) => self.mail.push_back(Mail::Intake(intake::Input::PoolFull(full))),
            pool::Effect::Blame { peer, why } => {
                effects.push(Effect::Blame { peer, why: why.name().to_owned() });
            }
            pool::Effect::SetTimer { generation, after_ms } => {
                let timer = Timer { of: Timed::Pool, incarnation: self.incarnations.gossip, generation };
                effects.push(Effect::SetTimer { timer, after_us: after_ms * 1_000 });
            }
        }
    }
}
