//! COSIGN and the receipt certificate (consensus.md section 3, item 5): once a block is committed and durable, this node
//! cosigns the head of the log after it, gathers the others' cosignatures, and has a certificate at power `Q`, never one
//! with less. Section 7: a peer that lacks certificates is sent them, and this node's own cosignatures where there is none
//! yet.
//!
//! Own cosignatures follow from the block alone, so one that is made again after a restart is byte for byte the same, and
//! none needs a record. Nothing here delays a vote: cosignatures travel behind votes, wait for a sync that somebody else
//! asked for, and go together when there are many.

mod messages;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use dtvn_messages::certificate::Signatures;
use dtvn_messages::limits::{
    COSIGN_FLUSH_AFTER_MS, COSIGN_HEADS_MAX, COSIGN_INTERVAL_MS, RECEIPTS_AHEAD_HEIGHTS, RECEIPTS_ANSWER_INTERVAL_MS,
    RECEIPTS_FETCH_AFTER_MS, RECEIPTS_FETCH_TRIES_MAX, RECEIPTS_KEPT_HEIGHTS, RECEIPTS_SENT_MAX,
};
use dtvn_messages::wire::PeerMessage;
use dtvn_messages::{Epoch, Head, Height, Now, ReceiptCertificate, Signature, Signed, ValidatorIndex};
use dtvn_pbft::Committee;

pub use messages::{Effect, Input, Said};

/// What is known about one height.
#[derive(Debug, Default)]
struct Slot {
    /// The head after the block that is committed here.
    head: Option<Head>,
    /// Whether this node asked for its own cosignature.
    is_asked: bool,
    /// The first head of each epoch that each of its validators cosigned: an index may be another's in the next epoch.
    cosigned: BTreeMap<(Epoch, ValidatorIndex), (Head, Signature)>,
    certificate: Option<Arc<ReceiptCertificate>>,
    /// When the block was committed here.
    since_us: u64,
    /// How often others were asked.
    tries: u32,
}

impl Slot {
    /// When others are asked next, if at all.
    fn fetch_at_us(&self) -> Option<u64> {
        let is_open = self.head.is_some() && self.certificate.is_none() && self.tries < RECEIPTS_FETCH_TRIES_MAX;
        let wait_ms = RECEIPTS_FETCH_AFTER_MS.saturating_mul((1 << self.tries) * 2 - 1);
        is_open.then(|| self.since_us.saturating_add(wait_ms * 1_000))
    }
}

/// The cosignatures of recent heights.
#[derive(Debug)]
pub struct Receipts {
    now: Committee,
    /// That of the epoch before: receipts of its last blocks go on to gather.
    former: Option<Committee>,
    slots: BTreeMap<Height, Slot>,
    committed: Height,
    /// Everything up to here is committed and durable.
    durable: Height,
    /// Whether a sync was asked for, for the sake of what is committed up to here.
    flushing: Height,
    unsent: Vec<Signed<Head>>,
    sent_us: Option<u64>,
    answered_us: BTreeMap<ValidatorIndex, u64>,
    /// Who is asked next.
    asked: ValidatorIndex,
    timer: Option<u64>,
    generation: u64,
}

impl Receipts {
    /// A node that stands at a committed and durable height, in this epoch, after the former one; who is no validator
    /// cosigns nothing.
    #[must_use]
    pub fn new(now: Committee, former: Option<Committee>, base: Height) -> Self {
        let me = now.me;
        Self {
            now,
            former,
            slots: BTreeMap::new(),
            committed: base,
            durable: base,
            flushing: base,
            unsent: Vec::new(),
            sent_us: None,
            answered_us: BTreeMap::new(),
            asked: me.unwrap_or_default(),
            timer: None,
            generation: 0,
        }
    }

    /// The validators of the present epoch, or of the one before.
    fn committee(&self, epoch: Epoch) -> Option<&Committee> {
        [Some(&self.now), self.former.as_ref()].into_iter().flatten().find(|committee| committee.epoch == epoch)
    }

