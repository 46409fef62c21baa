//! The genesis: each fault has its own message, the hash covers what must be agreed on and nothing else.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use std::collections::BTreeSet;

use common::*;
use dtvn_messages::genesis::{
    ConsensusParameters, Continuation, EventPolicy, GenesisError, GenesisFile, GenesisValidator,
};
use dtvn_messages::validators::ValidatorSetError;
use dtvn_messages::*;

fn validator(position: u16) -> GenesisValidator {
    GenesisValidator {
        name: NodeName::new(&format!("v{position}")).unwrap(),
        public_key: key_pair(position).public(),
        power: 1,
        addresses: Vec::new(),
    }
}

fn file() -> GenesisFile {
    GenesisFile {
        chain_id: chain(),
        time: Timestamp(1_767_225_600_000_000),
        rules_version: RulesVersion(1),
        validators: (0..4).map(validator).collect(),
        consensus: ConsensusParameters::default(),
        events: Vec::new(),
        allow_seed: false,
        continues: None,
    }
}

fn fault(change: impl FnOnce(&mut GenesisFile)) -> GenesisError {
    let mut file = file();
    change(&mut file);
    Genesis::new(file).expect_err("a fault")
}

fn continuation() -> Continuation {
    Continuation {
        chain_id: ChainId::new("former").unwrap(),
        genesis_hash: Digest([1; 32]),
        height: Height(300),
        block: Digest([2; 32]),
        state_root: Digest([3; 32]),
        log_size: 1_000,
        log_root: Digest([4; 32]),
    }
}

fn event(name: &str) -> EventPolicy {
    EventPolicy { id: EventId::new(name).unwrap(), auto_issue: false }
}

#[test]
fn every_fault_has_its_own_message() {
    let v1 = || NodeName::new("v1").unwrap();
    let small_order = PublicKey::from_hex(&format!("01{}", "00".repeat(31))).unwrap();
    let no_point = PublicKey::from_hex(&format!("02{}", "00".repeat(31))).unwrap();
    let many_events = limits::GENESIS_EVENTS_MAX + 1;
    let faults = [
        (fault(|file| file.rules_version = RulesVersion(2)), GenesisError::UnknownRules(RulesVersion(2))),
        (fault(|file| file.time = Timestamp(0)), GenesisError::Time(Timestamp(0))),
        (fault(|file| file.time = Timestamp(u64::MAX)), GenesisError::Time(Timestamp(u64::MAX))),
        (fault(|file| file.validators.clear()), ValidatorSetError::Empty.into()),
        (fault(|file| file.validators[1].power = 0), ValidatorSetError::NoPower(v1()).into()),
        (
            fault(|file| file.validators[1].power = u32::MAX),
            ValidatorSetError::TooMuchPower(u64::from(u32::MAX) + 3).into(),
        ),
        (fault(|file| file.validators[0].name = v1()), ValidatorSetError::SameName(v1()).into()),
        (
            fault(|file| file.validators[1].public_key = file.validators[0].public_key),
            ValidatorSetError::SameKey(v1()).into(),
        ),
        (fault(|file| file.validators[1].public_key = small_order), GenesisError::BadKey(v1())),
        (fault(|file| file.validators[2].public_key = no_point), GenesisError::BadKey(NodeName::new("v2").unwrap())),
        (
            fault(|file| file.validators[1].addresses = vec![String::new(); limits::VALIDATOR_ADDRESSES_MAX + 1]),
            GenesisError::TooManyAddresses(v1()),
        ),
        (
            fault(|file| file.events = vec![event("gala"), event("gala")]),
            GenesisError::SameEvent(EventId::new("gala").unwrap()),
        ),
        (
            fault(|file| file.events = (0..many_events).map(|number| event(&number.to_string())).collect()),
            GenesisError::TooManyEvents(many_events),
        ),
        (
            fault(|file| file.consensus.log_window = 515),
            GenesisError::WindowTooSmall { found: 515, least: 2 * 256 + 4 },
        ),
        (
            fault(|file| file.continues = Some(Continuation { chain_id: chain(), ..continuation() })),
            GenesisError::SameChain(chain()),
        ),
        (
            fault(|file| file.continues = Some(Continuation { height: Height(0), ..continuation() })),
            GenesisError::ContinuesNothing(Height(0)),
        ),
        (
            fault(|file| file.continues = Some(Continuation { height: Height(u64::MAX), ..continuation() })),
            GenesisError::ContinuesNothing(Height(u64::MAX)),
        ),
    ];
    let mut messages = BTreeSet::new();
    for (found, expected) in faults {
        assert_eq!(found, expected);
        assert!(messages.insert(found.to_string()), "this message is not its own: {found}");
    }
    let too_many = fault(|file| {
        let key = |number: usize| KeyPair::development("many", &number.to_string()).public();
        file.validators = (0..=limits::VALIDATORS_MAX)
            .map(|number| GenesisValidator {
                name: NodeName::new(&format!("n{number}")).unwrap(),
                public_key: key(number),
                ..validator(0)
            })
            .collect();
    });
    assert_eq!(too_many, ValidatorSetError::TooMany(limits::VALIDATORS_MAX + 1).into());
    assert!(messages.insert(too_many.to_string()));
}

