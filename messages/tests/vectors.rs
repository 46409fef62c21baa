//! Test vectors for every signed or hashed layout, with their fields, for whoever writes a verifier in another language.
//! The files in `vectors/` are pinned: a difference means that old signatures and hashes no longer hold.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use std::sync::Arc;

use common::*;
use dtvn_messages::certificate::Signatures;
use dtvn_messages::genesis::{ConsensusParameters, EventPolicy, GenesisFile, GenesisValidator};
use dtvn_messages::membership::{Recovery, SignedRecovery, ValidatorsChange};
use dtvn_messages::ticket::{Metadata, Scan};
use dtvn_messages::*;
use serde_json::{Value, json};

fn check(file: &str, found: &Value) {
    let path = format!("{}/tests/vectors/{file}", env!("CARGO_MANIFEST_DIR"));
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    let expected: Value = serde_json::from_str(&expected).unwrap_or_default();
    assert!(
        expected == *found,
        "a signed or hashed layout is not what {path} says: other nodes and verifiers could not follow. If a layout was \
         changed on purpose, give it a new tag. This is what the code makes now:\n{}",
        serde_json::to_string_pretty(found).unwrap()
    );
}

fn header_json(header: &Header) -> Value {
    json!({
        "epoch": header.epoch, "rules_version": header.rules_version, "height": header.height,
        "parent": header.parent, "proposer": header.proposer, "proposed_in_view": header.proposed_in_view,
        "timestamp": header.timestamp, "bundles_root": header.bundles_root, "log_size": header.log_size,
        "log_root": header.log_root,
    })
}

fn vote_json(vote: &Vote) -> Value {
    let kind = if vote.kind == VoteKind::Prepare { "prepare" } else { "commit" };
    json!({ "kind": kind, "epoch": vote.epoch, "view": vote.view, "height": vote.height, "digest": vote.digest })
}

fn checkpoint_json(checkpoint: &Checkpoint) -> Value {
    json!({
        "epoch": checkpoint.epoch, "height": checkpoint.height, "block": checkpoint.block,
        "state_root": checkpoint.state_root, "next_epoch": checkpoint.next_epoch,
        "next_set": checkpoint.next_set,
    })
}

fn signatures_json(signatures: &Signatures) -> Value {
    signatures.0.iter().map(|(signer, signature)| json!({ "signer": signer, "signature": signature })).collect()
}

fn proof_json(header: &Header, certificate: &Certificate) -> Value {
    json!({
        "header": header_json(header), "vote": vote_json(&certificate.vote),
        "signatures": signatures_json(&certificate.signatures),
    })
}

/// A vector of a statement, signed by validator `signer` of the fixed network.
fn statement<T: Statement>(name: &str, body: &T, signer: u16, fields: Value) -> Value {
    let bytes = body.signed_bytes(&chain());
    let key = key_pair(signer);
    let signature = key.sign(&bytes);
    assert!(Ed25519.verify(&key.public(), &bytes, &signature));
    json!({
        "name": name, "tag": body.tag(), "chain_id": chain(), "fields": fields,
        "signed_bytes": hex::encode(&bytes), "digest": sha256(&[&bytes]),
        "signer_seed": hex::encode(key.seed()), "public_key": key.public(), "signature": signature,
    })
}

fn operation_json(operation: &Operation) -> Value {
    let action = match &operation.action {
        Action::Issue { ticket, data, metadata, valid_from, valid_until } => json!({
            "kind": 1, "ticket": ticket, "data": data, "metadata": metadata, "valid_from": valid_from,
            "valid_until": valid_until,
        }),
        Action::Validate { ticket, data } => json!({ "kind": 2, "ticket": ticket, "data": data }),
        Action::Consume { ticket, data } => json!({ "kind": 3, "ticket": ticket, "data": data }),
        Action::Dispute { ticket, reason } => json!({ "kind": 4, "ticket": ticket, "reason": reason }),
        Action::Seed => json!({ "kind": 5 }),
        Action::ChangeValidators(change) => json!({
            "kind": 6, "epoch": change.epoch, "replaces": change.replaces, "set": hex::encode(change.set.to_bytes()),
            "signatures": signatures_json(&change.signatures),
        }),
        Action::Recover(recovery) => json!({
            "kind": 7, "epoch": recovery.body.epoch, "validator": recovery.body.validator,
            "nonce": recovery.body.nonce.to_string(), "signature": recovery.signature,
        }),
    };
    json!({
        "key": operation.key, "valid_until": operation.valid_until, "event": operation.event,
        "gate": operation.gate, "device": operation.device, "scanned_at": operation.scanned_at,
        "seen": operation.seen, "action": action,
    })
}

