//! How a bundle of a peer gets into the pool: cheap checks, decoding, the signature, and room.

use std::sync::Arc;

use dtvn_messages::{Bundle, BundlePosition, DecodeError, Epoch, Layout, Reader, Signature, ValidatorIndex};

use super::remembered::Memory;
use super::shelf::{Refusal, Room};
use super::{BlameReason, Effect, Pool, send_to_all, spread, wire_form};

/// What stands at the head of a bundle: enough to refuse most of what is not needed without decoding it.
struct Head {
    epoch: Epoch,
    origin: ValidatorIndex,
    position: BundlePosition,
}

impl Head {
    fn read(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        Signature::read(&mut reader)?;
        let (epoch, origin) = (Epoch::read(&mut reader)?, ValidatorIndex::read(&mut reader)?);
        let position = BundlePosition { start: reader.u64()?, number: reader.u64()? };
        Ok(Self { epoch, origin, position })
    }
}

/// Why a bundle goes no further.
enum Rejection {
    Blame(BlameReason),
    Refused(Refusal),
}

impl Pool {
    pub(super) fn on_received(&mut self, now_us: u64, from: ValidatorIndex, bytes: &[u8], effects: &mut Vec<Effect>) {
        match self.examine(from, bytes) {
            Ok(Some(bundle)) => self.send_to_verifier(now_us, from, bundle, effects),
            Ok(None) => {}
            Err(Rejection::Blame(why)) => effects.push(Effect::Blame { peer: from, why }),
            Err(Rejection::Refused(refusal)) => effects.push(Effect::Refused { from, refusal }),
        }
    }

    /// Decodes a bundle unless its head shows that it is not needed. Nothing for a copy of what is here.
    fn examine(&mut self, from: ValidatorIndex, bytes: &[u8]) -> Result<Option<Arc<Bundle>>, Rejection> {
        let head = Head::read(bytes).map_err(|_| Rejection::Blame(BlameReason::MalformedBundle))?;
        if head.epoch != self.epoch {
            return Err(Rejection::Refused(Refusal::OtherEpoch));
        }
        if !self.validators.contains(head.origin) {
            return Err(Rejection::Blame(BlameReason::UnknownOrigin));
        }
        let copy = self.shelf.variants(head.origin, head.position).find(|held| held.bytes == *bytes);
        if let Some(digest) = copy.map(|held| held.digest) {
            self.shelf.note_holder(&digest, from);
            return Ok(None);
        }
        if self.inspection.has_copy(head.origin, head.position, bytes) {
            return Ok(None);
        }
        // A bundle that is wanted is taken all the same, and only its digest tells whether this is one.
        if self.fetches.is_empty()
            && let Some(refusal) = self.refusal(head.origin, head.position, bytes.len())
        {
            return Err(Rejection::Refused(refusal));
        }
        let bundle =
            Bundle::from_bytes(bytes, &self.chain).map_err(|_| Rejection::Blame(BlameReason::MalformedBundle))?;
        if self.shelf.note_holder(&bundle.digest, from) {
            return Ok(None);
        }
        if !self.fetches.is_wanted(&bundle.digest)
            && let Some(refusal) = self.refusal_of(&bundle)
        {
            self.fetches.forget(&bundle.digest);
            return Err(Rejection::Refused(refusal));
        }
        Ok(Some(bundle))
    }

    fn refusal(&self, origin: ValidatorIndex, position: BundlePosition, bytes: usize) -> Option<Refusal> {
        self.shelf.refusal(origin, position, bytes, self.share_bytes(), &self.limits)
    }

    fn refusal_of(&mut self, bundle: &Bundle) -> Option<Refusal> {
        if self.remembered.look(&bundle.digest) == Memory::Yes {
            return Some(Refusal::Superseded);
        }
        self.refusal(bundle.body.origin, bundle.position(), bundle.bytes.len())
    }

    fn send_to_verifier(&mut self, now_us: u64, from: ValidatorIndex, bundle: Arc<Bundle>, effects: &mut Vec<Effect>) {
        let deadline_us = now_us + self.limits.verify_timeout_ms * 1_000;
        let solicited = self.fetches.contains(&bundle.digest);
        if self.inspection.admit(&bundle, from, solicited, deadline_us, &self.limits) {
            self.fetches.arrived(&bundle.digest, deadline_us);
            effects.push(Effect::Verify { from, bundle });
        } else {
            self.fetches.later(now_us, bundle.digest, &self.limits);
            effects.push(Effect::Refused { from, refusal: Refusal::TooManyUnverified });
        }
    }

    pub(super) fn on_verified(
        &mut self,
        now_us: u64,
        from: ValidatorIndex,
        bundle: Arc<Bundle>,
        ok: bool,
        effects: &mut Vec<Effect>,
    ) {
        // Its sender's index is of that epoch too, and perhaps another's now.
        if bundle.body.epoch != self.epoch {
            return effects.push(Effect::Refused { from, refusal: Refusal::OtherEpoch });
        }
        self.inspection.finish(&bundle, from);
        if !ok {
            effects.push(Effect::Blame { peer: from, why: BlameReason::BadSignature });
            return self.fetches.forged(now_us, bundle.digest, from, &self.limits);
        }
        if self.shelf.note_holder(&bundle.digest, from) {
            return;
        }
        match self.find_room(&bundle) {
            Ok(room) => {
                self.take(&bundle, room, true, effects);
                self.shelf.note_holder(&bundle.digest, from);
                self.pass_on(from, &bundle, effects);
            }
            Err(refusal) => {
                if refusal == Refusal::ReserveFull {
                    self.fetches.later(now_us, bundle.digest, &self.limits);
                    self.ask_for_room(now_us, effects);
                } else {
                    self.fetches.forget(&bundle.digest);
                }
                effects.push(Effect::Refused { from, refusal });
            }
        }
    }

    /// In its origin's share if it fits there; what a proposal names, otherwise in its leader's part of the reserve. What a
    /// block names that a quorum voted for is always taken: nothing else can be decided before it, and those who voted had
    /// room for it. So what a lying leader had fetched into the reserve keeps nobody from going on, neither what is
    /// decided nor what an honest leader proposes.
    fn find_room(&mut self, bundle: &Bundle) -> Result<Room, Refusal> {
        let bytes = bundle.bytes.len();
        let Some(proposer) = self.fetches.wanted_for(&bundle.digest) else {
            return self.refusal_of(bundle).map_or(Ok(Room::Share), Err);
        };
        // Short ones count for more than they are: a block has so many bundles at most, whatever their length.
        let charged = bytes.max(self.limits.reserved_bytes_min);
        if self.shelf.fits_share(bundle.body.origin, bytes, self.share_bytes(), &self.limits) {
            Ok(Room::Share)
        } else if proposer.is_none_or(|leader| self.shelf.fits_reserve(leader, charged, self.reserve_part_bytes())) {
            Ok(Room::Reserve { proposer, charged })
        } else {
            Err(Refusal::ReserveFull)
        }
    }

    /// In a large network a bundle that comes from its origin is passed on by some.
    fn pass_on(&self, from: ValidatorIndex, bundle: &Bundle, effects: &mut Vec<Effect>) {
        let validators = self.validators.len();
        if let Some(own) = self.own
            && from == bundle.body.origin
            && validators > self.limits.direct_validators_max
        {
            let peers = spread::relay_duty(&bundle.digest, from, own, validators);
            send_to_all(&peers, &wire_form(bundle), effects);
        }
    }
}
