//! The supervised actors of a DTVN node: who says what `dtvn-messages` can say.
//!
//! One folder per subsystem, the same floor plan in each; see `supervision` for what an actor is.
#![warn(missing_docs)]

pub mod board;
pub mod directory;
pub mod mailbox;
pub mod storage;
pub mod supervision;
pub mod gossip;
pub mod instruments;
pub mod intake;
pub mod replica;
pub mod shared;
pub mod state_machine;
pub mod storage;
pub mod sync;
pub mod verifier;
pub mod links;
pub mod network;

/// The addresses of peers, as libp2p writes them.
pub mod network_address {
    pub use libp2p::Multiaddr;
}
