//! Real inputs: what four nodes say and write while tickets are issued, validated and refused, a leader dies, and a node
//! comes back that was away.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;

use dtvn_client::api::{BatchAnswer, Kind, OperationRequest, encode_answers, encode_requests};
use dtvn_fuzzing::targets::{client, initial, layouts::layout_choice, log as targets_log};
use dtvn_messages::wire::{Class, PeerMessage, encode};
use dtvn_messages::*;
use dtvn_pbft::Record;
use dtvn_replication::initial::continue_chain;
use dtvn_replication::log::{Log, LogIdentity, MemoryDisk, RecordNumber};
use dtvn_replication::node::Media;
use dtvn_replication::record::LogRecord;

use crate::harness::{LOG_LIMITS, Network, issue, validate};

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
        let choice = client::NAMES.iter().position(|(name, _)| *name == kind).unwrap();
        recorded.choose("names", kind, u8::try_from(choice).unwrap(), text.as_bytes());
    }
    requests(recorded);
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
