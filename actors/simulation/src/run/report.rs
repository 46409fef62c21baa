//! What came of a run.

use std::fmt;

use dtvn_messages::{Height, TicketState};

use crate::coverage::Coverage;
use crate::lies::Behaviour;
use crate::oracle::{Invariant, Violation};
use crate::scenario::Changes;

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Every invariant held, and all was decided.
    Good,
    /// An invariant of safety was violated.
    Unsafe(Violation),
    /// Not all was decided in time.
    Stalled(Violation),
    /// Code panicked, or an honest node failed.
    Crashed(Violation),
    /// Nobody waited for the end; nothing was violated until then.
    Unfinished,
}

impl End {
    pub(super) fn of(violation: Violation) -> Self {
        match violation.invariant {
            Invariant::Liveness => Self::Stalled(violation),
            Invariant::NoCrash => Self::Crashed(violation),
            _ => Self::Unsafe(violation),
        }
    }

    /// What the process exits with. The numbers are none that the other commands of `dtvn` use.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Good => 0,
            Self::Crashed(_) => 10,
            Self::Stalled(_) => 11,
            Self::Unsafe(_) => 12,
            Self::Unfinished => 14,
        }
    }

    /// In one word, or two.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Crashed(_) => "crashed",
            Self::Stalled(_) => "stalled",
            Self::Unsafe(_) => "unsafe",
            Self::Unfinished => "unfinished",
        }
    }

    /// What was violated.
    #[must_use]
    pub const fn violation(&self) -> Option<&Violation> {
        match self {
            Self::Good | Self::Unfinished => None,
            Self::Unsafe(violation) | Self::Stalled(violation) | Self::Crashed(violation) => Some(violation),
        }
    }
}

/// How long operations took from the first request to their outcome, in virtual microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Latency {
    /// Half of them took no longer.
    pub p50_us: u64,
    /// 99 of 100 took no longer.
    pub p99_us: u64,
    /// None took longer.
    pub max_us: u64,
}

impl Latency {
    /// Of times in ascending order; all zero if there are none.
    pub(super) fn of(sorted_us: &[u64]) -> Self {
        let at = |percent: usize| {
            let rank = (sorted_us.len() * percent).div_ceil(100).saturating_sub(1);
            sorted_us.get(rank).copied().unwrap_or(0)
        };
        Self { p50_us: at(50), p99_us: at(99), max_us: at(100) }
    }
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// What was changed of what the seed stands for.
    pub changes: Changes,
    /// What was simulated, in words.
    pub scenario: String,
    /// How many validators there were.
    pub validators: usize,
    /// How many clients there were.
    pub clients: usize,
    /// How long faults happened, in virtual microseconds.
    pub faults_us: u64,
    /// Those that lied, and how.
    pub liars: Vec<(usize, Behaviour)>,
    /// How it ended.
    pub end: End,
    /// What it met.
    pub coverage: Coverage,
    /// How many events happened.
    pub events: u64,
    /// A hash of all of them: equal for equal seeds, on every machine.
    pub hash: u64,
    /// How long it lasted, in virtual microseconds.
    pub virtual_us: u64,
    /// How long after the faults had healed all was decided, in virtual microseconds.
    pub recovery_us: u64,
    /// The height of the chain: how many rounds of consensus came to a decision.
    pub height: Height,
    /// How many tickets there are in each state.
    pub tickets: Vec<(TicketState, u64)>,
    /// Operations that clients asked for, each once.
    pub asked: u64,
    /// Of those, the ones whose outcome a client heard.
    pub decided: u64,
    /// Of those, the ones that were accepted.
    pub accepted: u64,
    /// How long they took.
    pub latency: Latency,
}

impl Report {
    /// The command that runs this again.
    #[must_use]
    pub fn command(&self) -> String {
        format!("cargo sim --seed {}{}", self.seed, self.changes)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "seed {}: {}", self.seed, self.end.name())?;
        if let Some(violation) = self.end.violation() {
            write!(formatter, ", {violation}")?;
        }
        write!(
            formatter,
            " (hash {:016x}, {} events, {} blocks, recovery {} ms)",
            self.hash,
            self.events,
            self.height,
            self.recovery_us / 1_000
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_told_by_rank() {
        let times_us: Vec<u64> = (1..=200).collect();
        assert_eq!(Latency::of(&times_us), Latency { p50_us: 100, p99_us: 198, max_us: 200 });
        assert_eq!(Latency::of(&[7]), Latency { p50_us: 7, p99_us: 7, max_us: 7 });
        assert_eq!(Latency::of(&[]), Latency::default());
    }
}
