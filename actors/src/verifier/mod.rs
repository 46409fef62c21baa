//! The verifier: a pool of workers that read what peers send, decode it and check its signatures, so that nobody else
//! spends time on it. A peer always has the same worker, so its messages stay in order.

mod actor;
mod inbound;

use std::sync::Arc;

use dtvn_messages::{Bundle, ValidatorIndex};

pub use actor::{Worker, WorkerArguments};
pub use inbound::Inbound;

use crate::directory::Role;
use crate::mailbox::{FullPolicy, Mail};

/// The role of a worker.
#[must_use]
pub fn role(worker: usize) -> Role<VerifierMessage> {
    Role::named(format!("checker-{worker}"))
}

/// What can be said to a worker, beside the frames of peers.
pub enum VerifierMessage {
    /// Check the signature of a bundle, and tell the gossip.
    Bundle {
        /// Who sent it.
        from: ValidatorIndex,
        /// The bundle.
        bundle: Arc<Bundle>,
    },
}

impl Mail for VerifierMessage {
    fn kind(&self) -> &'static str {
        "bundle"
    }

    fn policy(&self) -> FullPolicy {
        FullPolicy::Must
    }
}
