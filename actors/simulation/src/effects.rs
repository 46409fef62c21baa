//! What follows from a step of a node: messages on their way, work and timers, and all that the oracle looks at.

use std::collections::BTreeSet;
use std::sync::Arc;

use dtvn_ledger::BlockEffects;
use dtvn_messages::evidence::EpochContext;
use dtvn_messages::wire::{Class, PeerMessage};
use dtvn_messages::{Epoch, Evidence, Height, PublicKey, ValidatorIndex};
use dtvn_replication::consensus::Committed;
use dtvn_replication::intake::{Answer, RequestId};
use dtvn_replication::log::Opened;
use dtvn_replication::node::{Effect, Work};

use crate::host::Host;
use crate::lies::{Behaviour, Moment, Payload};
use crate::oracle::{Invariant, Violation, ensure, refused_by_one};
use crate::world::{Event, World};

impl World {
    pub(crate) fn carry_out(&mut self, host: usize) -> Result<(), Violation> {
        let mut effects = std::mem::take(&mut self.effects);
        // What a step made durable after the log was opened in it counts from the opening on.
        for effect in &effects {
            if let Effect::Opened(opened) = effect {
                self.on_opened(host, *opened)?;
            }
        }
        for effect in effects.drain(..) {
            self.show(host, "->", &effect);
            self.carry_out_one(host, effect)?;
        }
        self.effects = effects;
        let at = &mut self.hosts[host];
        // A block that its disk refused was shown to nobody.
        if let Some(node) = at.node.as_ref().filter(|_| at.is_honest && !at.has_failed) {
            at.heights.stands(node.show().committed, node.store().durable())?;
        }
        if let Some(log) = at.node.as_ref().and_then(|node| node.log()) {
            at.promises.durable(log.durable());
            let first = log.segments().next().map_or(1, |segment| segment.segment.0);
            self.coverage.collected += first.saturating_sub(at.first_segment);
            at.first_segment = first;
        }
        Ok(())
    }

    fn carry_out_one(&mut self, host: usize, effect: Effect) -> Result<(), Violation> {
        let honest = u64::from(self.hosts[host].is_honest);
        match effect {
            Effect::Broadcast(message) => self.broadcast(host, message)?,
            Effect::Send { to, message } => {
                self.check_sent(host, &message)?;
                for peer in (0..self.hosts.len()).filter(|peer| *peer != host) {
                    if self.hosts[host].addresses.of(peer) == Some(to) {
                        self.send(host, peer, message.clone());
                    }
                }
            }
            Effect::SendToStranger { to, message } => {
                let asker = (0..self.hosts.len()).find(|peer| *peer != host && self.hosts[*peer].key() == to);
                if let Some(asker) = asker {
                    self.send(host, asker, message);
                }
            }
            Effect::Work(work) => self.work(host, work),
            Effect::SetTimer { timer, after_us } => {
                let incarnation = self.hosts[host].incarnation;
                let number = self.schedule(after_us, Event::Timer { host, incarnation, timer });
                self.hosts[host].timers.insert(timer.name(), number);
            }
            Effect::Answer { request, answer, .. } => self.on_answer(host, request, &answer)?,
            Effect::Logged { number, record } => {
                if honest == 1 {
                    self.hosts[host].promises.logged(number, &record);
                }
            }
            Effect::Committed { committed, effects } => self.on_committed(host, &committed, &effects)?,
            Effect::Evidence(evidence) => self.on_evidence(host, &evidence)?,
            Effect::Certified(certificate) => {
                self.coverage.receipts += honest;
                if honest == 1 {
                    self.chain.certified(&certificate)?;
                }
            }
            Effect::RolledBack(_) => self.coverage.rolled_back += honest,
            Effect::Stable(_) => self.coverage.stable += honest,
            Effect::CaughtUp { .. } => self.coverage.caught_up += honest,
            Effect::Moved { cause, .. } => self.coverage.views.0[cause as usize] += honest,
            Effect::Active(_) | Effect::Conflict { .. } | Effect::Opened(_) => {}
            Effect::Installed { height, digest, .. } => {
                self.coverage.installed += honest;
                if honest == 1 {
                    self.chain.installed(height, digest)?;
                    self.hosts[host].heights.installed(height)?;
                }
            }
            Effect::EpochBegan(epoch) => self.on_epoch(host, epoch)?,
            Effect::Recovered => self.on_recovered(host),
            Effect::Blame { peer, why } => {
                let key = self.hosts[host].addresses.set.key(peer);
                self.on_blame(host, key.as_ref(), &why)?;
            }
            Effect::BlameStranger { peer, why } => self.on_blame(host, Some(&peer), &why)?,
            Effect::Diverged(height) => self.on_diverged(host, height)?,
            Effect::Failed(why) => {
                let may_fail = honest == 0 || self.hosts[host].is_disk_broken;
                ensure(may_fail, Invariant::NoCrash, || format!("host {host} failed: {why}"))?;
                self.hosts[host].has_failed = true;
            }
        }
        Ok(())
    }

