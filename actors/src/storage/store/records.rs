//! Values that are not hashed objects: bincode (standard configuration, a limit, no bytes left over).

use std::collections::BTreeMap;

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use dtvn_messages::merkle::Frontier;
use dtvn_messages::{
    Block, Certificate, ChainId, DecodeError, Digest, Genesis, Height, Layout, NodeName, PublicKey, Reader, Signed,
    TicketState, Timestamp, ValidatorIndex, View, ViewChange, Writer, limits, view_change::NewView,
};

use super::error::StoreError;

/// Whose store it is. A store of another chain or node is refused at open (architecture.md section 5).
///
/// Layout: chain id (text), genesis hash (32 bytes), genesis time (`u64` microseconds), node name (text), public key
/// (32 bytes).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreIdentity {
    /// The chain.
    pub chain: ChainId,
    /// The hash of its genesis: the digest of height 0.
    pub genesis: Digest,
    /// The agreed time of height 0.
    pub genesis_time: Timestamp,
    /// The node.
    pub node: NodeName,
    /// The node's key.
    pub key: PublicKey,
}

impl StoreIdentity {
    /// The identity of a node of a chain.
    #[must_use]
    pub fn new(genesis: &Genesis, node: NodeName, key: PublicKey) -> Self {
        Self {
            chain: genesis.chain_id().clone(),
            genesis: genesis.hash(),
            genesis_time: genesis.file().time,
            node,
            key,
        }
    }

    /// The first difference to another identity, in words: what, found, expected.
    pub(super) fn difference(&self, expected: &Self) -> Option<(&'static str, String, String)> {
        if self.chain != expected.chain {
            Some(("chain", self.chain.to_string(), expected.chain.to_string()))
        } else if self.genesis != expected.genesis || self.genesis_time != expected.genesis_time {
            Some(("genesis", self.genesis.to_string(), expected.genesis.to_string()))
        } else if self.node != expected.node {
            Some(("node", self.node.to_string(), expected.node.to_string()))
        } else if self.key != expected.key {
            Some(("key", self.key.to_string(), expected.key.to_string()))
        } else {
            None
        }
    }
}

impl Layout for StoreIdentity {
    fn write(&self, writer: &mut Writer) {
        self.chain.write(writer);
        self.genesis.write(writer);
        self.genesis_time.write(writer);
        self.node.write(writer);
        self.key.write(writer);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            chain: Layout::read(reader)?,
            genesis: Layout::read(reader)?,
            genesis_time: Layout::read(reader)?,
            node: Layout::read(reader)?,
            key: Layout::read(reader)?,
        })
    }
}

/// Exact counts of what is stored, kept with each write.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Counts {
    tickets: [u64; TicketState::ALL.len()],
    /// Idempotency keys that are held.
    pub keys: u64,
    /// Outcomes that were accepted.
    pub accepted: u64,
    /// Outcomes that were refused.
    pub refused: u64,
}

impl Counts {
    /// How many tickets are in a state.
    #[must_use]
    pub fn tickets_in(&self, state: TicketState) -> u64 {
        self.tickets[state as usize]
    }

    /// How many tickets there are.
    #[must_use]
    pub fn tickets(&self) -> u64 {
        self.tickets.iter().sum()
    }

    /// How many outcomes there are: the size of the transparency log.
    #[must_use]
    pub fn outcomes(&self) -> u64 {
        self.accepted + self.refused
    }

    /// How many tickets are in each state, by name of the state.
    #[must_use]
    pub fn by_state(&self) -> BTreeMap<&'static str, u64> {
        TicketState::ALL.into_iter().map(|state| (state.name(), self.tickets_in(state))).collect()
    }

    pub(super) fn move_ticket(&mut self, before: Option<TicketState>, after: TicketState) {
        if let Some(before) = before {
            self.tickets[before as usize] -= 1;
        }
        self.tickets[after as usize] += 1;
    }
}

/// How far a store is: the last block that was applied, and what is known right after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The block's height; 0 before the first.
    pub height: Height,
    /// The block's digest; the hash of the genesis before the first.
    pub block: Digest,
    /// Its agreed time.
    pub timestamp: Timestamp,
    /// The transparency log after it.
    pub log: Frontier,
    /// What is stored.
    pub counts: Counts,
}

#[derive(bincode::Encode, bincode::Decode)]
struct AppliedRecord {
    height: Height,
    block: Digest,
    timestamp: Timestamp,
    log_size: u64,
    peaks: Vec<Digest>,
    counts: Counts,
}

