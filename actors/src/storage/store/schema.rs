//! Column families and keys. The table at the head of [`super`] lists them; this is its code.
//!
//! Names of events and tickets hold no control character, so the byte 0 separates them and keeps their order.

use dtvn_messages::{Digest, Epoch, EventId, Height, NodeName, TicketId, TicketState, ValidatorIndex, View};

/// The version of everything in this folder that is on disk. Another one is refused at open.
pub(super) const SCHEMA_VERSION: u32 = 2;

/// A column family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    /// What the store itself must know: see [`meta`].
    Meta,
    Tickets,
    Flagged,
    Outcomes,
    History,
    Keys,
    Blocks,
    Digests,
    Bodies,
    Tiles,
    Checkpoints,
    NewViews,
    Receipts,
    Evidence,
}

/// How a column family is used, which decides its options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Written in the order of its keys, and read in ranges.
    Sequence,
    /// Written and read all over.
    Scattered,
}

impl Column {
    pub(super) const ALL: [Self; 14] = [
        Self::Meta,
        Self::Tickets,
        Self::Flagged,
        Self::Outcomes,
        Self::History,
        Self::Keys,
        Self::Blocks,
        Self::Digests,
        Self::Bodies,
        Self::Tiles,
        Self::Checkpoints,
        Self::NewViews,
        Self::Receipts,
        Self::Evidence,
    ];

    /// The name in the database. RocksDB always has one that is called `default`.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Meta => "default",
            Self::Tickets => "tickets",
            Self::Flagged => "flagged",
            Self::Outcomes => "outcomes",
            Self::History => "history",
            Self::Keys => "keys",
            Self::Blocks => "blocks",
            Self::Digests => "digests",
            Self::Bodies => "bodies",
            Self::Tiles => "tiles",
            Self::Checkpoints => "checkpoints",
            Self::NewViews => "new_views",
            Self::Receipts => "receipts",
            Self::Evidence => "evidence",
        }
    }

    pub(super) const fn usage(self) -> Use {
        match self {
            Self::Outcomes | Self::Blocks | Self::Bodies | Self::Checkpoints | Self::NewViews | Self::Receipts => {
                Use::Sequence
            }
            Self::Meta
            | Self::Tickets
            | Self::Flagged
            | Self::History
            | Self::Keys
            | Self::Digests
            | Self::Tiles
            | Self::Evidence => Use::Scattered,
        }
    }

    /// Whether compressing is worth it: hashes are noise.
    pub(super) const fn is_compressible(self) -> bool {
        !matches!(self, Self::Digests | Self::Tiles | Self::Keys | Self::Receipts)
    }

    /// Whether it is asked for keys that it does not hold, so that a filter in front saves reading.
    pub(super) const fn has_filter(self) -> bool {
        matches!(self, Self::Tickets | Self::Keys | Self::Digests)
    }

    pub(super) const fn position(self) -> usize {
        self as usize
    }
}

/// The keys of [`Column::Meta`].
pub(super) mod meta {
    use super::{Epoch, NodeName, concat};

    /// The schema version: `u32` big-endian.
    pub(in super::super) const SCHEMA: &[u8] = b"schema";
    /// Whose store it is: the layout of `StoreIdentity`.
    pub(in super::super) const IDENTITY: &[u8] = b"identity";
    /// How far the store is: the record `Applied`.
    pub(in super::super) const APPLIED: &[u8] = b"applied";
    /// The lowest height of which the block is kept: `u64` big-endian.
    pub(in super::super) const LOWEST_BLOCK: &[u8] = b"lowest_block";
    /// Where a store that was made from a state begins: its height and the size of its log, `u64` big-endian each.
    pub(in super::super) const INSTALLED: &[u8] = b"installed";
    /// In front of a validator's name: the last ordered bundle of that validator.
    pub(in super::super) const LAST_BUNDLE: &[u8] = b"last_bundle/";

    /// The validators: the layout of `Membership`; absent while they are those of the genesis and nothing was agreed.
    pub(in super::super) const MEMBERSHIP: &[u8] = b"membership";
    /// In front of an epoch, `u64` big-endian: the layout of its `EpochEnd`.
    pub(in super::super) const EPOCH_END: &[u8] = b"epoch_end/";

    pub(in super::super) fn epoch_end(epoch: Epoch) -> Vec<u8> {
        concat(&[EPOCH_END, &epoch.0.to_be_bytes()])
    }

    pub(in super::super) fn last_bundle(origin: &NodeName) -> Vec<u8> {
        concat(&[LAST_BUNDLE, origin.as_str().as_bytes()])
    }
}

fn concat(parts: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
    for part in parts {
        key.extend_from_slice(part);
    }
    key
}

/// In [`Column::Tickets`]: event, 0, ticket.
pub(super) fn ticket(event: &EventId, id: &TicketId) -> Vec<u8> {
    concat(&[event.as_str().as_bytes(), &[0], id.as_str().as_bytes()])
}

/// The state in the value of a ticket, without reading the rest: in its layout it follows the texts of event and ticket.
pub(super) fn state_in(ticket_key: &[u8], value: &[u8]) -> Option<TicketState> {
    const LENGTH_BYTES: usize = 4;
    let names = ticket_key.len().checked_sub(1)?;
    state_of(*value.get(2 * LENGTH_BYTES + names)?)
}

/// What all tickets of an event begin with.
pub(super) fn tickets_of(event: &EventId) -> Vec<u8> {
    concat(&[event.as_str().as_bytes(), &[0]])
}

