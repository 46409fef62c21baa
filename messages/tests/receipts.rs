//! Cosignatures, receipts and policies: test vectors, and what a fault in each place gives.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use common::*;
use dtvn_messages::head::{cosigned_text, cosigner_name, origin};
use dtvn_messages::merkle::{leaf_hash, node_hash};
use dtvn_messages::note::{NoteError, SignedNote, encode_base64, key_id, read_verifier_key, verifier_key};
use dtvn_messages::policy::{self, Policy};
use dtvn_messages::receipt::{ReceiptError, Verified, certificate_of_note};
use dtvn_messages::*;
use serde_json::{Value, json};

/// The outcome at index 1 of a log of three.
fn outcome() -> Outcome {
    Outcome {
        index: 1,
        height: Height(9),
        agreed_time: Timestamp(1_767_225_600_500_000),
        origin: NodeName::new("v1").unwrap(),
        key: IdempotencyKey::new("0123456789abcdef").unwrap(),
        payload: Digest([0x11; 32]),
        event: EventId::default_event(),
        action: 2,
        ticket: Some(TicketId::new("TICKET-001").unwrap()),
        verdict: Verdict::Accepted {
            version_before: 1,
            version_after: 2,
            state: Some(TicketState::Validated),
            tickets: 1,
        },
    }
}

/// A log of three leaves: `left`, the outcome, `right`.
fn head() -> Head {
    let pair = node_hash(&leaf_hash(b"left"), &outcome().leaf_hash());
    let header = Header { log_size: 3, log_root: node_hash(&pair, &leaf_hash(b"right")), ..header_at(9) };
    Head::of(&header, header.digest(&chain()))
}

fn certificate(signers: &[u16]) -> ReceiptCertificate {
    ReceiptCertificate { head: head(), signatures: signed_by(&head(), signers) }
}

fn receipt(signers: &[u16]) -> Receipt {
    Receipt {
        leaf: outcome().to_bytes(),
        index: 1,
        path: vec![leaf_hash(b"left"), leaf_hash(b"right")],
        checkpoint: certificate(signers).to_note(&chain(), &set_of(&[1, 1, 1, 1])),
    }
}

fn judge(receipt: &Receipt, set: &ValidatorSet) -> Result<Verified, ReceiptError> {
    receipt.verify(&chain(), |epoch| (epoch == Epoch(2)).then_some(set), &Ed25519)
}

fn verify(receipt: &Receipt) -> Result<Verified, ReceiptError> {
    judge(receipt, &set_of(&[1, 1, 1, 1]))
}

/// What somebody with `sha256sum` and `base64` alone can follow: the id of one key, from its parts.
fn derivation() -> Value {
    let name = cosigner_name(&chain(), &NodeName::new("v0").unwrap());
    let key = key_pair(0).public();
    let mut preimage = format!("{name}\n\u{4}").into_bytes();
    preimage.extend_from_slice(&key.0);
    assert_eq!(sha256(&[&preimage]).0[..4], key_id(&name, &key));
    json!({
        "name": name, "type": 4, "public_key": key, "preimage": hex::encode(&preimage),
        "sha256_of_preimage": sha256(&[&preimage]), "key_id": hex::encode(key_id(&name, &key)),
        "by_hand": "printf '%s' <preimage> | xxd -r -p | sha256sum | cut -c 1-8 is the key id; a signature line is an em \
                    dash, a space, the name, a space, and base64 of key id, time in 8 bytes, and signature",
        "verifier_key": verifier_key(&name, &key),
    })
}

