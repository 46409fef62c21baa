//! Outcomes: what became of an operation, refusals too. Each is a leaf of the transparency log (consensus.md section 2).

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::codec::{DecodeError, Layout, Reader, Writer};
use crate::crypto::Digest;
use crate::ids::{EventId, Height, IdempotencyKey, NodeName, TicketId, Timestamp};
use crate::merkle;
use crate::operation::Action;
use crate::ticket::{Scan, TicketState};

/// Who decided on a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decider {
    /// The network: the refusal is a leaf of the log, and final for its key unless [`Reason::is_remembered`] says
    /// otherwise. (For `key_reused` the leaf is that of the first operation with the key.)
    Network,
    /// This node alone: nothing was recorded, and the operation is in no bundle.
    Node,
    /// Nobody yet: the operation may still take effect.
    Nobody,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $name:literal, $status:literal, $retryable:literal, $decider:ident;)*) => {
        /// Why an operation or request is refused: a closed list (api.md section 2).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $($(#[$doc])* $variant,)*
        }

        impl Reason {
            /// The whole list.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name in JSON, metrics and documents.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The number in layouts.
            #[must_use]
            pub const fn code(self) -> u8 {
                match self { $(Self::$variant => $code,)* }
            }

            /// The reason with this number.
            #[must_use]
            pub const fn from_code(code: u8) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)* _ => None }
            }

            /// The HTTP status that goes with it.
            #[must_use]
            pub const fn http_status(self) -> u16 {
                match self { $(Self::$variant => $status,)* }
            }

            /// Whether trying again, with the same key, may succeed.
            #[must_use]
            pub const fn is_retryable(self) -> bool {
                match self { $(Self::$variant => $retryable,)* }
            }

            /// Who decided.
            #[must_use]
            pub const fn decider(self) -> Decider {
                match self { $(Self::$variant => Decider::$decider,)* }
            }

            /// Whether the ledger remembers the key of an operation that it refused for this reason, so that a repeat
            /// gets the same answer. Three refusals by the network are not remembered: `operation_expired`, since only
            /// this copy of the operation came too late or was dated too far ahead, `ledger_full`, and
            /// `recovered_recently`. None had an effect, and a later copy with the same key may have one.
            #[must_use]
            pub const fn is_remembered(self) -> bool {
                let is_passing = matches!(self, Self::OperationExpired | Self::LedgerFull | Self::RecoveredRecently);
                matches!(self.decider(), Decider::Network) && !is_passing
            }
        }
    };
}

reasons! {
    /// No such ticket in this event.
    UnknownTicket = 1, "unknown_ticket", 404, false, Network;
    /// No such event.
    UnknownEvent = 2, "unknown_event", 404, false, Network;
    /// No such device.
    UnknownDevice = 3, "unknown_device", 404, false, Network;
    /// The ticket was validated before.
    AlreadyValidated = 4, "already_validated", 409, false, Network;
    /// The ticket was consumed before.
    AlreadyConsumed = 5, "already_consumed", 409, false, Network;
    /// The ticket was never validated.
    NotValidated = 6, "not_validated", 409, false, Network;
    /// The ticket is disputed.
    Disputed = 7, "disputed", 409, false, Network;
    /// The ticket was revoked.
    Revoked = 8, "revoked", 409, false, Network;
    /// The ticket is not disputed.
    NotDisputed = 9, "not_disputed", 409, false, Network;
    /// The ticket's or event's time has not come.
    NotYetValid = 10, "not_yet_valid", 409, false, Network;
    /// The ticket's or event's time is over.
    Expired = 11, "expired", 409, false, Network;
    /// The ticket belongs to another event.
    WrongEvent = 12, "wrong_event", 409, false, Network;
    /// The ticket is not for this gate.
    WrongGate = 13, "wrong_gate", 409, false, Network;
    /// The ticket exists.
    AlreadyIssued = 14, "already_issued", 409, false, Network;
    /// The idempotency key was used with another payload.
    KeyReused = 15, "key_reused", 422, false, Network;
    /// An operation with this key is under way.
    InProgress = 16, "in_progress", 409, true, Nobody;
    /// The request is not understood.
    Malformed = 17, "malformed", 400, false, Node;
    /// The request is too large.
    TooLarge = 18, "too_large", 413, false, Node;
    /// The request's media type is not understood.
    UnsupportedMediaType = 19, "unsupported_media_type", 415, false, Node;
    /// A key is needed.
    Unauthenticated = 20, "unauthenticated", 401, false, Node;
    /// A signature does not hold.
    BadSignature = 21, "bad_signature", 401, false, Node;
    /// Known, but not allowed to do this.
    NotPermitted = 22, "not_permitted", 403, false, Network;
    /// Too many requests.
    RateLimited = 23, "rate_limited", 429, true, Node;
    /// Too few validators can be reached to decide anything.
    NoQuorum = 24, "no_quorum", 503, true, Node;
    /// A bound of this node or of the network is reached.
    Overloaded = 25, "overloaded", 503, true, Node;
    /// This node is catching up.
    Syncing = 26, "syncing", 503, true, Node;
    /// This node, or a part of it, is starting or stopping.
    Restarting = 27, "restarting", 503, true, Node;
    /// The wait is over and the outcome is not known: it may have happened.
    OutcomeUnknown = 28, "outcome_unknown", 504, true, Nobody;
    /// The operation came into a block after its `valid_until`, or with one further ahead than keys are remembered.
    OperationExpired = 29, "operation_expired", 409, true, Network;
    /// No such resource.
    NotFound = 30, "not_found", 404, false, Node;
    /// The resource does not know this method.
    MethodNotAllowed = 31, "method_not_allowed", 405, false, Node;
    /// No representation that the client accepts.
    NotAcceptable = 32, "not_acceptable", 406, false, Node;
    /// The request did not arrive in time.
    RequestTimeout = 33, "request_timeout", 408, true, Node;
    /// What is asked for is no longer kept.
    Gone = 34, "gone", 410, false, Node;
    /// The cursor was not made by this network.
    BadCursor = 35, "bad_cursor", 400, false, Node;
    /// A fault of this node.
    Internal = 36, "internal", 500, true, Node;
    /// The ledger holds as many tickets or keys as it may, or as the validator that took the operation in may add.
    LedgerFull = 37, "ledger_full", 507, true, Network;
    /// The change or recovery is for another epoch or set than the present one, or the epoch's end is agreed already.
    StaleEpoch = 38, "stale_epoch", 409, false, Network;
    /// Too few of the present validators signed the change, or the recovery is not signed by whom it names.
    NotSignedByValidators = 39, "not_signed_by_validators", 403, false, Network;
    /// This validator's last recovery was a moment ago.
    RecoveredRecently = 40, "recovered_recently", 409, true, Network;
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl Serialize for Reason {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Reason {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let found = Self::ALL.iter().find(|reason| reason.name() == name);
        found.copied().ok_or_else(|| serde::de::Error::custom(format!("{name} is not a known reason")))
    }
}

/// What was decided. Layout: 1 for accepted: version before and after (`u64`), state after (option), tickets touched
/// (`u64`); 2 for refused: reason `u8`, version of the ticket (`u64`, 0 without one), state (option), the earlier scan
/// that explains it (option).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It took effect.
    Accepted {
        /// The ticket's version before; 0 if it is new, or if the operation is about many.
        version_before: u64,
        /// The ticket's version after.
        version_after: u64,
        /// The ticket's state after.
        state: Option<TicketState>,
        /// How many tickets it changed: 1, and for a seeding the number of new ones.
        tickets: u64,
    },
    /// It had no effect.
    Refused {
        /// Why.
        reason: Reason,
        /// The ticket's version, if there is a ticket.
        version: u64,
        /// The ticket's state, if there is a ticket.
        state: Option<TicketState>,
        /// The earlier scan that explains the refusal.
        first: Option<Arc<Scan>>,
    },
}

