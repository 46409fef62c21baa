//! The supervised actors of a DTVN node: who says what `dtvn-messages` can say.
//!
//! One folder per subsystem, the same floor plan in each; see `supervision` for what an actor is.
#![warn(missing_docs)]

pub mod board;
pub mod directory;
pub mod gossip;
pub mod health;
pub mod instruments;
pub mod intake;
pub mod links;
pub mod mailbox;
pub mod network;
pub mod peer_manager;
pub mod replica;
pub mod session;
pub mod shared;
#[cfg(test)]
mod starts;
pub mod state_machine;
pub mod storage;
pub mod supervision;
pub mod sync;
pub mod verifier;

/// The addresses of peers, as libp2p writes them.
pub mod network_address {
    pub use libp2p::Multiaddr;
}
