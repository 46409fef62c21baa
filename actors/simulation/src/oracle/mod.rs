//! What must hold whatever happens (consensus.md section 12), checked after every event: on all that leaves an honest
//! node, on every block that one commits, and on every answer that one gives.
//!
//! | invariant | where |
//! |---|---|
//! | agreement, chain, validity, exactly once, certified outcome | `chain` |
//! | rules | `rules`, `eras` |
//! | chain: no host goes back | `heights` |
//! | minority | `crate::effects` |
//! | agreement about epochs and their validators | `eras`, `chain` |
//! | integrity, durable before sent | `promises` |
//! | no false accusation, liveness | `crate::world`, `crate::run` |

mod chain;
mod eras;
mod heights;
mod promises;
mod rules;
#[cfg(test)]
mod tests;

use std::fmt;

pub(crate) use chain::Chain;
pub(crate) use heights::Heights;
pub(crate) use promises::Promises;
pub(crate) use rules::refused_by_one;

/// An invariant of consensus.md section 12.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// No two honest replicas commit different blocks at a height.
    Agreement,
    /// The minority side of a partition decides nothing.
    Minority,
    /// Heights have no holes, parents match, and no honest replica goes back to a lower height.
    Chain,
    /// Every committed operation came from a client.
    Validity,
    /// An idempotency key takes effect once, and so does a change of an epoch's validators.
    ExactlyOnce,
    /// What the rules accept is accepted, and what they refuse is refused, for the reason that they give.
    Rules,
    /// An honest replica never signs two different votes for one view, height and kind, crashes included.
    Integrity,
    /// Durable before sent.
    DurableBeforeSent,
    /// What a client was told agrees with the history; certificates verify.
    CertifiedOutcome,
    /// Nobody honest is accused, and no honest node finds that it has diverged.
    NoFalseAccusation,
    /// After the last fault healed all that clients asked for is decided within a bound.
    Liveness,
    /// No honest node fails, and no code panics.
    NoCrash,
}

impl Invariant {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Agreement,
        Self::Minority,
        Self::Chain,
        Self::Validity,
        Self::ExactlyOnce,
        Self::Rules,
        Self::Integrity,
        Self::DurableBeforeSent,
        Self::CertifiedOutcome,
        Self::NoFalseAccusation,
        Self::Liveness,
        Self::NoCrash,
    ];

    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Agreement => "agreement",
            Self::Minority => "minority",
            Self::Chain => "chain",
            Self::Validity => "validity",
            Self::ExactlyOnce => "exactly once",
            Self::Rules => "rules",
            Self::Integrity => "integrity",
            Self::DurableBeforeSent => "durable before sent",
            Self::CertifiedOutcome => "certified outcome",
            Self::NoFalseAccusation => "no false accusation",
            Self::Liveness => "liveness",
            Self::NoCrash => "no crash",
        }
    }

    /// What it demands, in a few words.
    #[must_use]
    pub const fn demand(self) -> &'static str {
        match self {
            Self::Agreement => "no two honest nodes commit different blocks at a height",
            Self::Minority => "the minority side of a partition decides nothing",
            Self::Chain => "heights have no holes, every block builds on the one below, and no honest node goes back",
            Self::Validity => "every decided operation was asked for by a client",
            Self::ExactlyOnce => "a key takes effect once",
            Self::Rules => "tickets only take legal steps, and nothing is refused but by the rules",
            Self::Integrity => "no honest node signs two different things for one slot, crashes included",
            Self::DurableBeforeSent => "nothing leaves a node that its disk could still forget",
            Self::CertifiedOutcome => "certificates verify, and clients are told what the history says",
            Self::NoFalseAccusation => "nobody honest is accused, and no honest node diverges",
            Self::Liveness => "after the faults have healed, all is decided within a bound",
            Self::NoCrash => "no honest node fails, and no code panics",
        }
    }
}

/// A violated invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// What happened.
    pub details: String,
}

impl Violation {
    pub(crate) fn new(invariant: Invariant, details: impl Into<String>) -> Self {
        Self { invariant, details: details.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.invariant.name(), self.details)
    }
}

/// Fails with a violation unless something holds.
pub(crate) fn ensure(holds: bool, invariant: Invariant, details: impl FnOnce() -> String) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation::new(invariant, details())) }
}
