//! The place of an event in the history: `height.index`.

use std::fmt;
use std::str::FromStr;

use dtvn_messages::{Height, Outcome};

/// The place of an event: the height of its block, and its index in the transparency log. `0.0` is before everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) struct Position {
    pub(super) height: Height,
    pub(super) index: u64,
}

impl Position {
    /// Before everything.
    pub(super) const BEGIN: Self = Self { height: Height(0), index: 0 };

    /// The index of the first event behind it.
    pub(super) fn next_index(self) -> u64 {
        if self == Self::BEGIN { 0 } else { self.index.saturating_add(1) }
    }
}

impl From<&Outcome> for Position {
    fn from(outcome: &Outcome) -> Self {
        Self { height: outcome.height, index: outcome.index }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.height, self.index)
    }
}

/// A text that is no position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no place in the history: it looks like 17.42, as the id of an event does")]
pub(in crate::http) struct PositionError(String);

impl FromStr for Position {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        let refused = || PositionError(text.chars().take(64).collect());
        let number = |digits: &str| {
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse::<u64>().ok().filter(|_| plain).ok_or_else(refused)
        };
        let (height, index) = text.split_once('.').ok_or_else(refused)?;
        let position = Self { height: Height(number(height)?), index: number(index)? };
        if position.height == Height(0) && position != Self::BEGIN { Err(refused()) } else { Ok(position) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_as_it_is_shown() {
        for text in ["0.0", "1.0", "17.42", "18446744073709551615.18446744073709551615"] {
            assert_eq!(text.parse::<Position>().unwrap().to_string(), text);
        }
        assert_eq!("0.0".parse::<Position>().unwrap().next_index(), 0);
        assert_eq!("1.0".parse::<Position>().unwrap().next_index(), 1, "the leaf 0 was seen");
    }

    #[test]
    fn what_is_no_position_is_refused() {
        for text in ["", "17", ".", "1.", ".1", "1.-1", "+1.1", "0.1", "1.1.1", "1.18446744073709551616", "a.b"] {
            assert!(text.parse::<Position>().is_err(), "{text:?}");
        }
    }
}
