//! A host: a machine with a disk and a clock, and on it a node or what its last process left.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dtvn_messages::{ChainId, KeyPair, Nonce, Now, Signer, Timestamp, ValidatorIndex};
use dtvn_replication::intake::IntakeLimits;
use dtvn_replication::log::{LogLimits, MemoryDisk};
use dtvn_replication::node::{Media, Node, NodeSettings, Timed};
use dtvn_replication::pool::PoolLimits;

use crate::lies::{Behaviour, Filter};
use crate::oracle::Promises;
use crate::scenario::{Fault, KEY_SEED};
use crate::signature::FastSigner;
use crate::world::World;

/// How a host's clocks differ from true time.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Clock {
    /// How far its wall clock is ahead, in microseconds.
    pub(crate) ahead_us: i64,
    /// The time at which its wall clock stands still.
    pub(crate) frozen_us: Option<u64>,
}

/// A machine.
pub(crate) struct Host {
    pub(crate) index: ValidatorIndex,
    pub(crate) node: Option<Box<Node<MemoryDisk>>>,
    pub(crate) media: Option<Media<MemoryDisk>>,
    /// How many processes it had.
    pub(crate) incarnation: u64,
    /// What it says passes here first; none is honest.
    pub(crate) filter: Option<Filter>,
    /// Whether the oracle takes its word.
    pub(crate) is_honest: bool,
    /// Its log was found damaged: it follows for ever.
    pub(crate) is_damaged: bool,
    /// Damage was done to its log.
    pub(crate) may_forget: bool,
    /// What a disk that lies about its syncs has really kept.
    pub(crate) stale_disk: Option<MemoryDisk>,
    /// It never comes back.
    pub(crate) is_gone: bool,
    pub(crate) promises: Promises,
    pub(crate) clock: Clock,
    pub(crate) paused_until_us: u64,
    pub(crate) slow_disk: bool,
    /// Its disk fails, or has failed: its node may fail.
    pub(crate) is_disk_broken: bool,
    /// Its node said that it cannot go on.
    pub(crate) has_failed: bool,
    /// The event of the timer that is set, for each.
    pub(crate) timers: BTreeMap<Timed, u64>,
    /// Until when execution and verification are busy: what they are given is done in order.
    pub(crate) busy_until_us: [u64; 2],
    /// Validators that its node believes connected.
    pub(crate) linked: BTreeSet<ValidatorIndex>,
    /// The first segment of its log, to see when some are dropped.
    pub(crate) first_segment: u64,
}

impl Host {
    pub(crate) fn is_up(&self) -> bool {
        self.node.is_some()
    }

    /// The time on this host.
    pub(crate) fn now(&self, start: Timestamp, now_us: u64) -> Now {
        let true_us = self.clock.frozen_us.unwrap_or(now_us);
        let wall = start.0.saturating_add(true_us).saturating_add_signed(self.clock.ahead_us);
        Now { monotonic_us: now_us, wall: Timestamp(wall) }
    }
}

impl World {
    pub(crate) fn make_hosts(&mut self) {
        let twins = self.scenario.liars.iter().filter(|(_, behaviour)| *behaviour == Behaviour::Twin);
        let indices: Vec<usize> = (0..self.scenario.validators).chain(twins.map(|(twin, _)| *twin)).collect();
        for place in indices {
            let index = ValidatorIndex(place as u16);
            let lie = self.scenario.liars.iter().find(|(liar, _)| *liar == place).map(|(_, behaviour)| *behaviour);
            let chain: ChainId = self.genesis.chain_id().clone();
            if let Some(is_always) = lie.filter(|lie| matches!(lie, Behaviour::Twin | Behaviour::Mixed)) {
                self.coverage.told.0[is_always as usize] += 1;
            }
            let filter =
                lie.map(|behaviour| Filter::new(behaviour, index, Arc::clone(&self.genesis), self.signer(index)));
            let drift_us = self.scenario.by_level(Fault::Clocks, 0, 20_000, 80_000);
            let ahead_us = self.randoms.clock.between(0, 2 * drift_us) as i64 - drift_us as i64;
            self.hosts.push(Host {
                index,
                node: None,
                media: Some(Media::new(MemoryDisk::new(), &self.genesis)),
                incarnation: 0,
                is_honest: filter.is_none(),
                filter,
                is_damaged: false,
                may_forget: false,
                stale_disk: None,
                is_gone: false,
                promises: Promises::new(index, chain),
                clock: Clock { ahead_us, frozen_us: None },
                paused_until_us: 0,
                slow_disk: false,
                is_disk_broken: false,
                has_failed: false,
                timers: BTreeMap::new(),
                busy_until_us: [0; 2],
                linked: BTreeSet::new(),
                first_segment: 1,
            });
        }
    }

    fn signer(&self, index: ValidatorIndex) -> Arc<dyn Signer> {
        let validator = self.genesis.validators().get(index);
        match validator {
            Some(validator) if self.scenario.real => Arc::new(KeyPair::development(KEY_SEED, validator.name.as_str())),
            Some(validator) => Arc::new(FastSigner(validator.public_key)),
            None => Arc::new(FastSigner(dtvn_messages::PublicKey([0; 32]))),
        }
    }

    pub(crate) fn settings(&self, host: usize) -> NodeSettings {
        let index = self.hosts[host].index;
        let signer = self.signer(index);
        let validator = self.genesis.validators().get(index);
        let defaults = PoolLimits::default();
        let pool_limits = PoolLimits { bloom_digests_max: 1_024, remembered_max: 256, ..defaults };
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&(host as u64).to_be_bytes());
        nonce[8..].copy_from_slice(&self.hosts[host].incarnation.to_be_bytes());
        let bundle_operations_max = self.scenario.bundle_operations;
        NodeSettings {
            genesis: Arc::clone(&self.genesis),
            name: validator.map(|validator| validator.name.clone()).unwrap_or_else(|| unreachable_name(host)),
            signer,
            scheme: Arc::clone(&self.scheme),
            nonce: Nonce(nonce),
            log_limits: LogLimits { segment_bytes: 512 * 1_024, batch_bytes_max: 256 * 1_024 },
            pool_limits,
            intake_limits: IntakeLimits { bundle_operations_max, ..IntakeLimits::default() },
            pool_seed: self.scenario.seed ^ host as u64,
            store_sync_blocks: self.scenario.store_sync_blocks,
        }
    }
}

/// There is a validator for every host; were there none, its node would be an observer of that name.
#[expect(clippy::expect_used, reason = "letters and digits are a name")]
fn unreachable_name(host: usize) -> dtvn_messages::NodeName {
    dtvn_messages::NodeName::new(&format!("observer{host}")).expect("letters and digits are a name")
}
