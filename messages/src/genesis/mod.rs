//! The genesis: what all nodes of a chain agree on beforehand (architecture.md section 7).

mod continuation;
mod parameters;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::codec::{Layout, Writer};
use crate::crypto::{Digest, KeyPair, PublicKey, sha256};
use crate::ids::{ChainId, EventId, Height, NodeName, RulesVersion, Timestamp};
use crate::limits;
use crate::merkle;
use crate::validators::{Validator, ValidatorSet, ValidatorSetError};
use parameters::check_parameters;

pub use continuation::Continuation;
pub use parameters::ConsensusParameters;

/// A validator as the genesis file lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenesisValidator {
    /// Its name.
    pub name: NodeName,
    /// Its public key, in hexadecimal.
    pub public_key: PublicKey,
    /// Its voting power, 1 if not given.
    #[serde(default = "one")]
    pub power: u32,
    /// Where to reach it: multiaddresses. Not part of the hash, because machines move.
    #[serde(default)]
    pub addresses: Vec<String>,
}

fn one() -> u32 {
    1
}

/// What an event starts with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventPolicy {
    /// Its name.
    pub id: EventId,
    /// Validating an unknown ticket issues it first.
    #[serde(default)]
    pub auto_issue: bool,
}

/// The content of `genesis.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenesisFile {
    /// The chain's name.
    pub chain_id: ChainId,
    /// When the chain begins, in microseconds since the Unix epoch: the agreed time of the height that it begins on.
    pub time: Timestamp,
    /// The version of the ledger's rules.
    #[serde(default = "first_rules")]
    pub rules_version: RulesVersion,
    /// The validators, in their order.
    pub validators: Vec<GenesisValidator>,
    /// The protocol's parameters.
    #[serde(default)]
    pub consensus: ConsensusParameters,
    /// The events that exist from the start; `default` always does.
    #[serde(default)]
    pub events: Vec<EventPolicy>,
    /// Whether anybody may seed the 500 test tickets: development only.
    #[serde(default)]
    pub allow_seed: bool,
    /// The chain that this one continues, if it begins with the state of another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continues: Option<Continuation>,
}

fn first_rules() -> RulesVersion {
    RULES_VERSION
}

/// The rules that this program knows.
pub const RULES_VERSION: RulesVersion = RulesVersion(1);

/// Why a genesis is refused: each fault with its own message.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GenesisError {
    /// Not JSON, or not of this shape.
    #[error("the genesis cannot be read: {0}")]
    Syntax(String),
    /// The validators do not make a set.
    #[error(transparent)]
    Validators(#[from] ValidatorSetError),
    /// A public key is no point of the curve, or of small order.
    #[error("the public key of {0} is not a usable Ed25519 key")]
    BadKey(NodeName),
    /// A name of the rules this program does not know.
    #[error("the genesis asks for rules version {0}, this program knows {RULES_VERSION}")]
    UnknownRules(RulesVersion),
    /// A parameter is out of its bounds.
    #[error("consensus.{name} is {found}, it must be {allowed}")]
    Parameter {
        /// The parameter's name.
        name: &'static str,
        /// Its value.
        found: u64,
        /// What is allowed, in words.
        allowed: &'static str,
    },
    /// `log_window` is too small for the checkpoints.
    #[error("consensus.log_window is {found}, it must be at least 2 * checkpoint_interval + pipeline = {least}")]
    WindowTooSmall {
        /// The window.
        found: u64,
        /// The least window.
        least: u64,
    },
    /// The largest possible view change does not fit into a frame.
    #[error(
        "with {validators} validators and log_window {window} a view change may have {bytes} bytes, above the frame \
             limit of {}: lower log_window",
        limits::CONSENSUS_FRAME_BYTES_MAX
    )]
    ViewChangeTooLarge {
        /// How many validators there are.
        validators: usize,
        /// The window.
        window: u64,
        /// The size in bytes.
        bytes: u64,
    },
    /// An event is listed twice.
    #[error("the event {0} is listed twice")]
    SameEvent(EventId),
    /// Too many events.
    #[error("the genesis lists {0} events, at most {max} are allowed", max = limits::GENESIS_EVENTS_MAX)]
    TooManyEvents(usize),
    /// Too many addresses for a validator.
    #[error("the validator {0} has more than {max} addresses", max = limits::VALIDATOR_ADDRESSES_MAX)]
    TooManyAddresses(NodeName),
    /// The time is 0 or absurd.
    #[error("the genesis time is {0} microseconds: it must be after 2020 and before 2100")]
    Time(Timestamp),
    /// A chain that continues itself.
    #[error(
        "a chain that continues {0} needs another chain_id: what was signed on the one must not count on the other"
    )]
    SameChain(ChainId),
    /// A chain that continues one without a block.
    #[error("continues.height is {0}: it must be that of a block, so above 0 and below 2^48")]
    ContinuesNothing(Height),
}

