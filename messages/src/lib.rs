//! What DTVN nodes say to each other and to third parties: types, signed layouts, codec, limits, certificates.
//!
//! No IO, no clock, no async. A verifier by somebody else can be built on this crate alone: everything that is hashed
//! or signed has one fixed, documented, big-endian layout ([`codec`]), and what travels unsigned between nodes is
//! bincode inside a versioned frame ([`wire`]).
#![warn(missing_docs)]

pub mod block;
pub mod bundle;
pub mod canary;
pub mod certificate;
pub mod checkpoint;
pub mod chronicle;
pub mod clock;
pub mod codec;
pub mod crypto;
pub mod evidence;
pub mod genesis;
pub mod head;
pub mod ids;
pub mod limits;
pub mod membership;
pub mod merkle;
pub mod note;
pub mod operation;
pub mod outcome;
pub mod policy;
pub mod receipt;
pub mod selection;
pub mod snapshot;
pub mod state;
pub mod statement;
pub mod ticket;
pub mod validators;
pub mod view_change;
pub mod vote;
pub mod wire;

pub use block::{Block, Header};
pub use bundle::{Bundle, BundleBody, BundlePosition, LastBundle};
pub use certificate::{Certificate, CertificateError, CommittedProof, PreparedCertificate, StableCheckpoint};
pub use checkpoint::Checkpoint;
pub use clock::VectorClock;
pub use codec::{DecodeError, Layout, Reader, Writer};
pub use crypto::{Digest, Ed25519, KeyPair, PublicKey, Scheme, Signature, Signer, sha256};
pub use evidence::{Evidence, EvidenceKind};
pub use genesis::Genesis;
pub use head::Head;
pub use ids::{
    ChainId, Epoch, EventId, Height, IdempotencyKey, NodeName, Now, RulesVersion, TicketId, Timestamp, ValidatorIndex,
    View,
};
pub use membership::{EpochEnd, Membership, Nonce, Succession};
pub use operation::{Action, Operation};
pub use outcome::{Outcome, Reason, Verdict};
pub use receipt::{Receipt, ReceiptCertificate};
pub use statement::{Signed, Statement};
pub use ticket::{Ticket, TicketState};
pub use validators::{Validator, ValidatorSet};
pub use view_change::{NewView, SealedNewView, SealedViewChange, ViewChange};
pub use vote::{Vote, VoteKind};
