//! The rest of a node's logic as pure values: what surrounds consensus and the ledger.
//!
//! | module | what it is | its actor |
//! |---|---|---|
//! | [`consensus`] | the replica with its outbox | replica |
//! | [`pool`] | bundles: pool, dissemination, fetch | gossip |
//! | [`receipts`] | cosignatures and receipt certificates | replica |
//! | [`witness`] | finding evidence of lies | replica |
//! | [`intake`] | client operations into bundles, answers back | intake |
//! | [`sync`] | the catch-up planner | sync |
//! | [`archive`] | the state that is kept on disk for others | sync, and storage, which collects blocks up to it |
//! | [`verify`] | checks of what peers say | verifier |
//! | [`log`], [`record`], [`logbook`], [`segments`], [`log_size`] | the consensus log, what it holds, how large it grows | storage |
//! | [`execution`] | the ledger in its place | state machine |
//! | [`node`] | all of them as one value, for the simulator | |
#![warn(missing_docs)]

pub mod archive;
pub mod consensus;
pub mod execution;
pub mod initial;
pub mod intake;
pub mod left;
pub mod log;
pub mod log_size;
pub mod logbook;
pub mod node;
pub mod now;
pub mod pool;
pub mod receipts;
pub mod record;
pub mod recovery;
pub mod segments;
pub mod sync;
pub mod verify;
pub mod witness;

pub use now::Now;
