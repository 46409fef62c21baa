//! The ledger's rules, stated anew (api.md section 1): what must become of an operation whose key is free, accepted or
//! refused. What the nodes say is compared with this, and never the other way round.
//!
//! No simulation comes near the bounds of a ledger: `ledger_full` is never the answer. Nor is a seeding ever asked for.

use std::collections::BTreeMap;
use std::sync::Arc;

use dtvn_messages::outcome::Decider;
use dtvn_messages::{Action, EventId, Genesis, Operation, Reason, TicketId, TicketState, Timestamp, Verdict};

use super::{Invariant, Violation, ensure};

/// A ticket, as far as the rules ask for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    state: TicketState,
    version: u64,
    valid_from: Option<Timestamp>,
    valid_until: Option<Timestamp>,
}

impl Known {
    const fn new(state: TicketState, valid_from: Option<Timestamp>, valid_until: Option<Timestamp>) -> Self {
        Self { state, version: 1, valid_from, valid_until }
    }

    /// `ISSUED -> VALIDATED -> CONSUMED or DISPUTED`, and nothing else.
    fn step(self, from: TicketState, to: TicketState) -> Result<Self, Reason> {
        match self.state {
            state if state == from => Ok(Self { state: to, version: self.version + 1, ..self }),
            TicketState::Issued => Err(Reason::NotValidated),
            TicketState::Validated => Err(Reason::AlreadyValidated),
            TicketState::Consumed => Err(Reason::AlreadyConsumed),
            TicketState::Disputed => Err(Reason::Disputed),
            TicketState::Revoked => Err(Reason::Revoked),
        }
    }

    /// The window holds its first microsecond and not its last.
    fn within(self, now: Timestamp) -> Result<Self, Reason> {
        match self {
            Self { valid_from: Some(from), .. } if now < from => Err(Reason::NotYetValid),
            Self { valid_until: Some(until), .. } if now >= until => Err(Reason::Expired),
            _ => Ok(self),
        }
    }
}

/// What an operation makes of its ticket, or why it leaves it as it is. Nothing, if it is about none.
fn decide(action: &Action, ticket: Option<Known>, auto_issue: bool, now: Timestamp) -> Option<Result<Known, Reason>> {
    use TicketState::{Consumed, Disputed, Issued, Validated};
    let known = ticket.ok_or(Reason::UnknownTicket);
    Some(match action {
        Action::Issue { .. } if ticket.is_some() => Err(Reason::AlreadyIssued),
        Action::Issue { valid_from, valid_until, .. } => Ok(Known::new(Issued, *valid_from, *valid_until)),
        Action::Validate { .. } if ticket.is_none() && auto_issue => Ok(Known::new(Validated, None, None)),
        Action::Validate { .. } => known.and_then(|it| it.step(Issued, Validated)).and_then(|it| it.within(now)),
        Action::Consume { .. } => known.and_then(|it| it.step(Validated, Consumed)).and_then(|it| it.within(now)),
        Action::Dispute { .. } => known.and_then(|it| it.step(Validated, Disputed)),
        Action::Seed | Action::ChangeValidators(_) | Action::Recover(_) => return None,
    })
}

/// A refusal for which no ticket is looked at.
pub(super) const fn refused(reason: Reason) -> Verdict {
    Verdict::Refused { reason, version: 0, state: None, first: None }
}

/// All tickets, as the operations of the history made them.
pub(super) struct Tickets {
    genesis: Arc<Genesis>,
    known: BTreeMap<(EventId, TicketId), Known>,
}

impl Tickets {
    pub(super) const fn new(genesis: Arc<Genesis>) -> Self {
        Self { genesis, known: BTreeMap::new() }
    }

    /// How many there are in each state.
    pub(super) fn by_state(&self) -> Vec<(TicketState, u64)> {
        let count = |state| self.known.values().filter(|known| known.state == state).count() as u64;
        TicketState::ALL.into_iter().map(|state| (state, count(state))).collect()
    }

    /// An operation is decided at an agreed time: by what verdict, but for the scan that explains it. Nothing, if that is
    /// not said here.
    pub(super) fn apply(&mut self, operation: &Operation, now: Timestamp) -> Option<Verdict> {
        let (file, until) = (self.genesis.file(), operation.valid_until);
        let retention_us = file.consensus.key_retention_ms.saturating_mul(1_000);
        if now > until || until > now.plus_micros(retention_us) {
            return Some(refused(Reason::OperationExpired));
        }
        let ticket = operation.action.ticket()?;
        let Some(event) = file.events.iter().find(|event| event.id == operation.event) else {
            return Some(refused(Reason::UnknownEvent));
        };
        let name = (operation.event.clone(), ticket.clone());
        let before = self.known.get(&name).copied();
        let (version, state) = before.map_or((0, None), |known| (known.version, Some(known.state)));
        Some(match decide(&operation.action, before, event.auto_issue, now)? {
            Ok(after) => {
                self.known.insert(name, after);
                let (version_after, state) = (after.version, Some(after.state));
                Verdict::Accepted { version_before: version, version_after, state, tickets: 1 }
            }
            Err(reason) => Verdict::Refused { reason, version, state, first: None },
        })
    }
}

