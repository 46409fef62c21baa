//! What a receipt must prove. That it is true says only that something happened: of another ticket, perhaps, or a refusal.

use clap::Args;
use dtvn_client::api::OutcomeRecord;
use dtvn_messages::{Action, EventId, IdempotencyKey, TicketId};

/// What a receipt must be of; nothing that is not given is compared.
#[derive(Debug, Default, Args)]
pub(super) struct Asked {
    /// It must be of this ticket, in the event `default` if there is no --event
    #[arg(long, value_name = "ID")]
    pub(super) ticket: Option<TicketId>,
    /// It must be of this event
    #[arg(long, value_name = "ID")]
    pub(super) event: Option<EventId>,
    /// It must be of the operation with this idempotency key
    #[arg(long, value_name = "IDEMPOTENCY_KEY")]
    pub(super) key: Option<IdempotencyKey>,
    /// It must be of an operation of this kind, such as consume
    #[arg(long, value_parser = kind)]
    pub(super) kind: Option<&'static str>,
    /// The operation must have been accepted
    #[arg(long)]
    pub(super) accepted: bool,
}

impl Asked {
    /// In what an outcome is not what was asked for; none if it is.
    pub(super) fn mismatch(&self, outcome: &OutcomeRecord) -> Option<String> {
        let mut faults = Vec::new();
        if let Some(ticket) = self.ticket.as_ref().filter(|asked| outcome.ticket_id.as_ref() != Some(*asked)) {
            faults.push(match &outcome.ticket_id {
                Some(found) => format!("it is of the ticket {found}, not {ticket}"),
                None => format!("it is of no single ticket, not {ticket}"),
            });
        }
        // A ticket's name says which one it is in its event only.
        let default = self.ticket.is_some().then(EventId::default_event);
        if let Some(event) = self.event.clone().or(default).filter(|asked| *asked != outcome.event) {
            faults.push(format!("it is of the event {}, not {event}", outcome.event));
        }
        if let Some(key) = self.key.as_ref().filter(|asked| **asked != outcome.idempotency_key) {
            faults.push(format!("its idempotency key is {}, not {key}", outcome.idempotency_key));
        }
        if let Some(kind) = self.kind.filter(|asked| *asked != outcome.kind.as_str()) {
            faults.push(format!("its kind is {}, not {kind}", outcome.kind));
        }
        if let Some(reason) = outcome.reason.filter(|_| self.accepted) {
            faults.push(format!("the operation was refused ({reason})"));
        }
        (!faults.is_empty()).then(|| faults.join("; "))
    }
}

fn kind(text: &str) -> Result<&'static str, String> {
    let names = || (1..=u8::MAX).map_while(Action::name_of);
    let found = names().find(|name| *name == text);
    found.ok_or_else(|| format!("{text:?} is none of {}", names().collect::<Vec<_>>().join(", ")))
}

#[cfg(test)]
mod tests {
    use dtvn_messages::{Reason, Verdict};

    use super::super::tests::outcome;
    use super::*;

    fn refused() -> OutcomeRecord {
        let verdict = Verdict::Refused { reason: Reason::NotValidated, version: 1, state: None, first: None };
        OutcomeRecord::from(&outcome(EventId::new("gala").unwrap(), 3, verdict))
    }

    #[test]
    fn an_outcome_is_compared_with_all_that_is_asked_and_with_nothing_else() {
        let ticket = |text| Some(TicketId::new(text).unwrap());
        let event = |text| Some(EventId::new(text).unwrap());
        let key = |text| Some(IdempotencyKey::new(text).unwrap());
        for (asked, expected) in [
            (Asked::default(), None),
            (Asked { event: event("gala"), ..Asked::default() }, None),
            (Asked { event: event("other"), ..Asked::default() }, Some("it is of the event gala, not other")),
            (Asked { ticket: ticket("T-1"), event: event("gala"), ..Asked::default() }, None),
            (Asked { ticket: ticket("T-1"), ..Asked::default() }, Some("it is of the event gala, not default")),
            (
                Asked { ticket: ticket("T-2"), event: event("gala"), kind: Some("validate"), ..Asked::default() },
                Some("it is of the ticket T-1, not T-2; its kind is consume, not validate"),
            ),
            (Asked { key: key("0123456789abcdef"), kind: Some("consume"), ..Asked::default() }, None),
            (
                Asked { key: key("fedcba9876543210"), ..Asked::default() },
                Some("its idempotency key is 0123456789abcdef, not fedcba9876543210"),
            ),
            (Asked { accepted: true, ..Asked::default() }, Some("the operation was refused (not_validated)")),
        ] {
            assert_eq!(asked.mismatch(&refused()).as_deref(), expected, "{asked:?}");
        }
        let of_none = OutcomeRecord { ticket_id: None, reason: None, ..refused() };
        assert_eq!(Asked { accepted: true, ..Asked::default() }.mismatch(&of_none), None);
        let of_one = Asked { ticket: ticket("T-1"), event: event("gala"), ..Asked::default() };
        assert_eq!(of_one.mismatch(&of_none).as_deref(), Some("it is of no single ticket, not T-1"));
    }

    #[test]
    fn a_kind_is_one_that_operations_have() {
        assert_eq!((kind("consume"), kind("recover")), (Ok("consume"), Ok("recover")));
        assert!(kind("eat").unwrap_err().contains("is none of issue, validate, consume"));
    }
}
