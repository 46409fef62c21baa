//! What an operation does to a ticket: the transition table of rules version 1 (api.md section 1).
//!
//! | | (no ticket) | ISSUED | VALIDATED | CONSUMED | DISPUTED |
//! |---|---|---|---|---|---|
//! | issue | ISSUED | already_issued | already_issued | already_issued | already_issued |
//! | validate | unknown_ticket, or VALIDATED where the event has `auto_issue` | VALIDATED | already_validated | already_consumed | disputed |
//! | consume | unknown_ticket | not_validated | CONSUMED | already_consumed | disputed |
//! | dispute | unknown_ticket | not_validated | DISPUTED | already_consumed | disputed |
//!
//! Where validate and consume would be accepted, the ticket's window is checked against agreed time: `not_yet_valid`,
//! `expired`. A refusal for the ticket's state comes first, since it carries the earlier scan that explains it. A
//! dispute is allowed outside the window: it is about what happened within.
//!
//! An accepted operation raises the ticket's version by one, and in its vector clock the entry of the validator that
//! took the operation in (by name, since indices change with the validator set). The clock that a client had `seen` is
//! part of the payload and of the outcome's digest, and changes nothing else under rules version 1: an operation that is
//! behind or concurrent to the ticket's clock is accepted or refused by the ticket's state alone, with the facts of the
//! earlier scan. Nothing is merged.

use std::sync::Arc;

use dtvn_messages::genesis::EventPolicy;
use dtvn_messages::ticket::{Metadata, Scan};
use dtvn_messages::{
    Action, EventId, Height, NodeName, Operation, Reason, Ticket, TicketId, TicketState, Timestamp, VectorClock,
};

/// The metadata of a ticket that exists because it was validated.
const AUTO_ISSUE: (&str, &str) = ("source", "auto_issue");

/// When and by whom an operation is executed.
#[derive(Debug, Clone)]
pub(crate) struct Moment {
    /// Agreed time of the block.
    pub(crate) now: Timestamp,
    /// The block's height.
    pub(crate) height: Height,
    /// The validator that took the operation in.
    pub(crate) origin: NodeName,
}

/// Why an operation has no effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) reason: Reason,
    pub(crate) first: Option<Arc<Scan>>,
}

impl Refusal {
    pub(crate) fn plain(reason: Reason) -> Self {
        Self { reason, first: None }
    }

    fn after(reason: Reason, first: Option<&Arc<Scan>>) -> Self {
        Self { reason, first: first.cloned() }
    }
}

/// The ticket as an operation leaves it: `id` is the ticket that the operation is about, `event` its event.
pub(crate) fn decide(
    ticket: Option<&Ticket>,
    id: &TicketId,
    operation: &Operation,
    event: &EventPolicy,
    moment: &Moment,
) -> Result<Ticket, Refusal> {
    match (&operation.action, ticket) {
        (Action::Issue { data, metadata, valid_from, valid_until, .. }, None) => {
            let mut ticket = new_ticket(&event.id, id, Arc::new(metadata.clone()), moment);
            ticket.data.clone_from(data);
            ticket.valid_from = *valid_from;
            ticket.valid_until = *valid_until;
            Ok(ticket)
        }
        (Action::Issue { .. }, Some(_)) => Err(Refusal::plain(Reason::AlreadyIssued)),
        (Action::Validate { data, .. }, None) if event.auto_issue => {
            let metadata = Metadata::from([(AUTO_ISSUE.0.into(), AUTO_ISSUE.1.into())]);
            let mut ticket = new_ticket(&event.id, id, Arc::new(metadata), moment);
            validate(&mut ticket, data.as_deref(), operation, moment);
            Ok(ticket)
        }
        (Action::Validate { data, .. }, Some(ticket)) => {
            check_state(ticket, TicketState::Issued)?;
            check_window(ticket, moment.now)?;
            let mut ticket = touched(ticket, moment);
            validate(&mut ticket, data.as_deref(), operation, moment);
            Ok(ticket)
        }
        (Action::Consume { data, .. }, Some(ticket)) => {
            check_state(ticket, TicketState::Validated)?;
            check_window(ticket, moment.now)?;
            let mut ticket = touched(ticket, moment);
            ticket.state = TicketState::Consumed;
            ticket.consumed = Some(scan(operation, moment));
            replace_data(&mut ticket, data.as_deref());
            Ok(ticket)
        }
        (Action::Dispute { reason, .. }, Some(ticket)) => {
            check_state(ticket, TicketState::Validated)?;
            let mut ticket = touched(ticket, moment);
            ticket.state = TicketState::Disputed;
            ticket.disputed = Some(scan(operation, moment));
            ticket.dispute_reason.clone_from(reason);
            Ok(ticket)
        }
        (Action::Validate { .. } | Action::Consume { .. } | Action::Dispute { .. }, None)
        | (Action::Seed | Action::ChangeValidators(_) | Action::Recover(_), _) => {
            Err(Refusal::plain(Reason::UnknownTicket))
        }
    }
}

