//! The tickets of all events, with counters by state that stay exact through roll-backs.
//!
//! **No validator fills the table for others.** Tickets stay, so what a liar fills stays full. Above half of the table, a
//! validator may add tickets and data only as long as the tickets on which it took in the last accepted operation are no
//! more than its even part; scans go on. One that issues for everybody, as the node of an organiser may, has half of the
//! table and what the gates scanned since.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use dtvn_messages::genesis::EventPolicy;
use dtvn_messages::{EventId, NodeName, Reason, Ticket, TicketId, TicketState, limits};

use crate::rules::Refusal;

/// How many tickets are in each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TicketCounts([u64; TicketState::ALL.len()]);

impl TicketCounts {
    /// How many are in `state`.
    #[must_use]
    pub fn get(&self, state: TicketState) -> u64 {
        self.0[position(state)]
    }

    /// How many there are.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    fn replace(&mut self, before: Option<&Ticket>, after: Option<&Ticket>) {
        if let Some(before) = before {
            self.0[position(before.state)] -= 1;
        }
        if let Some(after) = after {
            self.0[position(after.state)] += 1;
        }
    }
}

const fn position(state: TicketState) -> usize {
    match state {
        TicketState::Issued => 0,
        TicketState::Validated => 1,
        TicketState::Consumed => 2,
        TicketState::Disputed => 3,
        TicketState::Revoked => 4,
    }
}

/// An event and how its tickets stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventSummary {
    /// Its name.
    pub id: EventId,
    /// Whether validating an unknown ticket issues it first.
    pub auto_issue: bool,
    /// How many tickets are in each state.
    pub tickets: TicketCounts,
}

/// The place of an event in the table: events do not come and go under rules version 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EventIndex(usize);

/// One change of one ticket, with all that is needed to undo it.
#[derive(Debug, Clone)]
pub(crate) struct TicketChange {
    pub(crate) event: EventIndex,
    pub(crate) before: Option<Arc<Ticket>>,
    pub(crate) after: Arc<Ticket>,
}

/// A ticket's name with its first bytes as a number: most comparisons need no look at the text, which is elsewhere in
/// memory. The order is that of the names, in which there is no zero byte.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Sorted {
    head: u128,
    id: TicketId,
}

impl Sorted {
    fn new(id: &TicketId) -> Self {
        let mut head = [0; 16];
        let bytes = id.as_str().as_bytes();
        let length = bytes.len().min(head.len());
        head[..length].copy_from_slice(&bytes[..length]);
        Self { head: u128::from_be_bytes(head), id: id.clone() }
    }
}

#[derive(Debug, Clone)]
struct EventTickets {
    policy: EventPolicy,
    tickets: BTreeMap<Sorted, Arc<Ticket>>,
    counts: TicketCounts,
}

/// The tickets of all events.
#[derive(Debug, Clone)]
pub(crate) struct TicketTable {
    /// Ascending by name.
    events: Vec<EventTickets>,
    bytes: u64,
    bytes_max: u64,
    /// Of them those of the tickets on which each validator took in the last accepted operation; none where it would be 0.
    by_validator: BTreeMap<NodeName, u64>,
}

impl TicketTable {
    /// No tickets yet, of these events.
    pub(crate) fn new(policies: &[EventPolicy], bytes_max: u64) -> Self {
        let event = |policy: &EventPolicy| EventTickets {
            policy: policy.clone(),
            tickets: BTreeMap::new(),
            counts: TicketCounts::default(),
        };
        let mut events: Vec<EventTickets> = policies.iter().map(event).collect();
        events.sort_by(|left, right| left.policy.id.cmp(&right.policy.id));
        Self { events, bytes: 0, bytes_max, by_validator: BTreeMap::new() }
    }

    pub(crate) fn event(&self, id: &EventId) -> Option<EventIndex> {
        self.events.binary_search_by(|event| event.policy.id.cmp(id)).ok().map(EventIndex)
    }

    pub(crate) fn policy(&self, event: EventIndex) -> &EventPolicy {
        &self.events[event.0].policy
    }

    pub(crate) fn summaries(&self) -> impl ExactSizeIterator<Item = EventSummary> {
        self.events.iter().map(|event| EventSummary {
            id: event.policy.id.clone(),
            auto_issue: event.policy.auto_issue,
            tickets: event.counts,
        })
    }

    pub(crate) fn counts(&self, event: EventIndex) -> TicketCounts {
        self.events[event.0].counts
    }

    pub(crate) fn get(&self, event: EventIndex, id: &TicketId) -> Option<&Arc<Ticket>> {
        self.events[event.0].tickets.get(&Sorted::new(id))
    }

