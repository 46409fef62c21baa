//! The state of every stored ticket, in memory: what a block's effects do not say is where a changed ticket was before,
//! and the counts and the index of flagged tickets need it. Asking the database for it would be a read for every write.

use std::collections::HashMap;

use dtvn_messages::{TicketState, sha256};

use super::database::{GO_ON, Order, Range, View};
use super::error::StoreError;
use super::schema::{self, Column};

/// The name of a ticket in the table: half of the SHA-256 of its key, which is short and as unique.
type Name = [u8; 16];

/// The table.
#[derive(Debug, Default)]
pub(super) struct StateTable {
    states: HashMap<Name, TicketState>,
}

impl StateTable {
    /// The states of the stored tickets, checked against the counts and the index of flagged ones.
    pub(super) fn load(view: &View<'_>) -> Result<Self, StoreError> {
        let counts = view.applied().counts;
        let mut states = HashMap::with_capacity(usize::try_from(counts.tickets()).unwrap_or(0));
        let mut found = [0u64; TicketState::ALL.len()];
        view.scan(Column::Tickets, Range::all(), Order::Bulk, |key, value| {
            let state = schema::state_in(key, value).ok_or_else(|| StoreError::damaged("a ticket has no state"))?;
            found[state as usize] += 1;
            states.insert(name(key), state);
            GO_ON
        })?;
        for state in TicketState::ALL {
            let (found, counted) = (found[state as usize], counts.tickets_in(state));
            if found != counted {
                return Err(StoreError::damaged(format!("{found} tickets are {state}, {counted} were counted")));
            }
        }
        let table = Self { states };
        table.check_flagged(view)?;
        Ok(table)
    }

    /// Whether the index of flagged tickets has just those.
    fn check_flagged(&self, view: &View<'_>) -> Result<(), StoreError> {
        let mut indexed = 0;
        view.scan(Column::Flagged, Range::all(), Order::Bulk, |key, value| {
            let entry = key.split_first().and_then(|(code, ticket)| Some((schema::state_of(*code)?, ticket)));
            let known = entry.filter(|(state, ticket)| self.get(ticket) == Some(*state) && value.is_empty());
            known.ok_or_else(|| StoreError::damaged("the index of flagged tickets names one that is not"))?;
            indexed += 1;
            GO_ON
        })?;
        let flagged = TicketState::ALL.into_iter().filter(|state| schema::is_flagged(*state));
        let counted: u64 = flagged.map(|state| view.applied().counts.tickets_in(state)).sum();
        if indexed != counted {
            return Err(StoreError::damaged(format!(
                "{indexed} tickets are indexed as flagged, {counted} were counted"
            )));
        }
        Ok(())
    }

    /// The state of the ticket with this key; none if it is not stored.
    pub(super) fn get(&self, ticket_key: &[u8]) -> Option<TicketState> {
        self.states.get(&name(ticket_key)).copied()
    }

    pub(super) fn set(&mut self, ticket_key: &[u8], state: TicketState) {
        self.states.insert(name(ticket_key), state);
    }
}

fn name(ticket_key: &[u8]) -> Name {
    let mut name = [0; 16];
    name.copy_from_slice(&sha256(&[ticket_key]).0[..16]);
    name
}
