//! The state of every stored ticket, in memory: what a block's effects do not say is where a changed ticket was before,
//! and the index by state and the counts need it. Asking the database for it would be a read for every write.

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
    /// The states of what is stored, from the index by state, which is checked against the counts.
    pub(super) fn load(view: &View<'_>) -> Result<Self, StoreError> {
        let counts = view.applied().counts;
        let mut states = HashMap::with_capacity(usize::try_from(counts.tickets()).unwrap_or(0));
        let mut found = [0u64; TicketState::ALL.len()];
        view.scan(Column::States, Range::all(), Order::Bulk, |key, _| {
            let state = key.split_first().and_then(|(code, ticket)| Some((schema::state_of(*code)?, ticket)));
            let (state, ticket) = state.ok_or_else(|| StoreError::damaged("an entry of the index by state"))?;
            found[state as usize] += 1;
            if states.insert(name(ticket), state).is_some() {
                return Err(StoreError::damaged("a ticket is in the index by state twice"));
            }
            GO_ON
        })?;
        for state in TicketState::ALL {
            let (found, counted) = (found[state as usize], counts.tickets_in(state));
            if found != counted {
                let what = format!("{found} tickets are in the index as {state}, {counted} were counted");
                return Err(StoreError::damaged(what));
            }
        }
        Ok(Self { states })
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
