//! A naive ledger, written from the documents and not from the code: lists searched from the front, the whole world
//! copied for each block, the Merkle root computed by its definition.

use std::collections::BTreeMap;
use std::sync::Arc;

use dtvn_ledger::Bounds;
use dtvn_messages::merkle::leaf_hash;
use dtvn_messages::ticket::{Metadata, Scan};
use dtvn_messages::{
    Action, Bundle, BundlePosition, Digest, Height, Layout, NodeName, Operation, Outcome, Reason, Ticket, TicketState,
    Timestamp, VectorClock, Verdict,
};

use super::tree::tree_hash;
use super::{RETENTION, START, genesis};

/// What the model says of an operation: the outcome and how it came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    New(Outcome),
    Again(Outcome),
    OtherPayload(Outcome),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct World {
    pub height: u64,
    pub time: u64,
    pub tickets: Vec<Ticket>,
    pub outcomes: Vec<Outcome>,
    /// Indices of the outcomes whose key is held.
    pub held: Vec<usize>,
    pub last: BTreeMap<NodeName, BundlePosition>,
    /// Of the last block.
    pub answers: Vec<Answer>,
}

impl World {
    pub fn new() -> Self {
        let (tickets, outcomes, held, answers) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { height: 0, time: START, tickets, outcomes, held, last: BTreeMap::new(), answers }
    }

    pub fn root(&self) -> Digest {
        let leaves: Vec<Digest> = self.outcomes.iter().map(|outcome| leaf_hash(&outcome.to_bytes())).collect();
        tree_hash(&leaves)
    }

    /// The world after a block.
    pub fn after(&self, time: u64, bundles: &[Arc<Bundle>], bounds: Bounds) -> Self {
        let mut world = self.clone();
        world.height += 1;
        world.time = time;
        world.answers.clear();
        let outcomes = &world.outcomes;
        let mut left = bounds.keys_expired_max;
        world.held.retain(|index| {
            let goes = left > 0 && outcomes[*index].agreed_time.0 + RETENTION < time;
            left -= usize::from(goes);
            !goes
        });
        for bundle in bundles {
            let origin = genesis().validators().get(bundle.body.origin).unwrap().name.clone();
            world.last.insert(origin.clone(), BundlePosition { start: bundle.body.start, number: bundle.body.number });
            for operation in &bundle.body.operations {
                let answer = world.ask(operation, &origin, bounds);
                world.answers.push(answer);
            }
        }
        world
    }

    fn ask(&mut self, operation: &Operation, origin: &NodeName, bounds: Bounds) -> Answer {
        let same = |index: &&usize| {
            let outcome = &self.outcomes[**index];
            outcome.event == operation.event && outcome.key == operation.key
        };
        if let Some(index) = self.held.iter().find(same) {
            let first = self.outcomes[*index].clone();
            let same_payload = first.payload == operation.payload_digest();
            return if same_payload { Answer::Again(first) } else { Answer::OtherPayload(first) };
        }
        // Above half of the table, a third of it for each of the three.
        let of_origin = self.held.iter().filter(|index| self.outcomes[**index].origin == *origin).count();
        let is_half = 2 * self.held.len() >= bounds.keys_max;
        let has_its_part = is_half && 3 * of_origin >= bounds.keys_max;
        let valid_until = operation.valid_until.0;
        let verdict = if valid_until < self.time || valid_until > self.time + RETENTION {
            refused(Reason::OperationExpired, None)
        } else if self.held.len() >= bounds.keys_max || has_its_part {
            refused(Reason::LedgerFull, None)
        } else {
            let (before, bytes_before) = (self.tickets.clone(), self.bytes(|_| true));
            let verdict = self.decide(operation, origin);
            let bytes = self.bytes(|_| true);
            // Above half of the table, a third of it for each of the three.
            let has_more_than_its_part =
                3 * self.bytes(|ticket| ticket.validator == *origin) > bounds.tickets_bytes_max;
            let is_full =
                bytes > bounds.tickets_bytes_max || (2 * bytes > bounds.tickets_bytes_max && has_more_than_its_part);
            if verdict.is_accepted() && bytes > bytes_before && is_full {
                self.tickets = before;
                let ticket = operation.action.ticket().and_then(|_| self.ticket(operation).map(|at| &self.tickets[at]));
                refused(Reason::LedgerFull, ticket)
            } else {
                verdict
            }
        };
        let unremembered = [Some(Reason::OperationExpired), Some(Reason::LedgerFull)];
        if !unremembered.contains(&verdict.refusal()) {
            self.held.push(self.outcomes.len());
        }
        let outcome = Outcome {
            index: self.outcomes.len() as u64,
            height: Height(self.height),
            agreed_time: Timestamp(self.time),
            origin: origin.clone(),
            key: operation.key.clone(),
            payload: operation.payload_digest(),
            event: operation.event.clone(),
            action: operation.action.code(),
            ticket: operation.action.ticket().cloned(),
            verdict,
        };
        self.outcomes.push(outcome.clone());
        Answer::New(outcome)
    }

    fn bytes(&self, of: impl Fn(&Ticket) -> bool) -> u64 {
        let size = |ticket: &Ticket| {
            let mut bytes = 1_024;
            bytes += ticket.data.as_deref().unwrap_or("").len();
            bytes += ticket.dispute_reason.as_deref().unwrap_or("").len();
            bytes += ticket.metadata.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
            bytes as u64
        };
        self.tickets.iter().filter(|ticket| of(ticket)).map(size).sum()
    }

    fn ticket(&self, operation: &Operation) -> Option<usize> {
        let id = operation.action.ticket()?;
        self.tickets.iter().position(|ticket| ticket.event == operation.event && ticket.id == *id)
    }