    fn on_opened(&mut self, host: usize, opened: Option<Opened>) -> Result<(), Violation> {
        self.coverage.torn += u64::from(opened.is_some_and(|opened| opened.cut_bytes.is_some()));
        let at = &mut self.hosts[host];
        if at.is_honest { at.promises.opened(opened, at.may_forget) } else { Ok(()) }
    }

    /// A node is in another epoch: it names its peers by other validators.
    fn on_epoch(&mut self, host: usize, epoch: Epoch) -> Result<(), Violation> {
        let Some(node) = &self.hosts[host].node else { return Ok(()) };
        let Some(end) = node.store().epoch_end(epoch.previous()) else { return Ok(()) };
        let set = Arc::new(end.next.clone());
        if self.hosts[host].is_honest {
            self.coverage.epochs += 1;
            self.chain.began(epoch, &set)?;
        }
        self.enter(host, epoch, set);
        self.greet_again(host);
        Ok(())
    }

    fn on_committed(&mut self, host: usize, committed: &Committed, effects: &BlockEffects) -> Result<(), Violation> {
        self.note(5, host as u64, first_word(&committed.digest.0));
        if !self.hosts[host].is_honest {
            return Ok(());
        }
        self.coverage.commits += 1;
        self.check_majority(host, committed)?;
        let before = self.chain.eras().latest().0;
        self.chain.committed(committed, effects)?;
        self.hosts[host].heights.committed(committed.block.header.height)?;
        if self.chain.eras().latest().0 != before {
            self.on_era();
        }
        Ok(())
    }

    fn on_recovered(&mut self, host: usize) {
        let at = &mut self.hosts[host];
        self.coverage.recoveries += u64::from(at.is_honest);
        self.scenario.spare_faults += usize::from(at.is_honest);
        at.is_damaged = false;
        at.may_forget = false;
        if let Some(node) = &at.node {
            at.promises.recovered(node.config().epoch);
        }
    }

    /// What is proposed while the network is parted is decided only where a quorum can be heard.
    fn check_majority(&self, host: usize, committed: &Committed) -> Result<(), Violation> {
        let Some(cut_us) = self.links.cut_since_us() else { return Ok(()) };
        let proposed_us = self.proposed_us.get(&committed.digest).copied().unwrap_or(0);
        let is_new = committed.block.header.height > self.chain.height();
        if !is_new || proposed_us < cut_us {
            return Ok(());
        }
        let heard = self.links.heard_by(host, self.hosts.len());
        let set = &self.chain.eras().at(committed.block.header.height).1.set;
        let keys = heard.iter().flat_map(|host| &self.hosts[*host].keys);
        let indices: BTreeSet<ValidatorIndex> = keys.filter_map(|key| set.index_of_key(key)).collect();
        let power = set.power_of(indices.iter().copied());
        let needed = 2 * set.total_power() / 3 + 1;
        ensure(power >= needed, Invariant::Minority, || {
            let height = committed.block.header.height;
            format!("host {host} decides block {height} with a power of {power} in reach, and {needed} are needed")
        })
    }

    fn on_blame(&mut self, host: usize, peer: Option<&PublicKey>, why: &str) -> Result<(), Violation> {
        if !self.hosts[host].is_honest {
            return Ok(());
        }
        let is_liar = peer.is_some_and(|key| self.liars.contains(key));
        self.coverage.blamed += u64::from(is_liar);
        ensure(is_liar, Invariant::NoFalseAccusation, || {
            let peer = peer.and_then(|key| self.hosts.iter().position(|peer| peer.key() == *key));
            let peer = peer.map_or_else(|| "nobody that is there".to_owned(), |peer| format!("host {peer}"));
            format!("host {host} blames {peer}, which is honest: {why}")
        })
    }

    /// Evidence accuses liars only, and holds for anybody.
    fn on_evidence(&mut self, host: usize, evidence: &Evidence) -> Result<(), Violation> {
        if !self.hosts[host].is_honest {
            return Ok(());
        }
        let (culprit, epoch) = (evidence.culprit(), evidence.slot().epoch);
        let eras = self.chain.eras();
        let rotation_interval = self.genesis.parameters().rotation_interval;
        let context = |epoch| {
            let era = eras.of(epoch)?;
            Some(EpochContext { set: &era.set, base: era.base, rotation_interval })
        };
        let judged = evidence.verify(self.genesis.chain_id(), context, &*self.scheme);
        let key = eras.of(epoch).and_then(|era| era.set.key(culprit));
        let is_liar = key.is_some_and(|key| self.liars.contains(&key));
        self.coverage.add_evidence(evidence.kind());
        ensure(is_liar && judged.is_ok(), Invariant::NoFalseAccusation, || {
            format!("host {host} has evidence against {culprit}: {judged:?}, {evidence:?}")
        })
    }

    fn on_diverged(&self, host: usize, height: Height) -> Result<(), Violation> {
        ensure(!self.hosts[host].is_honest, Invariant::NoFalseAccusation, || {
            format!("host {host} says that it has diverged at {height}")
        })
    }