    /// Takes one input and appends what follows from it.
    pub fn step(&mut self, now: Now, input: Input, effects: &mut Vec<Effect>) {
        let now_us = now.monotonic_us;
        match input {
            Input::Restored(head) | Input::Committed(head) => self.on_committed(now_us, head, effects),
            Input::Durable(height) => self.on_durable(height, effects),
            Input::Signed(signed) => {
                self.unsent.push(signed.clone());
                self.count(signed, effects);
            }
            // Each is its sender's own, under the index that it has in the epoch of the head: that was checked before.
            Input::Said { said: Said::Cosignatures(list), .. } => {
                list.into_iter().for_each(|signed| self.count(signed, effects));
            }
            Input::Said { said: Said::Certificates(list), .. } => {
                for certificate in list {
                    let head = certificate.head;
                    for (signer, signature) in certificate.signatures.0 {
                        self.count(Signed { body: head, signer, signature }, effects);
                    }
                }
            }
            Input::Said { from, said: Said::Wanted { above } } => self.answer(now_us, from, above, effects),
            Input::Timer { generation } if generation == self.generation => self.timer = None,
            Input::Timer { .. } => return,
        }
        self.settle(now_us, effects);
    }

    /// A block is committed here, or was before the start.
    fn on_committed(&mut self, now_us: u64, head: Head, effects: &mut Vec<Effect>) {
        let height = head.height;
        self.committed = self.committed.max(height);
        let lowest = Height(self.committed.0.saturating_sub(RECEIPTS_KEPT_HEIGHTS)).next();
        self.slots = self.slots.split_off(&lowest);
        if height < lowest || self.committee(head.epoch).is_none() {
            return;
        }
        let slot = self.slots.entry(height).or_default();
        if slot.head.is_none() {
            (slot.head, slot.since_us) = (Some(head), now_us);
        }
        self.sign_durable(effects);
        self.certify(height, effects);
    }

    fn on_durable(&mut self, height: Height, effects: &mut Vec<Effect>) {
        self.durable = self.durable.max(height);
        self.sign_durable(effects);
    }

    /// Cosigns what is committed and durable, and nothing else.
    fn sign_durable(&mut self, effects: &mut Vec<Effect>) {
        let me = |epoch: Epoch| {
            let mut committees = [Some(&self.now), self.former.as_ref()].into_iter().flatten();
            committees.find(|committee| committee.epoch == epoch)?.me
        };
        for slot in self.slots.range_mut(..=self.durable).map(|(_, slot)| slot) {
            let head = slot.head.filter(|_| !slot.is_asked);
            if let Some((head, signer)) = head.and_then(|head| Some((head, me(head.epoch)?))) {
                slot.is_asked = true;
                effects.push(Effect::Sign { head, signer });
            }
        }
    }

    /// Counts a cosignature that was checked. The first of a signer at a height in an epoch stays; another one contradicts it.
    fn count(&mut self, signed: Signed<Head>, effects: &mut Vec<Effect>) {
        let Signed { body: head, signer, signature } = signed;
        let lowest = Height(self.committed.0.saturating_sub(RECEIPTS_KEPT_HEIGHTS)).next();
        let highest = self.committed.plus(RECEIPTS_AHEAD_HEIGHTS);
        let is_signer = self.committee(head.epoch).is_some_and(|committee| committee.set.contains(signer));
        if !is_signer || !(lowest..=highest).contains(&head.height) {
            return;
        }
        let slot = self.slots.entry(head.height).or_default();
        match slot.cosigned.get(&(head.epoch, signer)) {
            Some((first, _)) if *first == head => {}
            Some((first, earlier)) => {
                let first = Signed { body: *first, signer, signature: *earlier };
                effects.push(Effect::Contradiction { first, second: signed });
            }
            None => {
                slot.cosigned.insert((head.epoch, signer), (head, signature));
                self.certify(head.height, effects);
            }
        }
    }

    /// A certificate, once cosignatures of power `Q` over the head that is committed here are there: never with fewer.
    fn certify(&mut self, height: Height, effects: &mut Vec<Effect>) {
        let Some(head) = self.slots.get(&height).and_then(|slot| slot.head) else { return };
        let Some(set) = self.committee(head.epoch).map(|committee| Arc::clone(&committee.set)) else { return };
        let Some(slot) = self.slots.get_mut(&height).filter(|slot| slot.certificate.is_none()) else { return };
        let agreeing = slot.cosigned.iter().filter(|(_, (cosigned, _))| *cosigned == head);
        let signatures: Vec<_> = agreeing.map(|((_, signer), (_, signature))| (*signer, *signature)).collect();
        if set.power_of(signatures.iter().map(|(signer, _)| *signer)) < set.quorum() {
            return;
        }
        let certificate = Arc::new(ReceiptCertificate { head, signatures: Signatures(signatures) });
        slot.certificate = Some(Arc::clone(&certificate));
        effects.push(Effect::Certified(certificate));
    }

