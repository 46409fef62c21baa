//! What clients ask for: joined, refused or queued, and given up when the wait is over.

use std::collections::VecDeque;

use dtvn_ledger::KeyScope;
use dtvn_messages::{Action, NodeName, Now, Operation, Reason, limits};

use super::Intake;
use super::flights::{Flight, FlightId, Name, Place, Waiter, measure};
use super::messages::{Answer, Effect, RequestId};

/// What becomes of an operation that comes in.
enum Admission {
    /// It waits for the outcome of one that is under way.
    Joined(FlightId),
    /// It is queued.
    Queued(FlightId),
    Refused(Reason, Option<String>),
}

impl Intake {
    pub(super) fn on_submit(
        &mut self,
        now: Now,
        request: RequestId,
        operations: Vec<Operation>,
        wait_ms: u64,
        effects: &mut Vec<Effect>,
    ) {
        assert!(!self.requests.contains(request), "the request {request:?} is under way already");
        let too_many = operations.len() > self.limits.request_operations_max;
        let mut places = Vec::with_capacity(operations.len());
        let mut lane = VecDeque::new();
        let mut open = 0;
        for (index, operation) in operations.into_iter().enumerate() {
            let waiter = Waiter { request, index };
            let admission = if too_many {
                let detail = format!("a request has at most {} operations", self.limits.request_operations_max);
                Admission::Refused(Reason::TooLarge, Some(detail))
            } else {
                self.admit(now, operation, waiter, open)
            };
            let place = match admission {
                Admission::Joined(flight) => Some(flight),
                Admission::Queued(flight) => {
                    lane.push_back(flight);
                    Some(flight)
                }
                Admission::Refused(reason, detail) => {
                    let answer = Answer::Refused { reason, detail };
                    effects.push(Effect::Answer { request, index, answer });
                    None
                }
            };
            open += usize::from(place.is_some());
            places.push(place);
        }
        self.queue.add_lane(lane, false);
        let wait_us = wait_ms.min(self.limits.wait_ms_max) * 1_000;
        self.requests.insert(request, places, now.monotonic_us + wait_us);
    }

    /// `open` places of the same request wait already.
    fn admit(&mut self, now: Now, mut operation: Operation, waiter: Waiter, open: usize) -> Admission {
        if let Err(error) = operation.check() {
            return Admission::Refused(Reason::TooLarge, Some(error.to_string()));
        }
        let lifetime_ms = self.limits.operation_lifetime_ms.min(self.key_retention_ms);
        operation.valid_until = now.wall.plus_micros(lifetime_ms * 1_000);
        let (payload, bytes) = measure(&operation);
        let name = Name::new(&operation.key, payload);
        let no_waiter_left = self.requests.places() + open >= self.limits.waiters_max;
        if let Some(id) = self.flights.find(&name) {
            return self.join(id, waiter, no_waiter_left);
        }
        if let Action::Recover(recovery) = &operation.action
            && !self.may_recover(&recovery.body.validator, now.monotonic_us)
        {
            return in_progress("a recovery of this validator was taken in a moment ago");
        }
        let scope = KeyScope::of(&operation);
        if self.flights.is_key_under_way(&name, &scope) {
            return in_progress("an operation with this key and another content is under way");
        }
        if let Some(reason) = self.gate.refusal(self.origin) {
            return Admission::Refused(reason, None);
        }
        let full = self.flights.len() >= self.limits.operations_max
            || self.queue.bytes() + bytes > self.limits.queued_bytes_max
            || no_waiter_left;
        if full || self.gate.pool_full {
            return Admission::Refused(Reason::Overloaded, None);
        }
        self.queue.count(bytes);
        let place = Place::Queued(Box::new(operation));
        let flight = Flight { name, scope, bytes, place, waiters: vec![waiter], promised: false };
        Admission::Queued(self.flights.insert(flight))
    }

    /// Whether a recovery of this validator may be taken in now. Each has a nonce of its own, so a validator that lies
    /// could fill the queue of every other one, and the ledger's table of keys, with recoveries.
    fn may_recover(&mut self, validator: &NodeName, now_us: u64) -> bool {
        let interval_us = limits::RECOVERY_TAKEN_INTERVAL_MS * 1_000;
        let last_us = self.recoveries_us.get(validator);
        if last_us.is_some_and(|last_us| now_us < last_us.saturating_add(interval_us)) {
            return false;
        }
        self.recoveries_us.retain(|_, last_us| now_us < last_us.saturating_add(interval_us));
        self.recoveries_us.insert(validator.clone(), now_us);
        true
    }

