//! What goes into the receipts, and what comes out.

use std::sync::Arc;

use dtvn_messages::wire::PeerMessage;
use dtvn_messages::{Head, Height, ReceiptCertificate, Signed, ValidatorIndex};

/// What a peer says about receipts, checked: every signature holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// Its own cosignatures.
    Cosignatures(Vec<Signed<Head>>),
    /// Receipt certificates.
    Certificates(Vec<ReceiptCertificate>),
    /// It lacks the certificates above this height.
    Wanted {
        /// The height.
        above: Height,
    },
}

/// What goes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A block that was committed and durable before this start, without a certificate.
    Restored(Head),
    /// A block is committed; in ascending order.
    Committed(Head),
    /// Everything committed up to this height is on the disk.
    Durable(Height),
    /// What [`Effect::Sign`] asked for.
    Signed(Signed<Head>),
    /// A peer's word.
    Said {
        /// The peer.
        from: ValidatorIndex,
        /// What it says.
        said: Said,
    },
    /// The timer fired.
    Timer {
        /// Its generation.
        generation: u64,
    },
}

/// What comes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Sign this head with the node's key, if it may vote, and come back with [`Input::Signed`].
    Sign {
        /// The head.
        head: Head,
        /// The node's place among the validators of its epoch.
        signer: ValidatorIndex,
    },
    /// Send to all validators.
    Broadcast(PeerMessage),
    /// Send to one validator.
    Send {
        /// To whom.
        to: ValidatorIndex,
        /// What.
        message: PeerMessage,
    },
    /// Make durable what is committed, and come back with [`Input::Durable`].
    Flush,
    /// A block has its receipt certificate: keep it.
    Certified(Arc<ReceiptCertificate>),
    /// A validator cosigned two heads that contradict each other.
    Contradiction {
        /// The one that came first.
        first: Signed<Head>,
        /// The other one.
        second: Signed<Head>,
    },
    /// Come back with [`Input::Timer`]. It replaces the one before.
    SetTimer {
        /// Its generation.
        generation: u64,
        /// After how long.
        after_us: u64,
    },
}
