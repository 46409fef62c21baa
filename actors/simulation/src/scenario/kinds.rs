//! Kinds of fault, and how much of each there is.

/// Kinds of fault; each can be switched off without changing what the others do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Messages are lost.
    Loss,
    /// Messages come twice.
    Repetition,
    /// Messages take long, and overtake each other.
    Delay,
    /// Links are cut and heal.
    Partitions,
    /// Processes end, machines lose their power.
    Crashes,
    /// Parts of nodes fail by themselves.
    Parts,
    /// Nodes stand still for a while.
    Pauses,
    /// Clocks differ and jump.
    Clocks,
    /// Disks are slow.
    SlowDisks,
    /// A log is damaged.
    Damage,
    /// Some nodes lie.
    Lies,
    /// Leaders end, again and again.
    Leaders,
    /// All nodes end at once.
    Outages,
    /// Disks are full or read-only, or do not sync.
    Disks,
    /// Votes are lost.
    Votes,
    /// Validators are added, removed, and get other keys and powers.
    Members,
}

impl Fault {
    /// All kinds.
    pub const ALL: [Self; 16] = [
        Self::Loss,
        Self::Repetition,
        Self::Delay,
        Self::Partitions,
        Self::Crashes,
        Self::Parts,
        Self::Pauses,
        Self::Clocks,
        Self::SlowDisks,
        Self::Damage,
        Self::Lies,
        Self::Leaders,
        Self::Outages,
        Self::Disks,
        Self::Votes,
        Self::Members,
    ];

    /// The name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Repetition => "repetition",
            Self::Delay => "delay",
            Self::Partitions => "partitions",
            Self::Crashes => "crashes",
            Self::Parts => "parts",
            Self::Pauses => "pauses",
            Self::Clocks => "clocks",
            Self::SlowDisks => "slow-disks",
            Self::Damage => "damage",
            Self::Lies => "lies",
            Self::Leaders => "leaders",
            Self::Outages => "outages",
            Self::Disks => "disks",
            Self::Votes => "votes",
            Self::Members => "members",
        }
    }
}

/// How much of a fault there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// None.
    Off,
    /// Some.
    Low,
    /// Much.
    High,
}
