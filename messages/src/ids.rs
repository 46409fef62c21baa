//! The names and numbers of the protocol, each a type of its own, so that a view is never taken for a height.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::codec::{DecodeError, Layout, Reader, Writer};
use crate::limits;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $inner:ty, $method:ident) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
            bincode::Encode, bincode::Decode,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl $name {
            /// The number after this one; the largest stays.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }

            /// The number before this one; zero stays.
            #[must_use]
            pub const fn previous(self) -> Self {
                Self(self.0.saturating_sub(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(formatter)
            }
        }

        impl Layout for $name {
            fn write(&self, writer: &mut Writer) {
                writer.$method(self.0);
            }
            fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                Ok(Self(reader.$method()?))
            }
        }
    };
}

number!(
    /// A period of one validator set (consensus.md section 10). The first is 0.
    Epoch, u64, u64
);
number!(
    /// A leader's turn within an epoch (consensus.md section 3). The first is 0.
    View, u64, u64
);
number!(
    /// A block's position in the chain. Height 0 is the genesis.
    Height, u64, u64
);
number!(
    /// A validator's place in the validator set of an epoch.
    ValidatorIndex, u16, u16
);
number!(
    /// The version of the ledger's rules; it changes only with an epoch (architecture.md section 11).
    RulesVersion, u32, u32
);
number!(
    /// Agreed or local wall time: microseconds since the Unix epoch.
    Timestamp, u64, u64
);

impl Height {
    /// The height `distance` above this one.
    #[must_use]
    pub const fn plus(self, distance: u64) -> Self {
        Self(self.0.saturating_add(distance))
    }

    /// How far this height is above `other`; 0 if it is not.
    #[must_use]
    pub const fn above(self, other: Self) -> u64 {
        self.0.saturating_sub(other.0)
    }
}

impl ValidatorIndex {
    /// The index for use with a list.
    #[must_use]
    pub const fn position(self) -> usize {
        self.0 as usize
    }
}

impl Timestamp {
    /// This time and `micros` microseconds.
    #[must_use]
    pub const fn plus_micros(self, micros: u64) -> Self {
        Self(self.0.saturating_add(micros))
    }

    /// Whole seconds since the Unix epoch.
    #[must_use]
    pub const fn seconds(self) -> u64 {
        self.0 / 1_000_000
    }
}

fn article(what: &str) -> &'static str {
    if what.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
}

/// Why a text is not a valid name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    /// Too short or too long.
    #[error("{} {what} has {min} to {max} bytes, this one has {found}", article(what))]
    Length {
        /// What kind of name.
        what: &'static str,
        /// The least length in bytes.
        min: usize,
        /// The greatest length in bytes.
        max: usize,
        /// The length found.
        found: usize,
    },
    /// A character that is not allowed.
    #[error("{} {what} may not contain {character:?}: allowed are {allowed}", article(what))]
    Character {
        /// What kind of name.
        what: &'static str,
        /// The offending character.
        character: char,
        /// What is allowed, in words.
        allowed: &'static str,
    },
}

/// What a kind of name may look like.
struct NameRule {
    what: &'static str,
    min: usize,
    max: usize,
    allowed: &'static str,
    accepts: fn(usize, char) -> bool,
}

impl NameRule {
    fn check(&self, text: &str) -> Result<(), NameError> {
        if text.len() < self.min || text.len() > self.max {
            return Err(NameError::Length { what: self.what, min: self.min, max: self.max, found: text.len() });
        }
        match text.chars().enumerate().find(|(position, character)| !(self.accepts)(*position, *character)) {
            None => Ok(()),
            Some((_, character)) => Err(NameError::Character { what: self.what, character, allowed: self.allowed }),
        }
    }
}

const LABEL: &str = "a-z, 0-9 and, not first, '-'";
const PRINTABLE: &str = "printable characters other than '/' and '\\'";

fn is_label(position: usize, character: char) -> bool {
    matches!(character, 'a'..='z' | '0'..='9') || (character == '-' && position > 0)
}

