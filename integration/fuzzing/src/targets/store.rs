//! The values of the database, and the cursors of its lists.

use dtvn_actors::storage::store::inspect::{self, Value};
use dtvn_messages::{Digest, limits};

use super::choice;
use crate::Judged;

/// How many kinds of values there are.
pub const KINDS: usize = Value::ALL.len();
/// A cursor, or a key that one is to stand at.
pub const CURSORS: usize = 2;
/// The list that cursors are of, and the genesis of their network.
pub const LIST: (&str, Digest) = ("tickets", Digest([7; 32]));

/// A value of the kind that the first byte names: read, written, and, where a value has one encoding only, the same.
pub(super) fn record(input: &[u8]) -> Judged {
    let Some((kind, value)) = choice(input, Value::ALL.len()) else { return Judged::Refused };
    let kind = Value::ALL[kind];
    let Ok(again) = kind.read_and_write(value) else { return Judged::Refused };
    if kind.is_canonical() {
        assert_eq!(again, value, "{kind:?}");
    } else {
        assert!(again.len() <= value.len(), "{kind:?}: what is written is the shortest form");
        assert!(kind.read_and_write(&again).is_ok_and(|same| same == again), "{kind:?}");
    }
    Judged::Accepted
}

/// A cursor as a client sends it, or a key that one is to stand at, as the first byte says. It is of its list and network
/// only, and one key has one cursor.
pub(super) fn cursor(input: &[u8]) -> Judged {
    let Some((which, bytes)) = choice(input, CURSORS) else { return Judged::Refused };
    let (name, genesis) = LIST;
    let key = match which {
        0 => std::str::from_utf8(bytes).ok().and_then(|text| inspect::read_cursor(name, &genesis, text).ok()),
        _ => Some(bytes.to_vec()),
    };
    let Some(key) = key else { return Judged::Refused };
    let text = inspect::cursor(name, &genesis, &key);
    let read = inspect::read_cursor(name, &genesis, &text).ok();
    if text.len() > limits::STORE_CURSOR_BYTES_MAX {
        assert_eq!(read, None, "longer than any that is made");
        return Judged::Refused;
    }
    assert_eq!(read, Some(key));
    assert!(which != 0 || text.as_bytes() == bytes, "only the canonical form is accepted");
    assert!(inspect::read_cursor("evidence", &genesis, &text).is_err(), "of another list");
    assert!(inspect::read_cursor(name, &Digest([8; 32]), &text).is_err(), "of another network");
    Judged::Accepted
}
