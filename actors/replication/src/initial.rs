//! The state that a chain begins with if it continues another one ([`Continuation`]): taken from a store of the former
//! chain, named by the new genesis, and kept in a file beside it.
//!
//! # The file
//!
//! The text `dtvn/initial-state/1` and a line feed. Then records, each behind its length in bytes (`u32`, big-endian): the
//! edge of the transparency log (a list of levels, each a list of hashes: [`LogEdge`]), then the entries of the state in
//! the order of their paths, in lists like those of a snapshot's parts. A record of length 0 ends it. Two nodes that were
//! at one height write the same bytes.
//!
//! [`Continuation`]: dtvn_messages::genesis::Continuation

use std::io::{self, Read, Write};
use std::sync::Arc;

use dtvn_ledger::state::SnapshotError;
use dtvn_ledger::{LedgerImage, LoadError, StateEntry, StateMap};
use dtvn_messages::genesis::{Continuation, GenesisError, GenesisFile};
use dtvn_messages::merkle::LogEdge;
use dtvn_messages::snapshot::{decode_entries, encode_entries};
use dtvn_messages::state::RawEntry;
use dtvn_messages::{DecodeError, Digest, Genesis, Height, Reader, Timestamp, Writer, limits};

use crate::execution::Stored;

const MAGIC: &[u8] = b"dtvn/initial-state/1\n";
/// Levels of the edge, and hashes of each, at most: see [`LogEdge`].
const EDGE_LEVELS_MAX: usize = 8;
const EDGE_LEVEL_HASHES_MAX: usize = 255;

/// The state with which a chain goes on where another one ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitialState {
    image: LedgerImage,
    edge: LogEdge,
}