    /// Waits for an operation that is under way. It cannot be refused as if it were in no bundle.
    fn join(&mut self, id: FlightId, waiter: Waiter, no_waiter_left: bool) -> Admission {
        let per_operation_max = self.limits.waiters_per_operation_max;
        match self.flights.get_mut(id) {
            Some(flight) if !no_waiter_left && flight.waiters.len() < per_operation_max => {
                flight.waiters.push(waiter);
                Admission::Joined(id)
            }
            _ => in_progress("this operation is under way and too many wait for it"),
        }
    }

    /// Nobody waits any more, but somebody may rely on these operations.
    pub(super) fn on_withdraw(&mut self, request: RequestId) {
        let Some(entry) = self.requests.remove(request) else { return };
        for (index, id) in entry.open_places() {
            if let Some(flight) = self.flights.get_mut(id) {
                flight.waiters.retain(|waiter| *waiter != Waiter { request, index });
                flight.promised = true;
            }
        }
    }

    /// The wait of a request is over. What is in no bundle, and nobody else's, never will be.
    pub(super) fn give_up(&mut self, request: RequestId, effects: &mut Vec<Effect>) {
        let Some(entry) = self.requests.remove(request) else { return };
        let (mut left, mut answers) = (Vec::new(), Vec::new());
        for (index, id) in entry.open_places() {
            if let Some(flight) = self.flights.get_mut(id) {
                flight.waiters.retain(|waiter| *waiter != Waiter { request, index });
                left.push((index, id));
            }
        }
        for (index, id) in left {
            let abandoned = self.flights.get(id).is_none_or(|flight| !flight.promised && flight.waiters.is_empty());
            if abandoned {
                self.drop_flight(id);
            }
            answers.push((index, if abandoned { never_bundled() } else { Answer::Unknown }));
        }
        effects.extend(answers.into_iter().map(|(index, answer)| Effect::Answer { request, index, answer }));
        self.queue.sweep(&self.flights);
    }

    /// Refuses all that waits for a bundle, was in none before, and that nobody relies on.
    pub(super) fn refuse_queued(&mut self, reason: Reason, effects: &mut Vec<Effect>) {
        for id in self.queue.waiting(&self.flights) {
            if self.flights.get(id).is_some_and(|flight| !flight.promised)
                && let Some(flight) = self.drop_flight(id)
            {
                self.answer_all(&flight.waiters, &refused(reason), effects);
            }
        }
        self.queue.sweep(&self.flights);
    }

    /// The end: whoever waits hears that the outcome is unknown.
    pub(super) fn on_close(&mut self, effects: &mut Vec<Effect>) {
        self.on_gate(effects, |gate| gate.stopping = true);
        while let Some(request) = self.requests.first() {
            let Some(entry) = self.requests.remove(request) else { return };
            let unknown = |(index, _)| Effect::Answer { request, index, answer: Answer::Unknown };
            effects.extend(entry.open_places().map(unknown));
        }
    }

    /// An operation is no longer under way.
    pub(super) fn drop_flight(&mut self, id: FlightId) -> Option<Flight> {
        let flight = self.flights.remove(id)?;
        if matches!(flight.place, Place::Queued(_)) {
            self.queue.discount(flight.bytes);
        }
        Some(flight)
    }

    pub(super) fn answer_all(&mut self, waiters: &[Waiter], answer: &Answer, effects: &mut Vec<Effect>) {
        for Waiter { request, index } in waiters {
            if self.requests.answered(*request, *index) {
                effects.push(Effect::Answer { request: *request, index: *index, answer: answer.clone() });
            }
        }
    }
}

fn in_progress(detail: &str) -> Admission {
    Admission::Refused(Reason::InProgress, Some(detail.to_owned()))
}

/// It is the network that did not go on, more often than this node that has too much.
fn never_bundled() -> Answer {
    let detail = "it waited its time and got into no bundle: the network decides slowly or not at all; nothing of it was \
                  recorded, so it may be sent again";
    Answer::Refused { reason: Reason::Overloaded, detail: Some(detail.to_owned()) }
}

fn refused(reason: Reason) -> Answer {
    Answer::Refused { reason, detail: None }
}
