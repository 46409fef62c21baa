//! The JSON contract (api.md sections 2 and 3): the types of every request and answer. Client and server use the same.
//!
//! `timestamp` is in whole unix seconds; every other time is a [`Time`]. Requests refuse unknown fields; answers may
//! grow fields, which clients ignore. The feature `openapi` adds schemas.

mod actors;
mod answer;
mod catalogue;
mod chain;
mod compact;
mod epochs;
mod event;
mod evidence;
mod node;
mod problem;
mod request;
#[cfg(test)]
mod tests;
mod ticket;
mod time;
mod validators;

pub use actors::{ActorCommandAnswer, ActorInfo, LogLevel};
pub use answer::{
    Accepted, AcceptedWord, BatchAccepted, BatchAnswer, History, OperationState, OperationStatus, OutcomeRecord,
    Pending, Seeded,
};
pub use catalogue::{EventInfo, EventList};
pub use chain::{Block, Blocks, BundleInfo, CertificateInfo, ConsensusLogEntry, ConsensusLogs};
pub use compact::{CompactError, OPERATIONS_BINCODE, decode_answers, decode_requests, encode_answers, encode_requests};
pub use epochs::{EpochInfo, Epochs, EpochsError};
pub use event::{Event, EventKind, WsTicket};
pub use evidence::{EvidencePage, EvidenceRecord};
pub use node::{
    Configuration, Health, NodeCrypto, Peer, Peers, Ready, SeenTimes, Sequence, Stats, Status, StorageEntries,
    ValidatorInfo, Validators,
};
pub use problem::Problem;
pub use request::{IssueRequest, Kind, OperationRequest, RequestError, SeedRequest, TicketRequest};
pub use ticket::{Dispute, Scan, Ticket, TicketPage};
pub use time::{Time, TimeError};
pub use validators::{ChangeError, Changed, Member, ProposedChange};

use dtvn_messages::{EventId, IdempotencyKey};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// The answer to `GET /api/v1/genesis`: the file, as `dtvn validator --genesis` takes it.
pub type GenesisAnswer = dtvn_messages::genesis::GenesisFile;

/// The media type of a JSON answer.
pub const JSON: &str = "application/json";
/// The media type of a [`Problem`].
pub const PROBLEM_JSON: &str = "application/problem+json";
/// The route of the validator set: read it, or change it.
pub const VALIDATORS: &str = "/api/v1/validators";
/// The route of the epochs.
pub const EPOCHS: &str = "/api/v1/epochs";
/// The header that carries an idempotency key.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// The header that says at which committed height a read was answered.
pub const DTVN_HEIGHT: &str = "dtvn-height";
/// The header that carries an API key.
pub const X_API_KEY: &str = "x-api-key";

/// What must be escaped in a segment of a path.
const SEGMENT: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'/')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// A name as one segment of a path.
#[must_use]
pub fn segment(name: &str) -> String {
    match name {
        // A URL's dot segments would be resolved away.
        "." => "%2E".to_owned(),
        ".." => "%2E%2E".to_owned(),
        _ => utf8_percent_encode(name, SEGMENT).to_string(),
    }
}

/// The path of an operation's outcome. A key is one of its event.
#[must_use]
pub fn operation_path(event: &EventId, key: &IdempotencyKey) -> String {
    let path = format!("/api/v1/operations/{}", segment(key.as_str()));
    if *event == EventId::default_event() { path } else { format!("{path}?event={}", segment(event.as_str())) }
}
