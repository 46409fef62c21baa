//! Bundles: cut, decided, gone or found again.

use std::collections::VecDeque;
use std::sync::Arc;

use dtvn_ledger::{BlockEffects, KeyScope, OperationResult};
use dtvn_messages::{Bundle, BundleBody, BundlePosition, Operation};

use super::Intake;
use super::bundles::tag;
use super::flights::{BundleTag, Flight, FlightId, Name, Place, measure};
use super::messages::{Answer, Effect};

/// The bytes of a bundle beside its operations: signature 64, epoch 8, origin 2, start 8, number 8, count 4.
pub(super) const BUNDLE_OVERHEAD_BYTES: usize = 94;

impl Intake {
    /// Cuts a bundle if none is on its way, and further ones while full ones wait.
    pub(super) fn cut_bundles(&mut self, effects: &mut Vec<Effect>) {
        let closed = self.gate.pool_full || self.gate.epoch_over || self.gate.refusal(self.origin).is_some();
        while !closed && self.queue.operations() > 0 {
            let on_way = self.bundles.on_way(self.epoch, self.start);
            if on_way > 0 && (on_way >= self.limits.bundles_on_way_max || !self.is_full_bundle_waiting()) {
                return;
            }
            let Some(body) = self.cut_bundle() else { return };
            effects.push(Effect::Cut(body));
        }
    }

    fn is_full_bundle_waiting(&self) -> bool {
        self.queue.operations() >= self.limits.bundle_operations_max
            || self.queue.bytes() + BUNDLE_OVERHEAD_BYTES >= self.limits.bundle_bytes_max
    }

    fn cut_bundle(&mut self) -> Option<BundleBody> {
        let position = BundlePosition { start: self.start, number: self.next_number };
        let place = BundleTag { epoch: self.epoch, position };
        let mut bytes_left = self.limits.bundle_bytes_max.saturating_sub(BUNDLE_OVERHEAD_BYTES);
        let room = self.queue.operations().min(self.limits.bundle_operations_max);
        let (mut operations, mut flights) = (Vec::with_capacity(room), Vec::with_capacity(room));
        while operations.len() < room
            && let Some(id) = self.queue.pop(&self.flights, bytes_left)
        {
            if let Some(flight) = self.flights.get_mut(id)
                && let Place::Queued(operation) = std::mem::replace(&mut flight.place, Place::Bundled(place))
            {
                flight.promised = true;
                bytes_left -= flight.bytes;
                operations.push(*operation);
                flights.push(id);
            }
        }
        let origin = self.origin.filter(|_| !operations.is_empty())?;
        self.bundles.cut(position.number, flights);
        self.next_number += 1;
        Some(BundleBody { epoch: self.epoch, origin, start: self.start, number: position.number, operations })
    }

    /// Answers all that wait for an operation of this block, whichever node took it in.
    pub(super) fn on_decided(&mut self, bundles: &[Arc<Bundle>], block: &BlockEffects, effects: &mut Vec<Effect>) {
        let operations: usize = bundles.iter().map(|bundle| bundle.body.operations.len()).sum();
        assert_eq!(operations, block.results.len(), "a block has one result for each operation");
        let mut results = block.results.iter();
        for bundle in bundles {
            let own = self.bundles.remove(&bundle.digest);
            for (place, result) in results.by_ref().take(bundle.body.operations.len()).enumerate() {
                let decided = own.as_ref().and_then(|flights| flights.get(place).copied());
                if let Some(id) = decided.filter(|id| self.flights.get(*id).is_some()).or_else(|| self.find(result)) {
                    self.decide(id, result, effects);
                }
            }
        }
    }

    /// The operation under way that another node's copy decided. A refusal that uses up no key decides that copy only;
    /// `key_reused` tells of another operation.
    fn find(&self, result: &OperationResult) -> Option<FlightId> {
        match result {
            OperationResult::Recorded(outcome) | OperationResult::Repeated(outcome)
                if self.flights.len() > 0 && outcome.verdict.refusal().is_none_or(|reason| reason.is_remembered()) =>
            {
                self.flights.find(&Name::new(&outcome.key, outcome.payload))
            }
            _ => None,
        }
    }

