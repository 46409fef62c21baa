//! Who asks for what is committed, and who is asked.

use dtvn_messages::{PublicKey, ValidatorIndex};

/// One end of a request for blocks or a state. What is fetched proves itself, so anybody may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// A validator of this node's epoch.
    Validator(ValidatorIndex),
    /// Anybody else: a node without a vote, or a validator of an epoch that this node has not come to.
    Stranger(PublicKey),
}

impl Peer {
    /// Whether it is no validator.
    #[must_use]
    pub const fn is_stranger(&self) -> bool {
        self.stranger().is_some()
    }

    /// The key of one that is no validator.
    #[must_use]
    pub const fn stranger(&self) -> Option<PublicKey> {
        match self {
            Self::Validator(_) => None,
            Self::Stranger(key) => Some(*key),
        }
    }
}