#[test]
fn a_receipt_has_the_bytes_of_the_file_and_the_file_verifies() {
    let (head, signers) = (head(), [0, 2, 3]);
    let certificate = certificate(&signers);
    let set = set_of(&[1, 1, 1, 1]);
    let cosignatures: Value = certificate.signatures.0.iter().map(|(signer, signature)| {
        let key = key_pair(signer.0);
        json!({ "signer": signer, "seed": hex::encode(key.seed()), "public_key": key.public(), "signature": signature })
    }).collect();
    let found = json!({
        "chain_id": chain(), "origin": origin(&chain()), "epoch": head.epoch, "height": head.height, "block": head.block,
        "log_size": head.log_size, "log_root": head.log_root, "time_seconds": head.time_seconds,
        "checkpoint": head.checkpoint(&chain()),
        "signed_text": cosigned_text(head.time_seconds, &head.checkpoint(&chain())),
        "cosignatures": cosignatures, "note": certificate.to_note(&chain(), &set).to_text(),
        "certificate": hex::encode(certificate.to_bytes()),
        "receipt": receipt(&signers).to_text(), "policy": policy::of_set(&chain(), &set),
        "key_id_derivation": derivation(),
    });
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/receipts.json");
    let expected: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap_or_default()).unwrap_or_default();
    let text = serde_json::to_string_pretty(&found).unwrap();
    assert!(expected == found, "receipts are not what {path} says. This is what the code makes now:\n{text}");
    // From here on only what the file says.
    let text = |name: &str| expected[name].as_str().unwrap();
    let receipt = Receipt::parse(text("receipt")).unwrap();
    assert_eq!(receipt.to_text(), text("receipt"));
    let verified = verify(&receipt).unwrap();
    assert_eq!((verified.outcome, verified.head), (outcome(), head));
    assert_eq!((verified.cosigners, verified.power), (vec!["v0".into(), "v2".into(), "v3".into()], Some((3, 3))));
    let policy = Policy::parse(text("policy")).unwrap();
    let by_policy = receipt.verify_by_policy(&policy, &chain(), &Ed25519).unwrap();
    assert_eq!((by_policy.outcome, by_policy.power), (outcome(), None));
    let note = SignedNote::parse(text("note")).unwrap();
    assert_eq!(certificate_of_note(&note, &chain(), &set, &Ed25519), Ok(certificate));
}

#[test]
fn fewer_than_a_quorum_prove_nothing_and_powers_decide() {
    assert_eq!(verify(&receipt(&[0, 2])), Err(ReceiptError::TooFew { power: 2, quorum: 3 }));
    let heavy = set_of(&[5, 1, 1, 1]);
    assert_eq!(judge(&receipt(&[1, 2, 3]), &heavy), Err(ReceiptError::TooFew { power: 3, quorum: 6 }));
    assert_eq!(judge(&receipt(&[0, 3]), &heavy).unwrap().power, Some((6, 6)));
    let twice = {
        let mut receipt = receipt(&[0, 2]);
        receipt.checkpoint.signatures.push(receipt.checkpoint.signatures[0].clone());
        receipt
    };
    assert_eq!(verify(&twice), Err(ReceiptError::TooFew { power: 2, quorum: 3 }), "one signer counts once");
    assert_eq!(policy::of_set(&chain(), &heavy), None, "a policy cannot say powers");
    let policy = Policy::parse(&policy::of_set(&chain(), &set_of(&[1, 1, 1, 1])).unwrap()).unwrap();
    let two = receipt(&[0, 2]).verify_by_policy(&policy, &chain(), &Ed25519);
    assert_eq!(two, Err(ReceiptError::Policy("2 of 4".into())));
}

#[test]
fn a_policy_of_another_chain_with_the_same_keys_proves_nothing() {
    let elsewhere = ChainId::new("elsewhere").unwrap();
    let set = set_of(&[1, 1, 1, 1]);
    let policy = Policy::parse(&policy::of_set(&elsewhere, &set).unwrap()).unwrap();
    let mut receipt = receipt(&[0, 1, 2]);
    // The names of its keys are signed by nobody: anybody may write others.
    for (line, (_, validator)) in receipt.checkpoint.signatures.iter_mut().zip(set.iter()) {
        line.name = cosigner_name(&elsewhere, &validator.name);
        line.key_id = key_id(&line.name, &validator.public_key);
    }
    let judged = receipt.verify_by_policy(&policy, &chain(), &Ed25519);
    assert_eq!(judged, Err(ReceiptError::OtherPolicy { found: chain(), expected: "elsewhere".into() }));
    // A key that is no validator's has a name that says nothing about chains.
    let (name, key) = ("witness.example/w1", set.get(ValidatorIndex(0)).unwrap().public_key);
    let line = &mut receipt.checkpoint.signatures[0];
    (line.name, line.key_id) = (name.to_owned(), key_id(name, &key));
    let outside = Policy::parse(&format!("witness w {}\nquorum w\n", verifier_key(name, &key))).unwrap();
    assert_eq!(receipt.verify_by_policy(&outside, &chain(), &Ed25519).unwrap().cosigners, ["w"]);
}