impl Verdict {
    /// Whether it took effect.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        matches!(self, Self::Accepted { .. })
    }

    /// Why it was refused, if it was.
    #[must_use]
    pub fn refusal(&self) -> Option<Reason> {
        match self {
            Self::Accepted { .. } => None,
            Self::Refused { reason, .. } => Some(*reason),
        }
    }
}

/// What became of one operation. Its layout, the fields in their order, is a leaf of the transparency log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The leaf's index in the log, from 0.
    pub index: u64,
    /// The height of the block that decided.
    pub height: Height,
    /// Agreed time of that block.
    pub agreed_time: Timestamp,
    /// The validator that took the operation in.
    pub origin: NodeName,
    /// The operation's idempotency key.
    pub key: IdempotencyKey,
    /// [`crate::Operation::payload_digest`] of the operation.
    pub payload: Digest,
    /// The event.
    pub event: EventId,
    /// [`Action::code`] of the operation.
    pub action: u8,
    /// The ticket, if it was about one.
    pub ticket: Option<TicketId>,
    /// What was decided.
    pub verdict: Verdict,
}

impl Outcome {
    /// The RFC 6962 hash of this leaf.
    #[must_use]
    pub fn leaf_hash(&self) -> Digest {
        merkle::leaf_hash(&self.to_bytes())
    }

    /// The name of the operation's kind.
    #[must_use]
    pub fn action_name(&self) -> &'static str {
        Action::name_of(self.action).unwrap_or("unknown")
    }
}

impl Layout for Verdict {
    fn write(&self, writer: &mut Writer) {
        match self {
            Self::Accepted { version_before, version_after, state, tickets } => {
                writer.u8(1);
                writer.u64(*version_before);
                writer.u64(*version_after);
                writer.option(state.as_ref());
                writer.u64(*tickets);
            }
            Self::Refused { reason, version, state, first } => {
                writer.u8(2);
                writer.u8(reason.code());
                writer.u64(*version);
                writer.option(state.as_ref());
                writer.option(first.as_ref());
            }
        }
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.u8()? {
            1 => Ok(Self::Accepted {
                version_before: reader.u64()?,
                version_after: reader.u64()?,
                state: reader.option()?,
                tickets: reader.u64()?,
            }),
            2 => Ok(Self::Refused {
                reason: Reason::from_code(reader.u8()?).ok_or(DecodeError::Invalid("a reason's number is unknown"))?,
                version: reader.u64()?,
                state: reader.option()?,
                first: reader.option()?,
            }),
            _ => Err(DecodeError::Invalid("a verdict is neither accepted (1) nor refused (2)")),
        }
    }
}

impl Layout for Outcome {
    fn write(&self, writer: &mut Writer) {
        writer.u64(self.index);
        self.height.write(writer);
        self.agreed_time.write(writer);
        self.origin.write(writer);
        self.key.write(writer);
        self.payload.write(writer);
        self.event.write(writer);
        writer.u8(self.action);
        writer.option(self.ticket.as_ref());
        self.verdict.write(writer);
    }
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            index: reader.u64()?,
            height: Layout::read(reader)?,
            agreed_time: Layout::read(reader)?,
            origin: Layout::read(reader)?,
            key: Layout::read(reader)?,
            payload: Layout::read(reader)?,
            event: Layout::read(reader)?,
            action: reader.u8()?,
            ticket: reader.option()?,
            verdict: Layout::read(reader)?,
        })
    }
}
