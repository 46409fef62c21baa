//! What a node that does not run any more has: its derived state, brought up to what its consensus log proves. For a chain
//! that is to go on with it, when too many of the others lost their disks ([`crate::initial`]).
//!
//! Blocks that are committed in the log are in the state, and those above them that are prepared. A block whose outcome a
//! client was told is committed: validators of power `Q` sent COMMIT for it, each with its prepared certificate on the disk.
//! So as long as disks of less than that power are lost, one of those that are left has the certificate, though none of them
//! may have seen the block committed. A prepared block that was never committed is taken over too: nobody was told otherwise
//! of it, and it is what a view change would do (consensus.md section 6).
//!
//! Of two nodes that are left, one may have prepared a block that lost. Its certificate is of a lower view.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use dtvn_ledger::Executed;
use dtvn_messages::{Block, Bundle, Certificate, ChainId, Digest, Ed25519, Genesis, Height, PreparedCertificate, View};
use dtvn_pbft::Record;

use crate::consensus::Committed;
use crate::execution::{Execution, Identity, StateError, Stored};
use crate::node::MemoryStore;
use crate::record::LogRecord;

/// A state, and how it came to be.
#[derive(Debug)]
pub struct Left {
    /// The state after the last block.
    pub stored: Stored,
    /// The last height that this node knows to be committed.
    pub committed: Height,
    /// The blocks above it.
    pub prepared: Vec<PreparedBlock>,
    /// The highest committed block that the log holds. If it is above the state, something is missing that leads there.
    pub logged: Height,
    /// What is missing for the next block, if the log says that there is one.
    pub lacking: Option<Lacking>,
}

/// A block that a quorum prepared, and that cannot be taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lacking {
    /// Its height.
    pub height: Height,
    /// Its digest.
    pub block: Digest,
    /// What this node does not have.
    pub what: &'static str,
}

impl fmt::Display for Lacking {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { height, block, what } = self;
        write!(formatter, "a quorum prepared the block {block} at height {height}, but this node has not {what}")
    }
}

/// Why a stored state cannot be brought up to what the log leads to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeftError {
    /// It is no state that a ledger can have.
    #[error(transparent)]
    State(#[from] StateError),
    /// A block leads to another log than a quorum found.
    #[error("this database differs from what a quorum prepared at height {0}: take another node's")]
    Diverged(Height),
}

/// A block that is prepared, and not known to be committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PreparedBlock {
    /// Its height.
    pub height: Height,
    /// The view of its certificate.
    pub view: View,
    /// Its digest.
    pub block: Digest,
}

/// What a log holds that leads on from a state.
#[derive(Default)]
struct Held<'r> {
    bundles: BTreeMap<Digest, &'r Arc<Bundle>>,
    blocks: BTreeMap<Digest, &'r Arc<Block>>,
    committed: BTreeMap<Height, (Digest, Option<&'r Certificate>)>,
    /// Of each height the certificate of the highest view.
    prepared: BTreeMap<Height, &'r PreparedCertificate>,
}

/// A block to go on with.
struct Next {
    committed: Committed,
    /// None if it is known to be committed.
    prepared: Option<View>,
}

impl<'r> Held<'r> {
    fn of(records: &'r [LogRecord], chain: &ChainId) -> Self {
        let mut held = Self::default();
        for record in records {
            match record {
                LogRecord::Bundle(bundle) => _ = held.bundles.insert(bundle.digest, bundle),
                LogRecord::Replica(Record::Proposal { block, .. }) => {
                    held.blocks.insert(block.header.digest(chain), block);
                }
                LogRecord::Replica(Record::Committed { block, certificate }) => {
                    let digest = block.header.digest(chain);
                    held.blocks.insert(digest, block);
                    held.committed.insert(block.header.height, (digest, certificate.as_ref()));
                }
                LogRecord::Replica(Record::Prepared(found)) => {
                    let known = held.prepared.entry(found.height()).or_insert(found);
                    let rank = |it: &PreparedCertificate| (it.header.epoch, it.view());
                    if rank(known) < rank(found) {
                        *known = found;
                    }
                }
                LogRecord::Replica(_) | LogRecord::Start(_) | LogRecord::KeptFrom(_) => {}
            }
        }
        held
    }

    fn highest_committed(&self) -> Height {
        self.committed.last_key_value().map_or(Height(0), |(height, _)| *height)
    }

    /// The block above `parent`, with all that it names; none if none is known that follows it.
    fn next(&self, height: Height, parent: Digest) -> Result<Option<Next>, Lacking> {
        let (digest, certificate, prepared) = match (self.committed.get(&height), self.prepared.get(&height)) {
            (Some((digest, certificate)), _) => (*digest, certificate.cloned(), None),
            (None, Some(prepared)) if prepared.header.parent == parent => {
                (prepared.digest(), None, Some(prepared.view()))
            }
            (None, _) => return Ok(None),
        };
        let lacking = |what| Lacking { height, block: digest, what };
        let block = Arc::clone(self.blocks.get(&digest).ok_or(lacking("its contents"))?);
        if block.header.parent != parent {
            return Ok(None);
        }
        let bundles: Option<Vec<_>> =
            block.bundles.iter().map(|digest| self.bundles.get(digest).map(|bundle| Arc::clone(bundle))).collect();
        let bundles = bundles.ok_or(lacking("all of its operations"))?;
        Ok(Some(Next { committed: Committed { block, digest, certificate, bundles }, prepared }))
    }
}

/// Brings a stored state up to what the records of the log lead to, in its epoch.
///
/// # Errors
/// If it is no state that a ledger can have, or not the one on which a quorum prepared the next block.
pub fn bring_up(genesis: &Genesis, stored: Stored, records: &[LogRecord]) -> Result<Left, LeftError> {
    let held = Held::of(records, genesis.chain_id());
    let logged = held.highest_committed();
    let applied = stored.image.height;
    let mut tip = stored.block.as_ref().map_or_else(|| genesis.hash(), |last| last.digest);
    let mut left = Left { stored, committed: applied, prepared: Vec::new(), logged, lacking: None };
    let first = held.next(applied.next(), tip);
    if !matches!(first, Ok(Some(_))) {
        left.lacking = first.err();
        return Ok(left);
    }
    let mut store = MemoryStore::of(left.stored);
    let identity = Identity { genesis: Arc::new(genesis.clone()), key: None, scheme: Arc::new(Ed25519) };
    let mut execution = Execution::load(identity, store.load())?;
    loop {
        let Next { committed, prepared } = match held.next(store.applied().next(), tip) {
            Ok(Some(next)) => next,
            Ok(None) => break,
            Err(lacking) => {
                left.lacking = Some(lacking);
                break;
            }
        };
        let header = &committed.block.header;
        let (height, block) = (header.height, committed.digest);
        if header.epoch != execution.config().epoch {
            // What was prepared in an epoch that is over is void.
            let is_later = header.epoch > execution.config().epoch;
            left.lacking =
                is_later.then_some(Lacking { height, block, what: "the proof that the epoch before it ended" });
            break;
        }
        let Executed { log_size, log_root, .. } = execution.execute(height, header.timestamp, &committed.bundles);
        if (log_size, log_root) != (header.log_size, header.log_root) {
            return Err(LeftError::Diverged(height));
        }
        // One is executed at a time.
        let Ok(effects) = execution.commit(&committed) else { break };
        store.apply(&committed, &effects);
        tip = block;
        match prepared {
            Some(view) => left.prepared.push(PreparedBlock { height, view, block }),
            None => {
                left.committed = height;
                left.prepared.clear();
            }
        }
    }
    left.stored = store.load();
    Ok(left)
}