/// One operation of each kind, with and without each optional part.
fn fixed_operations() -> Vec<Operation> {
    let ticket = || TicketId::new("TICKET-001").unwrap();
    let base = |number: u64, action| Operation {
        valid_until: Timestamp(1_767_225_660_000_000 + number),
        ..Operation::new(IdempotencyKey::new(&format!("key-{number:012}")).unwrap(), action)
    };
    let metadata = Metadata::from([("seat".into(), "A1".into()), ("price".into(), "150.00".into())]);
    let (valid_from, valid_until) = (Some(Timestamp(1)), Some(Timestamp(u64::MAX)));
    let data = Some("\u{e9}".into());
    vec![
        base(1, Action::Issue { ticket: ticket(), data, metadata, valid_from, valid_until }),
        Operation {
            gate: Some("north".into()),
            device: Some("scanner 7".into()),
            scanned_at: Some(Timestamp(1_767_225_600_000_000)),
            seen: Some([(NodeName::new("v1").unwrap(), 2), (NodeName::new("v0").unwrap(), 1)].into_iter().collect()),
            event: EventId::new("gala 2026").unwrap(),
            ..base(2, Action::Validate { ticket: ticket(), data: Some("scan".into()) })
        },
        base(3, Action::Consume { ticket: ticket(), data: None }),
        base(4, Action::Dispute { ticket: ticket(), reason: Some("torn".into()) }),
        base(5, Action::Seed),
        base(6, Action::ChangeValidators(Box::new(fixed_change()))),
        base(7, Action::Recover(Box::new(fixed_recovery()))),
    ]
}

/// From four validators to two of them, signed by three.
fn fixed_change() -> ValidatorsChange {
    let (replaces, set) = (set_of(&[1, 1, 1, 1]).hash(), set_of(&[1, 2]));
    let mut change = ValidatorsChange { epoch: Epoch(2), replaces, set, signatures: Signatures::default() };
    change.signatures = signed_by(&change.statement(), &[0, 1, 3]);
    change
}

fn fixed_recovery() -> SignedRecovery {
    let body = Recovery { epoch: Epoch(2), validator: NodeName::new("v2").unwrap(), nonce: Nonce([9; 16]) };
    let signature = key_pair(2).sign(&body.signed_bytes(&chain()));
    SignedRecovery { body, signature }
}

fn fixed_view_change() -> ViewChange {
    let proof = |height, kind, view, signers: &[u16]| {
        let header = header_at(height);
        let vote = vote_for(&header, kind, view);
        let signatures = signed_by(&vote, signers);
        (header, Certificate { vote, signatures })
    };
    let header = header_at(256);
    let checkpoint = fixed_checkpoint();
    let stable = StableCheckpoint { header, checkpoint, signatures: signed_by(&checkpoint, &[0, 1, 3]) };
    let (header, certificate) = proof(258, VoteKind::Commit, 6, &[1, 2, 3]);
    let committed = CommittedProof { header, certificate };
    let prepared = [(259, 6), (260, 7)].map(|(height, view)| {
        let (header, certificate) = proof(height, VoteKind::Prepare, view, &[0, 2, 3]);
        PreparedCertificate { header, certificate }
    });
    ViewChange {
        epoch: Epoch(2),
        view: View(8),
        stable: Some(stable),
        committed: Some(committed),
        prepared: prepared.to_vec(),
    }
}

fn fixed_checkpoint() -> Checkpoint {
    let header = header_at(256);
    Checkpoint {
        epoch: header.epoch,
        height: header.height,
        block: header.digest(&chain()),
        state_root: header.log_root,
        next_epoch: header.epoch,
        next_set: set_of(&[1, 1, 1, 1]).hash(),
    }
}

