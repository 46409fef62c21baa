//! Operations: the changes that clients ask for (consensus.md section 2, api.md section 1).

use thiserror::Error;

use crate::clock::VectorClock;
use crate::codec::{DecodeError, Layout, Reader, Writer};
use crate::crypto::{Digest, sha256};
use crate::ids::{EventId, IdempotencyKey, TicketId, Timestamp};
use crate::limits;
use crate::membership::{SignedRecovery, ValidatorsChange};
use crate::ticket::{Metadata, read_metadata, read_text_option, write_metadata, write_text_option};

/// What is asked for. Layout: kind `u8` (in the order below, from 1), then the fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// 1: a new ticket.
    Issue {
        /// The ticket.
        ticket: TicketId,
        /// Opaque data.
        data: Option<Box<str>>,
        /// Free facts.
        metadata: Metadata,
        /// Not valid before.
        valid_from: Option<Timestamp>,
        /// Not valid from then on.
        valid_until: Option<Timestamp>,
    },
    /// 2: `ISSUED -> VALIDATED`.
    Validate {
        /// The ticket.
        ticket: TicketId,
        /// Replaces the ticket's data, if given.
        data: Option<Box<str>>,
    },
    /// 3: `VALIDATED -> CONSUMED`.
    Consume {
        /// The ticket.
        ticket: TicketId,
        /// Replaces the ticket's data, if given.
        data: Option<Box<str>>,
    },
    /// 4: `VALIDATED -> DISPUTED`.
    Dispute {
        /// The ticket.
        ticket: TicketId,
        /// Why, in words.
        reason: Option<Box<str>>,
    },
    /// 5: the 500 seed tickets, in one operation; those that exist are left alone.
    Seed,
    /// 6: another validator set, from the next epoch on.
    ChangeValidators(Box<ValidatorsChange>),
    /// 7: the next epoch, for a validator that lost its memory.
    Recover(Box<SignedRecovery>),
}

impl Action {
    /// The ticket that it is about, if it is about one.
    #[must_use]
    pub fn ticket(&self) -> Option<&TicketId> {
        match self {
            Self::Issue { ticket, .. }
            | Self::Validate { ticket, .. }
            | Self::Consume { ticket, .. }
            | Self::Dispute { ticket, .. } => Some(ticket),
            Self::Seed | Self::ChangeValidators(_) | Self::Recover(_) => None,
        }
    }

    /// The name in JSON, logs and metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Issue { .. } => "issue",
            Self::Validate { .. } => "validate",
            Self::Consume { .. } => "consume",
            Self::Dispute { .. } => "dispute",
            Self::Seed => "seed",
            Self::ChangeValidators(_) => "change_validators",
            Self::Recover(_) => "recover",
        }
    }

    /// The kind as in layouts.
    #[must_use]
    pub const fn code(&self) -> u8 {
        match self {
            Self::Issue { .. } => 1,
            Self::Validate { .. } => 2,
            Self::Consume { .. } => 3,
            Self::Dispute { .. } => 4,
            Self::Seed => 5,
            Self::ChangeValidators(_) => 6,
            Self::Recover(_) => 7,
        }
    }

    /// The name of a kind as in layouts.
    #[must_use]
    pub const fn name_of(code: u8) -> Option<&'static str> {
        match code {
            1 => Some("issue"),
            2 => Some("validate"),
            3 => Some("consume"),
            4 => Some("dispute"),
            5 => Some("seed"),
            6 => Some("change_validators"),
            7 => Some("recover"),
            _ => None,
        }
    }
}

/// One change that a client asks for. Layout: idempotency key (text), `valid_until` `u64` (microseconds of agreed
/// time), event (text), gate (text option), device (text option), scanned at (`u64` option), seen (vector clock
/// option), action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// What makes it happen once.
    pub key: IdempotencyKey,
    /// Refused by execution after this agreed time.
    pub valid_until: Timestamp,
    /// The event.
    pub event: EventId,
    /// The gate, as the client names it.
    pub gate: Option<Box<str>>,
    /// The device, as the client names it.
    pub device: Option<Box<str>>,
    /// When the client scanned the ticket, by its own clock.
    pub scanned_at: Option<Timestamp>,
    /// The clock of the ticket that the client had seen.
    pub seen: Option<VectorClock>,
    /// What is asked for.
    pub action: Action,
}

/// Why an operation cannot be taken: it breaks a limit of [`limits`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{what} has {found} bytes or entries, at most {limit} are allowed")]
pub struct OperationError {
    /// What is too large.
    pub what: &'static str,
    /// Its size.
    pub found: usize,
    /// The limit.
    pub limit: usize,
}

impl Operation {
    /// An operation in the event `default`, of which no more is told. Until when it is valid says the intake.
    #[must_use]
    pub fn new(key: IdempotencyKey, action: Action) -> Self {
        Self {
            key,
            valid_until: Timestamp(0),
            event: EventId::default_event(),
            gate: None,
            device: None,
            scanned_at: None,
            seen: None,
            action,
        }
    }