#[test]
fn a_policy_that_asks_for_nothing_proves_nothing() {
    let policy = Policy::parse("quorum none\n").unwrap();
    assert_eq!(receipt(&[0, 1, 2]).verify_by_policy(&policy, &chain(), &Ed25519), Err(ReceiptError::NothingAsked));
}

#[test]
fn a_policy_asks_for_a_quorum_of_equal_powers() {
    for (powers, needed) in [(&[1; 4][..], 3), (&[1; 6], 5), (&[7; 4], 3), (&[2; 3], 3), (&[1], 1)] {
        let set = set_of(powers);
        let text = policy::of_set(&chain(), &set).unwrap();
        assert!(text.contains(&format!("group validators_quorum {needed} v0")), "{powers:?}: {text}");
        let parsed = Policy::parse(&text).unwrap();
        let first = |count: usize| parsed.is_met(|label| (0..count).any(|number| label == format!("v{number}")));
        assert!(first(needed) && !first(needed - 1), "{powers:?}");
    }
}

#[test]
fn lines_of_others_are_left_alone_and_a_bad_one_of_ours_is_not() {
    let mut with_witness = receipt(&[0, 1, 2]);
    let mut witness = with_witness.checkpoint.signatures[0].clone();
    witness.name = "witness.example/w1".into();
    with_witness.checkpoint.signatures.push(witness);
    let again = Receipt::parse(&with_witness.to_text()).unwrap();
    assert_eq!(verify(&again).unwrap().cosigners, ["v0", "v1", "v2"]);
    let mut bad = receipt(&[0, 1, 2, 3]);
    *bad.checkpoint.signatures[3].payload.last_mut().unwrap() ^= 1;
    assert_eq!(verify(&bad), Err(ReceiptError::BadSignature("dtvn/dtvn-vectors/v3".into())));
}

#[test]
fn one_changed_bit_anywhere_is_found() {
    let good = receipt(&[0, 1, 2]).to_text();
    assert!(verify(&Receipt::parse(&good).unwrap()).is_ok());
    let mut held = 0;
    for (at, _) in good.char_indices() {
        for bit in 0..7 {
            let mut bytes = good.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            let Ok(text) = String::from_utf8(bytes) else { continue };
            let Ok(receipt) = Receipt::parse(&text) else { continue };
            if let Ok(verified) = verify(&receipt) {
                // Only a line that names nobody known any more leaves the rest as it was; then too few are left.
                assert_eq!(verified.outcome, outcome(), "byte {at}, bit {bit}");
                held += 1;
            }
        }
    }
    assert_eq!(held, 0, "three of four are needed, so each line counts");
}