fn view_change_json(change: &ViewChange) -> Value {
    let stable = change.stable.as_ref().map(|stable| {
        json!({
            "header": header_json(&stable.header), "checkpoint": checkpoint_json(&stable.checkpoint),
            "signatures": signatures_json(&stable.signatures),
        })
    });
    let committed = change.committed.as_ref().map(|proof| proof_json(&proof.header, &proof.certificate));
    let prepared = change.prepared.iter().map(|proof| proof_json(&proof.header, &proof.certificate));
    json!({
        "epoch": change.epoch, "view": change.view, "stable": stable, "committed": committed,
        "prepared": prepared.collect::<Value>(),
    })
}

#[test]
fn statements_have_the_signed_bytes_and_signatures_of_the_file() {
    let header = header_at(257);
    let prepare = vote_for(&header, VoteKind::Prepare, 6);
    let commit = vote_for(&header, VoteKind::Commit, 6);
    let checkpoint = fixed_checkpoint();
    let change = fixed_view_change();
    change.verify(&chain(), &set_of(&[1, 1, 1, 1]), &Ed25519).unwrap();
    let first = ViewChange { epoch: Epoch(2), view: View(1), stable: None, committed: None, prepared: Vec::new() };
    let view_changes = [0, 2, 3].map(|signer| (ValidatorIndex(signer), sha256(&[&[signer as u8]])));
    let new_view = NewView { epoch: Epoch(2), view: View(8), view_changes: view_changes.to_vec() };
    let named: Value =
        view_changes.iter().map(|(signer, digest)| json!({ "signer": signer, "digest": digest })).collect();
    let bundle =
        BundleBody { epoch: Epoch(2), origin: ValidatorIndex(1), start: 3, number: 4, operations: fixed_operations() };
    let (change_of_set, recovery) = (fixed_change().statement(), fixed_recovery().body);
    let operations: Value = bundle.operations.iter().map(operation_json).collect();
    let vectors = json!([
        statement("prepare", &prepare, 0, vote_json(&prepare)),
        statement("commit", &commit, 1, vote_json(&commit)),
        statement("checkpoint", &checkpoint, 2, checkpoint_json(&checkpoint)),
        statement("view change with everything", &change, 3, view_change_json(&change)),
        statement("view change with nothing", &first, 3, view_change_json(&first)),
        statement("new view", &new_view, 0, json!({ "epoch": 2, "view": 8, "view_changes": named })),
        statement(
            "bundle",
            &bundle,
            1,
            json!({ "epoch": 2, "origin": 1, "start": 3, "number": 4, "operations": operations }),
        ),
        statement(
            "change of validators",
            &change_of_set,
            0,
            json!({ "epoch": 2, "replaces": change_of_set.replaces, "set": change_of_set.set }),
        ),
        statement(
            "recovery",
            &recovery,
            2,
            json!({ "epoch": 2, "validator": recovery.validator, "nonce": recovery.nonce.to_string() }),
        ),
    ]);
    check("statements.json", &vectors);
}

