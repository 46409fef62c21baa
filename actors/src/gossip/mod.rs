//! Gossip: the bundle pool behind a mailbox. It gets bundles to every validator before and independently of ordering.

mod actor;
mod message;

pub use actor::{Gossip, GossipArguments};
pub use message::{FromPeer, GossipMessage, ROLE};
