//! Reading tickets and their history.

use dtvn_messages::{EventId, Layout, Outcome, Ticket, TicketId, TicketState, Writer};

use super::cursor::{List, Page};
use super::database::{ENOUGH, GO_ON, Order, Range, View};
use super::error::StoreError;
use super::outcomes::read_outcome;
use super::schema::{self, Column};

/// Which tickets: all by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TicketFilter {
    /// Of this event only.
    pub event: Option<EventId>,
    /// In this state only.
    pub state: Option<TicketState>,
}

impl TicketFilter {
    /// The list of these tickets: flagged ones are indexed, others are looked for among all of the event.
    fn list(&self) -> List {
        let of_event = self.event.as_ref().map_or_else(Vec::new, schema::tickets_of);
        let (column, prefix) = match self.state {
            Some(state) if schema::is_flagged(state) => (Column::Flagged, schema::flagged(state, &of_event)),
            _ => (Column::Tickets, of_event),
        };
        let mut name = Writer::default();
        name.text("tickets");
        name.option(self.event.as_ref());
        name.option(self.state.as_ref());
        List { column, range: Range::prefix(prefix), order: Order::Ascending, name }
    }
}

impl View<'_> {
    /// A ticket.
    ///
    /// # Errors
    /// If what is stored is damaged.
    pub fn ticket(&self, event: &EventId, id: &TicketId) -> Result<Option<Ticket>, StoreError> {
        let key = schema::ticket(event, id);
        self.get(Column::Tickets, &key)?.map(|value| read_ticket(&key, &value)).transpose()
    }

    /// Tickets in the order of event and id, behind a cursor.
    ///
    /// `limit` counts as at least 1 and at most [`dtvn_messages::limits::STORE_PAGE_ITEMS_MAX`]. A page has fewer tickets, perhaps none,
    /// and still a next one, if they are large, or if [`dtvn_messages::limits::STORE_PAGE_VISITS_MAX`] tickets had to be looked at: only
    /// flagged ones (disputed and revoked) are indexed by state. Over all pages, a ticket that fits the filter all the
    /// while comes exactly once; one that comes or goes meanwhile, at most once.
    ///
    /// # Errors
    /// [`StoreError::BadCursor`] if the cursor is not of this list, or if what is stored is damaged.
    pub fn tickets(
        &self,
        filter: &TicketFilter,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Ticket>, StoreError> {
        let list = filter.list();
        let is_index = list.column == Column::Flagged;
        self.page(list, after, limit, |key, value| match filter.state {
            Some(state) if is_index => {
                let key = key.get(1..).unwrap_or_default();
                let value = self.get(Column::Tickets, key)?.filter(|value| schema::state_in(key, value) == Some(state));
                let value = value.ok_or_else(|| StoreError::damaged("the index names a ticket that is not flagged"))?;
                Ok(Some((read_ticket(key, &value)?, value.len())))
            }
            Some(state) if schema::state_in(key, value) != Some(state) => Ok(None),
            _ => Ok(Some((read_ticket(key, value)?, value.len()))),
        })
    }

    /// The outcomes of all operations on a ticket, oldest first, behind a cursor; refused ones and, for a seeded ticket,
    /// the seeding included. Empty for a ticket that nothing was ever asked of.
    ///
    /// # Errors
    /// [`StoreError::BadCursor`] if the cursor is not of this list, or if what is stored is damaged.
    pub fn history(
        &self,
        event: &EventId,
        id: &TicketId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Outcome>, StoreError> {
        let prefix = schema::history_of(event, id);
        let index_at = prefix.len();
        let mut name = Writer::default();
        name.text("history");
        event.write(&mut name);
        id.write(&mut name);
        let list = List { column: Column::History, range: Range::prefix(prefix), order: Order::Ascending, name };
        self.page(list, after, limit, |key, _| {
            let index = key.get(index_at..).and_then(schema::read_number);
            let index = index.ok_or_else(|| StoreError::damaged("an entry of a ticket's history"))?;
            let leaf = self.known_leaf(index)?;
            Ok(Some((read_outcome(index, &leaf)?, leaf.len())))
        })
    }

    /// One outcome of a ticket's history: that at an index of the transparency log, or the latest.
    ///
    /// # Errors
    /// If what is stored is damaged.
    pub fn outcome_of_ticket(
        &self,
        event: &EventId,
        id: &TicketId,
        index: Option<u64>,
    ) -> Result<Option<Outcome>, StoreError> {
        let prefix = schema::history_of(event, id);
        let index_at = prefix.len();
        let mut found = None;
        self.scan(Column::History, Range::prefix(prefix), Order::Descending, |key, _| {
            let entry = key.get(index_at..).and_then(schema::read_number);
            let entry = entry.ok_or_else(|| StoreError::damaged("an entry of a ticket's history"))?;
            if index.is_none_or(|index| entry <= index) {
                found = Some(entry).filter(|entry| index.is_none_or(|index| *entry == index));
                return ENOUGH;
            }
            GO_ON
        })?;
        found.map(|index| read_outcome(index, &self.known_leaf(index)?)).transpose()
    }
}

/// The ticket in a value, which must be the one of its key.
pub(super) fn read_ticket(key: &[u8], value: &[u8]) -> Result<Ticket, StoreError> {
    let ticket = Ticket::from_bytes(value).map_err(|error| StoreError::undecodable("a ticket", &error))?;
    if schema::ticket(&ticket.event, &ticket.id) != key {
        return Err(StoreError::damaged(format!("in the place of another ticket there is {}", ticket.id)));
    }
    Ok(ticket)
}
