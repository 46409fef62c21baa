//! Real inputs: what four nodes say and write while tickets are issued, validated and refused, a leader dies, and a node
//! comes back that was away.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::ops::Range;
use std::sync::Arc;

use dtvn_client::api::{
    BatchAnswer, EpochInfo, Epochs, EvidencePage, EvidenceRecord, Kind, Member, OperationRequest, Problem,
    ProposedChange, encode_answers, encode_requests,
};
use dtvn_fuzzing::targets::{
    client, initial, layouts::layout_choice, log as targets_log, receipts, snapshots, trusted,
};
use dtvn_messages::chronicle::Chronicle;
use dtvn_messages::snapshot::{decode_entries, encode_entries};
use dtvn_messages::state::{EndLeaf, StateProof};
use dtvn_messages::wire::{Class, PeerMessage, encode};
use dtvn_messages::*;
use dtvn_pbft::Record;
use dtvn_replication::initial::continue_chain;
use dtvn_replication::log::{Log, LogIdentity, MemoryDisk, RecordNumber, SegmentNumber};
use dtvn_replication::node::Media;
use dtvn_replication::record::LogRecord;

use crate::harness::{LOG_LIMITS, Network, SEED, issue, validate};
use crate::specimens;

/// Inputs by target and kind.
#[derive(Default)]
pub struct Recorded(BTreeMap<&'static str, BTreeMap<String, BTreeSet<Vec<u8>>>>);

impl Recorded {
    pub fn add(&mut self, target: &'static str, kind: &str, input: Vec<u8>) {
        self.0.entry(target).or_default().entry(kind.to_owned()).or_default().insert(input);
    }

    /// With the byte that chooses one of several decoders in front.
    pub fn choose(&mut self, target: &'static str, kind: &str, choice: u8, input: &[u8]) {
        self.add(target, kind, [&[choice], input].concat());
    }

    /// The same, by the name of the decoder in the target's table.
    pub fn named<T>(&mut self, target: &'static str, table: &[(&str, T)], kind: &str, input: &[u8]) {
        let choice = table.iter().position(|(name, _)| *name == kind).unwrap();
        self.choose(target, kind, u8::try_from(choice).unwrap(), input);
    }

    pub fn layout<T: Layout>(&mut self, kind: &str, value: &T) {
        self.choose("layouts", kind, layout_choice(kind).unwrap(), &value.to_bytes());
    }

    /// Some of each kind: the shortest, the longest, and what is between.
    pub fn of(&self, target: &str, each: usize) -> Vec<(String, Vec<u8>)> {
        let mut chosen = Vec::new();
        for (kind, inputs) in self.0.get(target).into_iter().flatten() {
            let mut sorted: Vec<_> = inputs.iter().filter(|input| input.len() < 48 * 1_024).collect();
            sorted.sort_by_key(|input| input.len());
            let step = sorted.len().div_ceil(each).max(1);
            let mut picked: BTreeSet<_> = sorted.iter().copied().step_by(step).collect();
            picked.extend(sorted.last().copied());
            chosen.extend(picked.into_iter().map(|input| (kind.clone(), input.clone())));
        }
        chosen
    }
}

pub fn network(recorded: &mut Recorded) {
    let mut network = Network::new(4);
    network.submit(0, 1, issue("A", 1));
    network.submit(1, 2, issue("Ticket with é票", 2));
    network.run();
    for number in 3..20 {
        let node = number as usize % 4;
        network.submit(node, number, issue(&format!("T{number}"), number));
        network.submit((node + 1) % 4, 100 + number, validate("A", 100 + number));
        network.run_for(100_000);
    }
    network.run();
    let genesis = Arc::clone(&network.genesis);
    let away = network.kill(0);
    for number in 20..26 {
        network.submit(1, number, validate(&format!("T{}", number - 10), number));
        network.run();
    }
    network.run_for(5_000_000);
    media(recorded, &away, &genesis, "node0");
    network.start(0, away);
    network.run_for(5_000_000);
    let last = network.kill(1);
    media(recorded, &last, &genesis, "node1");
    assert!(network.accepted().len() > 20, "the network works");
    continued(recorded, &genesis, &last);
    for message in network.all_said() {
        message_of(recorded, message);
    }
}

/// Four nodes that keep few blocks. One comes back too late for those; and once it has lost its memory.
pub fn late(recorded: &mut Recorded) {
    assert_eq!(SEED, trusted::KEY_SEED, "manifests are checked with the keys of this network");
    for forgets in [false, true] {
        let mut network = Network::with(4, |parameters| {
            parameters.log_window = 12;
            parameters.retain_blocks = 12;
        });
        work(&mut network, 0..30, 4);
        let left = network.kill(3);
        work(&mut network, 40..80, 3);
        let media = if forgets { Media { used_before: true, ..network.new_media() } } else { left };
        network.start(3, media);
        network.run();
        work(&mut network, 80..90, 3);
        network.run();
        assert!(!network.installed.is_empty(), "it has taken a snapshot over");
        for message in network.all_said() {
            message_of(recorded, message);
        }
        let stored = network.node(0).store().load();
        stored.image.membership.into_iter().for_each(|membership| recorded.layout("membership", &*membership));
    }
}

/// Issues tickets at the first nodes in turn, one block each.
fn work(network: &mut Network, numbers: Range<u64>, nodes: u64) {
    for number in numbers {
        network.submit((number % nodes) as usize, number, issue(&format!("T{number}"), number));
        network.run_for(60_000);
    }
}

/// What the network may not have said.
pub fn made(recorded: &mut Recorded) {
    for message in specimens::messages() {
        message_of(recorded, &message);
    }
    for (part, entries) in specimens::parts() {
        let input = snapshots::part_input(&part, &encode_entries(&entries));
        recorded.named("snapshots", snapshots::PIECES, "part", &input);
    }
    specimens::entries().iter().for_each(|entry| recorded.layout("entry", entry));
    recorded.layout("membership", &specimens::membership());
    recorded.layout("change", &specimens::change());
    let kept_from = LogRecord::KeptFrom(SegmentNumber(3)).encode();
    recorded.choose("log_record", &format!("kind{}", kept_from.kind), kept_from.kind, &kept_from.payload);
    let [left, right] = [[1; 32], [2; 32]].map(Digest);
    recorded.layout("state-proof", &StateProof { siblings: vec![left, right], end: None });
    let end = Some(EndLeaf { path: left, entry: right });
    recorded.layout("state-proof", &StateProof { siblings: vec![right], end });
}

/// A chain that goes on with what a node leaves on its disk.
fn continued(recorded: &mut Recorded, genesis: &Genesis, media: &Media<MemoryDisk>) {
    let mut file = genesis.file().clone();
    file.chain_id = ChainId::new("goes-on").unwrap();
    file.time = file.time.plus_micros(3_600_000_000);
    let (genesis, state, _) = continue_chain(genesis, media.store.load(), file).unwrap();
    let mut bytes = Vec::new();
    state.write(&genesis, &mut bytes).unwrap();
    let genesis = serde_json::to_vec(genesis.file()).unwrap();
    recorded.add("initial_state", "continued", initial::input(&genesis, &bytes));
    recorded.add("genesis", "continued", genesis);
}

fn message_of(recorded: &mut Recorded, message: &PeerMessage) {
    let class = match message.class() {
        Class::Consensus => 0,
        Class::Bundles => 1,
        Class::Sync => 2,
    };
    recorded.choose("wire", message.name(), class, &encode(message).unwrap());
    match message {
        PeerMessage::PrePrepare(proposal) => {
            recorded.layout("block", &*proposal.block);
            recorded.layout("header", &proposal.block.header);
        }
        PeerMessage::Vote(vote) => recorded.layout("vote", vote),
        PeerMessage::Checkpoint(vote) => recorded.layout("checkpoint", vote),
        PeerMessage::ViewChange(signed) => recorded.layout("view-change", &**signed),
        PeerMessage::NewView(signed) => recorded.layout("new-view", &**signed),
        PeerMessage::Recover(signed) => recorded.layout("recovery", &**signed),
        PeerMessage::EpochEnd(end) => recorded.layout("epoch-end", &**end),
        PeerMessage::Cosign(heads) => heads.iter().for_each(|signed| recorded.layout("head", signed)),
        PeerMessage::Receipts(list) => list.iter().for_each(|certificate| recorded.layout("receipt", certificate)),
        PeerMessage::Evidence(evidence) => {
            recorded.layout("evidence", &**evidence);
            recorded.add("evidence", evidence.kind().name(), evidence.to_bytes());
        }
        PeerMessage::Snapshot(_) => {
            let frame = encode(message).unwrap();
            recorded.named("snapshots", snapshots::PIECES, "manifest", &frame);
            // A manifest for one who is in a later epoch already is none that is archived.
            if snapshots::is_archived(&frame) {
                recorded.named("snapshots", snapshots::PIECES, "archived", &frame);
            }
        }
        PeerMessage::Part { part, entries, .. } => {
            recorded.named("snapshots", snapshots::PIECES, "part", &snapshots::part_input(part, entries));
            decode_entries(entries).unwrap().iter().for_each(|entry| recorded.layout("entry", entry));
        }
        PeerMessage::Bundle(bytes) => {
            let bundle = Bundle::from_bytes(bytes, &ChainId::new("any").unwrap()).unwrap();
            recorded.add("bundle", "bundle", bytes.to_vec());
            recorded.layout("bundle-body", &bundle.body);
            bundle.body.operations.iter().for_each(|operation| recorded.layout("operation", operation));
        }
        _ => {}
    }
}

/// What a node leaves on its disk.
fn media(recorded: &mut Recorded, media: &Media<MemoryDisk>, genesis: &Genesis, node: &str) {
    let chain = genesis.chain_id().clone();
    let identity = LogIdentity::new(&chain, &node.parse().unwrap(), &genesis.hash());
    let mut records = Vec::new();
    let mut visit = |_, kind: u8, payload: &[u8]| {
        records.push((kind, payload.to_vec()));
        Ok::<_, Infallible>(())
    };
    Log::open(media.disk.clone(), identity, LOG_LIMITS, &mut visit).unwrap();
    assert!(records.len() > 20, "{} records", records.len());
    for (kind, payload) in &records {
        let name = format!("kind{kind}");
        recorded.choose("log_record", &name, *kind, payload);
        if let LogRecord::Replica(record) = LogRecord::decode(*kind, payload, &chain).unwrap() {
            match record {
                Record::Prepared(prepared) => {
                    recorded.layout("prepared", &*prepared);
                    recorded.layout("certificate", &prepared.certificate);
                }
                Record::Stable(stable) => recorded.layout("stable", &*stable),
                Record::Committed { block, certificate: Some(certificate) } => {
                    let header = block.header.clone();
                    recorded.layout("committed", &CommittedProof { header, certificate });
                }
                _ => {}
            }
        }
    }
    segments(recorded, &records);
    let image = media.store.load().image;
    for ticket in image.tickets {
        recorded.layout("ticket", &*ticket);
        recorded.layout("clock", &ticket.vector_clock);
    }
    let mut first: Vec<_> = image.keys.iter().map(|entry| &*entry.outcome).filter(|it| it.index < 2).collect();
    first.sort_by_key(|outcome| outcome.index);
    if let [first, second] = first[..] {
        texts_of(recorded, &specimens::receipt(first, second));
    }
    let mut answers = Vec::new();
    for outcome in image.keys.into_iter().map(|entry| entry.outcome) {
        recorded.layout("outcome", &*outcome);
        recorded.layout("verdict", &outcome.verdict);
        answers.push(BatchAnswer::from(&*outcome));
        if answers.len().is_multiple_of(5) {
            recorded.choose("request_bincode", "answers", 1, &encode_answers(&answers).unwrap());
        }
    }
}

/// A receipt, and what it consists of and is judged by.
fn texts_of(recorded: &mut Recorded, receipt: &Receipt) {
    let genesis = trusted::genesis();
    let text = |recorded: &mut Recorded, kind: &str, text: &str| {
        recorded.named("receipts", receipts::TEXTS, kind, text.as_bytes());
    };
    text(recorded, "receipt", &receipt.to_text());
    text(recorded, "note", &receipt.checkpoint.to_text());
    text(recorded, "checkpoint", &receipt.checkpoint.text);
    text(recorded, "policy", &policy::of_set(genesis.chain_id(), genesis.validators()).unwrap());
    for (_, validator) in genesis.validators().iter() {
        let name = head::cosigner_name(genesis.chain_id(), &validator.name);
        text(recorded, "verifier-key", &note::verifier_key(&name, &validator.public_key));
    }
}

/// The same records in a log of small segments.
fn segments(recorded: &mut Recorded, records: &[(u8, Vec<u8>)]) {
    let disk = MemoryDisk::new();
    let mut log = Log::create(disk, targets_log::identity(), targets_log::LIMITS).unwrap();
    let mut last = RecordNumber(0);
    for (number, (kind, payload)) in records.iter().take(150).enumerate() {
        if payload.len() < targets_log::LIMITS.payload_bytes_max() {
            last = log.append(*kind, payload).unwrap().number;
        }
        if number % 7 == 0 {
            log.commit().unwrap();
        }
        if [1, 20, 149].contains(&number) {
            log.commit().unwrap();
            let disk = log.into_disk();
            let names: Vec<_> = (1..=3).map(|number| format!("{number:016}.segment")).collect();
            let files: Vec<_> = names.iter().map(|name| disk.contents(name)).filter(|file| !file.is_empty()).collect();
            if files.len() <= 2 || number == 149 {
                recorded.add("log_segments", "log", files.into_iter().take(3).flatten().collect());
            }
            let visit = |_, _: u8, _: &[u8]| Ok::<_, Infallible>(());
            log = Log::open(disk, targets_log::identity(), targets_log::LIMITS, visit).unwrap().0;
        }
    }
    assert!(last > RecordNumber(10));
}

pub fn texts(recorded: &mut Recorded) {
    let genesis = Genesis::development(4, "a seed", true).unwrap();
    recorded.add("genesis", "development", serde_json::to_vec_pretty(genesis.file()).unwrap());
    recorded.layout("validators", genesis.validators());
    let names = [
        ("chain", "dtvn-dev-4"),
        ("node", "node0"),
        ("event", "default"),
        ("ticket", "TICKET-001"),
        ("ticket", "Reihe 7 é票"),
        ("key", "0123456789abcdef-ABCDEF"),
        ("digest", "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"),
        ("public-key", "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"),
        ("time", "2026-01-01T00:00:00.120000Z"),
        ("time", "2026-01-01T02:00:00+02:00"),
    ];
    for (kind, text) in names {
        recorded.named("names", client::NAMES, kind, text.as_bytes());
    }
    requests(recorded);
    answers(recorded);
}

/// What a node answers, and a change of the validators that it is asked for.
fn answers(recorded: &mut Recorded) {
    let genesis = trusted::genesis();
    let set = genesis.validators();
    let name = |index| set.get(index).unwrap().name.clone();
    let change = specimens::change();
    let signatures = change.signatures.0.iter().map(|(signer, signature)| (name(*signer), *signature));
    let proposed = ProposedChange {
        chain_id: genesis.chain_id().clone(),
        epoch: change.epoch,
        replaces: change.replaces,
        validators: set.iter().map(|(_, validator)| Member::from(validator)).collect(),
        signatures: signatures.collect(),
        idempotency_key: Some(IdempotencyKey::new("0123456789abcdef").unwrap()),
    };
    assert_eq!(proposed.clone().drop_forged(set), Ok(Vec::new()), "its signatures hold");
    recorded.choose("request_json", "change", 4, &serde_json::to_vec(&proposed).unwrap());
    let mut answer = |kind: &str, json: serde_json::Result<Vec<u8>>| {
        recorded.named("answers", client::ANSWERS, kind, &json.unwrap());
    };
    answer("problem", serde_json::to_vec(&Problem::new(Reason::AlreadyConsumed, "it was used at the north gate")));
    let [first, second] = [Epoch(0), Epoch(1)].map(specimens::epoch_end);
    let epochs = vec![
        EpochInfo::new(Epoch(0), Height(0), set, Some(&first)),
        EpochInfo::new(Epoch(1), first.height(), set, Some(&second)),
        EpochInfo::new(Epoch(2), second.height(), set, None),
    ];
    let (chain_id, genesis_hash) = (genesis.chain_id().clone(), genesis.hash());
    let epochs = Epochs { chain_id, genesis_hash, epochs, next: Some(2) };
    assert_eq!(epochs.lead(&mut Chronicle::new(genesis), genesis, &Ed25519), Ok(()));
    answer("epochs", serde_json::to_vec(&epochs));
    let evidence = specimens::evidence();
    let evidence = evidence.iter().map(|it| EvidenceRecord::new(it, name(it.culprit()))).take(3).collect();
    answer("evidence", serde_json::to_vec(&EvidencePage { evidence, next: None }));
}

fn requests(recorded: &mut Recorded) {
    let consume = r#"{"ticket_id":"TICKET-001","event":"default","data":"seat 4","gate":"north","device":"scanner-7",
        "seen":{"node0":3,"node1":1},"scanned_at":"2026-01-01T00:00:00Z","idempotency_key":"0123456789abcdef"}"#;
    let issue = r#"{"ticket_id":"VIP-1","data":"x","metadata":{"row":"7","seat":"\u00e9"},
        "valid_from":"2026-01-01T00:00:00Z","valid_until":"2026-01-02T00:00:00Z","gate":"desk","device":"d"}"#;
    recorded.choose("request_json", "ticket", 0, br#"{"ticket_id":"TICKET-001"}"#);
    recorded.choose("request_json", "ticket", 0, consume.as_bytes());
    recorded.choose("request_json", "issue", 1, issue.as_bytes());
    recorded.choose("request_json", "seed", 2, br#"{"event":"default","idempotency_key":"0123456789abcdef"}"#);
    let ticket = |text: &str| TicketId::new(text).unwrap();
    let mut of_issue: OperationRequest = serde_json::from_str(&issue.replacen('{', "{\"kind\":\"issue\",", 1)).unwrap();
    of_issue.idempotency_key = Some(IdempotencyKey::new("0123456789abcdef").unwrap());
    let requests = vec![
        OperationRequest::new(Kind::Validate, ticket("TICKET-001")),
        of_issue,
        OperationRequest::of_ticket(Kind::Consume, serde_json::from_str(consume).unwrap()),
        OperationRequest::seed(None, None),
    ];
    let json = serde_json::to_vec(&requests).unwrap();
    recorded.choose("request_json", "batch", 3, &json);
    recorded.choose("http_inputs", "batch", 0, &json);
    recorded.choose("request_bincode", "requests", 0, &encode_requests(&requests).unwrap());
    recorded.choose("request_bincode", "requests", 0, &encode_requests(&requests[..1]).unwrap());
}
