//! Every decoder on its corpus and on some thousands of mutations of it, without libFuzzer.
//!
//! What comes from a network is recorded from one that runs (four whole nodes on one queue of events), at each run, and
//! what it happens not to say is made; so the mutations start from today's formats. `DTVN_FUZZ_RECORD=1 cargo test -p
//! dtvn-fuzzing --test replay no_decoder` writes that into the corpus, `DTVN_FUZZ_SEED` and `DTVN_FUZZ_MUTATIONS` choose
//! other and more mutations.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests")]

#[allow(dead_code, reason = "this is the harness of another test, of which a part is used here")]
#[path = "../../../../actors/replication/tests/node/harness.rs"]
mod harness;
mod recorded;
#[cfg(feature = "node")]
mod recorded_node;
mod specimens;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use dtvn_fuzzing::mutate::Mutator;
use dtvn_fuzzing::{Judged, TARGETS, Target, corpus, find};
use dtvn_messages::wire::{Class, WIRE_VERSION, decode};
use dtvn_messages::{Evidence, EvidenceKind};
use dtvn_replication::record::LogRecord;
use recorded::Recorded;

const MUTATIONS: u64 = 4_000;
/// A quarter of what a thread has if nobody says otherwise.
const STACK_BYTES: usize = 512 * 1024;
/// Of each kind of input so many are kept.
const EACH_KIND_MAX: usize = 3;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
}

fn recorded() -> Recorded {
    let mut recorded = Recorded::default();
    recorded::network(&mut recorded);
    recorded::late(&mut recorded);
    recorded::made(&mut recorded);
    recorded::texts(&mut recorded);
    #[cfg(feature = "node")]
    recorded_node::all(&mut recorded);
    recorded
}

/// Runs a target on an input; tells the input if that fails.
fn check(target: &Target, input: &[u8], what: &str) -> Judged {
    let judged = catch_unwind(AssertUnwindSafe(|| target.check(input)));
    judged.unwrap_or_else(|panic| {
        let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
        println!("{} failed on {what}, {} bytes: {hex}", target.name, input.len());
        resume_unwind(panic)
    })
}

#[test]
fn no_decoder_fails_on_recorded_or_mutated_inputs() {
    let (seed, mutations) = (setting("DTVN_FUZZ_SEED", 1), setting("DTVN_FUZZ_MUTATIONS", MUTATIONS));
    let recorded = recorded();
    for target in TARGETS {
        let fresh = recorded.of(target.name, EACH_KIND_MAX);
        assert!(!fresh.is_empty(), "nothing was recorded for {}", target.name);
        for (kind, input) in &fresh {
            assert_eq!(check(target, input, kind), Judged::Accepted, "{}: {kind} is a real one", target.name);
        }
        if std::env::var_os("DTVN_FUZZ_RECORD").is_some() {
            corpus::replace(target, &fresh).unwrap();
        }
        let kept = corpus::load(target).unwrap();
        let mut inputs: Vec<_> = fresh.into_iter().map(|(_, input)| input).collect();
        let mut stale = 0;
        for (name, input) in kept {
            stale += usize::from(check(target, &input, &name) == Judged::Refused && !name.starts_with("found-"));
            inputs.push(input);
        }
        if stale > 0 {
            println!(
                "{}: {stale} inputs of the corpus are of an older format; DTVN_FUZZ_RECORD=1 renews it",
                target.name
            );
        }
        let mut mutator = Mutator::new(seed, target.name);
        let mut accepted = 0;
        for number in 0..mutations {
            let input = mutator.next(&inputs);
            let judged = check(target, &input, &format!("mutation {number} of seed {seed}"));
            accepted += u64::from(judged == Judged::Accepted);
        }
        println!("{:16} {} inputs, {mutations} mutations, {accepted} of them accepted", target.name, inputs.len());
        // A mutator that only makes noise finds nothing behind the first check.
        assert!(accepted > 0, "{}: no mutation was accepted", target.name);
    }
}

/// Texts and bytes that open one thing within another: so deep that a decoder which called itself for each would need
/// more than the stack.
fn nested() -> Vec<Vec<u8>> {
    const DEEP: usize = 10_000;
    let openings = ["[", "{\"a\":", "[{\"a\":", "a={a=[", "a.", "[[a.", "((", "<<", "\u{1}", "\0"];
    let mut nested: Vec<Vec<u8>> = openings.iter().map(|opening| opening.repeat(DEEP).into_bytes()).collect();
    nested.push([&b"a = "[..], &b"[".repeat(DEEP), &b"]".repeat(DEEP)].concat());
    nested.push([&b"[".repeat(DEEP)[..], &b"]".repeat(DEEP)].concat());
    let within = |field: &str| [format!("{{\"{field}\":").as_bytes(), &b"[".repeat(DEEP)].concat();
    nested.extend(["ticket_id", "data", "seen", "metadata", "evidence", "nodes", "type", "x"].map(within));
    nested
}

