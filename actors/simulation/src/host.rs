//! A host: a machine with a disk and a clock, and on it a node or what its last process left.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dtvn_messages::{ChainId, Epoch, KeyPair, NodeName, Nonce, Now, PublicKey, Signer, Timestamp};
use dtvn_replication::execution::Stored;
use dtvn_replication::intake::IntakeLimits;
use dtvn_replication::log::{LogLimits, MemoryDisk};
use dtvn_replication::node::{Media, Node, NodeSettings, Timed};
use dtvn_replication::pool::PoolLimits;

use crate::addresses::{Addresses, Announced};
use crate::lies::{Behaviour, Filter};
use crate::oracle::{Heights, Promises};
use crate::scenario::{Fault, KEY_SEED};
use crate::signature::FastSigner;
use crate::world::{Event, World};

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
    /// Its name, in a validator set or not.
    pub(crate) name: NodeName,
    /// All keys that it had; it has the last.
    pub(crate) keys: Vec<PublicKey>,
    /// By whom it names its peers.
    pub(crate) addresses: Addresses,
    pub(crate) node: Option<Box<Node<MemoryDisk>>>,
    pub(crate) media: Option<Media<MemoryDisk>>,
    /// How many processes it had.
    pub(crate) incarnation: u64,
    /// What it says passes here first; none is honest.
    pub(crate) filter: Option<Filter>,
    /// How it lies.
    pub(crate) lie: Option<Behaviour>,
    /// The host of the other process under its key.
    pub(crate) twin: Option<usize>,
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
    pub(crate) heights: Heights,
    pub(crate) clock: Clock,
    /// Its process stands still until then.
    pub(crate) paused_until_us: u64,
    /// How long that was to last.
    pub(crate) pause_us: u64,
    /// What came meanwhile, each event with its number.
    pub(crate) waiting: Vec<(u64, Event)>,
    pub(crate) slow_disk: bool,
    /// Its disk fails, or has failed: its node may fail.
    pub(crate) is_disk_broken: bool,
    /// Its node said that it cannot go on.
    pub(crate) has_failed: bool,
    /// The event of the timer that is set, for each.
    pub(crate) timers: BTreeMap<Timed, u64>,
    /// Until when execution and verification are busy: what they are given is done in order.
    pub(crate) busy_until_us: [u64; 2],
    /// Hosts to which it has links.
    pub(crate) linked: BTreeSet<usize>,
    /// Of those, the ones that its node knows of: votes travel on their links.
    pub(crate) announced: Announced,
    /// The first segment of its log, to see when some are dropped.
    pub(crate) first_segment: u64,
}

impl Host {
    pub(crate) fn is_up(&self) -> bool {
        self.node.is_some()
    }

    /// Whether its process stands still.
    pub(crate) const fn is_paused(&self, now_us: u64) -> bool {
        self.paused_until_us > now_us
    }

    /// The key that it has.
    #[expect(clippy::expect_used, reason = "a host is made with a key, and keys are only added")]
    pub(crate) fn key(&self) -> PublicKey {
        *self.keys.last().expect("a host has a key")
    }

    /// The time on this host.
    pub(crate) fn now(&self, start: Timestamp, now_us: u64) -> Now {
        let true_us = self.clock.frozen_us.unwrap_or(now_us);
        let wall = start.0.saturating_add(true_us).saturating_add_signed(self.clock.ahead_us);
        Now { monotonic_us: now_us, wall: Timestamp(wall) }
    }
}

impl World {
    /// Validators of the genesis, hosts that may become one, and the second processes of twins.
    pub(crate) fn make_hosts(&mut self) {
        let twins = self.scenario.liars.iter().filter(|(_, behaviour)| *behaviour == Behaviour::Twin);
        let own = 0..self.scenario.validators + self.scenario.joiners;
        let places: Vec<usize> = own.chain(twins.map(|(twin, _)| *twin)).collect();
        for place in places {
            self.make_host(place);
        }
        for host in self.scenario.validators + self.scenario.joiners..self.hosts.len() {
            let twin = self.place_of(host);
            (self.hosts[host].twin, self.hosts[twin].twin) = (Some(twin), Some(host));
        }
        self.find_all();
    }

