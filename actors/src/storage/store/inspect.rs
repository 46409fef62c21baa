//! The values of the database, and the cursors of its lists, as plain functions of bytes: so that their decoders can be
//! tested with any bytes.

use dtvn_messages::{Digest, LastBundle, Layout as _, Outcome, Reader, Signed, Ticket, ViewChange, Writer};

use super::cursor::List;
use super::database::{Order, Range};
use super::error::StoreError;
use super::records::{Applied, StoreIdentity, StoredBlock, decode, encode};
use super::schema::Column;
use super::seal::Seal;
use super::{blocks, build, epochs, evidence, outcomes};

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
    /// Evidence of a lie.
    Evidence,
    /// The receipt certificate of a block.
    Receipt,
    /// The validators, and what was agreed about them.
    Membership,
    /// How an epoch ended.
    EpochEnd,
    /// Where a store begins that was made from a snapshot.
    Installed,
}

impl Value {
    /// All kinds.
    pub const ALL: [Self; 16] = [
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
        Self::Evidence,
        Self::Receipt,
        Self::Membership,
        Self::EpochEnd,
        Self::Installed,
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
            Self::Evidence => evidence::read_evidence(value).map(|read| read.to_bytes()),
            Self::Receipt => blocks::read_receipt(value).map(|read| read.to_bytes()),
            Self::Membership => epochs::read_membership(value).map(|read| read.to_bytes()),
            Self::EpochEnd => epochs::read_end(value).map(|read| read.to_bytes()),
            Self::Installed => build::read_installed(value).map(build::installed_value),
        }
    }
}

/// A list of this name. Where its items are makes no difference to its cursors.
fn list(name: &str) -> List {
    let mut bound_to = Writer::default();
    bound_to.text(name);
    List { column: Column::Tickets, range: Range::all(), order: Order::Ascending, name: bound_to }
}

/// The cursor that stands at a key of a list, in the network of a genesis.
#[must_use]
pub fn cursor(name: &str, genesis: &Digest, key: &[u8]) -> String {
    list(name).cursor(genesis, key)
}

/// The key at which a client's cursor stands.
///
/// # Errors
/// [`StoreError::BadCursor`] if it was not made for this list in this network.
pub fn read_cursor(name: &str, genesis: &Digest, cursor: &str) -> Result<Vec<u8>, StoreError> {
    list(name).key(genesis, cursor)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read of the values of a column; whoever adds one says it here. Values that are nothing, or numbers and hashes
    /// of a fixed size, need no decoder, and the bundles in `bodies` are read as peers' are.
    const fn values(column: Column) -> &'static [Value] {
        match column {
            Column::Meta => &[
                Value::Applied,
                Value::LastBundle,
                Value::Identity,
                Value::Membership,
                Value::EpochEnd,
                Value::Installed,
            ],
            Column::Tickets => &[Value::Ticket],
            Column::Outcomes => &[Value::Outcome],
            Column::Keys => &[Value::Key],
            Column::Blocks => &[Value::Block],
            Column::Checkpoints => &[Value::Checkpoint],
            Column::NewViews => &[Value::NewView, Value::ViewChange],
            Column::Receipts => &[Value::Receipt],
            Column::Evidence => &[Value::Evidence],
            Column::Flagged | Column::History | Column::Digests | Column::Bodies | Column::Tiles => &[],
        }
    }

    #[test]
    fn every_kind_of_value_is_of_one_column_or_is_the_seal() {
        for value in Value::ALL {
            let columns = Column::ALL.into_iter().filter(|column| values(*column).contains(&value)).count();
            assert_eq!(columns, usize::from(value != Value::Seal), "{value:?}");
        }
    }
}