fn outcome_vectors() -> Value {
    let operation = &fixed_operations()[1];
    let refused = Outcome {
        index: 7,
        height: Height(9),
        agreed_time: Timestamp(1_767_225_600_500_000),
        origin: NodeName::new("v1").unwrap(),
        key: operation.key.clone(),
        payload: operation.payload_digest(),
        event: operation.event.clone(),
        action: operation.action.code(),
        ticket: operation.action.ticket().cloned(),
        verdict: Verdict::Refused {
            reason: Reason::AlreadyValidated,
            version: 2,
            state: Some(TicketState::Validated),
            first: Some(Arc::new(Scan {
                validator: NodeName::new("v0").unwrap(),
                gate: Some("north".into()),
                device: None,
                at: Timestamp(1_767_225_600_400_000),
                height: Height(8),
            })),
        },
    };
    let verdict =
        Verdict::Accepted { version_before: 1, version_after: 2, state: Some(TicketState::Validated), tickets: 1 };
    let accepted = Outcome { verdict, ..refused.clone() };
    let verdict = Verdict::Accepted { version_before: 0, version_after: 0, state: None, tickets: 500 };
    let seeded = Outcome { action: 5, ticket: None, verdict, ..refused.clone() };
    let fields = |outcome: &Outcome, verdict: Value| {
        json!({
            "index": outcome.index, "height": outcome.height, "agreed_time": outcome.agreed_time,
            "origin": outcome.origin, "key": outcome.key, "payload": outcome.payload, "event": outcome.event,
            "action": outcome.action, "ticket": outcome.ticket, "verdict": verdict,
        })
    };
    let scan = json!({
        "validator": "v0", "gate": "north", "device": null, "at": 1_767_225_600_400_000_u64, "height": 8,
    });
    let verdicts = [
        json!({ "refused": { "reason": 4, "version": 2, "state": 2, "first": scan } }),
        json!({ "accepted": { "version_before": 1, "version_after": 2, "state": 2, "tickets": 1 } }),
        json!({ "accepted": { "version_before": 0, "version_after": 0, "state": null, "tickets": 500 } }),
    ];
    let outcomes = [refused, accepted, seeded];
    let vector = |(outcome, verdict): (&Outcome, Value)| {
        json!({
            "fields": fields(outcome, verdict), "leaf": hex::encode(outcome.to_bytes()),
            "leaf_hash": outcome.leaf_hash(),
        })
    };
    outcomes.iter().zip(verdicts).map(vector).collect()
}

fn genesis_vector() -> Value {
    let set = set_of(&[1, 2, 3]);
    let validator = |validator: &Validator| GenesisValidator {
        name: validator.name.clone(),
        public_key: validator.public_key,
        power: validator.power,
        addresses: vec!["/ip4/127.0.0.1/tcp/4001".to_owned()],
    };
    let genesis = Genesis::new(GenesisFile {
        chain_id: chain(),
        time: Timestamp(1_767_225_600_000_000),
        rules_version: RulesVersion(1),
        validators: set.iter().map(|(_, member)| validator(member)).collect(),
        consensus: ConsensusParameters::default(),
        events: vec![EventPolicy { id: EventId::new("gala 2026").unwrap(), auto_issue: true }],
        allow_seed: true,
        continues: None,
    })
    .unwrap();
    assert_eq!(genesis.validators(), &set);
    json!({
        "genesis": genesis.file(), "genesis_hash": genesis.hash(),
        "validator_set": hex::encode(set.to_bytes()), "validator_set_hash": set.hash(),
    })
}

#[test]
fn hashes_are_those_of_the_file() {
    let payload = |operation: &Operation| {
        json!({
            "fields": operation_json(operation), "layout": hex::encode(operation.to_bytes()),
            "payload_digest": operation.payload_digest(),
        })
    };
    let bundles = [Digest([1; 32]), Digest([2; 32])];
    let header = header_at(257);
    let vectors = json!({
        "header": {
            "chain_id": chain(), "fields": header_json(&header), "hashed_bytes": hex::encode(header.signed_bytes(&chain())),
            "digest": header.digest(&chain()),
        },
        "outcomes": outcome_vectors(),
        "operations": fixed_operations().iter().map(payload).collect::<Value>(),
        "bundles_root": { "bundles": bundles, "root": block::bundles_root(&bundles) },
        "no_bundles_root": block::bundles_root(&[]),
        "network": genesis_vector(),
        "development": development_vectors(),
    });
    check("hashes.json", &vectors);
}

/// The development network's keys and genesis: a node started with the same options must get the same.
fn development_vectors() -> Value {
    let network = |count: usize, auto_issue: bool| {
        let genesis = Genesis::development(count, crypto::DEVELOPMENT_SEED, auto_issue).unwrap();
        let keys: Value = genesis.validators().iter().map(|(_, member)| json!(member.public_key)).collect();
        json!({
            "validators": count, "auto_issue": auto_issue, "chain_id": genesis.chain_id(), "public_keys": keys,
            "genesis_hash": genesis.hash(),
        })
    };
    json!([network(4, false), network(4, true), network(1, false)])
}