#[test]
fn every_parameter_is_checked_at_both_bounds_and_named() {
    type Set = fn(&mut ConsensusParameters, u64);
    let none = u64::MAX;
    // name, setter, least, greatest (none: unbounded)
    let table: [(&str, Set, u64, u64); 10] = [
        ("view_timeout_ms", |p, value| p.view_timeout_ms = value, 10, none),
        ("view_timeout_cap_ms", |p, value| p.view_timeout_cap_ms = value, 1_000, 3_600_000),
        ("pipeline", |p, value| p.pipeline = value, 1, 64),
        ("checkpoint_interval", |p, value| p.checkpoint_interval = value, 1, none),
        ("log_window", |p, value| p.log_window = value, none, 4_096),
        ("rotation_time_ms", |p, value| p.rotation_time_ms = value, 100, none),
        ("max_clock_drift_ms", |p, value| p.max_clock_drift_ms = value, 1, 3_600_000),
        ("retain_blocks", |p, value| p.retain_blocks = value, 1_024, none),
        ("key_retention_ms", |p, value| p.key_retention_ms = value, 1_000, 2_592_000_000),
        ("recovery_interval_ms", |p, value| p.recovery_interval_ms = value, 1_000, 2_592_000_000),
    ];
    let with = |set: Set, value: u64| {
        let mut file = file();
        set(&mut file.consensus, value);
        Genesis::new(file).map(|_| ())
    };
    let refused = |name: &str, set: Set, value: u64| {
        let error = with(set, value).expect_err(name);
        assert!(
            matches!(&error, GenesisError::Parameter { name: named, found, .. } if *named == name && *found == value),
            "{name} {value}: {error}"
        );
        assert!(error.to_string().contains(&format!("consensus.{name} is {value}")), "{error}");
    };
    for (name, set, least, greatest) in table {
        if least != none {
            assert_eq!(with(set, least), Ok(()), "{name} {least}");
            refused(name, set, least - 1);
        }
        if greatest != none {
            refused(name, set, greatest + 1);
        }
    }
    for (name, set, greatest) in [
        ("pipeline", (|p, value| p.pipeline = value) as Set, 64),
        ("view_timeout_cap_ms", |p, value| p.view_timeout_cap_ms = value, 3_600_000),
        ("max_clock_drift_ms", |p, value| p.max_clock_drift_ms = value, 3_600_000),
        ("key_retention_ms", |p, value| p.key_retention_ms = value, 2_592_000_000),
        ("recovery_interval_ms", |p, value| p.recovery_interval_ms = value, 2_592_000_000),
    ] {
        assert_eq!(with(set, greatest), Ok(()), "{name} {greatest}");
    }
    assert!(with(|p, value| (p.view_timeout_ms, p.view_timeout_cap_ms) = (value, value), 600_000).is_ok());
    refused("view_timeout_ms", |p, value| (p.view_timeout_ms, p.view_timeout_cap_ms) = (value, value), 600_001);
}

#[test]
fn a_view_change_that_could_exceed_a_frame_is_refused() {
    let many = |count: u16, window: u64| {
        let mut file = file();
        file.validators = (0..count).map(validator).collect();
        file.consensus.log_window = window;
        Genesis::new(file).map(|_| ())
    };
    assert_eq!(many(50, 4_096), Ok(()));
    let error = many(100, 4_096).unwrap_err();
    assert!(matches!(error, GenesisError::ViewChangeTooLarge { validators: 100, window: 4_096, .. }));
    assert!(error.to_string().contains("lower log_window"), "{error}");
}

