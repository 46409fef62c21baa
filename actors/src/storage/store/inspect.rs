//! The values of the database as plain functions of bytes, so that their decoders can be tested with any bytes.

use dtvn_messages::{LastBundle, Layout as _, Outcome, Reader, Signed, Ticket, ViewChange, Writer};

use super::error::StoreError;
use super::records::{Applied, StoreIdentity, StoredBlock, decode, encode};
use super::seal::Seal;
use super::{blocks, outcomes};

/// What kind of value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    /// How far the store is.
    Applied,
    /// A block.
    Block,
    /// The last ordered bundle of a validator.
    LastBundle,
    /// Whose store it is.
    Identity,
    /// The seal beside the database.
    Seal,
    /// A ticket.
    Ticket,
    /// An outcome.
    Outcome,
    /// What a held key leads to.
    Key,
    /// A stable checkpoint.
    Checkpoint,
    /// A NEW-VIEW.
    NewView,
    /// A VIEW-CHANGE that a NEW-VIEW names.
    ViewChange,
}

impl Value {
    /// All kinds.
    pub const ALL: [Self; 11] = [
        Self::Applied,
        Self::Block,
        Self::LastBundle,
        Self::Identity,
        Self::Seal,
        Self::Ticket,
        Self::Outcome,
        Self::Key,
        Self::Checkpoint,
        Self::NewView,
        Self::ViewChange,
    ];

    /// Whether each value has one encoding only; the others are in bincode, which has several for a number.
    #[must_use]
    pub const fn is_canonical(self) -> bool {
        !matches!(self, Self::Applied | Self::Block | Self::LastBundle)
    }

    /// Reads a value, and gives what would be written for it.
    ///
    /// # Errors
    /// If it is damaged.
    pub fn read_and_write(self, value: &[u8]) -> Result<Vec<u8>, StoreError> {
        let undecodable = |error| StoreError::undecodable("a value", &error);
        match self {
            Self::Applied => Applied::from_value(value).map(|applied| applied.to_value()),
            Self::Block => {
                let stored: StoredBlock = decode("a block", value)?;
                StoredBlock::from_value(stored.height(), value).map(|stored| stored.to_value())
            }
            Self::LastBundle => decode::<LastBundle>("a last bundle", value).map(|last| encode(&last)),
            Self::Identity => StoreIdentity::from_bytes(value).map(|read| read.to_bytes()).map_err(undecodable),
            Self::Seal => Seal::parse(value).map(|seal| seal.to_file()).map_err(undecodable),
            Self::Ticket => Ticket::from_bytes(value).map(|read| read.to_bytes()).map_err(undecodable),
            Self::Outcome => Outcome::from_bytes(value).map(|read| read.to_bytes()).map_err(undecodable),
            Self::Key => {
                let (index, scope) = outcomes::read_key(value)?;
                let mut writer = Writer::default();
                writer.u64(index);
                if let Some(scope) = scope {
                    scope.write(&mut writer);
                }
                Ok(writer.into_bytes())
            }
            Self::Checkpoint => blocks::read_checkpoint(value).map(|read| read.to_bytes()),
            Self::NewView => {
                blocks::read_new_view(value).map(|(height, new_view)| blocks::new_view_value(height, &new_view))
            }
            Self::ViewChange => {
                let mut reader = Reader::new(value);
                let read: Signed<ViewChange> = Signed::read(&mut reader).map_err(undecodable)?;
                reader.finish().map_err(undecodable)?;
                Ok(read.to_bytes())
            }
        }
    }
}
