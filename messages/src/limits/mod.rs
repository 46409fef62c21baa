//! Every bound of the product, in one place: what it is, why this value, and what happens when it is reached.
//!
//! Consensus.md section 9: "Every buffer has a bound, in one file, and each bound says what happens there." The file is
//! this module, one part for each subject; users write `limits::NAME` whatever part it is in. `BOUNDS.md` beside the
//! sources says of each bound which test reaches it, and `tests/bounds.rs` compares the two.

mod actors;
mod api;
mod consensus;
mod evidence;
mod intake;
mod ledger;
mod log;
mod names;
mod network;
mod pool;
mod snapshots;
mod store;
mod tools;
mod wire;

pub use actors::*;
pub use api::*;
pub use consensus::*;
pub use evidence::*;
pub use intake::*;
pub use ledger::*;
pub use log::*;
pub use names::*;
pub use network::*;
pub use pool::*;
pub use snapshots::*;
pub use store::*;
pub use tools::*;
pub use wire::*;