/// The largest VIEW-CHANGE of a window: everything as large as it can be.
fn largest_view_change(validators: u16, window: usize) -> Signed<ViewChange> {
    let signatures = (0..validators).map(|signer| (ValidatorIndex(signer), Signature([7; 64]))).collect();
    let signatures = certificate::Signatures(signatures);
    let certificate = |kind| {
        let header = header_at(u64::MAX);
        let certificate = Certificate { vote: vote_for(&header, kind, u64::MAX), signatures: signatures.clone() };
        (header, certificate)
    };
    let (header, prepare) = certificate(VoteKind::Prepare);
    let prepared = PreparedCertificate { header, certificate: prepare };
    let (header, commit) = certificate(VoteKind::Commit);
    let digest = Digest([1; 32]);
    let (epoch, height) = (Epoch(2), header.height);
    let checkpoint =
        Checkpoint { epoch, height, block: digest, state_root: digest, next_epoch: epoch, next_set: digest };
    let body = ViewChange {
        epoch,
        view: View(u64::MAX),
        stable: Some(StableCheckpoint { header: header.clone(), checkpoint, signatures: signatures.clone() }),
        committed: Some(CommittedProof { header, certificate: commit }),
        prepared: vec![prepared; window],
    };
    Signed { body, signer: ValidatorIndex(0), signature: Signature([1; 64]) }
}

#[test]
fn the_largest_view_change_fits_what_the_check_assumes() {
    let network = |window| {
        let mut file = file();
        file.validators = (0..60).map(validator).collect();
        file.consensus.log_window = window;
        Genesis::new(file)
    };
    let Err(GenesisError::ViewChangeTooLarge { bytes, .. }) = network(4_096) else {
        panic!("60 validators and a window of 4,096 are too much");
    };
    let envelope = 16;
    let needed = (largest_view_change(60, 4_096).to_bytes().len() + envelope) as u64;
    assert!(needed <= bytes && bytes < needed + 2_000, "{needed} bytes are needed, the check assumes {bytes}");
    assert!(network(3_900).is_ok());
    let frame = wire::encode(&wire::PeerMessage::ViewChange(largest_view_change(60, 3_900).into())).unwrap();
    assert!(wire::decode(&frame, wire::Class::Consensus).is_ok());
}

#[test]
fn json_is_read_strictly() {
    let json = serde_json::to_string(Genesis::new(file()).unwrap().file()).unwrap();
    assert_eq!(Genesis::from_json(&json).unwrap(), Genesis::new(file()).unwrap());
    for (from, to) in [
        ("\"allow_seed\"", "\"allow_sead\""),
        ("\"pipeline\"", "\"pipelines\""),
        ("\"power\"", "\"powers\""),
        ("dtvn-vectors", "DTVN"),
        ("\"v1\"", "\"v 1\""),
        ("{", "["),
    ] {
        let broken = json.replacen(from, to, 1);
        assert_ne!(broken, json);
        assert!(matches!(Genesis::from_json(&broken), Err(GenesisError::Syntax(_))), "{to}");
    }
    let short = json.replace(&key_pair(0).public().to_string(), "00ff");
    assert!(matches!(Genesis::from_json(&short), Err(GenesisError::Syntax(_))));
}

#[test]
fn a_short_genesis_takes_the_defaults() {
    let key = key_pair(0).public();
    let json = format!(
        "{{\"chain_id\": \"small\", \"time\": 1767225600000000, \"validators\": [{{\"name\": \"a\", \"public_key\": \"{key}\"}}]}}"
    );
    let genesis = Genesis::from_json(&json).unwrap();
    assert_eq!(genesis.parameters(), &ConsensusParameters::default());
    assert_eq!(genesis.validators().power(ValidatorIndex(0)), 1);
    assert_eq!(genesis.file().events, [event("default")]);
    assert!(!genesis.file().allow_seed);
}