/// Why a ticket that is not in the state `wanted` (ISSUED or VALIDATED) refuses to leave it.
fn check_state(ticket: &Ticket, wanted: TicketState) -> Result<(), Refusal> {
    match ticket.state {
        state if state == wanted => Ok(()),
        TicketState::Issued => Err(Refusal::plain(Reason::NotValidated)),
        TicketState::Validated => Err(Refusal::after(Reason::AlreadyValidated, ticket.validated.as_ref())),
        TicketState::Consumed => Err(Refusal::after(Reason::AlreadyConsumed, ticket.consumed.as_ref())),
        TicketState::Disputed => Err(Refusal::after(Reason::Disputed, ticket.disputed.as_ref())),
        TicketState::Revoked => Err(Refusal::plain(Reason::Revoked)),
    }
}

/// A window holds its first microsecond and not its last.
fn check_window(ticket: &Ticket, now: Timestamp) -> Result<(), Refusal> {
    if ticket.valid_from.is_some_and(|from| now < from) {
        return Err(Refusal::plain(Reason::NotYetValid));
    }
    if ticket.valid_until.is_some_and(|until| now >= until) {
        return Err(Refusal::plain(Reason::Expired));
    }
    Ok(())
}

fn validate(ticket: &mut Ticket, data: Option<&str>, operation: &Operation, moment: &Moment) {
    ticket.state = TicketState::Validated;
    ticket.validated = Some(scan(operation, moment));
    replace_data(ticket, data);
}

fn replace_data(ticket: &mut Ticket, data: Option<&str>) {
    if let Some(data) = data {
        ticket.data = Some(Box::from(data));
    }
}

fn scan(operation: &Operation, moment: &Moment) -> Arc<Scan> {
    Arc::new(Scan {
        validator: moment.origin.clone(),
        gate: operation.gate.clone(),
        device: operation.device.clone(),
        at: moment.now,
        height: moment.height,
    })
}

/// The next version of a ticket, otherwise unchanged.
fn touched(ticket: &Ticket, moment: &Moment) -> Ticket {
    let mut ticket = ticket.clone();
    ticket.version += 1;
    ticket.vector_clock.increment(&moment.origin);
    ticket.validator = moment.origin.clone();
    ticket.updated_at = moment.now;
    ticket
}

/// A ticket that did not exist before, in its first version.
pub(crate) fn new_ticket(event: &EventId, id: &TicketId, metadata: Arc<Metadata>, moment: &Moment) -> Ticket {
    let mut vector_clock = VectorClock::default();
    vector_clock.increment(&moment.origin);
    Ticket {
        event: event.clone(),
        id: id.clone(),
        state: TicketState::Issued,
        data: None,
        metadata,
        valid_from: None,
        valid_until: None,
        version: 1,
        vector_clock,
        validator: moment.origin.clone(),
        updated_at: moment.now,
        validated: None,
        consumed: None,
        disputed: None,
        dispute_reason: None,
    }
}