/// A checked genesis with its hash and validator set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Genesis {
    file: GenesisFile,
    validators: ValidatorSet,
    hash: Digest,
}

const YEAR_2020: Timestamp = Timestamp(1_577_836_800_000_000);
const YEAR_2100: Timestamp = Timestamp(4_102_444_800_000_000);

impl Genesis {
    /// Checks and takes a genesis.
    ///
    /// # Errors
    /// With the first fault found, each with a message of its own.
    pub fn new(mut file: GenesisFile) -> Result<Self, GenesisError> {
        if file.rules_version != RULES_VERSION {
            return Err(GenesisError::UnknownRules(file.rules_version));
        }
        if file.time < YEAR_2020 || file.time > YEAR_2100 {
            return Err(GenesisError::Time(file.time));
        }
        let validators = check_validators(&file.validators)?;
        check_parameters(&file.consensus)?;
        file.consensus.check_set(&validators)?;
        if file.events.len() > limits::GENESIS_EVENTS_MAX {
            return Err(GenesisError::TooManyEvents(file.events.len()));
        }
        let mut ids = BTreeSet::new();
        if let Some(event) = file.events.iter().find(|event| !ids.insert(event.id.clone())) {
            return Err(GenesisError::SameEvent(event.id.clone()));
        }
        if !ids.contains(&EventId::default_event()) {
            file.events.push(EventPolicy { id: EventId::default_event(), auto_issue: false });
        }
        file.events.sort_by(|left, right| left.id.cmp(&right.id));
        file.continues.as_ref().map_or(Ok(()), |continues| continues.check(&file))?;
        let hash = hash(&file, &validators);
        Ok(Self { file, validators, hash })
    }

    /// Reads `genesis.json`.
    ///
    /// # Errors
    /// If it is not JSON of the right shape, or as [`Genesis::new`].
    pub fn from_json(json: &str) -> Result<Self, GenesisError> {
        Self::new(serde_json::from_str(json).map_err(|error| GenesisError::Syntax(error.to_string()))?)
    }

    /// The genesis of the development network: a pure function of the number of validators, the seed text of their
    /// keys and the `auto_issue` switch. Validators are `node0`, `node1` and so on.
    ///
    /// # Errors
    /// If `count` is 0 or too large.
    pub fn development(count: usize, key_seed: &str, auto_issue: bool) -> Result<Self, GenesisError> {
        let mark = sha256(&[b"dtvn/development/1", key_seed.as_bytes(), &[u8::from(auto_issue)]]);
        let chain = format!("dtvn-dev-{count}-{}", &mark.to_string()[..8]);
        let chain_id = ChainId::new(&chain).map_err(|error| GenesisError::Syntax(error.to_string()))?;
        let mut validators = Vec::new();
        for number in 0..count.min(limits::VALIDATORS_MAX + 1) {
            let name = format!("node{number}");
            let public_key = KeyPair::development(key_seed, &name).public();
            let name = NodeName::new(&name).map_err(|error| GenesisError::Syntax(error.to_string()))?;
            validators.push(GenesisValidator { name, public_key, power: 1, addresses: Vec::new() });
        }
        Self::new(GenesisFile {
            chain_id,
            time: Timestamp(1_767_225_600_000_000),
            rules_version: RULES_VERSION,
            validators,
            consensus: ConsensusParameters::default(),
            events: vec![EventPolicy { id: EventId::default_event(), auto_issue }],
            allow_seed: true,
            continues: None,
        })
    }