#[test]
fn a_leaf_that_is_not_there_is_refused() {
    let mut other = receipt(&[0, 1, 2]);
    other.leaf = Outcome { ticket: None, ..outcome() }.to_bytes();
    assert_eq!(verify(&other), Err(ReceiptError::Path));
    let mut moved = receipt(&[0, 1, 2]);
    moved.index = 2;
    assert_eq!(verify(&moved), Err(ReceiptError::Index { leaf: 1, proof: 2 }));
    let mut short = receipt(&[0, 1, 2]);
    short.path.pop();
    assert_eq!(verify(&short), Err(ReceiptError::Path));
    let unknown = receipt(&[0, 1, 2]).verify(&chain(), |_| None, &Ed25519);
    assert_eq!(unknown, Err(ReceiptError::Epoch(Epoch(2))));
    let elsewhere = ChainId::new("elsewhere").unwrap();
    let set = set_of(&[1, 1, 1, 1]);
    let foreign = receipt(&[0, 1, 2]).verify(&elsewhere, |_| Some(&set), &Ed25519);
    assert_eq!(foreign, Err(ReceiptError::OtherChain { found: chain(), expected: elsewhere }));
    let mut strange = receipt(&[0, 1, 2]);
    strange.checkpoint.text.insert_str(0, "another/");
    assert!(matches!(verify(&strange), Err(ReceiptError::Note(NoteError::Line { line: 1, .. }))), "no chain of ours");
}

#[test]
fn texts_have_one_form() {
    let good = receipt(&[0, 1, 2]).to_text();
    let bad = [
        good.replace("index 1", "index 01"),
        good.replace("index 1", "index +1"),
        good.replace("index 1", "index  1"),
        good.replace("\nindex", "\n\nindex"),
        good.replace("c2sp.org/tlog-proof@v1", "c2sp.org/tlog-proof@v2"),
        good.replace("height 9", "height 9 "),
        good.replace("height 9", "height 09"),
        good.replace("\n3\n", "\n03\n"),
        good.replace("epoch 2", "epoch 2\r"),
        good.replace("epoch 2\n", ""),
        good.replace('\u{2014}', "-"),
        good.trim_end().to_owned(),
        format!("{good}\n"),
        format!("{good}more"),
        String::new(),
    ];
    for (number, text) in bad.iter().enumerate() {
        let verified = Receipt::parse(text).map_err(ReceiptError::from).and_then(|receipt| verify(&receipt));
        assert!(matches!(verified, Err(ReceiptError::Note(_))), "{number}: {verified:?}");
    }
    let long = good.replace("extra ", &format!("extra {}", "A".repeat(limits::RECEIPT_BYTES_MAX)));
    assert!(matches!(Receipt::parse(&long), Err(NoteError::TooLong { .. })));
}

#[test]
fn keys_are_read_back_and_others_are_not() {
    let (name, key) = ("dtvn/c/v0", key_pair(0).public());
    let text = verifier_key(name, &key);
    assert_eq!(read_verifier_key(&text), Some((name, key)));
    let plain = encode_base64(&[&[1][..], &key.0].concat());
    for bad in [
        text.replacen("dtvn", "dtvm", 1),
        text[..text.len() - 1].to_owned(),
        format!("{name}+{}+{plain}", hex::encode(key_id(name, &key))),
        String::new(),
    ] {
        assert_eq!(read_verifier_key(&bad), None, "{bad}");
    }
}

#[test]
fn policies_are_read_strictly() {
    let key = |number| verifier_key(&format!("w{number}"), &key_pair(number).public());
    let witnesses = format!("witness a {}\nwitness b {}\nwitness c {}\n", key(0), key(1), key(2));
    let nested = format!("# who\n{witnesses}group ab any a b\n\ngroup all all ab c\nquorum all\n");
    let policy = Policy::parse(&nested).unwrap();
    let met = |given: &[&str]| policy.is_met(|label| given.contains(&label));
    assert!(met(&["a", "c"]) && met(&["b", "c"]) && !met(&["a", "b"]) && !met(&["c"]));
    assert!(Policy::parse("quorum none\n").unwrap().is_met(|_| false));
    for bad in [
        witnesses.clone(),
        format!("{witnesses}quorum d\n"),
        format!("quorum a\n{witnesses}"),
        format!("{witnesses}quorum a\nquorum b\n"),
        format!("{witnesses}witness d {}\nquorum a\n", key(0)),
        format!("{witnesses}witness a {}\nquorum a\n", key(3)),
        format!("{witnesses}group g 4 a b c\nquorum g\n"),
        format!("{witnesses}group g 0 a\nquorum g\n"),
        format!("{witnesses}group g 2 a a\nquorum g\n"),
        format!("{witnesses}group g any\nquorum g\n"),
        format!("{witnesses}group none any a\nquorum none\n"),
        format!("{witnesses}nonsense\nquorum a\n"),
    ] {
        assert!(Policy::parse(&bad).is_err(), "{bad}");
    }
}