    fn decide(&mut self, id: FlightId, result: &OperationResult, effects: &mut Vec<Effect>) {
        if let Some(flight) = self.drop_flight(id) {
            self.answer_all(&flight.waiters, &Answer::Decided(result.clone()), effects);
        }
    }

    /// A bundle of this node can never be ordered: what is undecided of it goes into the next one, first.
    pub(super) fn on_bundle_gone(
        &mut self,
        bundle: &Arc<Bundle>,
        last: Option<BundlePosition>,
        effects: &mut Vec<Effect>,
    ) {
        match last {
            Some(last) if bundle.body.epoch == self.epoch => self.learn_position(last, effects),
            None if bundle.body.epoch == self.epoch => self.gate.epoch_over = true,
            _ => {}
        }
        let known = self.bundles.remove(&bundle.digest);
        let tag = tag(bundle);
        let mut lane = VecDeque::new();
        for (place, operation) in bundle.body.operations.iter().enumerate() {
            let requeued = match &known {
                Some(flights) => flights.get(place).copied().filter(|id| self.requeue(*id, tag, operation)),
                None => self.offer_again(tag, operation),
            };
            lane.extend(requeued);
        }
        self.queue.add_lane(lane, true);
        self.give_up_if_no_validator(effects);
    }

    /// Queues an operation again that was in this bundle. Whether it was.
    fn requeue(&mut self, id: FlightId, from: BundleTag, operation: &Operation) -> bool {
        match self.flights.get_mut(id) {
            Some(flight) if matches!(flight.place, Place::Bundled(tag) if tag == from) => {
                flight.place = Place::Queued(Box::new(operation.clone()));
                self.queue.count(flight.bytes);
                true
            }
            _ => false,
        }
    }

    /// Queues an operation of a bundle that this intake does not know any more, unless it is under way elsewhere.
    fn offer_again(&mut self, from: BundleTag, operation: &Operation) -> Option<FlightId> {
        let (payload, bytes) = measure(operation);
        let name = Name::new(&operation.key, payload);
        if let Some(id) = self.flights.find(&name) {
            return Some(id).filter(|id| self.requeue(*id, from, operation));
        }
        self.queue.count(bytes);
        let (scope, place) = (KeyScope::of(operation), Place::Queued(Box::new(operation.clone())));
        Some(self.flights.insert(Flight { name, scope, bytes, place, waiters: Vec::new(), promised: true }))
    }

    /// A bundle of an earlier start is pending: its operations are under way.
    pub(super) fn on_restored(&mut self, bundle: Arc<Bundle>) {
        if self.bundles.contains(&bundle.digest) || Some(bundle.body.origin) != self.origin {
            return;
        }
        let place = tag(&bundle);
        let mut flights = Vec::with_capacity(bundle.body.operations.len());
        for operation in &bundle.body.operations {
            let (payload, bytes) = measure(operation);
            let name = Name::new(&operation.key, payload);
            let under_way = self.flights.find(&name);
            flights.push(under_way.unwrap_or_else(|| {
                let (scope, place) = (KeyScope::of(operation), Place::Bundled(place));
                self.flights.insert(Flight { name, scope, bytes, place, waiters: Vec::new(), promised: true })
            }));
        }
        self.bundles.restored(bundle, flights);
    }

    /// A node that is no validator any more cannot offer again what was in its bundles.
    pub(super) fn give_up_if_no_validator(&mut self, effects: &mut Vec<Effect>) {
        if self.origin.is_some() {
            return;
        }
        for id in self.queue.waiting(&self.flights) {
            if let Some(flight) = self.drop_flight(id) {
                self.answer_all(&flight.waiters, &Answer::Unknown, effects);
            }
        }
        self.queue.sweep(&self.flights);
    }
}