impl Applied {
    /// A store to which nothing was applied yet.
    pub(super) fn nothing(identity: &StoreIdentity) -> Self {
        Self {
            height: Height(0),
            block: identity.genesis,
            timestamp: identity.genesis_time,
            log: Frontier::new(),
            counts: Counts::default(),
        }
    }

    pub(super) fn to_value(&self) -> Vec<u8> {
        encode(&AppliedRecord {
            height: self.height,
            block: self.block,
            timestamp: self.timestamp,
            log_size: self.log.size(),
            peaks: self.log.peaks().to_vec(),
            counts: self.counts,
        })
    }

    pub(super) fn from_value(value: &[u8]) -> Result<Self, StoreError> {
        const WHAT: &str = "the record of the last applied block";
        let record: AppliedRecord = decode(WHAT, value)?;
        let log = Frontier::from_parts(record.log_size, record.peaks)
            .ok_or_else(|| StoreError::damaged(format!("{WHAT} has a wrong number of peaks")))?;
        if record.counts.outcomes() != log.size() {
            return Err(StoreError::damaged(format!("{WHAT} counts outcomes wrongly")));
        }
        Ok(Self { height: record.height, block: record.block, timestamp: record.timestamp, log, counts: record.counts })
    }
}

/// How this node saw a block: nothing that others agree on.
#[derive(Debug, Clone, Default, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct LocalView {
    /// The view in which it was committed here.
    pub view: View,
    /// When its proposal was accepted here, by this node's clock; none if it came by sync.
    pub proposed_at: Option<Timestamp>,
    /// When it was prepared here.
    pub prepared_at: Option<Timestamp>,
    /// When it was committed here.
    pub committed_at: Option<Timestamp>,
    /// Whose PREPAREs were seen when it was prepared.
    pub prepared_by: Vec<ValidatorIndex>,
    /// Whose COMMITs were seen when it was committed.
    pub committed_by: Vec<ValidatorIndex>,
}

/// A block as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct StoredBlock {
    /// Header and bundle digests.
    pub block: Block,
    /// The digest of the header.
    pub digest: Digest,
    /// Its COMMITs; none if a block above it was committed first, which commits this one too.
    pub certificate: Option<Certificate>,
    /// How this node saw it.
    pub local: LocalView,
    /// The index of its first outcome, which is the size of the log below it.
    pub first_index: u64,
    /// How many of its operations were accepted.
    pub accepted: u32,
    /// How many of its operations were refused, as leaves of the log.
    pub refused: u32,
    /// How many of its operations repeated one that was decided before: they are no leaves.
    pub repeated: u32,
    /// The bytes of its bundles.
    pub bundle_bytes: u64,
}

impl StoredBlock {
    /// Its height.
    #[must_use]
    pub fn height(&self) -> Height {
        self.block.header.height
    }

    pub(super) fn to_value(&self) -> Vec<u8> {
        encode(self)
    }

    pub(super) fn from_value(height: Height, value: &[u8]) -> Result<Self, StoreError> {
        let stored: Self = decode("a block", value)?;
        if stored.height() != height {
            return Err(StoreError::damaged(format!(
                "the block at {height} says that it is block {}",
                stored.height()
            )));
        }
        Ok(stored)
    }
}

/// A NEW-VIEW with the VIEW-CHANGEs that it names, for those who check how a view began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredNewView {
    /// The committed height when it was adopted here: it is collected together with that block.
    pub height: Height,
    /// The NEW-VIEW.
    pub new_view: Signed<NewView>,
    /// The VIEW-CHANGEs that it names, ascending by signer.
    pub view_changes: Vec<Signed<ViewChange>>,
}

const RECORD_BYTES_MAX: usize = limits::STORE_RECORD_BYTES_MAX;
const CONFIGURATION: Configuration<LittleEndian, Varint, Limit<RECORD_BYTES_MAX>> =
    bincode::config::standard().with_limit::<RECORD_BYTES_MAX>();

/// A record as a value.
#[expect(clippy::expect_used, reason = "encoding into memory fails only for types that none of our records has")]
pub(super) fn encode<T: bincode::Encode>(record: &T) -> Vec<u8> {
    bincode::encode_to_vec(record, bincode::config::standard()).expect("a record encodes into memory")
}

/// The record in a value.
pub(super) fn decode<T: bincode::Decode<()>>(what: &'static str, value: &[u8]) -> Result<T, StoreError> {
    match bincode::decode_from_slice(value, CONFIGURATION) {
        Ok((record, used)) if used == value.len() => Ok(record),
        Ok((_, used)) => Err(StoreError::damaged(format!("{what} is followed by {} bytes", value.len() - used))),
        Err(error) => Err(StoreError::damaged(format!("{what} cannot be read: {error}"))),
    }
}
