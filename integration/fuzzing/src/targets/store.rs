//! The values of the database.

use dtvn_actors::storage::store::inspect::Value;

use super::choice;
use crate::Judged;

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