    fn check_sent(&mut self, host: usize, message: &PeerMessage) -> Result<(), Violation> {
        let at = &mut self.hosts[host];
        if !at.is_honest {
            return Ok(());
        }
        if let Some(log) = at.node.as_ref().and_then(|node| node.log()) {
            at.promises.durable(log.durable());
        }
        let stored = at.node.as_ref().map_or(Height(0), |node| node.store().durable());
        at.promises.sent(message, stored)?;
        match message {
            PeerMessage::ViewChange(signed) if Some(signed.signer) == at.addresses.me => {
                self.coverage.carried += u64::from(!signed.body.prepared.is_empty());
            }
            PeerMessage::NewView(signed) if Some(signed.signer) == at.addresses.me => self.coverage.new_views += 1,
            _ => {}
        }
        Ok(())
    }

    fn broadcast(&mut self, host: usize, message: PeerMessage) -> Result<(), Violation> {
        self.check_sent(host, &message)?;
        for peer in 0..self.hosts.len() {
            let addresses = &self.hosts[host].addresses;
            let index = addresses.of(peer);
            if peer != host && index.is_some() && index != addresses.me {
                self.send(host, peer, message.clone());
            }
        }
        Ok(())
    }

    /// Sends, or what a liar sends instead.
    fn send(&mut self, from: usize, to: usize, message: PeerMessage) {
        // To a peer that is no validator a liar says what it would say to one that has no place in the set.
        let peer = self.hosts[from].addresses.of(to).unwrap_or(ValidatorIndex(u16::MAX));
        let is_doubled = self.hosts[from].twin.is_some_and(|twin| self.hosts[twin].is_up());
        self.coverage.told.0[Behaviour::Twin as usize] +=
            u64::from(is_doubled && matches!(message, PeerMessage::Vote(_)));
        let Host { filter, node, lie: way, .. } = &mut self.hosts[from];
        match (filter, node) {
            (Some(filter), Some(node)) => {
                let (random, conspiracy) = (&mut self.randoms.lies, &mut self.conspiracy);
                let moment = Moment { node, to: peer, random, conspiracy, now_us: self.now_us };
                let (said, lie) = filter.distort(message, moment);
                if let Some(lie) = lie {
                    self.coverage.told.0[lie as usize] += 1;
                    self.coverage.told.0[Behaviour::Mixed as usize] += u64::from(*way == Some(Behaviour::Mixed));
                }
                said.into_iter().for_each(|said| self.transmit(from, to, said.payload, said.after_us));
            }
            _ => self.transmit(from, to, Payload::Message(message), 0),
        }
    }

    fn transmit(&mut self, from: usize, to: usize, payload: Payload, after_us: u64) {
        if let Payload::Message(PeerMessage::PrePrepare(proposal)) = &payload {
            let digest = proposal.block.header.digest(self.genesis.chain_id());
            self.proposed_us.entry(digest).or_insert(self.now_us);
        }
        if !self.links.carries(from, to) || !self.hosts[to].is_up() || !self.share(from, to, payload.class()) {
            return;
        }
        if let (Some(lossy), Payload::Message(message)) = (self.lossy_votes, &payload)
            && lossy.take(to, message, &mut self.randoms.network)
        {
            self.coverage.votes_lost += 1;
            return;
        }
        if payload.class() != Class::Sync {
            let (key, payload) = (self.hosts[from].key(), &payload);
            self.archive(|| Event::Deliver { from, key, to, payload: payload.clone() });
        }
        let delays = self.weather.delays(&mut self.randoms.network);
        self.coverage.sent += 1;
        self.coverage.lost += u64::from(delays.is_empty());
        self.coverage.repeated += u64::from(delays.len() > 1);
        for delay_us in delays {
            self.coverage.delayed += u64::from(self.weather.is_late(delay_us));
            let key = self.hosts[from].key();
            self.schedule(after_us + delay_us, Event::Deliver { from, key, to, payload: payload.clone() });
        }
    }

    fn work(&mut self, host: usize, work: Work) {
        let at = &mut self.hosts[host];
        let incarnation = at.incarnation;
        let after_us = match &work {
            Work::Sync { .. } if at.slow_disk => {
                self.coverage.slow_disks += 1;
                self.randoms.disk.around(60_000)
            }
            Work::Sync { .. } => self.randoms.disk.around(300),
            Work::Execute(_) | Work::Verify(_) => {
                let lane = usize::from(matches!(work, Work::Verify(_)));
                let done_us = at.busy_until_us[lane].max(self.now_us) + self.randoms.disk.around(20);
                at.busy_until_us[lane] = done_us;
                done_us - self.now_us
            }
        };
        self.schedule(after_us, Event::Done { host, incarnation, work });
    }

    fn on_answer(&mut self, host: usize, request: RequestId, answer: &Answer) -> Result<(), Violation> {
        if !self.hosts[host].is_honest {
            return Ok(());
        }
        if let Answer::Refused { reason, .. } = answer {
            refused_by_one(*reason)?;
        }
        self.answered(request, answer)
    }
}

fn first_word(bytes: &[u8; 32]) -> u64 {
    bytes.first_chunk::<8>().map_or(0, |word| u64::from_be_bytes(*word))
}