/// A verdict without the scan that explains it.
pub(super) fn unexplained(verdict: &Verdict) -> Verdict {
    match verdict.clone() {
        Verdict::Refused { reason, version, state, .. } => Verdict::Refused { reason, version, state, first: None },
        accepted @ Verdict::Accepted { .. } => accepted,
    }
}

/// One honest node refuses an operation by itself: never for what only the network decides. (One that is no validator
/// takes nothing in: `not_permitted`.)
pub(crate) fn refused_by_one(reason: Reason) -> Result<(), Violation> {
    let may_say = reason.decider() != Decider::Network || reason == Reason::NotPermitted;
    ensure(may_say, Invariant::Rules, || format!("one node refuses an operation by itself: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of api.md section 1, written out: the state before, and what becomes of each of the four operations.
    #[test]
    fn the_table_is_that_of_the_ledger() {
        use TicketState::{Consumed, Disputed, Issued, Validated};
        let ticket = || TicketId::new("a-ticket").unwrap();
        let issue = Action::Issue {
            ticket: ticket(),
            data: None,
            metadata: Default::default(),
            valid_from: None,
            valid_until: None,
        };
        let validate = Action::Validate { ticket: ticket(), data: None };
        let consume = Action::Consume { ticket: ticket(), data: None };
        let dispute = Action::Dispute { ticket: ticket(), reason: None };
        let unknown = Err(Reason::UnknownTicket);
        let already = |reason| [Err(Reason::AlreadyIssued), Err(reason), Err(reason), Err(reason)];
        let early = Err(Reason::NotValidated);
        let table = [
            (None, [Ok(Issued), unknown, unknown, unknown]),
            (Some(Issued), [Err(Reason::AlreadyIssued), Ok(Validated), early, early]),
            (Some(Validated), [Err(Reason::AlreadyIssued), Err(Reason::AlreadyValidated), Ok(Consumed), Ok(Disputed)]),
            (Some(Consumed), already(Reason::AlreadyConsumed)),
            (Some(Disputed), already(Reason::Disputed)),
        ];
        for (state, row) in table {
            let before = state.map(|state| Known { version: 7, ..Known::new(state, None, None) });
            for (action, expected) in [&issue, &validate, &consume, &dispute].into_iter().zip(row) {
                let decided = decide(action, before, false, Timestamp(0)).unwrap();
                assert_eq!(decided.map(|after| after.state), expected, "{action:?} of {state:?}");
                let version = if before.is_some() { 8 } else { 1 };
                assert!(decided.is_err() || decided.is_ok_and(|after| after.version == version), "{decided:?}");
            }
        }
        let issued = decide(&validate, None, true, Timestamp(0)).unwrap();
        assert_eq!(issued, Ok(Known::new(Validated, None, None)), "where the event has auto_issue");
    }

    #[test]
    fn a_window_holds_its_first_microsecond_and_not_its_last() {
        let ticket = TicketId::new("a-ticket").unwrap();
        let validate = Action::Validate { ticket: ticket.clone(), data: None };
        let dispute = Action::Dispute { ticket, reason: None };
        let window = |state| Some(Known::new(state, Some(Timestamp(10)), Some(Timestamp(20))));
        for (now, expected) in [(9, Some(Reason::NotYetValid)), (10, None), (19, None), (20, Some(Reason::Expired))] {
            let decided = decide(&validate, window(TicketState::Issued), false, Timestamp(now)).unwrap();
            assert_eq!(decided.err(), expected, "at {now}");
            // A dispute is about what happened within.
            assert!(decide(&dispute, window(TicketState::Validated), false, Timestamp(now)).unwrap().is_ok());
        }
    }

    #[test]
    fn one_node_refuses_only_what_it_may_decide_alone() {
        for allowed in [Reason::NoQuorum, Reason::Overloaded, Reason::InProgress, Reason::NotPermitted] {
            assert_eq!(refused_by_one(allowed), Ok(()));
        }
        for forbidden in [Reason::AlreadyConsumed, Reason::UnknownTicket, Reason::KeyReused, Reason::OperationExpired] {
            assert_eq!(refused_by_one(forbidden).unwrap_err().invariant, Invariant::Rules);
        }
    }
}
