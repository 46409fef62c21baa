//! A ticket as the ledger holds it (api.md section 1).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::VectorClock;
use crate::codec::{DecodeError, Layout, Reader, Writer};
use crate::ids::{EventId, Height, NodeName, TicketId, Timestamp};
use crate::limits;

/// Where a ticket is in its life. `ISSUED -> VALIDATED -> CONSUMED`, `VALIDATED -> DISPUTED`, and what a decision on a
/// dispute or a revocation leads to.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, bincode::Encode, bincode::Decode,
)]
#[serde(rename_all = "UPPERCASE")]
pub enum TicketState {
    /// Sold, not yet seen at a gate.
    Issued,
    /// Validated at a gate.
    Validated,
    /// Used.
    Consumed,
    /// Flagged for review.
    Disputed,
    /// Withdrawn for good.
    Revoked,
}

impl TicketState {
    /// All states.
    pub const ALL: [Self; 5] = [Self::Issued, Self::Validated, Self::Consumed, Self::Disputed, Self::Revoked];

    /// The name in JSON and in the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Issued => "ISSUED",
            Self::Validated => "VALIDATED",
            Self::Consumed => "CONSUMED",
            Self::Disputed => "DISPUTED",
            Self::Revoked => "REVOKED",
        }
    }
}

impl fmt::Display for TicketState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl Layout for TicketState {
    fn write(&self, writer: &mut Writer) {
        writer.u8(match self {
            Self::Issued => 1,
            Self::Validated => 2,
            Self::Consumed => 3,
            Self::Disputed => 4,
            Self::Revoked => 5,
        });
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.u8()? {
            1 => Ok(Self::Issued),
            2 => Ok(Self::Validated),
            3 => Ok(Self::Consumed),
            4 => Ok(Self::Disputed),
            5 => Ok(Self::Revoked),
            _ => Err(DecodeError::Invalid("a ticket state is not 1 to 5")),
        }
    }
}

/// Who did something to a ticket, where, when, and at which height of the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, bincode::Encode, bincode::Decode)]
pub struct Scan {
    /// The validator that took the operation in.
    pub validator: NodeName,
    /// The gate, as its client named it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate: Option<Box<str>>,
    /// The device, as its client named it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<Box<str>>,
    /// Agreed time.
    pub at: Timestamp,
    /// The height of the block.
    pub height: Height,
}

impl Layout for Scan {
    fn write(&self, writer: &mut Writer) {
        self.validator.write(writer);
        write_text_option(writer, self.gate.as_deref());
        write_text_option(writer, self.device.as_deref());
        self.at.write(writer);
        self.height.write(writer);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            validator: Layout::read(reader)?,
            gate: read_text_option(reader, "a gate's name", limits::LABEL_BYTES_MAX)?,
            device: read_text_option(reader, "a device's name", limits::LABEL_BYTES_MAX)?,
            at: Layout::read(reader)?,
            height: Layout::read(reader)?,
        })
    }
}

/// Free facts about a ticket, by name.
pub type Metadata = BTreeMap<Box<str>, Box<str>>;

/// A ticket. Layout (a leaf of the state): the fields in their order, options as in [`crate::codec`], metadata as a
/// count and (text, text) in ascending order of the name. Large parts that do not change are shared, so that a new
/// version of a ticket is cheap beside the old one.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Ticket {
    /// The event that it belongs to.
    pub event: EventId,
    /// Its name in the event.
    pub id: TicketId,
    /// Where it is in its life.
    pub state: TicketState,
    /// Opaque data of the organiser.
    pub data: Option<Box<str>>,
    /// Free facts: seat, price and so on.
    pub metadata: Arc<Metadata>,
    /// Not valid before this time.
    pub valid_from: Option<Timestamp>,
    /// Not valid from this time on.
    pub valid_until: Option<Timestamp>,
    /// How many operations were accepted on it.
    pub version: u64,
    /// How many of them each validator took in.
    pub vector_clock: VectorClock,
    /// The validator that took in the last accepted operation.
    pub validator: NodeName,
    /// Agreed time of the last accepted operation.
    pub updated_at: Timestamp,
    /// When, where and by whom it was validated.
    pub validated: Option<Arc<Scan>>,
    /// When, where and by whom it was consumed.
    pub consumed: Option<Arc<Scan>>,
    /// When, where and by whom it was disputed.
    pub disputed: Option<Arc<Scan>>,
    /// Why it was disputed, in the words of who did.
    pub dispute_reason: Option<Box<str>>,
}