    /// The content as it goes into a file.
    #[must_use]
    pub fn file(&self) -> &GenesisFile {
        &self.file
    }

    /// The chain's name.
    #[must_use]
    pub fn chain_id(&self) -> &ChainId {
        &self.file.chain_id
    }

    /// The protocol's parameters.
    #[must_use]
    pub fn parameters(&self) -> &ConsensusParameters {
        &self.file.consensus
    }

    /// The first validator set.
    #[must_use]
    pub fn validators(&self) -> &ValidatorSet {
        &self.validators
    }

    /// The hash: the parent of the first block, and part of every handshake.
    #[must_use]
    pub fn hash(&self) -> Digest {
        self.hash
    }

    /// The height that the chain begins on: its first block is one above. 0, unless it continues another chain.
    #[must_use]
    pub fn base(&self) -> Height {
        self.file.continues.as_ref().map_or(Height(0), |continues| continues.height)
    }

    /// The size and root of the transparency log that the chain begins with.
    #[must_use]
    pub fn base_log(&self) -> (u64, Digest) {
        let empty = (0, merkle::empty_root());
        self.file.continues.as_ref().map_or(empty, |continues| (continues.log_size, continues.log_root))
    }
}

fn check_validators(listed: &[GenesisValidator]) -> Result<ValidatorSet, GenesisError> {
    let validators = listed.iter().map(|listed| Validator {
        name: listed.name.clone(),
        public_key: listed.public_key,
        power: listed.power,
    });
    let set = ValidatorSet::new(validators.collect())?;
    for validator in listed {
        check_key(&validator.name, &validator.public_key)?;
        if validator.addresses.len() > limits::VALIDATOR_ADDRESSES_MAX {
            return Err(GenesisError::TooManyAddresses(validator.name.clone()));
        }
    }
    Ok(set)
}

fn check_key(name: &NodeName, key: &PublicKey) -> Result<(), GenesisError> {
    let usable = ed25519_dalek::VerifyingKey::from_bytes(&key.0).is_ok_and(|key| !key.is_weak());
    if usable { Ok(()) } else { Err(GenesisError::BadKey(name.clone())) }
}

/// SHA-256 of the text `dtvn/genesis/1` and: chain id, time, rules version, validator set, the consensus parameters in
/// the order of their declaration (`u64` each), a count and for each event its id and `auto_issue`, and `allow_seed`; then,
/// if it continues another chain, [`Continuation`].
fn hash(file: &GenesisFile, validators: &ValidatorSet) -> Digest {
    let mut writer = Writer::default();
    file.chain_id.write(&mut writer);
    file.time.write(&mut writer);
    file.rules_version.write(&mut writer);
    validators.write(&mut writer);
    let p = &file.consensus;
    for value in [
        p.view_timeout_ms,
        p.view_timeout_cap_ms,
        p.pipeline,
        p.checkpoint_interval,
        p.log_window,
        p.rotation_interval,
        p.rotation_time_ms,
        p.max_clock_drift_ms,
        p.retain_blocks,
        p.key_retention_ms,
        p.recovery_interval_ms,
    ] {
        writer.u64(value);
    }
    writer.count(file.events.len());
    for event in &file.events {
        event.id.write(&mut writer);
        writer.u8(u8::from(event.auto_issue));
    }
    writer.u8(u8::from(file.allow_seed));
    if let Some(continues) = &file.continues {
        continues.write(&mut writer);
    }
    sha256(&[b"dtvn/genesis/1", &writer.into_bytes()])
}
