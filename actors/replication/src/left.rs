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

    /// The block above `parent`, with all that it names.
    fn next(&self, height: Height, parent: Digest) -> Option<Next> {
        let (digest, certificate, prepared) = match (self.committed.get(&height), self.prepared.get(&height)) {
            (Some((digest, certificate)), _) => (*digest, certificate.cloned(), None),
            (None, Some(prepared)) => (prepared.digest(), None, Some(prepared.view())),
            (None, None) => return None,
        };
        let block = Arc::clone(self.blocks.get(&digest).filter(|block| block.header.parent == parent)?);
        let bundles: Option<Vec<_>> =
            block.bundles.iter().map(|digest| self.bundles.get(digest).map(|bundle| Arc::clone(bundle))).collect();
        Some(Next { committed: Committed { block, digest, certificate, bundles: bundles? }, prepared })
    }
}

/// Brings a stored state up to what the records of the log lead to, in its epoch.
///
/// # Errors
/// If it is no state that a ledger can have.
pub fn bring_up(genesis: &Genesis, stored: Stored, records: &[LogRecord]) -> Result<Left, StateError> {
    let held = Held::of(records, genesis.chain_id());
    let logged = held.highest_committed();
    let applied = stored.image.height;
    let mut tip = stored.block.as_ref().map_or_else(|| genesis.hash(), |last| last.digest);
    let mut left = Left { stored, committed: applied, prepared: Vec::new(), logged };
    if held.next(applied.next(), tip).is_none() {
        return Ok(left);
    }
    let mut store = MemoryStore::of(left.stored);
    let identity = Identity { genesis: Arc::new(genesis.clone()), key: None, scheme: Arc::new(Ed25519) };
    let mut execution = Execution::load(identity, store.load())?;
    while let Some(Next { committed, prepared }) = held.next(store.applied().next(), tip) {
        let header = &committed.block.header;
        if header.epoch != execution.config().epoch {
            break;
        }
        let Executed { log_size, log_root, .. } =
            execution.execute(header.height, header.timestamp, &committed.bundles);
        if (log_size, log_root) != (header.log_size, header.log_root) {
            break;
        }
        // One is executed at a time.
        let Ok(effects) = execution.commit(&committed) else { break };
        store.apply(&committed, &effects);
        let (height, block) = (header.height, committed.digest);
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
