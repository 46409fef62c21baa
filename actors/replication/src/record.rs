//! What the consensus log holds: a kind and a payload for each record (architecture.md section 5).
//!
//! | kind | record | payload |
//! |---|---|---|
//! | 1 | start of the node | start `u64` |
//! | 2 | bundle | the bundle as it travels |
//! | 3 | accepted proposal | view `u64`, block |
//! | 4 | prepared certificate | prepared certificate |
//! | 5 | own VIEW-CHANGE | signed view change |
//! | 6 | adopted NEW-VIEW | signed new view, list of signed view changes |
//! | 7 | own checkpoint vote | signed checkpoint |
//! | 8 | committed block | block, commit certificate (option) |
//! | 9 | stable checkpoint | stable checkpoint |
//! | 10 | oldest segment that is kept | segment `u64` |
//!
//! All payloads are canonical layouts ([`dtvn_messages::codec`]): signed objects are stored as their own bytes.

use std::sync::Arc;

use dtvn_messages::view_change::Sealed;
use dtvn_messages::{Block, Bundle, ChainId, DecodeError, Digest, Height, Layout, Reader, Writer, limits};
use dtvn_pbft::Record;

use crate::log::SegmentNumber;

/// A record of the consensus log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogRecord {
    /// The node, or its intake, started; counted from 1.
    Start(u64),
    /// A bundle arrived.
    Bundle(Arc<Bundle>),
    /// Something that the replica must not forget.
    Replica(Record),
    /// The segments below this one are dropped, and none from it on: it must be there when the log is opened.
    KeptFrom(SegmentNumber),
}

const START: u8 = 1;
const BUNDLE: u8 = 2;
const PROPOSAL: u8 = 3;
const PREPARED: u8 = 4;
const VIEW_CHANGE: u8 = 5;
const NEW_VIEW: u8 = 6;
const CHECKPOINT: u8 = 7;
const COMMITTED: u8 = 8;
const STABLE: u8 = 9;
const KEPT_FROM: u8 = 10;

/// A record as the log takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The kind.
    pub kind: u8,
    /// The payload.
    pub payload: Vec<u8>,
    /// What it is needed for: see [`Need`].
    pub need: Need,
    /// The bundles that it names, as far as whoever writes it has them: those that the log does not hold are written
    /// before it. A vote says that its node holds the bundles, so none of them may be in memory only.
    pub bundles: Vec<Arc<Bundle>>,
}

/// How long a record must be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// Until a later one of its kind is durable; it is written again with each stable checkpoint.
    Latest,
    /// Until its height is applied and covered by a stable checkpoint; and so are these bundles.
    Height(Height, Vec<Digest>),
    /// As long as a record that names it.
    Bundle(Digest),
}

impl LogRecord {
    /// The record as the log takes it.
    #[must_use]
    pub fn encode(&self) -> Encoded {
        let mut writer = Writer::default();
        let (kind, need) = match self {
            Self::Start(start) => {
                writer.u64(*start);
                (START, Need::Latest)
            }
            Self::Bundle(bundle) => {
                let need = Need::Bundle(bundle.digest);
                return Encoded { kind: BUNDLE, payload: bundle.bytes.clone(), need, bundles: Vec::new() };
            }
            Self::Replica(record) => encode_replica(record, &mut writer),
            Self::KeptFrom(segment) => {
                writer.u64(segment.0);
                (KEPT_FROM, Need::Latest)
            }
        };
        Encoded { kind, payload: writer.into_bytes(), need, bundles: Vec::new() }
    }

    /// Reads a record of a log.
    ///
    /// # Errors
    /// If the kind is unknown or the payload is not its layout: the log was written by another version.
    pub fn decode(kind: u8, payload: &[u8], chain: &ChainId) -> Result<Self, DecodeError> {
        if kind == BUNDLE {
            return Bundle::from_bytes(payload, chain).map(Self::Bundle);
        }
        let mut reader = Reader::new(payload);
        let reader = &mut reader;
        let record = match kind {
            START => Self::Start(reader.u64()?),
            PROPOSAL => {
                Self::Replica(Record::Proposal { view: Layout::read(reader)?, block: Arc::new(Block::read(reader)?) })
            }
            PREPARED => Self::Replica(Record::Prepared(Arc::new(Layout::read(reader)?))),
            VIEW_CHANGE => Self::Replica(Record::ViewChange(Sealed::new(Layout::read(reader)?, chain))),
            NEW_VIEW => {
                let new_view = Sealed::new(Layout::read(reader)?, chain);
                let signed = reader.list("the number of view changes", limits::VALIDATORS_MAX, 80)?;
                let view_changes = signed.into_iter().map(|signed| Sealed::new(signed, chain)).collect();
                Self::Replica(Record::NewView { new_view, view_changes })
            }
            CHECKPOINT => Self::Replica(Record::Checkpoint(Layout::read(reader)?)),
            COMMITTED => Self::Replica(Record::Committed {
                block: Arc::new(Block::read(reader)?),
                certificate: reader.option()?,
            }),
            STABLE => Self::Replica(Record::Stable(Arc::new(Layout::read(reader)?))),
            KEPT_FROM => Self::KeptFrom(SegmentNumber(reader.u64()?)),
            _ => return Err(DecodeError::Invalid("a record's kind is not 1 to 10")),
        };
        reader.finish()?;
        Ok(record)
    }
}

fn encode_replica(record: &Record, writer: &mut Writer) -> (u8, Need) {
    match record {
        Record::Proposal { view, block } => {
            view.write(writer);
            block.write(writer);
            (PROPOSAL, Need::Height(block.header.height, block.bundles.clone()))
        }
        Record::Prepared(prepared) => {
            prepared.write(writer);
            (PREPARED, Need::Height(prepared.height(), Vec::new()))
        }
        Record::ViewChange(view_change) => {
            view_change.signed.write(writer);
            (VIEW_CHANGE, Need::Latest)
        }
        Record::NewView { new_view, view_changes } => {
            new_view.signed.write(writer);
            writer.count(view_changes.len());
            view_changes.iter().for_each(|view_change| view_change.signed.write(writer));
            (NEW_VIEW, Need::Latest)
        }
        Record::Checkpoint(vote) => {
            vote.write(writer);
            (CHECKPOINT, Need::Height(vote.body.height, Vec::new()))
        }
        Record::Committed { block, certificate } => {
            block.write(writer);
            writer.option(certificate.as_ref());
            (COMMITTED, Need::Height(block.header.height, block.bundles.clone()))
        }
        Record::Stable(stable) => {
            stable.write(writer);
            (STABLE, Need::Latest)
        }
    }
}
