//! Pages of a list, and the cursor that leads from one to the next.
//!
//! A cursor is opaque to clients: base64url of a version byte, a check of 8 bytes, and the last key of the page. The
//! check is over the genesis, the list with its filter, and the key: so a cursor serves on every node of its network, and
//! anything else, another list's cursor included, is refused.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dtvn_messages::{Digest, Writer, limits, sha256};

use super::database::{ENOUGH, GO_ON, Order, Range, View};
use super::error::StoreError;
use super::schema::{self, Column};

const VERSION: u8 = 1;
const CHECK_BYTES: usize = 8;

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The items, in the order of the list: at most as many as were asked for.
    pub items: Vec<T>,
    /// The cursor for what follows; none if that was all. There may be more even if the page is not full.
    pub next: Option<String>,
}

/// A list: where its items are, and what its cursors are bound to.
pub(super) struct List {
    pub(super) column: Column,
    pub(super) range: Range,
    pub(super) order: Order,
    /// What kind of list, and its filter.
    pub(super) name: Writer,
}

impl List {
    /// The cursor that stands at a key.
    pub(super) fn cursor(&self, genesis: &Digest, key: &[u8]) -> String {
        let mut token = vec![VERSION];
        token.extend_from_slice(&self.check(genesis, key));
        token.extend_from_slice(key);
        URL_SAFE_NO_PAD.encode(token)
    }

    /// The key at which a cursor stands.
    pub(super) fn key(&self, genesis: &Digest, cursor: &str) -> Result<Vec<u8>, StoreError> {
        if cursor.len() > limits::STORE_CURSOR_BYTES_MAX {
            return Err(StoreError::BadCursor);
        }
        let token = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| StoreError::BadCursor)?;
        let (version, rest) = token.split_first().ok_or(StoreError::BadCursor)?;
        let (check, key) = rest.split_at_checked(CHECK_BYTES).ok_or(StoreError::BadCursor)?;
        if *version != VERSION || check != self.check(genesis, key) {
            return Err(StoreError::BadCursor);
        }
        Ok(key.to_vec())
    }

    fn check(&self, genesis: &Digest, key: &[u8]) -> [u8; CHECK_BYTES] {
        let mut writer = Writer::default();
        writer.bytes(self.name.as_bytes());
        writer.bytes(key);
        let hash = sha256(&[b"dtvn/cursor/1", &genesis.0, writer.as_bytes()]);
        let mut check = [0; CHECK_BYTES];
        check.copy_from_slice(&hash.0[..CHECK_BYTES]);
        check
    }
}

impl View<'_> {
    /// The items of a list behind a cursor. `item` makes one of a key and value, and says how large it is in bytes; none
    /// if it is not of the list.
    pub(super) fn page<T>(
        &self,
        mut list: List,
        after: Option<&str>,
        limit: usize,
        mut item: impl FnMut(&[u8], &[u8]) -> Result<Option<(T, usize)>, StoreError>,
    ) -> Result<Page<T>, StoreError> {
        let genesis = &self.database.identity().genesis;
        if let Some(cursor) = after {
            let key = list.key(genesis, cursor)?;
            match list.order {
                Order::Descending => list.range.to = Some(key),
                Order::Ascending | Order::Bulk => list.range.from = schema::after(&key),
            }
        }
        let limit = limit.clamp(1, limits::STORE_PAGE_ITEMS_MAX);
        let (mut items, mut bytes, mut visits) = (Vec::new(), 0, 0);
        let (mut last, mut more) = (Vec::new(), false);
        self.scan(list.column, list.range.clone(), list.order, |key, value| {
            if visits == limits::STORE_PAGE_VISITS_MAX {
                more = true;
                return ENOUGH;
            }
            visits += 1;
            if let Some((item, size)) = item(key, value)? {
                if items.len() == limit || bytes >= limits::STORE_PAGE_BYTES_MAX {
                    more = true;
                    return ENOUGH;
                }
                items.push(item);
                bytes += size;
            }
            last.clear();
            last.extend_from_slice(key);
            GO_ON
        })?;
        Ok(Page { items, next: more.then(|| list.cursor(genesis, &last)) })
    }
}
