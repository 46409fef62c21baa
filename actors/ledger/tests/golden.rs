//! The golden history: 10,000 operations made by a fixed generator, whose roots must never change under one rules
//! version (architecture.md section 11).
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use common::*;
use dtvn_ledger::{Bounds, Ledger, OperationResult};
use dtvn_messages::genesis::RULES_VERSION;
use dtvn_messages::ticket::Metadata;
use dtvn_messages::{Action, Layout, Operation, Timestamp, Writer, sha256};

const OPERATIONS: usize = 10_000;

/// SplitMix64: the same numbers everywhere and for ever.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    fn text(&mut self, word: &str, variants: u64) -> Option<Box<str>> {
        let number = self.below(variants + 1);
        (number > 0).then(|| format!("{word} {number}").into())
    }
}

fn next_action(numbers: &mut Numbers, now: u64) -> Action {
    let ticket = if numbers.one_in(4) {
        ticket_id(&format!("TICKET-{:03}", 1 + numbers.below(500)))
    } else {
        ticket_id(&format!("T{}", numbers.below(700)))
    };
    match numbers.below(100) {
        0..30 => {
            let mut metadata = Metadata::new();
            for _ in 0..numbers.below(3) {
                metadata.insert(format!("fact {}", numbers.below(4)).into(), format!("{}", numbers.below(9)).into());
            }
            let data = numbers.text("data", 3);
            let valid_from = numbers.one_in(5).then(|| Timestamp(now + numbers.below(RETENTION)));
            let valid_until = numbers.one_in(5).then(|| Timestamp(now + numbers.below(2 * RETENTION)));
            Action::Issue { ticket, data, metadata, valid_from, valid_until }
        }
        30..65 => Action::Validate { ticket, data: numbers.text("scan", 4) },
        65..90 => Action::Consume { ticket, data: numbers.text("entry", 4) },
        90..99 => Action::Dispute { ticket, reason: numbers.text("doubt", 4) },
        _ => Action::Seed,
    }
}

fn next_operation(numbers: &mut Numbers, now: u64, past: &[Operation]) -> Operation {
    if numbers.one_in(20) && !past.is_empty() {
        let recent = past.len() - 1 - usize::try_from(numbers.below(past.len().min(400) as u64)).unwrap();
        let mut again = past[recent].clone();
        if numbers.one_in(3) {
            again.gate = Some("another gate".into());
        }
        return again;
    }
    let valid_for = match numbers.below(60) {
        0 => RETENTION + 1 + numbers.below(9),
        1 => RETENTION,
        2 => 0,
        _ => numbers.below(RETENTION),
    };
    let late = if numbers.one_in(60) { 1 + numbers.below(9) } else { 0 };
    let name = match numbers.below(20) {
        0..14 => "default",
        14..17 => "auto",
        17..19 => "gala",
        _ => "nowhere",
    };
    Operation {
        key: key(&format!("{:x}", numbers.next())),
        valid_until: Timestamp(if late > 0 { now - late } else { now + valid_for }),
        event: event(name),
        gate: numbers.text("gate", 5),
        device: numbers.text("device", 9),
        scanned_at: numbers.one_in(3).then(|| Timestamp(now - numbers.below(1_000))),
        seen: numbers.one_in(8).then(|| [(node("west"), 1 + numbers.below(3))].into_iter().collect()),
        action: next_action(numbers, now),
    }
}

