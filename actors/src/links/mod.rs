//! What the rest of the node learns of its links: who is connected, and where this node listens. The links themselves
//! are `network` and `peer_manager` (architecture.md section 2).

mod presence;

pub use presence::{PRESENCE, Presence, PresenceArguments, PresenceMessage, validators_of};