    /// All tickets, ascending by event and id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Ticket>> {
        self.events.iter().flat_map(|event| event.tickets.values())
    }

    pub(crate) fn len(&self) -> u64 {
        self.events.iter().map(|event| event.counts.total()).sum()
    }

    /// Whether there is room for this much more that a validator takes in, one of so many.
    pub(crate) fn has_room(&self, bytes: u64, validator: &NodeName, validators: usize) -> bool {
        let own = self.by_validator.get(validator).copied().unwrap_or(0);
        bytes == 0 || self.fits(self.bytes.saturating_add(bytes), own.saturating_add(bytes), validators)
    }

    /// Whether the table may grow to this, of which so much is of the validator that took in what makes it grow.
    fn fits(&self, bytes: u64, own: u64, validators: usize) -> bool {
        let has_part_only = || own.saturating_mul(validators.max(1) as u64) <= self.bytes_max;
        bytes <= self.bytes_max && (bytes.saturating_mul(2) <= self.bytes_max || has_part_only())
    }

    /// Brings the account up to date: a ticket changed, came or went.
    fn account(&mut self, before: Option<&Ticket>, after: Option<&Ticket>) {
        if let Some(before) = before {
            let weight = weight(before);
            self.bytes -= weight;
            if let Some(own) = self.by_validator.get_mut(&before.validator) {
                *own -= weight;
                if *own == 0 {
                    self.by_validator.remove(&before.validator);
                }
            }
        }
        if let Some(after) = after {
            let weight = weight(after);
            self.bytes += weight;
            match self.by_validator.get_mut(&after.validator) {
                Some(own) => *own += weight,
                None => drop(self.by_validator.insert(after.validator.clone(), weight)),
            }
        }
    }

    /// Changes one ticket as `decide` says, which gets its value if it exists.
    ///
    /// # Errors
    /// With the ticket as it is and what `decide` says, or `ledger_full`.
    pub(crate) fn change(
        &mut self,
        event: EventIndex,
        id: &TicketId,
        validators: usize,
        decide: impl FnOnce(Option<&Ticket>) -> Result<Ticket, Refusal>,
    ) -> Result<TicketChange, (Option<Arc<Ticket>>, Refusal)> {
        let (total, tickets) = (self.bytes, &mut self.events[event.0].tickets);
        // One search only: tickets are many, and this is the ledger's hot path. What does not fit is put back.
        let (before, after) = match tickets.get_mut(&Sorted::new(id)) {
            Some(slot) => {
                let after = match decide(Some(slot)) {
                    Ok(after) => Arc::new(after),
                    Err(refusal) => return Err((Some(Arc::clone(slot)), refusal)),
                };
                (Some(std::mem::replace(slot, Arc::clone(&after))), after)
            }
            None => {
                let after = Arc::new(decide(None).map_err(|refusal| (None, refusal))?);
                tickets.insert(Sorted::new(&after.id), Arc::clone(&after));
                (None, after)
            }
        };
        self.account(before.as_deref(), Some(&after));
        let own = self.by_validator.get(&after.validator).copied().unwrap_or(0);
        if self.bytes > total && !self.fits(self.bytes, own, validators) {
            self.account(Some(&after), before.as_deref());
            self.put_back(event, &after.id, before.clone());
            return Err((before, Refusal::plain(Reason::LedgerFull)));
        }
        self.events[event.0].counts.replace(before.as_deref(), Some(&after));
        Ok(TicketChange { event, before, after })
    }

    fn put_back(&mut self, event: EventIndex, id: &TicketId, before: Option<Arc<Ticket>>) {
        let tickets = &mut self.events[event.0].tickets;
        match before {
            Some(before) => tickets.insert(Sorted::new(id), before),
            None => tickets.remove(&Sorted::new(id)),
        };
    }

    /// Takes a ticket from a store; false if there is one of that name.
    pub(crate) fn load(&mut self, event: EventIndex, ticket: Arc<Ticket>) -> bool {
        let tickets = &mut self.events[event.0];
        let Entry::Vacant(slot) = tickets.tickets.entry(Sorted::new(&ticket.id)) else {
            return false;
        };
        tickets.counts.replace(None, Some(&ticket));
        slot.insert(Arc::clone(&ticket));
        self.account(None, Some(&ticket));
        true
    }

    /// Undoes a change; it must be the last one of its ticket that is not undone yet.
    pub(crate) fn roll_back(&mut self, change: TicketChange) {
        self.events[change.event.0].counts.replace(Some(&change.after), change.before.as_deref());
        self.account(Some(&change.after), change.before.as_deref());
        self.put_back(change.event, &change.after.id, change.before);
    }
}

/// What a ticket counts against `LEDGER_TICKETS_BYTES_MAX`.
pub(crate) fn weight(ticket: &Ticket) -> u64 {
    let metadata: usize = ticket.metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    let text = |text: &Option<Box<str>>| text.as_ref().map_or(0, |text| text.len());
    limits::LEDGER_TICKET_BYTES + (metadata + text(&ticket.data) + text(&ticket.dispute_reason)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_sort_like_their_names() {
        let names = [
            "A",
            "A ",
            "B",
            "sixteen-bytes-xx",
            "sixteen-bytes-xx ",
            "sixteen-bytes-xxA",
            "sixteen-bytes-xxB",
            "sixteen-bytes-xy",
            "é",
            "票票票票票",
            "票票票票票票",
        ];
        for left in names {
            for right in names {
                let of = |name| Sorted::new(&TicketId::new(name).unwrap());
                assert_eq!(of(left).cmp(&of(right)), left.cmp(right), "{left:?} {right:?}");
            }
        }
    }
}