/// Everything that the history must reproduce, as it is written in the file, and how often each kind of result came up.
/// With a reload from an image after every so many blocks.
fn history(restart_every: Option<u64>) -> (String, BTreeMap<&'static str, usize>) {
    let mut numbers = Numbers(1);
    let mut chain = Chain::new();
    let mut now = START;
    let mut past: Vec<Operation> = Vec::new();
    let mut kinds = BTreeMap::new();
    let mut text = format!("rules_version {RULES_VERSION}\n");
    let mut map = chain.ledger.image().state_map(&chain.genesis);
    let mut since = Vec::new();
    let Bounds { keys_max, tickets_bytes_max, .. } = Bounds::default();
    writeln!(text, "keys_max {keys_max} tickets_bytes_max {tickets_bytes_max}").unwrap();
    while past.len() < OPERATIONS {
        // Now and then nothing happens for so long that keys expire.
        now += if numbers.one_in(40) { RETENTION / 2 } else { 1 + numbers.below(RETENTION / 50) };
        let mut bundles = Vec::new();
        for _ in 0..numbers.below(4) {
            let length = (1 + numbers.below(30)).min((OPERATIONS - past.len()) as u64);
            let mut operations = Vec::new();
            for _ in 0..length {
                let operation = next_operation(&mut numbers, now, &past);
                past.push(operation.clone());
                operations.push(operation);
            }
            if !operations.is_empty() {
                bundles.push((u16::try_from(numbers.below(3)).unwrap(), operations));
            }
        }
        let effects = chain.block(now, bundles);
        for result in &effects.results {
            *kinds.entry(kind(result)).or_insert(0) += 1;
        }
        if restart_every.is_some_and(|every| effects.height.0.is_multiple_of(every)) {
            chain.reload(Bounds::default());
        }
        since.push(Arc::new(effects.clone()));
        if effects.height.0.is_multiple_of(100) {
            let root = effects.executed.log_root;
            map.apply(&std::mem::take(&mut since));
            writeln!(text, "height {} log_size {} log_root {root}", effects.height, effects.executed.log_size).unwrap();
            writeln!(text, "height {} state_root {}", effects.height, map.root()).unwrap();
        }
    }
    let tip = chain.ledger.root_at(chain.ledger.tip()).unwrap();
    writeln!(text, "operations {OPERATIONS}").unwrap();
    writeln!(text, "height {} log_size {} log_root {}", chain.ledger.tip(), tip.log_size, tip.log_root).unwrap();
    text.push_str(&state(&chain.ledger));
    let image = chain.ledger.image();
    map.apply(&since);
    assert_eq!(map.root(), image.state_root(&chain.genesis), "by blocks and from the image");
    writeln!(text, "entries {} state_root {}", map.len(), map.root()).unwrap();
    (text, kinds)
}

/// Hashes over the layouts of all tickets and of all keys that are held.
fn state(ledger: &Ledger) -> String {
    let image = ledger.image();
    let mut tickets = Writer::default();
    image.tickets.iter().for_each(|ticket| ticket.write(&mut tickets));
    let mut keys = Writer::default();
    for entry in &image.keys {
        entry.scope.write(&mut keys);
        entry.outcome.write(&mut keys);
    }
    let (tickets, keys) = (sha256(&[tickets.as_bytes()]), sha256(&[keys.as_bytes()]));
    format!("tickets {} {tickets}\nkeys {} {keys}\n", image.tickets.len(), image.keys.len())
}

fn kind(result: &OperationResult) -> &'static str {
    match result {
        OperationResult::Recorded(outcome) => outcome.verdict.refusal().map_or("accepted", |reason| reason.name()),
        OperationResult::Repeated(_) => "repeated",
        OperationResult::KeyReused { .. } => "key_reused",
    }
}

#[test]
fn the_golden_history_has_the_roots_of_its_rules_version() {
    let path = format!("{}/tests/golden/rules-{RULES_VERSION}.txt", env!("CARGO_MANIFEST_DIR"));
    let (found, _) = history(None);
    let Ok(expected) = std::fs::read_to_string(&path) else {
        panic!(
            "there is no golden history for rules version {RULES_VERSION}. If the rules were changed on purpose, keep \
             the files of older versions and write {path} with:\n{found}"
        );
    };
    assert!(
        found == expected,
        "the ledger computes other roots from the golden history than rules version {RULES_VERSION} did.\n\
         Nodes of both kinds would refuse each other's blocks. Either this is a mistake: undo it. Or it is a new rule: \
         raise RULES_VERSION in messages/src/genesis/mod.rs, let it take effect with an epoch only, and keep {path}.\n\
         expected:\n{expected}\nfound:\n{found}"
    );
}

#[test]
fn the_golden_history_reaches_every_rule() {
    let (_, kinds) = history(None);
    let wanted = [
        "accepted",
        "already_consumed",
        "already_issued",
        "already_validated",
        "disputed",
        "expired",
        "key_reused",
        "not_validated",
        "not_yet_valid",
        "operation_expired",
        "repeated",
        "unknown_event",
        "unknown_ticket",
        "wrong_event",
    ];
    for name in wanted {
        assert!(kinds.get(name).is_some_and(|count| *count >= 5), "{name}: {kinds:?}");
    }
}

#[test]
fn the_golden_history_is_the_same_with_a_restart_every_few_blocks() {
    assert_eq!(history(Some(7)).0, history(None).0);
}