    fn decide(&mut self, operation: &Operation, origin: &NodeName) -> Verdict {
        if !["auto", "default", "gala"].contains(&operation.event.as_str()) {
            return refused(Reason::UnknownEvent, None);
        }
        let scan = Some(Arc::new(Scan {
            validator: origin.clone(),
            gate: operation.gate.clone(),
            device: operation.device.clone(),
            at: Timestamp(self.time),
            height: Height(self.height),
        }));
        let found = self.ticket(operation);
        let state = found.map(|at| self.tickets[at].state);
        let mut new = self.blank(operation);
        match (&operation.action, state) {
            (Action::Seed, _) => return self.seed(operation, origin),
            (Action::Issue { data, metadata, valid_from, valid_until, .. }, None) => {
                new.data = data.clone();
                new.metadata = Arc::new(metadata.clone());
                new.valid_from = *valid_from;
                new.valid_until = *valid_until;
                self.tickets.push(new);
            }
            (Action::Validate { .. }, None) if operation.event.as_str() == "auto" => {
                new.metadata = Arc::new(Metadata::from([("source".into(), "auto_issue".into())]));
                self.tickets.push(new);
            }
            (_, None) => return refused(Reason::UnknownTicket, None),
            _ => {}
        }
        let last = self.tickets.len() - 1;
        let ticket = &mut self.tickets[found.unwrap_or(last)];
        let early = ticket.valid_from.is_some_and(|from| self.time < from.0);
        let late = ticket.valid_until.is_some_and(|until| self.time >= until.0);
        match (operation.action.name(), ticket.state) {
            ("issue", _) if found.is_some() => return refused(Reason::AlreadyIssued, Some(ticket)),
            ("issue", _) => {}
            ("validate", TicketState::Issued) | ("consume", TicketState::Validated) if early => {
                return refused(Reason::NotYetValid, Some(ticket));
            }
            ("validate", TicketState::Issued) | ("consume", TicketState::Validated) if late => {
                return refused(Reason::Expired, Some(ticket));
            }
            ("validate", TicketState::Issued) => (ticket.state, ticket.validated) = (TicketState::Validated, scan),
            ("consume", TicketState::Validated) => (ticket.state, ticket.consumed) = (TicketState::Consumed, scan),
            ("dispute", TicketState::Validated) => (ticket.state, ticket.disputed) = (TicketState::Disputed, scan),
            (_, TicketState::Issued) => return refused(Reason::NotValidated, Some(ticket)),
            (_, TicketState::Validated) => return refused(Reason::AlreadyValidated, Some(ticket)),
            (_, TicketState::Consumed) => return refused(Reason::AlreadyConsumed, Some(ticket)),
            (_, TicketState::Disputed) => return refused(Reason::Disputed, Some(ticket)),
            (_, TicketState::Revoked) => return refused(Reason::Revoked, Some(ticket)),
        }
        if let Action::Validate { data: Some(data), .. } | Action::Consume { data: Some(data), .. } = &operation.action
        {
            ticket.data = Some(data.clone());
        }
        if let Action::Dispute { reason, .. } = &operation.action {
            ticket.dispute_reason = reason.clone();
        }
        stamp(ticket, origin, self.time);
        Verdict::Accepted {
            version_before: ticket.version - 1,
            version_after: ticket.version,
            state: Some(ticket.state),
            tickets: 1,
        }
    }

    fn seed(&mut self, operation: &Operation, origin: &NodeName) -> Verdict {
        if operation.event.as_str() != "default" {
            return refused(Reason::WrongEvent, None);
        }
        let mut tickets = 0;
        for seed in dtvn_ledger::seed_tickets() {
            if !self.tickets.iter().any(|ticket| ticket.event.as_str() == "default" && ticket.id == seed.id) {
                let mut new = self.blank(operation);
                new.id = seed.id.clone();
                new.metadata = Arc::clone(&seed.metadata);
                stamp(&mut new, origin, self.time);
                self.tickets.push(new);
                tickets += 1;
            }
        }
        Verdict::Accepted { version_before: 0, version_after: 0, state: None, tickets }
    }

    fn blank(&self, operation: &Operation) -> Ticket {
        Ticket {
            event: operation.event.clone(),
            id: operation.action.ticket().cloned().unwrap_or(super::ticket_id("none")),
            state: TicketState::Issued,
            data: None,
            metadata: Arc::new(Metadata::new()),
            valid_from: None,
            valid_until: None,
            version: 0,
            vector_clock: VectorClock::default(),
            validator: super::node("nobody"),
            updated_at: Timestamp(0),
            validated: None,
            consumed: None,
            disputed: None,
            dispute_reason: None,
        }
    }
}

fn stamp(ticket: &mut Ticket, origin: &NodeName, time: u64) {
    ticket.version += 1;
    let clock = ticket.vector_clock.iter().map(|(name, count)| (name.clone(), count));
    let own = ticket.vector_clock.get(origin) + 1;
    ticket.vector_clock = clock.chain([(origin.clone(), own)]).collect();
    ticket.validator = origin.clone();
    ticket.updated_at = Timestamp(time);
}

fn refused(reason: Reason, ticket: Option<&Ticket>) -> Verdict {
    let first = ticket.and_then(|ticket| match reason {
        Reason::AlreadyValidated => ticket.validated.clone(),
        Reason::AlreadyConsumed => ticket.consumed.clone(),
        Reason::Disputed => ticket.disputed.clone(),
        _ => None,
    });
    let version = ticket.map_or(0, |ticket| ticket.version);
    Verdict::Refused { reason, version, state: ticket.map(|ticket| ticket.state), first }
}