/// Why a chain cannot be continued as it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ContinueError {
    /// The former chain has no block.
    #[error("the chain {0} has no block in this database: there is nothing to continue")]
    Nothing(dtvn_messages::ChainId),
    /// The state is not that of the block, or of the checkpoint, that a quorum certified at its height.
    #[error(
        "the state in this database is not the one that the network agreed on at height {height}: its {what} is {found}, \
         certified is {expected}. This node has diverged: take another one"
    )]
    Diverged {
        /// The height.
        height: Height,
        /// What differs.
        what: &'static str,
        /// What the database leads to.
        found: Digest,
        /// What is certified.
        expected: Digest,
    },
    /// The new chain would begin before its state.
    #[error("the new chain begins at {time} microseconds, but its state is of {state}: agreed time only rises")]
    Before {
        /// The time of the new genesis.
        time: Timestamp,
        /// The time of the state.
        state: Timestamp,
    },
    /// The new genesis is refused.
    #[error(transparent)]
    Genesis(#[from] GenesisError),
    /// The state does not fit the new genesis.
    #[error("the state cannot be loaded under the new genesis: {0}")]
    Load(#[from] LoadError),
}

/// Why a file is not the state that a genesis names.
#[derive(Debug, thiserror::Error)]
pub enum InitialStateError {
    /// The chain continues another one, and its first state is not at hand.
    #[error(
        "this chain continues {0}: its first start needs the state that it begins with \
             (node.initial_state)"
    )]
    Missing(dtvn_messages::ChainId),
    /// The genesis continues no chain.
    #[error("this genesis continues no other chain: it begins with nothing")]
    Unasked,
    /// It is no such file.
    #[error("it is no file of an initial state: it does not begin with dtvn/initial-state/1")]
    Magic,
    /// The disk refuses, or the file ends too early.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// A record is longer than any can be.
    #[error("it is damaged: a record of {0} bytes")]
    TooLong(u64),
    /// Bytes follow its end.
    #[error("it is damaged: its end is followed by further bytes")]
    Trailing,
    /// A record cannot be read.
    #[error("it is damaged: {0}")]
    Decode(#[from] DecodeError),
    /// Its entries are no state of this chain.
    #[error("it does not fit the genesis: {0}")]
    State(#[from] SnapshotError),
    /// It is another state.
    #[error("it holds the state {found}, but the genesis names {expected}")]
    OtherState {
        /// The root of the state in the file.
        found: Digest,
        /// The root in the genesis.
        expected: Digest,
    },
    /// The log is another than the state says, or than the genesis says.
    #[error("it holds another transparency log than the genesis names")]
    OtherLog,
}

/// Continues a chain: the genesis of the new one, and the state that it begins with, from what a store of the former chain
/// holds. `file` says the rest: name, time, validators, parameters; its events become those of the state.
///
/// The third of what it gives is the root of the state under the former genesis, which two nodes at one height have alike.
///
/// # Errors
/// If there is nothing to continue, the state is not what was certified at its height, or the new genesis is refused.
pub fn continue_chain(
    former: &Genesis,
    stored: Stored,
    mut file: GenesisFile,
) -> Result<(Genesis, InitialState, Digest), ContinueError> {
    let Stored { image, block, stable, edge, .. } = stored;
    let last = block.ok_or_else(|| ContinueError::Nothing(former.chain_id().clone()))?;
    let (height, former_root) = (image.height, image.state_root(former));
    let certified = stable.filter(|stable| stable.height() == height).map(|stable| stable.checkpoint.state_root);
    for (what, found, expected) in [
        ("transparency log", image.log.root(), last.block.header.log_root),
        ("state", former_root, certified.unwrap_or(former_root)),
    ] {
        if found != expected {
            return Err(ContinueError::Diverged { height, what, found, expected });
        }
    }
    if file.time <= image.timestamp {
        return Err(ContinueError::Before { time: file.time, state: image.timestamp });
    }
    file.events.clone_from(&former.file().events);
    let mut continues = Continuation {
        chain_id: former.chain_id().clone(),
        genesis_hash: former.hash(),
        height: image.height,
        block: last.digest,
        state_root: Digest::ZERO,
        log_size: image.log.size(),
        log_root: image.log.root(),
    };
    // Everything that the state depends on but its root, which it does not depend on.
    let draft = Genesis::new(GenesisFile { continues: Some(continues.clone()), ..file.clone() })?;
    let image = image.under(&draft);
    continues.state_root = image.state_root(&draft);
    let genesis = Genesis::new(GenesisFile { continues: Some(continues), ..file })?;
    dtvn_ledger::Ledger::load(&genesis, image.clone())?;
    Ok((genesis, InitialState { image, edge }, former_root))
}

impl InitialState {
    /// The height of its last block.
    #[must_use]
    pub const fn height(&self) -> Height {
        self.image.height
    }

    /// The ledger's state.
    #[must_use]
    pub const fn image(&self) -> &LedgerImage {
        &self.image
    }

    /// Writes the file.
    ///
    /// # Errors
    /// If `sink` refuses.
    pub fn write(&self, genesis: &Genesis, sink: &mut impl Write) -> io::Result<()> {
        sink.write_all(MAGIC)?;
        let mut edge = Writer::default();
        edge.count(self.edge.levels().len());
        self.edge.levels().iter().for_each(|level| edge.list(level));
        record(sink, edge.as_bytes())?;
        let (mut part, mut bytes): (Vec<RawEntry>, u64) = (Vec::new(), 0);
        for entry in self.image.state_map(genesis).entries() {
            let raw = entry.to_raw();
            let length = (raw.name.len() + raw.value.len() + 9) as u64;
            if bytes + length > limits::SNAPSHOT_PART_BYTES && !part.is_empty() {
                record(sink, &encode_entries(&std::mem::take(&mut part)))?;
                bytes = 0;
            }
            bytes += length;
            part.push(raw);
        }
        record(sink, &encode_entries(&part))?;
        record(sink, &[])
    }

    /// Reads the file, and checks it against the genesis that names it.
    ///
    /// # Errors
    /// If it is not that state, down to the last byte.
    pub fn read(genesis: &Genesis, source: &mut impl Read) -> Result<Self, InitialStateError> {
        let continues = genesis.file().continues.as_ref().ok_or(InitialStateError::Unasked)?;
        let mut magic = [0; MAGIC.len()];
        match source.read_exact(&mut magic) {
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error.into()),
            Ok(()) if magic == MAGIC => {}
            _ => return Err(InitialStateError::Magic),
        }
        let first = next_record(source)?.unwrap_or_default();
        let mut reader = Reader::new(&first);
        let mut levels = Vec::new();
        for _ in 0..reader.count("the levels of the log's edge", EDGE_LEVELS_MAX, 4)? {
            levels.push(reader.list("the hashes of a level of the log's edge", EDGE_LEVEL_HASHES_MAX, 32)?);
        }
        reader.finish()?;
        let (mut entries, mut highest) = (Vec::new(), None);
        while let Some(bytes) = next_record(source)? {
            for raw in decode_entries(&bytes)? {
                let path = Some(raw.path());
                if path <= highest {
                    return Err(DecodeError::Invalid("its entries are not in ascending order of their paths").into());
                }
                highest = path;
                entries.push(StateEntry::from_raw(&raw)?);
            }
        }
        if source.read(&mut [0])? != 0 {
            return Err(InitialStateError::Trailing);
        }
        let root = StateMap::of(entries.iter().cloned()).root();
        let image = LedgerImage::from_entries(genesis, continues.height, genesis.file().time, entries)?;
        // What is in the file, and what comes of it with the events and validators of this genesis.
        for found in [root, image.state_root(genesis)] {
            if found != continues.state_root {
                return Err(InitialStateError::OtherState { found, expected: continues.state_root });
            }
        }
        let edge = LogEdge::from_parts(continues.log_size, levels).ok_or(InitialStateError::OtherLog)?;
        if edge.frontier() != image.log || (image.log.size(), image.log.root()) != genesis.base_log() {
            return Err(InitialStateError::OtherLog);
        }
        Ok(Self { image, edge })
    }

    /// What a store holds that begins with it.
    #[must_use]
    pub fn stored(&self) -> Stored {
        Stored { image: self.image.clone(), block: None, stable: None, ends: Vec::new(), edge: self.edge.clone() }
    }
}

/// What a store of a new node holds: nothing, or the state that its chain begins with.
///
/// # Errors
/// If the chain continues another one, and that state is not at hand.
pub fn beginning(genesis: &Genesis, initial: Option<&Arc<InitialState>>) -> Result<Stored, InitialStateError> {
    match (&genesis.file().continues, initial) {
        (None, _) => Ok(Stored::genesis(genesis)),
        (Some(_), Some(initial)) => Ok(initial.stored()),
        (Some(continues), None) => Err(InitialStateError::Missing(continues.chain_id.clone())),
    }
}

fn record(sink: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    sink.write_all(&length.to_be_bytes())?;
    sink.write_all(bytes)
}

/// The next record; none at the end.
fn next_record(source: &mut impl Read) -> Result<Option<Vec<u8>>, InitialStateError> {
    let mut length = [0; 4];
    source.read_exact(&mut length)?;
    let length = u64::from(u32::from_be_bytes(length));
    if length > limits::SNAPSHOT_PART_BYTES_MAX + 4 {
        return Err(InitialStateError::TooLong(length));
    }
    let mut bytes = Vec::new();
    if (&mut *source).take(length).read_to_end(&mut bytes)? as u64 != length {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    Ok(Some(bytes).filter(|bytes| !bytes.is_empty()))
}
