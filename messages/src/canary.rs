//! Canaries: bugs that are planted on purpose, to see that the simulator finds them (faults.md, "Canaries"). Each drops
//! one rule of consensus.md where the code keeps it: `if planted(Canary::X)`.
//!
//! They exist only with the feature `canary`, which nothing but a command turns on: without it [`planted`] is a constant.
//!
//! ```text
//! cargo test -p dtvn-simulation --features canary --test planted    the simulator finds each of them
//! cargo check -p dtvn --features dtvn-messages/canary               the program refuses to be built with them
//! ```

/// A planted bug, by the rule that it drops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Canary {
    /// A quorum is one vote less (section 1).
    QuorumMinusOne,
    /// Votes are counted whatever block they are for (section 3).
    VotesWithoutDigest,
    /// COMMIT does not wait for the heights below (section 3, item 4).
    CommitOutOfOrder,
    /// COMMIT does not wait for the prepared certificate to be on the disk (section 4).
    CertificateNotDurable,
    /// What waits for the disk leaves at once (section 4).
    SendBeforeSync,
    /// A replica counts its own votes before they are on its disk (section 4).
    OwnVotesAtOnce,
    /// A replica that starts does not know which blocks it voted for (section 4).
    ProposalForgotten,
    /// A node whose log is lost votes (section 4).
    AmnesiacVotes,
    /// A VIEW-CHANGE shows no prepared certificate (section 6).
    ViewChangeWithoutProofs,
    /// A view takes proposals before its NEW-VIEW (section 6).
    ActiveViewIgnored,
    /// The selection goes on above a block that does not build on the one below (section 6).
    StopRuleDropped,
    /// Of two prepared certificates for a height the selection takes the older (section 6).
    OldestCertificate,
    /// The bundles of an origin may come in any order, again too (section 2).
    BundleOrderIgnored,
    /// A block's log root is not compared with that of its execution (section 2).
    LogRootIgnored,
    /// The table of idempotency keys is not asked (section 2).
    KeyTableIgnored,
    /// A block that is rolled back leaves the positions of its bundles behind (section 6).
    PositionsNotRolledBack,
    /// A block that is rolled back leaves its tickets behind (section 6).
    TicketsNotRolledBack,
    /// Signatures of votes are not checked, nor who sent them (section 1).
    SignaturesIgnored,
    /// Blocks from sync are taken without a commit certificate (section 7).
    SyncUnproven,
    /// Blocks above the end of an epoch are proposed and voted for in it (section 10).
    EpochEndIgnored,
    /// A change of the validators needs no signatures of theirs (section 10).
    ChangeUnsigned,
}

impl Canary {
    /// All canaries.
    pub const ALL: [Self; 21] = [
        Self::QuorumMinusOne,
        Self::VotesWithoutDigest,
        Self::CommitOutOfOrder,
        Self::CertificateNotDurable,
        Self::SendBeforeSync,
        Self::OwnVotesAtOnce,
        Self::ProposalForgotten,
        Self::AmnesiacVotes,
        Self::ViewChangeWithoutProofs,
        Self::ActiveViewIgnored,
        Self::StopRuleDropped,
        Self::OldestCertificate,
        Self::BundleOrderIgnored,
        Self::LogRootIgnored,
        Self::KeyTableIgnored,
        Self::PositionsNotRolledBack,
        Self::TicketsNotRolledBack,
        Self::SignaturesIgnored,
        Self::SyncUnproven,
        Self::EpochEndIgnored,
        Self::ChangeUnsigned,
    ];
}

#[cfg(feature = "canary")]
mod planting {
    use std::cell::Cell;

    use super::Canary;

    thread_local! {
        static PLANTED: Cell<Option<Canary>> = const { Cell::new(None) };
    }

    /// Plants a bug in all code that this thread runs, or none.
    pub fn plant(canary: Option<Canary>) {
        PLANTED.set(canary);
    }

    /// Whether a bug is planted.
    #[must_use]
    pub fn planted(canary: Canary) -> bool {
        PLANTED.get() == Some(canary)
    }
}

#[cfg(feature = "canary")]
pub use planting::{plant, planted};

/// Whether a bug is planted: never, without the feature `canary`.
#[cfg(not(feature = "canary"))]
#[must_use]
pub const fn planted(_: Canary) -> bool {
    false
}

/// Stops the compilation of a crate that is built together with planted bugs.
#[cfg(feature = "canary")]
#[macro_export]
macro_rules! refuse_canaries {
    () => {
        compile_error!(
            "the feature `canary` plants bugs: it is for tests of the simulator only, not for a program that ships"
        );
    };
}

/// Stops the compilation of a crate that is built together with planted bugs. There are none in this build.
#[cfg(not(feature = "canary"))]
#[macro_export]
macro_rules! refuse_canaries {
    () => {};
}