#[test]
fn heads_that_one_validator_may_sign_are_consistent() {
    let low = head();
    let digest = |byte| Digest([byte; 32]);
    let high = Head { height: Height(10), block: digest(1), log_size: 5, log_root: digest(2), ..low };
    let empty = Head { height: Height(10), block: digest(1), ..low };
    for (left, right) in [(low, low), (low, high), (low, empty), (empty, high), (low, Head { epoch: Epoch(3), ..high })]
    {
        let right =
            if left.height == right.height && left != right { Head { height: Height(11), ..right } } else { right };
        let right = if left.block == right.block && left != right { Head { block: digest(9), ..right } } else { right };
        assert!(left.is_consistent_with(&right) && right.is_consistent_with(&left), "{left:?} {right:?}");
    }
    let contradictions = [
        Head { block: digest(1), ..low },
        Head { log_root: digest(1), ..low },
        Head { epoch: Epoch(3), ..low },
        Head { time_seconds: 1, ..low },
        Head { log_size: 2, ..high },
        Head { log_root: digest(2), ..empty },
        Head { epoch: Epoch(1), ..high },
        Head { time_seconds: 1, ..high },
        Head { block: low.block, ..high },
    ];
    for other in contradictions {
        assert!(!low.is_consistent_with(&other) && !other.is_consistent_with(&low), "{other:?}");
    }
}

#[test]
fn only_cosignatures_are_signed_without_a_tag_in_front() {
    let signed = [
        vote_for(&header_at(1), VoteKind::Prepare, 1).signed_bytes(&chain()),
        vote_for(&header_at(1), VoteKind::Commit, 1).signed_bytes(&chain()),
        header_at(1).signed_bytes(&chain()),
        Checkpoint {
            epoch: Epoch(0),
            height: Height(1),
            block: Digest::ZERO,
            state_root: Digest::ZERO,
            next_epoch: Epoch(0),
            next_set: Digest::ZERO,
        }
        .signed_bytes(&chain()),
        ViewChange { epoch: Epoch(0), view: View(1), stable: None, committed: None, prepared: Vec::new() }
            .signed_bytes(&chain()),
        NewView { epoch: Epoch(0), view: View(1), view_changes: Vec::new() }.signed_bytes(&chain()),
        BundleBody { epoch: Epoch(0), origin: ValidatorIndex(0), start: 1, number: 0, operations: Vec::new() }
            .signed_bytes(&chain()),
    ];
    assert!(head().signed_bytes(&chain()).starts_with(b"cosignature/v1\n"));
    for bytes in signed {
        assert_eq!(bytes[..3], [0; 3], "the length of the tag comes first");
        assert!(bytes[4..].starts_with(b"dtvn/"), "{}", String::from_utf8_lossy(&bytes[4..20]));
    }
}

/// Tags in the sources: none but COSIGN's begins as C2SP's do.
#[test]
fn no_other_tag_begins_like_those_of_c2sp() {
    let mut folders = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let (below, sources): (Vec<_>, Vec<_>) = paths.partition(|path| path.is_dir());
        folders.extend(below);
        files.extend(sources);
    }
    assert!(files.len() > 40, "{} files", files.len());
    for path in files {
        let source = std::fs::read_to_string(&path).unwrap();
        let tags = source
            .split('"')
            .skip(1)
            .step_by(2)
            .filter(|text| text.starts_with("cosignature/") || text.starts_with("subtree/"));
        for tag in tags {
            assert!(path.ends_with("head.rs") && tag.starts_with("cosignature/v1"), "{}: {tag}", path.display());
        }
    }
}