    /// Checks the sizes that the layout will be checked for when it is read, so that what is written can be read.
    ///
    /// # Errors
    /// With the first part that is too large.
    pub fn check(&self) -> Result<(), OperationError> {
        let at_most = |what, found: usize, limit| {
            if found > limit { Err(OperationError { what, found, limit }) } else { Ok(()) }
        };
        let length = |text: &Option<Box<str>>| text.as_ref().map_or(0, |text| text.len());
        at_most("the gate's name", length(&self.gate), limits::LABEL_BYTES_MAX)?;
        at_most("the device's name", length(&self.device), limits::LABEL_BYTES_MAX)?;
        let clock = self.seen.as_ref().map_or(0, |clock| clock.iter().count());
        at_most("the vector clock", clock, limits::VALIDATORS_MAX)?;
        match &self.action {
            Action::Issue { data, metadata, .. } => {
                at_most("the data", length(data), limits::TICKET_DATA_BYTES_MAX)?;
                at_most("the metadata", metadata.len(), limits::METADATA_ENTRIES_MAX)?;
                for (name, value) in metadata {
                    at_most("a metadata name", name.len(), limits::LABEL_BYTES_MAX)?;
                    at_most("a metadata value", value.len(), limits::METADATA_VALUE_BYTES_MAX)?;
                }
                Ok(())
            }
            Action::Validate { data, .. } | Action::Consume { data, .. } => {
                at_most("the data", length(data), limits::TICKET_DATA_BYTES_MAX)
            }
            Action::Dispute { reason, .. } => at_most("the reason", length(reason), limits::REASON_BYTES_MAX),
            Action::Seed | Action::ChangeValidators(_) | Action::Recover(_) => Ok(()),
        }
    }

    /// What the client asked for, without what its node added (`valid_until`): the same key with another payload digest
    /// is refused. SHA-256 of the text `dtvn/payload/1` and the layout without key and `valid_until`.
    #[must_use]
    pub fn payload_digest(&self) -> Digest {
        let mut writer = Writer::with_capacity(256);
        self.write_payload(&mut writer);
        sha256(&[b"dtvn/payload/1", &writer.into_bytes()])
    }

    fn write_payload(&self, writer: &mut Writer) {
        self.event.write(writer);
        write_text_option(writer, self.gate.as_deref());
        write_text_option(writer, self.device.as_deref());
        writer.option(self.scanned_at.as_ref());
        writer.option(self.seen.as_ref());
        self.action.write(writer);
    }
}

impl Layout for Operation {
    fn write(&self, writer: &mut Writer) {
        self.key.write(writer);
        self.valid_until.write(writer);
        self.write_payload(writer);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            key: Layout::read(reader)?,
            valid_until: Layout::read(reader)?,
            event: Layout::read(reader)?,
            gate: read_text_option(reader, "a gate's name", limits::LABEL_BYTES_MAX)?,
            device: read_text_option(reader, "a device's name", limits::LABEL_BYTES_MAX)?,
            scanned_at: reader.option()?,
            seen: reader.option()?,
            action: Layout::read(reader)?,
        })
    }
}

impl Layout for Action {
    fn write(&self, writer: &mut Writer) {
        writer.u8(self.code());
        match self {
            Self::Issue { ticket, data, metadata, valid_from, valid_until } => {
                ticket.write(writer);
                write_text_option(writer, data.as_deref());
                write_metadata(writer, metadata);
                writer.option(valid_from.as_ref());
                writer.option(valid_until.as_ref());
            }
            Self::Validate { ticket, data } | Self::Consume { ticket, data } => {
                ticket.write(writer);
                write_text_option(writer, data.as_deref());
            }
            Self::Dispute { ticket, reason } => {
                ticket.write(writer);
                write_text_option(writer, reason.as_deref());
            }
            Self::Seed => {}
            Self::ChangeValidators(change) => change.write(writer),
            Self::Recover(recovery) => recovery.write(writer),
        }
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let data = |reader: &mut Reader<'_>| read_text_option(reader, "a ticket's data", limits::TICKET_DATA_BYTES_MAX);
        match reader.u8()? {
            1 => Ok(Self::Issue {
                ticket: Layout::read(reader)?,
                data: data(reader)?,
                metadata: read_metadata(reader)?,
                valid_from: reader.option()?,
                valid_until: reader.option()?,
            }),
            2 => Ok(Self::Validate { ticket: Layout::read(reader)?, data: data(reader)? }),
            3 => Ok(Self::Consume { ticket: Layout::read(reader)?, data: data(reader)? }),
            4 => Ok(Self::Dispute {
                ticket: Layout::read(reader)?,
                reason: read_text_option(reader, "a dispute's reason", limits::REASON_BYTES_MAX)?,
            }),
            5 => Ok(Self::Seed),
            6 => Ok(Self::ChangeValidators(Box::new(Layout::read(reader)?))),
            7 => Ok(Self::Recover(Box::new(Layout::read(reader)?))),
            _ => Err(DecodeError::Invalid("an action's kind is not 1 to 7")),
        }
    }
}