#[test]
fn a_chain_begins_on_what_it_continues() {
    let plain = Genesis::new(file()).unwrap();
    assert_eq!((plain.base(), plain.base_log()), (Height(0), (0, merkle::empty_root())));
    let continued = Genesis::new(GenesisFile { continues: Some(continuation()), ..file() }).unwrap();
    assert_eq!((continued.base(), continued.base_log()), (Height(300), (1_000, Digest([4; 32]))));
    let json = serde_json::to_string(continued.file()).unwrap();
    assert_eq!(Genesis::from_json(&json).unwrap(), continued);
    assert!(matches!(Genesis::from_json(&json.replace("log_root", "log_rot")), Err(GenesisError::Syntax(_))));
    type Change = fn(&mut Continuation);
    let changes: [Change; 7] = [
        |it| it.chain_id = ChainId::new("another").unwrap(),
        |it| it.genesis_hash = Digest([9; 32]),
        |it| it.height = Height(301),
        |it| it.block = Digest([9; 32]),
        |it| it.state_root = Digest([9; 32]),
        |it| it.log_size = 1_001,
        |it| it.log_root = Digest([9; 32]),
    ];
    let mut hashes = BTreeSet::from([plain.hash(), continued.hash()]);
    for change in changes {
        let mut other = continuation();
        change(&mut other);
        assert!(hashes.insert(Genesis::new(GenesisFile { continues: Some(other), ..file() }).unwrap().hash()));
    }
}

#[test]
fn the_hash_covers_everything_but_addresses() {
    let hash = |change: &dyn Fn(&mut GenesisFile)| {
        let mut file = file();
        change(&mut file);
        Genesis::new(file).unwrap().hash()
    };
    let base = hash(&|_| {});
    assert_eq!(hash(&|file| file.validators[0].addresses = vec!["/dns4/a/tcp/1".to_owned()]), base);
    assert_eq!(hash(&|file| file.events = vec![event("default")]), base, "`default` always exists");
    let in_order = hash(&|file| file.events = vec![event("a"), event("b")]);
    assert_eq!(hash(&|file| file.events = vec![event("b"), event("a")]), in_order);
    let changes: [&dyn Fn(&mut GenesisFile); 18] = [
        &|file| file.chain_id = ChainId::new("other").unwrap(),
        &|file| file.time.0 += 1,
        &|file| file.validators.swap(0, 1),
        &|file| file.validators[0].power = 2,
        &|file| file.validators.truncate(3),
        &|file| file.events = vec![event("gala")],
        &|file| file.events = vec![EventPolicy { auto_issue: true, ..event("default") }],
        &|file| file.allow_seed = true,
        &|file| file.consensus.view_timeout_ms += 1,
        &|file| file.consensus.view_timeout_cap_ms += 1,
        &|file| file.consensus.pipeline += 1,
        &|file| file.consensus.checkpoint_interval += 1,
        &|file| file.consensus.log_window += 1,
        &|file| file.consensus.rotation_interval += 1,
        &|file| file.consensus.rotation_time_ms += 1,
        &|file| file.consensus.retain_blocks += 1,
        &|file| file.consensus.key_retention_ms += 1,
        &|file| file.consensus.recovery_interval_ms += 1,
    ];
    let mut hashes: BTreeSet<Digest> = [base].into();
    for (number, change) in changes.into_iter().enumerate() {
        assert!(hashes.insert(hash(change)), "change {number} is not in the hash");
    }
    assert!(hashes.insert(hash(&|file| file.consensus.max_clock_drift_ms += 1)));
}

#[test]
fn the_development_network_is_a_function_of_its_options() {
    let of = |count, seed, auto_issue| Genesis::development(count, seed, auto_issue).unwrap();
    let base = of(4, "seed", false);
    assert_eq!(base, of(4, "seed", false));
    let hashes = [base.hash(), of(5, "seed", false).hash(), of(4, "other", false).hash(), of(4, "seed", true).hash()];
    assert_eq!(BTreeSet::from(hashes).len(), 4);
    let chains = [&base, &of(4, "other", false), &of(4, "seed", true)].map(|genesis| genesis.chain_id().clone());
    assert_eq!(BTreeSet::from(chains).len(), 3, "networks that differ have chain ids that differ");
    assert!(base.file().allow_seed);
    assert_eq!(base.file().events, [event("default")]);
    assert!(Genesis::development(0, "seed", false).is_err());
    assert!(Genesis::development(limits::VALIDATORS_MAX, "seed", false).is_ok());
    assert!(Genesis::development(limits::VALIDATORS_MAX + 1, "seed", false).is_err());
    let node0 = of(1, crypto::DEVELOPMENT_SEED, false).validators().key(ValidatorIndex(0)).unwrap();
    assert_eq!(node0, KeyPair::from_seed(&sha256(&[b"dtvn-validator-key-v1node0"]).0).public());
}