fn is_printable(_: usize, character: char) -> bool {
    !character.is_control() && !is_invisible(character) && character != '/' && character != '\\'
}

/// Characters that draw nothing or turn the direction of text: two ids that look alike would differ.
fn is_invisible(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn is_ascii_printable(_: usize, character: char) -> bool {
    matches!(character, ' '..='~')
}

const CHAIN_ID: NameRule =
    NameRule { what: "chain id", min: 1, max: limits::CHAIN_ID_BYTES_MAX, allowed: LABEL, accepts: is_label };
const NODE_NAME: NameRule =
    NameRule { what: "node id", min: 1, max: limits::NODE_NAME_BYTES_MAX, allowed: LABEL, accepts: is_label };
const TICKET_ID: NameRule =
    NameRule { what: "ticket id", min: 1, max: limits::TICKET_ID_BYTES_MAX, allowed: PRINTABLE, accepts: is_printable };
const EVENT_ID: NameRule =
    NameRule { what: "event id", min: 1, max: limits::EVENT_ID_BYTES_MAX, allowed: PRINTABLE, accepts: is_printable };
const KEY: NameRule = NameRule {
    what: "idempotency key",
    min: limits::IDEMPOTENCY_KEY_BYTES_MIN,
    max: limits::IDEMPOTENCY_KEY_BYTES_MAX,
    allowed: "printable ASCII characters",
    accepts: is_ascii_printable,
};

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $rule:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and takes a name.
            ///
            /// # Errors
            /// If it is too short, too long, or has a character that is not allowed.
            pub fn new(text: &str) -> Result<Self, NameError> {
                $rule.check(text)?;
                Ok(Self(Arc::from(text)))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "{:?}", &self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }

        impl bincode::Encode for $name {
            fn encode<E: bincode::enc::Encoder>(&self, encoder: &mut E) -> Result<(), bincode::error::EncodeError> {
                self.as_str().encode(encoder)
            }
        }

        impl<C> bincode::Decode<C> for $name {
            fn decode<D: bincode::de::Decoder<Context = C>>(
                decoder: &mut D,
            ) -> Result<Self, bincode::error::DecodeError> {
                let text = String::decode(decoder)?;
                Self::new(&text).map_err(|error| bincode::error::DecodeError::OtherString(error.to_string()))
            }
        }

        impl<'de, C> bincode::BorrowDecode<'de, C> for $name {
            fn borrow_decode<D: bincode::de::BorrowDecoder<'de, Context = C>>(
                decoder: &mut D,
            ) -> Result<Self, bincode::error::DecodeError> {
                <Self as bincode::Decode<C>>::decode(decoder)
            }
        }

        impl Layout for $name {
            fn write(&self, writer: &mut Writer) {
                writer.text(&self.0);
            }
            fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                let text = reader.text($rule.what, $rule.max)?;
                Self::new(text).map_err(|_| DecodeError::Invalid(concat!("a ", stringify!($name), " is not valid")))
            }
        }
    };
}

name!(
    /// The name of a chain, in every signed layout. 1 to 64 bytes of `a-z`, `0-9`, `-`.
    ChainId, CHAIN_ID
);
name!(
    /// A validator's name. `[a-z0-9][a-z0-9-]{0,62}`.
    NodeName, NODE_NAME
);
name!(
    /// A ticket's name within its event: 1 to 128 bytes, printable, without slash or backslash.
    TicketId, TICKET_ID
);
name!(
    /// An event's name: 1 to 128 bytes, printable, without slash or backslash.
    EventId, EVENT_ID
);
name!(
    /// What makes an operation happen once: 16 to 128 printable ASCII characters.
    IdempotencyKey, KEY
);

impl EventId {
    /// The event of routes that name none.
    #[must_use]
    pub fn default_event() -> Self {
        Self(Arc::from("default"))
    }
}

/// The time at which an input arrives: the pure crates read no clock, their shell tells them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Now {
    /// A clock that never goes back: microseconds since some start. For timers and durations.
    pub monotonic_us: u64,
    /// Wall time. For block timestamps and deadlines in agreed time.
    pub wall: Timestamp,
}