/// Whether tickets in a state are in [`Column::Flagged`]: states that are rare, that somebody must look at, and that no
/// usual scan leads to. An index of all states would take two more writes all over for each scan.
pub(super) const fn is_flagged(state: TicketState) -> bool {
    matches!(state, TicketState::Disputed | TicketState::Revoked)
}

/// In [`Column::Flagged`]: the state's number, then the ticket's key.
pub(super) fn flagged(state: TicketState, ticket_key: &[u8]) -> Vec<u8> {
    concat(&[&[state_code(state)], ticket_key])
}

/// The number of a state, as in the layout of tickets.
pub(super) const fn state_code(state: TicketState) -> u8 {
    match state {
        TicketState::Issued => 1,
        TicketState::Validated => 2,
        TicketState::Consumed => 3,
        TicketState::Disputed => 4,
        TicketState::Revoked => 5,
    }
}

/// The state with this number.
pub(super) fn state_of(code: u8) -> Option<TicketState> {
    TicketState::ALL.into_iter().find(|state| state_code(*state) == code)
}

/// In [`Column::History`]: the ticket's key, 0, the outcome's index.
pub(super) fn history(ticket_key: &[u8], index: u64) -> Vec<u8> {
    concat(&[ticket_key, &[0], &index.to_be_bytes()])
}

/// What all history of a ticket begins with.
pub(super) fn history_of(event: &EventId, id: &TicketId) -> Vec<u8> {
    concat(&[&ticket(event, id), &[0]])
}

/// In [`Column::Outcomes`], [`Column::Blocks`], [`Column::Receipts`] and [`Column::Checkpoints`]: an index or height, so that the order of
/// the keys is theirs.
pub(super) const fn number(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

/// The number that a key is.
pub(super) fn read_number(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.try_into().ok()?))
}

/// In [`Column::Digests`] and [`Column::Keys`].
pub(super) const fn digest(digest: &Digest) -> &[u8; 32] {
    &digest.0
}

/// In [`Column::Bodies`]: height, then the bundle's place in the block.
pub(super) fn body(height: Height, ordinal: u32) -> [u8; 12] {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&height.0.to_be_bytes());
    key[8..].copy_from_slice(&ordinal.to_be_bytes());
    key
}

/// In [`Column::Tiles`]: level, then the tile's index in its level.
pub(super) fn tile(level: u8, index: u64) -> [u8; 9] {
    let mut key = [0; 9];
    key[0] = level;
    key[1..].copy_from_slice(&index.to_be_bytes());
    key
}

/// In [`Column::NewViews`]: the key of a NEW-VIEW, then the signer of a VIEW-CHANGE that it names.
pub(super) fn view_change(new_view: [u8; NEW_VIEW_BYTES], signer: ValidatorIndex) -> Vec<u8> {
    concat(&[&new_view, &signer.0.to_be_bytes()])
}

/// In [`Column::NewViews`]: epoch, then view.
pub(super) fn new_view(epoch: Epoch, view: View) -> [u8; NEW_VIEW_BYTES] {
    let mut key = [0; NEW_VIEW_BYTES];
    key[..8].copy_from_slice(&epoch.0.to_be_bytes());
    key[8..].copy_from_slice(&view.0.to_be_bytes());
    key
}

/// The length of a NEW-VIEW's key; those of its VIEW-CHANGEs are longer.
pub(super) const NEW_VIEW_BYTES: usize = 16;

/// The least key above all that begin with `prefix`; none if there is no such key.
pub(super) fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

/// The least key above `key`.
pub(super) fn after(key: &[u8]) -> Vec<u8> {
    concat(&[key, &[0]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_where_their_position_says_and_have_names_of_their_own() {
        for (position, column) in Column::ALL.into_iter().enumerate() {
            assert_eq!(column.position(), position);
            assert_eq!(Column::ALL.iter().filter(|other| other.name() == column.name()).count(), 1);
        }
    }

    #[test]
    fn ticket_keys_are_in_the_order_of_event_and_id() {
        let names = ["a", "a b", "aa", "b", "\u{e9}", "\u{1f3ab}"];
        let mut pairs = Vec::new();
        for event in names {
            for id in names {
                pairs.push((EventId::new(event).unwrap(), TicketId::new(id).unwrap()));
            }
        }
        pairs.sort();
        assert!(pairs.is_sorted_by_key(|(event, id)| ticket(event, id)));
        assert!(pairs.iter().all(|(event, id)| ticket(event, id).starts_with(&tickets_of(event))));
    }

    #[test]
    fn history_keys_of_one_ticket_are_no_other_tickets() {
        let event = EventId::default_event();
        let (short, long) = (TicketId::new("T-1").unwrap(), TicketId::new("T-10").unwrap());
        let key = history(&ticket(&event, &long), 7);
        assert!(key.starts_with(&history_of(&event, &long)));
        assert!(!key.starts_with(&history_of(&event, &short)));
    }

    #[test]
    fn states_are_numbered_as_in_the_layout() {
        use dtvn_messages::Layout;
        for state in TicketState::ALL {
            assert_eq!(state.to_bytes(), [state_code(state)]);
            assert_eq!(state_of(state_code(state)), Some(state));
        }
    }

    #[test]
    fn the_end_of_a_prefix_is_right_behind_it() {
        assert_eq!(after_prefix(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(after_prefix(&[1, 0xff, 0xff]), Some(vec![2]));
        assert_eq!(after_prefix(&[0xff]), None);
    }
}