/// No message and no file holds itself, and texts are read to a fixed depth: so a small stack is enough for any input. A
/// stack that is not ends the process.
#[test]
fn a_small_stack_is_enough_for_every_decoder_however_deep_an_input_nests() {
    let inputs = nested();
    let all = move || {
        for target in TARGETS {
            let choices = if target.choices > 1 { target.choices } else { 0 };
            for (number, input) in inputs.iter().enumerate() {
                let chosen = (0..choices).map(|choice| [&[choice as u8], &input[..]].concat());
                for input in chosen.chain([input.clone()]) {
                    check(target, &input, &format!("nested input {number}"));
                }
            }
        }
    };
    std::thread::Builder::new().stack_size(STACK_BYTES).spawn(all).unwrap().join().unwrap();
}

/// The inputs of the corpus that are accepted.
fn accepted(target: &Target) -> Vec<Vec<u8>> {
    let inputs = corpus::load(target).unwrap().into_iter().map(|(_, input)| input);
    inputs.filter(|input| target.check(input) == Judged::Accepted).collect()
}

const RENEW: &str =
    "DTVN_FUZZ_RECORD=1 cargo test -p dtvn-fuzzing --test replay no_decoder writes what is recorded and made";

#[test]
fn the_corpus_has_a_valid_input_for_every_choice_of_a_target() {
    for target in TARGETS.iter().filter(|target| target.choices > 1) {
        let met: BTreeSet<usize> =
            accepted(target).iter().map(|input| usize::from(input[0]) % target.choices).collect();
        let missing: Vec<usize> = (0..target.choices).filter(|choice| !met.contains(choice)).collect();
        assert!(missing.is_empty(), "{}: none for the choices {missing:?}; {RENEW}", target.name);
    }
}

#[test]
fn the_corpus_has_a_valid_message_of_every_kind() {
    // A kind is a number in a frame, right behind the version; the decoder alone has to be changed for another one.
    let is_known = |kind: &u8| match decode(&[WIRE_VERSION, *kind], Class::Consensus) {
        Err(error) => !error.to_string().contains("UnexpectedVariant"),
        Ok(_) => true,
    };
    let met: BTreeSet<u8> = accepted(find("wire").unwrap()).iter().map(|input| input[2]).collect();
    let missing: Vec<u8> = (0..=250).filter(is_known).filter(|kind| !met.contains(kind)).collect();
    assert!(
        missing.is_empty(),
        "none of the kinds {missing:?} of PeerMessage; make them in specimens.rs, then {RENEW}"
    );
}

#[test]
fn the_corpus_has_a_record_of_the_log_of_every_kind() {
    let chain = "any".parse().unwrap();
    let is_known = |kind: &u8| match LogRecord::decode(*kind, &[], &chain) {
        Err(error) => !error.to_string().contains("kind is not"),
        Ok(_) => true,
    };
    let met: BTreeSet<u8> = accepted(find("log_record").unwrap()).iter().map(|input| input[0]).collect();
    let known: BTreeSet<u8> = (0..=255).filter(is_known).collect();
    assert_eq!(met, known, "{RENEW}");
}

#[test]
fn the_corpus_has_evidence_of_every_kind() {
    let inputs = accepted(find("evidence").unwrap());
    let met: BTreeSet<EvidenceKind> = inputs.iter().map(|input| Evidence::decode(input).unwrap().kind()).collect();
    assert_eq!(met, BTreeSet::from(EvidenceKind::ALL), "{RENEW}");
}

#[test]
fn each_target_has_a_program_for_libfuzzer_a_corpus_and_a_line_in_the_readme() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    let readme = std::fs::read_to_string(folder.join("README.md")).unwrap();
    for target in TARGETS {
        let program = std::fs::read_to_string(folder.join(format!("fuzz_targets/{}.rs", target.name))).unwrap();
        assert!(program.contains(&format!("\"{}\"", target.name)), "{}", target.name);
        assert!(manifest.contains(&format!("name = \"{}\"", target.name)), "{}", target.name);
        assert!(readme.contains(&format!("| `{}` |", target.name)), "{}", target.name);
        assert!(!corpus::load(target).unwrap().is_empty(), "{}", target.name);
    }
}

#[test]
fn a_target_that_panics_or_hoards_is_found() {
    fn hoard(input: &[u8]) -> Judged {
        assert!(input.first() != Some(&7), "seven");
        let hoarded = vec![0_u8; usize::from(input.first().copied().unwrap_or(0)) * 1_024];
        Judged::of(&Ok::<_, ()>(hoarded))
    }
    let target = Target { name: "hoard", run: hoard, choices: 1, base_bytes: 2_048, factor: 16 };
    assert_eq!(target.check(&[1]), Judged::Accepted);
    assert!(catch_unwind(|| target.check(&[200])).is_err(), "200 KiB for one byte");
    assert!(catch_unwind(|| target.check(&[7])).is_err(), "its own panic comes through");
    assert_eq!(target.check(&[0]), Judged::Accepted, "and the next measurement is not disturbed");
}
