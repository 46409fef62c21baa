//! The stored state as the ledger's image: what a node starts from.

use std::sync::Arc;

use dtvn_ledger::{KeyEntry, KeyScope, LedgerImage};
use dtvn_messages::{LastBundle, NodeName, Ticket, TicketState};

use super::Store;
use super::database::{ENOUGH, GO_ON, Order, Range, View};
use super::error::StoreError;
use super::outcomes::{read_key, read_outcome};
use super::records::decode;
use super::schema::{self, Column, meta};
use super::tickets::read_ticket;

impl Store {
    /// The state after the last applied block.
    ///
    /// # Errors
    /// If what is stored is damaged, or does not have the counts that were kept.
    pub fn load_image(&self) -> Result<LedgerImage, StoreError> {
        self.database.view()?.ledger_image()
    }
}

impl View<'_> {
    /// The state after the last applied block: every ticket and every held key is read and checked.
    ///
    /// # Errors
    /// If what is stored is damaged, or does not have the counts that were kept.
    pub fn ledger_image(&self) -> Result<LedgerImage, StoreError> {
        let applied = self.applied();
        Ok(LedgerImage {
            height: applied.height,
            timestamp: applied.timestamp,
            tickets: self.all_tickets()?,
            keys: self.all_keys()?,
            log: applied.log.clone(),
            accepted: applied.counts.accepted,
            last_bundles: self.last_bundles()?,
            membership: self.membership()?.map(Arc::new),
        })
    }

    fn all_tickets(&self) -> Result<Vec<Arc<Ticket>>, StoreError> {
        let counts = self.applied().counts;
        let mut tickets = Vec::with_capacity(usize::try_from(counts.tickets()).unwrap_or(0));
        let mut found = [0u64; TicketState::ALL.len()];
        self.scan(Column::Tickets, Range::all(), Order::Bulk, |key, value| {
            let ticket = read_ticket(key, value)?;
            found[ticket.state as usize] += 1;
            tickets.push(Arc::new(ticket));
            GO_ON
        })?;
        for state in TicketState::ALL {
            let (found, counted) = (found[state as usize], counts.tickets_in(state));
            if found != counted {
                return Err(StoreError::damaged(format!("{found} tickets are {state}, {counted} were counted")));
            }
        }
        Ok(tickets)
    }

    /// The held keys, oldest first. Their outcomes lie close together, at the end of the log: they are read in one sweep.
    fn all_keys(&self) -> Result<Vec<KeyEntry>, StoreError> {
        let counted = self.applied().counts.keys;
        let mut held = Vec::with_capacity(usize::try_from(counted).unwrap_or(0));
        self.scan(Column::Keys, Range::all(), Order::Bulk, |digest, value| {
            let (index, scope) = read_key(value)?;
            held.push((index, scope, digest.to_vec()));
            GO_ON
        })?;
        if held.len() as u64 != counted {
            return Err(StoreError::damaged(format!("{} keys are held, {counted} were counted", held.len())));
        }
        held.sort_unstable_by_key(|(index, ..)| *index);
        let Some((first, ..)) = held.first() else {
            return Ok(Vec::new());
        };
        let from = schema::number(*first).to_vec();
        let mut keys = Vec::with_capacity(held.len());
        let mut wanted = held.into_iter().peekable();
        self.scan(Column::Outcomes, Range { from, to: None }, Order::Bulk, |key, leaf| {
            let index = schema::read_number(key).ok_or_else(|| StoreError::damaged("the key of an outcome"))?;
            if let Some((_, scope, digest)) = wanted.next_if(|(wanted, ..)| *wanted == index) {
                let outcome = Arc::new(read_outcome(index, leaf)?);
                let scope = scope.unwrap_or_else(|| KeyScope::Event(outcome.event.clone()));
                let entry = KeyEntry { scope, outcome };
                if entry.digest().0.as_slice() != digest {
                    return Err(StoreError::damaged("a key leads to another key's outcome"));
                }
                keys.push(entry);
            }
            if wanted.peek().is_none() { ENOUGH } else { GO_ON }
        })?;
        match wanted.next() {
            None => Ok(keys),
            Some((index, ..)) => Err(StoreError::damaged(format!("outcome {index}, which a key leads to, is gone"))),
        }
    }

    fn last_bundles(&self) -> Result<Vec<(NodeName, LastBundle)>, StoreError> {
        const WHAT: &str = "the last bundle of a validator";
        let mut last_bundles = Vec::new();
        let range = Range::prefix(meta::LAST_BUNDLE.to_vec());
        self.scan(Column::Meta, range, Order::Ascending, |key, value| {
            let name = std::str::from_utf8(key.get(meta::LAST_BUNDLE.len()..).unwrap_or_default());
            let name = name.ok().and_then(|name| NodeName::new(name).ok());
            let name = name.ok_or_else(|| StoreError::damaged(WHAT))?;
            last_bundles.push((name, decode(WHAT, value)?));
            GO_ON
        })?;
        Ok(last_bundles)
    }
}