    /// A peer lacks the certificates above a height: those that are here, and own cosignatures where there is none yet.
    fn answer(&mut self, now_us: u64, to: ValidatorIndex, above: Height, effects: &mut Vec<Effect>) {
        let last_us = self.answered_us.get(&to);
        let interval_us = RECEIPTS_ANSWER_INTERVAL_MS * 1_000;
        if !self.now.set.contains(to) || last_us.is_some_and(|last_us| now_us < last_us.saturating_add(interval_us)) {
            return;
        }
        self.answered_us.insert(to, now_us);
        let asked = self.slots.range(above.next()..);
        let certificates = asked.clone().filter_map(|(_, slot)| slot.certificate.as_deref().cloned());
        let certificates: Vec<_> = certificates.take(RECEIPTS_SENT_MAX).collect();
        let own = |slot: &Slot| {
            let epoch = slot.head?.epoch;
            let signer = self.committee(epoch)?.me?;
            let (body, signature) = *slot.cosigned.get(&(epoch, signer))?;
            slot.certificate.is_none().then_some(Signed { body, signer, signature })
        };
        let cosigned: Vec<_> = asked.filter_map(|(_, slot)| own(slot)).take(COSIGN_HEADS_MAX).collect();
        if !certificates.is_empty() {
            effects.push(Effect::Send { to, message: PeerMessage::Receipts(certificates) });
        }
        if !cosigned.is_empty() {
            effects.push(Effect::Send { to, message: PeerMessage::Cosign(cosigned) });
        }
    }

    /// Does what is due, and sets the timer for what comes next.
    fn settle(&mut self, now_us: u64, effects: &mut Vec<Effect>) {
        if self.send_at_us().is_some_and(|at_us| at_us <= now_us) {
            self.send(now_us, effects);
        }
        if self.flush_at_us().is_some_and(|at_us| at_us <= now_us) {
            self.flushing = self.committed;
            effects.push(Effect::Flush);
        }
        self.fetch(now_us, effects);
        let fetch_at_us = self.slots.values().filter_map(Slot::fetch_at_us).min();
        let next = [self.send_at_us(), self.flush_at_us(), fetch_at_us].into_iter().flatten().min();
        if let Some(at_us) = next
            && self.timer.is_none_or(|timer| at_us < timer)
        {
            self.timer = Some(at_us);
            self.generation += 1;
            effects.push(Effect::SetTimer { generation: self.generation, after_us: at_us.saturating_sub(now_us) });
        }
    }

    /// When the own cosignatures leave that wait to.
    fn send_at_us(&self) -> Option<u64> {
        let after_us = self.sent_us.map_or(0, |sent_us| sent_us.saturating_add(COSIGN_INTERVAL_MS * 1_000));
        (!self.unsent.is_empty()).then_some(after_us)
    }

    fn send(&mut self, now_us: u64, effects: &mut Vec<Effect>) {
        self.sent_us = Some(now_us);
        for chunk in std::mem::take(&mut self.unsent).chunks(COSIGN_HEADS_MAX) {
            effects.push(Effect::Broadcast(PeerMessage::Cosign(chunk.to_vec())));
        }
    }

    /// When a sync is asked for, if nobody else asks for one.
    fn flush_at_us(&self) -> Option<u64> {
        let waiting = self.slots.range(self.durable.max(self.flushing).next()..).find(|(_, slot)| slot.head.is_some());
        let since_us = waiting.filter(|_| self.now.me.is_some()).map(|(_, slot)| slot.since_us)?;
        Some(since_us.saturating_add(COSIGN_FLUSH_AFTER_MS * 1_000))
    }

    /// Asks one peer after the other for what has been missing for long.
    fn fetch(&mut self, now_us: u64, effects: &mut Vec<Effect>) {
        let is_due = |slot: &Slot| slot.fetch_at_us().is_some_and(|at_us| at_us <= now_us);
        let mut lowest = None;
        for (height, slot) in self.slots.iter_mut().filter(|(_, slot)| is_due(slot)) {
            slot.tries += 1;
            lowest.get_or_insert(*height);
        }
        let Some(lowest) = lowest else { return };
        let count = u16::try_from(self.now.set.len()).unwrap_or(u16::MAX);
        for _ in 0..2 {
            self.asked = ValidatorIndex((self.asked.0 + 1) % count);
            if Some(self.asked) != self.now.me {
                let message = PeerMessage::FetchReceipts { above: lowest.previous() };
                effects.push(Effect::Send { to: self.asked, message });
                return;
            }
        }
    }
}