impl Ticket {
    /// The ticket as it was after an earlier operation that took effect on it: `validator` took that in, it was decided at
    /// the agreed time `at`, and brought the ticket to this state and version. What came later is taken back: each of the
    /// states is reached once, and leaves its scan. Data leave none: what they were before a later operation is not known,
    /// and none are told.
    #[must_use]
    pub fn as_after(&self, (state, version): (TicketState, u64), validator: &NodeName, at: Timestamp) -> Self {
        let mut earlier = Self { state, version, validator: validator.clone(), updated_at: at, ..self.clone() };
        let scans = [
            (TicketState::Validated, &mut earlier.validated),
            (TicketState::Consumed, &mut earlier.consumed),
            (TicketState::Disputed, &mut earlier.disputed),
        ];
        for (reached, scan) in scans {
            if reached > state
                && let Some(later) = scan.take()
            {
                earlier.vector_clock.take_back(&later.validator);
            }
        }
        earlier.dispute_reason.take_if(|_| state != TicketState::Disputed);
        earlier.data.take_if(|_| version != self.version);
        earlier
    }
}

impl Layout for Ticket {
    fn write(&self, writer: &mut Writer) {
        self.event.write(writer);
        self.id.write(writer);
        self.state.write(writer);
        write_text_option(writer, self.data.as_deref());
        write_metadata(writer, &self.metadata);
        writer.option(self.valid_from.as_ref());
        writer.option(self.valid_until.as_ref());
        writer.u64(self.version);
        self.vector_clock.write(writer);
        self.validator.write(writer);
        self.updated_at.write(writer);
        writer.option(self.validated.as_ref());
        writer.option(self.consumed.as_ref());
        writer.option(self.disputed.as_ref());
        write_text_option(writer, self.dispute_reason.as_deref());
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            event: Layout::read(reader)?,
            id: Layout::read(reader)?,
            state: Layout::read(reader)?,
            data: read_text_option(reader, "a ticket's data", limits::TICKET_DATA_BYTES_MAX)?,
            metadata: Arc::new(read_metadata(reader)?),
            valid_from: reader.option()?,
            valid_until: reader.option()?,
            version: reader.u64()?,
            vector_clock: Layout::read(reader)?,
            validator: Layout::read(reader)?,
            updated_at: Layout::read(reader)?,
            validated: reader.option()?,
            consumed: reader.option()?,
            disputed: reader.option()?,
            dispute_reason: read_text_option(reader, "a dispute's reason", limits::REASON_BYTES_MAX)?,
        })
    }
}

/// Appends an optional text: one byte, 0 or 1, and the text.
pub(crate) fn write_text_option(writer: &mut Writer, text: Option<&str>) {
    match text {
        None => writer.u8(0),
        Some(text) => {
            writer.u8(1);
            writer.text(text);
        }
    }
}

/// Reads an optional text of at most `limit` bytes.
pub(crate) fn read_text_option(
    reader: &mut Reader<'_>,
    what: &'static str,
    limit: usize,
) -> Result<Option<Box<str>>, DecodeError> {
    match reader.u8()? {
        0 => Ok(None),
        1 => Ok(Some(Box::from(reader.text(what, limit)?))),
        _ => Err(DecodeError::Invalid("an option's marker is neither 0 nor 1")),
    }
}

/// Appends metadata: a count and (text, text) in ascending order of the name.
pub(crate) fn write_metadata(writer: &mut Writer, metadata: &Metadata) {
    writer.count(metadata.len());
    for (name, value) in metadata {
        writer.text(name);
        writer.text(value);
    }
}

/// Reads metadata; names must ascend.
pub(crate) fn read_metadata(reader: &mut Reader<'_>) -> Result<Metadata, DecodeError> {
    let count = reader.count("the number of metadata entries", limits::METADATA_ENTRIES_MAX, 8)?;
    let mut metadata = Metadata::new();
    for _ in 0..count {
        let name = reader.text("a metadata name", limits::LABEL_BYTES_MAX)?;
        let value = reader.text("a metadata value", limits::METADATA_VALUE_BYTES_MAX)?;
        if metadata.last_key_value().is_some_and(|(last, _)| &**last >= name) {
            return Err(DecodeError::Invalid("metadata names are not in ascending order"));
        }
        metadata.insert(Box::from(name), Box::from(value));
    }
    Ok(metadata)
}