    fn make_host(&mut self, place: usize) {
        let lie = self.scenario.liars.iter().find(|(liar, _)| *liar == place).map(|(_, behaviour)| *behaviour);
        let chain: ChainId = self.genesis.chain_id().clone();
        let (name, key) = (name_of(place), key_of(place, 0).public());
        let filter = lie.map(|behaviour| {
            let (genesis, signer) = (Arc::clone(&self.genesis), self.signer_of(place, 0));
            Filter::new(behaviour, place, genesis, signer).repeating(self.scenario.repeats)
        });
        let drift_us = self.scenario.by_level(Fault::Clocks, 0, 20_000, 80_000);
        let ahead_us = self.randoms.clock.between(0, 2 * drift_us) as i64 - drift_us as i64;
        let set = Arc::new(self.genesis.validators().clone());
        self.hosts.push(Host {
            promises: Promises::new(name.to_string(), chain),
            heights: Heights::new(name.to_string()),
            name,
            keys: vec![key],
            addresses: Addresses::new(Epoch(0), set),
            node: None,
            media: Some(Media::new(MemoryDisk::new(), Stored::genesis(&self.genesis))),
            incarnation: 0,
            is_honest: filter.is_none(),
            filter,
            lie,
            twin: None,
            is_damaged: false,
            may_forget: false,
            stale_disk: None,
            is_gone: false,
            clock: Clock { ahead_us, frozen_us: None },
            paused_until_us: 0,
            pause_us: 0,
            waiting: Vec::new(),
            slow_disk: false,
            is_disk_broken: false,
            has_failed: false,
            timers: BTreeMap::new(),
            busy_until_us: [0; 2],
            linked: BTreeSet::new(),
            announced: Announced::new(),
            first_segment: 1,
        });
    }

    fn signer_of(&self, place: usize, generation: usize) -> Arc<dyn Signer> {
        let key = key_of(place, generation);
        if self.scenario.real { Arc::new(key) } else { Arc::new(FastSigner(key.public())) }
    }

    /// The place of a host: twins stand in the same.
    pub(crate) fn place_of(&self, host: usize) -> usize {
        let own = self.scenario.validators + self.scenario.joiners;
        let twins = self.scenario.liars.iter().filter(|(_, behaviour)| *behaviour == Behaviour::Twin);
        let mut twins = twins.map(|(twin, _)| *twin);
        if host < own { host } else { twins.nth(host - own).unwrap_or(host) }
    }

    /// What signs for a host with the key that it has.
    pub(crate) fn signer(&self, host: usize) -> Arc<dyn Signer> {
        self.signer_of(self.place_of(host), self.hosts[host].keys.len() - 1)
    }

    /// What signs with one of the keys of a host.
    pub(crate) fn signer_with(&self, host: usize, key: &PublicKey) -> Arc<dyn Signer> {
        let generation = self.hosts[host].keys.iter().position(|known| known == key).unwrap_or(0);
        self.signer_of(self.place_of(host), generation)
    }

    /// The key that a host would have next.
    pub(crate) fn next_key(&self, host: usize) -> PublicKey {
        key_of(self.place_of(host), self.hosts[host].keys.len()).public()
    }

    pub(crate) fn settings(&self, host: usize) -> NodeSettings {
        let signer = self.signer(host);
        let defaults = PoolLimits::default();
        let pool_limits = PoolLimits { bloom_digests_max: 1_024, remembered_max: 256, ..defaults };
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&(host as u64).to_be_bytes());
        nonce[8..].copy_from_slice(&self.hosts[host].incarnation.to_be_bytes());
        let bundle_operations_max = self.scenario.bundle_operations;
        NodeSettings {
            genesis: Arc::clone(&self.genesis),
            initial: None,
            name: self.hosts[host].name.clone(),
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

/// The names of the development network: validators are `node0`, `node1` and so on, and hosts that are none follow.
#[expect(clippy::expect_used, reason = "letters and digits are a name")]
fn name_of(place: usize) -> NodeName {
    NodeName::new(&format!("node{place}")).expect("letters and digits are a name")
}

/// The keys of a host: the first is that of the development network.
pub(crate) fn key_of(place: usize, generation: usize) -> KeyPair {
    match generation {
        0 => KeyPair::development(KEY_SEED, &format!("node{place}")),
        _ => KeyPair::development(KEY_SEED, &format!("node{place} key {generation}")),
    }
}
