//! The parameters of the protocol, and what they may be.

use serde::{Deserialize, Serialize};

use super::{GenesisError, check_key};
use crate::limits;
use crate::validators::ValidatorSet;

/// The parameters of the protocol. All times in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConsensusParameters {
    /// How long a replica waits for a commit before it wishes for another leader.
    pub view_timeout_ms: u64,
    /// The bound to which that time doubles.
    pub view_timeout_cap_ms: u64,
    /// How many blocks may be in flight past the last committed one.
    pub pipeline: u64,
    /// Every how many heights there is a checkpoint.
    pub checkpoint_interval: u64,
    /// How far above the stable checkpoint a block may be.
    pub log_window: u64,
    /// After how many heights a view ends by itself; 0 is never.
    pub rotation_interval: u64,
    /// After what time with work a view ends by itself.
    pub rotation_time_ms: u64,
    /// How far ahead of or behind a voter's clock a fresh block's time may be. It should be more than clocks differ and a
    /// message takes together: where it is less, views fail until proposals may come as late as they do.
    pub max_clock_drift_ms: u64,
    /// For how many heights blocks and certificates are kept; those that follow the archived state, for up to twice as
    /// many. A state is archived every half of them. Blocks should be kept for longer than a late node takes to fetch a
    /// state while the others go on: one that fetches blocks which are gone when it asks for them fetches a state anew.
    pub retain_blocks: u64,
    /// For how long an idempotency key is remembered, and so at most how long an operation may wait.
    pub key_retention_ms: u64,
    /// How long after a validator's recovery from a lost log its next one is refused, in agreed time: each ends an epoch.
    /// It doubles each time, so that it must not be 0.
    pub recovery_interval_ms: u64,
}

impl Default for ConsensusParameters {
    fn default() -> Self {
        Self {
            view_timeout_ms: 1_000,
            view_timeout_cap_ms: 32_000,
            pipeline: 4,
            checkpoint_interval: 256,
            log_window: 1_024,
            rotation_interval: 1_000,
            rotation_time_ms: 60_000,
            max_clock_drift_ms: 500,
            retain_blocks: 10_000,
            key_retention_ms: 24 * 3_600 * 1_000,
            recovery_interval_ms: 60_000,
        }
    }
}

impl ConsensusParameters {
    /// Checks that a validator set may be in force under these parameters: usable keys, and a frame that holds the
    /// largest possible view change.
    ///
    /// # Errors
    /// With the first fault found.
    pub fn check_set(&self, set: &ValidatorSet) -> Result<(), GenesisError> {
        for (_, validator) in set.iter() {
            check_key(&validator.name, &validator.public_key)?;
        }
        let (validators, window) = (set.len(), self.log_window);
        let bytes = view_change_bytes_max(validators, window);
        if bytes > limits::CONSENSUS_FRAME_BYTES_MAX as u64 {
            return Err(GenesisError::ViewChangeTooLarge { validators, window, bytes });
        }
        Ok(())
    }
}

pub(super) fn check_parameters(parameters: &ConsensusParameters) -> Result<(), GenesisError> {
    let within = |name, found: u64, allowed: &'static str, ok: bool| {
        if ok { Ok(()) } else { Err(GenesisError::Parameter { name, found, allowed }) }
    };
    let p = parameters;
    within("view_timeout_ms", p.view_timeout_ms, "10 to 600000", (10..=600_000).contains(&p.view_timeout_ms))?;
    within(
        "view_timeout_cap_ms",
        p.view_timeout_cap_ms,
        "view_timeout_ms to 3600000",
        (p.view_timeout_ms..=3_600_000).contains(&p.view_timeout_cap_ms),
    )?;
    within("pipeline", p.pipeline, "1 to 64", (1..=64).contains(&p.pipeline))?;
    let interval = p.checkpoint_interval;
    within("checkpoint_interval", interval, "1 to 65536", (1..=65_536).contains(&interval))?;
    let window_max = limits::LOG_WINDOW_MAX as u64;
    within("log_window", p.log_window, "at most 4096", p.log_window <= window_max)?;
    let least = 2 * interval + p.pipeline;
    if p.log_window < least {
        return Err(GenesisError::WindowTooSmall { found: p.log_window, least });
    }
    within(
        "max_clock_drift_ms",
        p.max_clock_drift_ms,
        "1 to 3600000",
        (1..=3_600_000).contains(&p.max_clock_drift_ms),
    )?;
    within("rotation_time_ms", p.rotation_time_ms, "at least 100", p.rotation_time_ms >= 100)?;
    within("retain_blocks", p.retain_blocks, "at least log_window", p.retain_blocks >= p.log_window)?;
    let retention = p.key_retention_ms;
    within(
        "key_retention_ms",
        retention,
        "1000 to 2592000000 (30 days)",
        (1_000..=2_592_000_000).contains(&retention),
    )?;
    let interval = p.recovery_interval_ms;
    within(
        "recovery_interval_ms",
        interval,
        "1000 to 2592000000 (30 days)",
        (1_000..=2_592_000_000).contains(&interval),
    )
}

/// The size of the largest possible VIEW-CHANGE: a certificate of all validators for every height of the window.
fn view_change_bytes_max(validators: usize, window: u64) -> u64 {
    const HEADER_AND_VOTE_BYTES: u64 = 142 + 57 + 4;
    const SIGNATURE_BYTES: u64 = 66;
    let certificate = HEADER_AND_VOTE_BYTES + SIGNATURE_BYTES * validators as u64;
    (window + 2) * certificate + 1_024
}
