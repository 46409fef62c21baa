//! What can be said to the storage.

use std::sync::Arc;

use dtvn_ledger::LedgerImage;
use dtvn_messages::merkle::LogEdge;
use dtvn_messages::{Epoch, EpochEnd, Evidence, ReceiptCertificate, StableCheckpoint};
use dtvn_pbft::Ticket;
use dtvn_replication::execution::{LastBlock, Stored};
use dtvn_replication::record::{Encoded, LogRecord};
use dtvn_replication::recovery::Amnesia;

use super::store::{Applied, AppliedBlock, StoredBlock};
use crate::directory::Role;
use crate::mailbox::{Address, FullPolicy, Mail, Reply};
use crate::replica::ReplicaMessage;

/// The storage's role.
pub const ROLE: Role<StorageMessage> = Role::new("storage");

/// What can be said to the storage.
pub enum StorageMessage {
    /// Append a record that nobody waits for by number.
    Append(Encoded),
    /// Append the replica's records, in order; make them durable if a flush is asked for.
    Records {
        /// The records, each with its ticket if it has one.
        records: Vec<(Option<Ticket>, Encoded)>,
        /// The ticket up to which to flush.
        flush: Option<Ticket>,
        /// Who hears of it: this very incarnation.
        replica: Address<ReplicaMessage>,
        /// The run of consensus in it that hears of it.
        run: u64,
    },
    /// Bring the store up to date with a committed block.
    Apply(Box<AppliedBlock>),
    /// A checkpoint is stable: keep it, and drop what it covers.
    Stable(Arc<StableCheckpoint>),
    /// A validator is shown to lie: keep what shows it.
    Evidence(Arc<Evidence>),
    /// A block has its receipt certificate: keep it.
    Receipt(Arc<ReceiptCertificate>),
    /// How an epoch ended: before any block of the next one.
    EpochEnd(Arc<EpochEnd>),
    /// This node's own recovery opened the epoch: it has a memory again, and the mark goes, durably.
    Recovered {
        /// The epoch that the recovery opened.
        opened: Epoch,
        /// Told when that is durable.
        reply: Reply<Result<(), String>>,
    },
    /// The ledger's state as it is stored, with the block that it is after.
    Load(Reply<Result<Loaded, String>>),
    /// All records of the log, in order.
    Replay(Reply<Result<Replayed, String>>),
    /// Another start of this node's intake: its number, durable.
    NewStart(Reply<Result<u64, String>>),
    /// What the store holds is no state that a ledger can have: it is damaged.
    Condemn(String),
    /// The state is not what a quorum certified. The database serves until a certified one takes its place; if the storage
    /// starts again before, it is not used any more.
    Distrust(String),
    /// The thread of the log or of the store failed.
    Failed(String),
}

/// The stored state.
#[derive(Debug)]
pub struct Loaded {
    /// The ledger's image.
    pub image: LedgerImage,
    /// Where the store stands.
    pub applied: Applied,
    /// The last applied block; none at the genesis.
    pub block: Option<StoredBlock>,
    /// The right edge of the transparency log.
    pub edge: LogEdge,
    /// The latest stable checkpoint.
    pub stable: Option<StableCheckpoint>,
    /// How each epoch before the present one ended, from the first on.
    pub ends: Vec<Arc<EpochEnd>>,
}

impl From<Loaded> for Stored {
    fn from(loaded: Loaded) -> Self {
        let Loaded { image, applied: _, block, edge, stable, ends } = loaded;
        let block =
            block.map(|StoredBlock { block, digest, certificate, .. }| LastBlock { block, digest, certificate });
        Self { image, block, stable, ends, edge }
    }
}

/// What the log holds.
#[derive(Debug)]
pub struct Replayed {
    /// Its records, in order.
    pub records: Vec<LogRecord>,
    /// That this node must not vote, if it must not: its log is missing or damaged.
    pub amnesia: Option<Amnesia>,
    /// The epoch from which on it remembers what it signed.
    pub votes_from: Epoch,
}

impl Mail for StorageMessage {
    fn kind(&self) -> &'static str {
        match self {
            Self::Append(_) => "append",
            Self::Records { .. } => "records",
            Self::Apply(_) => "apply",
            Self::Stable(_) => "stable",
            Self::Evidence(_) => "evidence",
            Self::Receipt(_) => "receipt",
            Self::EpochEnd(_) => "epoch_end",
            Self::Recovered { .. } => "recovered",
            Self::Load(_) => "load",
            Self::Replay(_) => "replay",
            Self::NewStart(_) => "new_start",
            Self::Condemn(_) => "condemn",
            Self::Distrust(_) => "distrust",
            Self::Failed(_) => "failed",
        }
    }

    fn policy(&self) -> FullPolicy {
        match self {
            Self::Recovered { .. } | Self::Load(_) | Self::Replay(_) | Self::NewStart(_) => FullPolicy::Wait,
            _ => FullPolicy::Must,
        }
    }
}
