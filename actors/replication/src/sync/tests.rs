//! The planner, one input at a time.

mod epochs;
mod serving;
mod strangers;
mod useless;

use dtvn_ledger::{StateEntry, StateMap};
use dtvn_messages::certificate::Signatures;
use dtvn_messages::merkle::LogEdge;
use dtvn_messages::snapshot::{Manifest, encode_entries};
use dtvn_messages::state::Part;
use dtvn_messages::{
    Block, BundlePosition, Checkpoint, Epoch, Header, LastBundle, NodeName, RulesVersion, StableCheckpoint, Timestamp,
    View,
};

use super::*;

/// So many blocks each node keeps.
const RETAINED: u64 = 10_000;

/// A planner of validator 9 of ten.
fn planner() -> Sync {
    Sync::new(Epoch(0), (0..9).map(ValidatorIndex).collect(), (Height(0), RETAINED), BTreeSet::new())
}

fn ask(sync: &mut Sync, from: u64, to: u64, holders: &[u16]) -> Vec<Effect> {
    let holders = holders.iter().map(|holder| ValidatorIndex(*holder)).collect();
    step(sync, Input::Ask { from: Height(from), to: Height(to), holders })
}

fn step(sync: &mut Sync, input: Input) -> Vec<Effect> {
    let mut effects = Vec::new();
    sync.step(Now::default(), input, &mut effects);
    effects
}

/// A validator.
fn peer(index: u16) -> Peer {
    Peer::Validator(ValidatorIndex(index))
}

/// Whom of the validators a step asks, and for what.
fn asked(effects: &[Effect]) -> Option<(u16, u64, u64)> {
    effects.iter().find_map(|effect| match effect {
        Effect::Send { to: Peer::Validator(to), message: PeerMessage::SyncRequest { from, to: last } } => {
            Some((to.0, from.0, last.0))
        }
        _ => None,
    })
}

fn generation(effects: &[Effect]) -> u64 {
    let timers = effects.iter().rev().find_map(|effect| match effect {
        Effect::SetTimer { generation, .. } => Some(*generation),
        _ => None,
    });
    timers.unwrap()
}

#[test]
fn who_does_not_answer_is_followed_by_the_next_holder() {
    let mut sync = planner();
    let first = ask(&mut sync, 1, 9, &[2, 3]);
    assert_eq!(asked(&first), Some((2, 1, 9)));
    let second = step(&mut sync, Input::Timer { generation: generation(&first) });
    assert_eq!(asked(&second), Some((3, 1, 9)));
    assert_eq!(asked(&step(&mut sync, Input::Timer { generation: generation(&first) })), None, "an old timer");
    assert_eq!(asked(&step(&mut sync, Input::Faulty(peer(3)))), Some((2, 1, 9)));
}

#[test]
fn who_alone_has_it_and_lies_is_not_asked_again_and_again() {
    let mut sync = Sync::new(Epoch(0), (0..4).map(ValidatorIndex).collect(), (Height(0), RETAINED), BTreeSet::new());
    assert_eq!(asked(&ask(&mut sync, 1, 9, &[2])), Some((2, 1, 9)));
    let after_a_lie = asked(&step(&mut sync, Input::Faulty(peer(2)))).unwrap();
    assert_ne!(after_a_lie.0, 2);
    ask(&mut sync, 1, 12, &[after_a_lie.0]);
    let after_another = asked(&step(&mut sync, Input::Faulty(peer(after_a_lie.0)))).unwrap();
    assert_ne!(after_another.0, after_a_lie.0, "nor is what was asked for since");
}

#[test]
fn holders_that_are_known_later_are_asked_when_the_first_ones_are_gone() {
    let mut sync = planner();
    let first = ask(&mut sync, 2, 7, &[6]);
    assert_eq!(asked(&ask(&mut sync, 2, 15, &[0, 6])), None, "one request at a time");
    assert_eq!(asked(&ask(&mut sync, 3, 16, &[0, 1])), None);
    let second = step(&mut sync, Input::Timer { generation: generation(&first) });
    assert_eq!(asked(&second), Some((1, 3, 16)));
}

fn follow(sync: &mut Sync, from: u64) -> Vec<Effect> {
    step(sync, Input::Follow { from: Height(from), to: Height(from + 9) })
}

#[test]
fn who_follows_asks_one_after_the_other_and_each_once() {
    let mut sync = planner();
    let first = follow(&mut sync, 4);
    assert_eq!(asked(&first), Some((0, 4, 13)));
    assert_eq!(asked(&follow(&mut sync, 4)), None, "it waits for the answer");
    assert_eq!(asked(&step(&mut sync, Input::Timer { generation: generation(&first) })), None);
    assert!(!sync.is_fetching());
    assert_eq!(asked(&follow(&mut sync, 4)), Some((1, 4, 13)), "the next time another one");
}

#[test]
fn what_is_proved_does_not_wait_for_the_answer_to_a_guess() {
    let mut sync = planner();
    follow(&mut sync, 4);
    assert_eq!(asked(&ask(&mut sync, 4, 7, &[5])), Some((5, 4, 7)));
    assert_eq!(asked(&follow(&mut sync, 4)), None, "and gives way to none");
}

#[test]
fn an_answer_ends_with_the_last_block_that_has_a_certificate() {
    let none = |_| Ok::<_, std::convert::Infallible>(None);
    assert_eq!(serve(Height(1), Height(5), none), Ok(Vec::new()));
}

/// The header of a block of which nothing matters but its height.
pub(crate) fn header(height: u64) -> Header {
    Header {
        epoch: Epoch(0),
        rules_version: RulesVersion(1),
        height: Height(height),
        parent: Digest::ZERO,
        proposer: ValidatorIndex(0),
        proposed_in_view: View(0),
        timestamp: Timestamp(height),
        bundles_root: Digest::ZERO,
        log_size: 0,
        log_root: Digest::ZERO,
    }
}

/// A state of so many entries at a checkpoint, cut into small parts. Nothing is signed: that was checked before.
fn manifest(height: u64, entries: u64, salt: u64) -> (Arc<CheckedManifest>, StateMap) {
    let entry = |number: u64| {
        let position = BundlePosition { start: number, number: if number == 0 { salt } else { 0 } };
        let name = NodeName::new(&format!("n{number}")).unwrap();
        StateEntry::LastBundle(name, LastBundle { epoch: Epoch(0), position })
    };
    let map = StateMap::of((0..entries).map(entry));
    let header = header(height);
    let checkpoint = Checkpoint {
        epoch: Epoch(0),
        height: Height(height),
        block: Digest::ZERO,
        state_root: map.root(),
        next_epoch: Epoch(0),
        next_set: Digest::ZERO,
    };
    let stable = StableCheckpoint { header: header.clone(), checkpoint, signatures: Signatures(Vec::new()) };
    let block = Arc::new(Block { header, bundles: Vec::new() });
    let cut = map.cut(200);
    let parts = cut.parts(&map.root()).unwrap();
    let manifest =
        Manifest { stable: Arc::new(stable), block, certificate: None, cut, edge: Vec::new(), ends: Vec::new() };
    let manifest = Arc::new(manifest);
    (Arc::new(CheckedManifest { manifest, parts, edge: LogEdge::new(), ends: Vec::new() }), map)
}

fn now(ms: u64) -> Now {
    Now { monotonic_us: ms * 1_000, ..Now::default() }
}

fn step_at(sync: &mut Sync, ms: u64, input: Input) -> Vec<Effect> {
    let mut effects = Vec::new();
    sync.step(now(ms), input, &mut effects);
    effects
}

/// A planner that is far behind, whose first answer is this manifest; and what it asks for then.
fn fetching(checked: &Arc<CheckedManifest>) -> (Sync, Vec<Effect>) {
    let mut sync = planner();
    let effects = ask(&mut sync, 1, 1 + limits::SNAPSHOT_BEHIND_BLOCKS, &[2]);
    let from = manifest_asked(&effects).unwrap();
    let effects = step(&mut sync, Input::Manifest { from, checked: Arc::clone(checked) });
    (sync, effects)
}

fn manifest_asked(effects: &[Effect]) -> Option<Peer> {
    effects.iter().find_map(|effect| match effect {
        Effect::Send { to, message: PeerMessage::SnapshotRequest { .. } } => Some(*to),
        _ => None,
    })
}

fn parts_asked(effects: &[Effect]) -> Vec<(Peer, Height, Part)> {
    let asked = effects.iter().filter_map(|effect| match effect {
        Effect::Send { to, message: PeerMessage::PartRequest { height, part } } => Some((*to, *height, *part)),
        _ => None,
    });
    asked.collect()
}

fn answer(map: &StateMap, height: Height, part: Part) -> CheckedPart {
    let entries = map.part(&part, u64::MAX).unwrap();
    let hash = part.hash_of(&entries).unwrap();
    CheckedPart { height, part, hash, entries: Arc::new(encode_entries(&entries)) }
}

fn kept(effects: &[Effect]) -> usize {
    effects.iter().filter(|effect| matches!(effect, Effect::Keep(_))).count()
}

fn is_installing(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::Install(_)))
}

#[test]
fn one_who_is_far_behind_or_whose_blocks_are_collected_fetches_a_snapshot() {
    let mut sync = planner();
    let near = ask(&mut sync, 1, limits::SNAPSHOT_BEHIND_BLOCKS, &[2]);
    assert!(asked(&near).is_some() && manifest_asked(&near).is_none());
    let nothing = CheckedBlocks { blocks: Vec::new(), bundles: Vec::new() };
    let collected = step(&mut sync, Input::Blocks { from: peer(2), checked: nothing });
    assert!(manifest_asked(&collected).is_some());
    assert_eq!(asked(&ask(&mut sync, 1, 5, &[2])), None, "one thing at a time");
}

#[test]
fn one_who_has_more_blocks_than_it_lacks_fetches_those_that_follow_as_long_as_they_are_kept() {
    for (from, lacks, takes_a_state) in [
        (2 * RETAINED, RETAINED - 1, false),
        // The first of them is collected.
        (2 * RETAINED, RETAINED, true),
        // It would lose little, and be at the tip sooner.
        (limits::SNAPSHOT_BEHIND_BLOCKS, limits::SNAPSHOT_BEHIND_BLOCKS, true),
        (1 + limits::SNAPSHOT_BEHIND_BLOCKS, limits::SNAPSHOT_BEHIND_BLOCKS, false),
    ] {
        let effects = ask(&mut planner(), from, from + lacks, &[2]);
        assert_eq!(manifest_asked(&effects).is_some(), takes_a_state, "from {from}, {lacks} behind");
        assert_eq!(asked(&effects).is_some(), !takes_a_state);
    }
}

#[test]
fn parts_are_asked_of_several_peers_within_bounds() {
    let (checked, map) = manifest(256, 600, 0);
    assert!(checked.parts.len() > 2 * limits::SNAPSHOT_PARTS_ASKED_MAX);
    let (mut sync, effects) = fetching(&checked);
    let mut open = parts_asked(&effects);
    assert_eq!(open.len(), limits::SNAPSHOT_PARTS_ASKED_MAX);
    let mut finished = false;
    while let Some((to, height, part)) = open.pop() {
        let mut each = std::collections::BTreeMap::new();
        open.iter().for_each(|(to, ..)| *each.entry(*to).or_insert(0) += 1);
        assert!(each.values().all(|count| *count <= limits::SNAPSHOT_PARTS_PER_PEER), "{each:?}");
        let effects = step(&mut sync, Input::Part { from: to, part: answer(&map, height, part) });
        assert_eq!(kept(&effects), 1);
        open.extend(parts_asked(&effects));
        assert!(open.len() <= limits::SNAPSHOT_PARTS_ASKED_MAX);
        finished |= is_installing(&effects);
    }
    assert!(finished);
    assert_eq!(manifest_asked(&ask(&mut sync, 1, 9_999, &[2])), None, "it is being installed");
}

#[test]
fn a_part_that_is_not_the_certified_one_is_never_kept_and_its_sender_is_not_asked_again() {
    let (checked, map) = manifest(256, 600, 0);
    let (_, other) = manifest(256, 600, 7);
    let (mut sync, effects) = fetching(&checked);
    let (wrong, part_of_wrong) = {
        let differs = |(_, height, part): &&(Peer, Height, Part)| {
            answer(&map, *height, *part).hash != answer(&other, *height, *part).hash
        };
        let all = parts_asked(&effects);
        let mut open = all.clone();
        // Until the part that differs is asked for, answer in order.
        loop {
            if let Some((to, _, part)) = open.iter().find(differs).copied() {
                break (to, part);
            }
            let (to, height, part) = open.remove(0);
            let effects = step(&mut sync, Input::Part { from: to, part: answer(&map, height, part) });
            open.extend(parts_asked(&effects));
        }
    };
    let lie = answer(&other, Height(256), part_of_wrong);
    let effects = step(&mut sync, Input::Part { from: wrong, part: lie });
    assert_eq!(kept(&effects), 0);
    let blamed = |effect: &&Effect| matches!(effect, Effect::Blame { peer, .. } if *peer == wrong);
    assert_eq!(effects.iter().filter(blamed).count(), 1);
    let again = parts_asked(&effects);
    assert!(again.iter().any(|(to, _, part)| *part == part_of_wrong && *to != wrong), "{again:?}");
    assert!(again.iter().all(|(to, ..)| *to != wrong));
}

#[test]
fn who_answers_falsely_instead_of_with_a_manifest_is_followed_by_another_at_once() {
    let mut sync = planner();
    let first = manifest_asked(&ask(&mut sync, 1, 9_999, &[2])).unwrap();
    let other = if first == peer(0) { peer(1) } else { peer(0) };
    assert_eq!(manifest_asked(&step(&mut sync, Input::Faulty(other))), None, "nothing was asked of it");
    let second = manifest_asked(&step(&mut sync, Input::Faulty(first))).unwrap();
    assert!(second != first && second != other);
}

#[test]
fn a_part_of_another_checkpoint_or_of_one_who_was_not_asked_is_dropped() {
    let (checked, map) = manifest(256, 600, 0);
    let (mut sync, effects) = fetching(&checked);
    let (to, height, part) = parts_asked(&effects)[0];
    let mut stale = answer(&map, height, part);
    stale.height = Height(128);
    assert_eq!(kept(&step(&mut sync, Input::Part { from: to, part: stale })), 0);
    let other = if to == peer(0) { peer(1) } else { peer(0) };
    let effects = step(&mut sync, Input::Part { from: other, part: answer(&map, height, part) });
    assert_eq!(kept(&effects), 0);
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Blame { .. })));
    assert_eq!(kept(&step(&mut sync, Input::Part { from: to, part: answer(&map, height, part) })), 1);
}

#[test]
fn who_is_slow_is_replaced_and_a_late_answer_of_his_is_dropped() {
    let (checked, map) = manifest(256, 600, 0);
    let (mut sync, effects) = fetching(&checked);
    let first = parts_asked(&effects);
    let late_ms = limits::SNAPSHOT_ANSWER_TIMEOUT_MS + 1;
    let generation = sync.generation;
    let effects = step_at(&mut sync, late_ms, Input::Timer { generation });
    let (to, height, part) = first[0];
    let again = parts_asked(&effects);
    let replaced: Vec<_> = again.iter().filter(|(_, _, other)| *other == part).collect();
    assert_eq!(replaced.len(), 1, "{again:?}");
    if replaced[0].0 != to {
        let effects = step_at(&mut sync, late_ms, Input::Part { from: to, part: answer(&map, height, part) });
        assert_eq!(kept(&effects), 0);
    }
    // Who never answers is left out at last.
    let mut silent = std::collections::BTreeSet::new();
    for round in 2..=u64::from(limits::SNAPSHOT_STRIKES_MAX) + 1 {
        let generation = sync.generation;
        let effects = step_at(&mut sync, round * late_ms, Input::Timer { generation });
        silent.extend(parts_asked(&effects).into_iter().map(|(to, ..)| to));
        if manifest_asked(&effects).is_some() {
            return;
        }
    }
    panic!("nobody answered, and none of them was given up: {silent:?}");
}

#[test]
fn a_newer_snapshot_needs_only_the_parts_that_changed() {
    let (first, map) = manifest(256, 600, 0);
    let (mut sync, effects) = fetching(&first);
    let mut open = parts_asked(&effects);
    for _ in 0..20 {
        let (to, height, part) = open.remove(0);
        let effects = step(&mut sync, Input::Part { from: to, part: answer(&map, height, part) });
        open.extend(parts_asked(&effects));
    }
    // The checkpoint is over everywhere.
    let mut asked_again = None;
    for index in 0..9 {
        let effects = step(&mut sync, Input::Refused { from: peer(index), height: Height(256) });
        asked_again = asked_again.or(manifest_asked(&effects));
    }
    let (second, map) = manifest(512, 600, 1);
    let effects = step(&mut sync, Input::Manifest { from: asked_again.unwrap(), checked: Arc::clone(&second) });
    let mut open = parts_asked(&effects);
    let mut fetched = 0;
    while let Some((to, height, part)) = open.pop() {
        fetched += 1;
        assert_eq!(height, Height(512));
        open.extend(parts_asked(&step(&mut sync, Input::Part { from: to, part: answer(&map, height, part) })));
    }
    let changed = second.parts.iter().filter(|part| !first.parts.contains(part)).count();
    assert!(changed >= 1 && fetched < second.parts.len() - 10, "{fetched} of {}", second.parts.len());
    assert!(sync.fetching.unwrap().installing);
}

#[test]
fn parts_that_are_gone_are_fetched_again() {
    let (checked, map) = manifest(256, 3, 0);
    let kept_before = checked.parts.iter().map(|(_, hash)| *hash).collect();
    let mut sync = Sync::new(Epoch(0), (0..9).map(ValidatorIndex).collect(), (Height(0), RETAINED), kept_before);
    let effects = ask(&mut sync, 1, 9_999, &[2]);
    let from = manifest_asked(&effects).unwrap();
    let effects = step(&mut sync, Input::Manifest { from, checked: Arc::clone(&checked) });
    assert!(is_installing(&effects), "all was kept by a former attempt");
    let lost = BTreeSet::from([checked.parts[0].1]);
    let effects = step(&mut sync, Input::Lost(lost));
    let [(to, height, part)] = parts_asked(&effects)[..] else { panic!("{effects:?}") };
    assert!(is_installing(&step(&mut sync, Input::Part { from: to, part: answer(&map, height, part) })));
}

#[test]
fn who_alone_has_it_and_answers_with_other_blocks_is_not_asked_again_and_again() {
    let mut sync = Sync::new(Epoch(0), (0..4).map(ValidatorIndex).collect(), (Height(0), RETAINED), BTreeSet::new());
    assert_eq!(asked(&ask(&mut sync, 5, 9, &[2])), Some((2, 5, 9)));
    let block = Arc::new(Block { header: header(1), bundles: Vec::new() });
    let first = dtvn_pbft::CertifiedBlock { block, digest: Digest::ZERO, certificate: None };
    let checked = CheckedBlocks { blocks: vec![first], bundles: Vec::new() };
    let asked_next = asked(&step(&mut sync, Input::Blocks { from: peer(2), checked })).unwrap();
    assert_ne!(asked_next.0, 2);
}

#[test]
fn a_snapshot_that_the_node_has_outrun_is_given_up_unless_its_own_state_is_wrong() {
    let (checked, _) = manifest(256, 3, 0);
    let kept_before: BTreeSet<Digest> = checked.parts.iter().map(|(_, hash)| *hash).collect();
    let sync = || Sync::new(Epoch(0), (0..9).map(ValidatorIndex).collect(), (Height(0), RETAINED), kept_before.clone());
    let mut behind = sync();
    let from = manifest_asked(&ask(&mut behind, 1, 9_999, &[2])).unwrap();
    assert!(is_installing(&step(&mut behind, Input::Manifest { from, checked: Arc::clone(&checked) })));
    assert!(!behind.is_outrun(Height(256), Height(255)));
    assert!(behind.is_outrun(Height(256), Height(256)), "it stands there already");
    step(&mut behind, Input::Outrun);
    assert_eq!(asked(&ask(&mut behind, 300, 310, &[2])), Some((2, 300, 310)), "it may ask for what it lacks now");
    let mut wrong = sync();
    let effects = step(&mut wrong, Input::Heal { at_least: Height(1), differs_at: Height(256) });
    let from = manifest_asked(&effects).unwrap();
    assert!(is_installing(&step(&mut wrong, Input::Manifest { from, checked })));
    assert!(!wrong.is_outrun(Height(256), Height(300)), "what it committed was computed wrongly");
}

#[test]
fn a_fetch_gives_way_to_healing_and_to_nothing_else() {
    let (checked, _) = manifest(256, 3, 0);
    let kept_before: BTreeSet<Digest> = checked.parts.iter().map(|(_, hash)| *hash).collect();
    let mut sync = Sync::new(Epoch(0), (0..9).map(ValidatorIndex).collect(), (Height(0), RETAINED), kept_before);
    assert!(manifest_asked(&ask(&mut sync, 1, 9_999, &[2])).is_some());
    assert!(manifest_asked(&ask(&mut sync, 1, 9_999, &[2])).is_none() && !sync.heals(), "it goes on");
    let heal = || Input::Heal { at_least: Height(4), differs_at: Height(256) };
    let from = manifest_asked(&step(&mut sync, heal())).unwrap();
    assert!(sync.heals());
    assert!(manifest_asked(&step(&mut sync, heal())).is_none() && sync.heals(), "it goes on");
    assert!(is_installing(&step(&mut sync, Input::Manifest { from, checked: Arc::clone(&checked) })));
    assert!(manifest_asked(&step(&mut sync, heal())).is_none());
    // Nor does one that is being put in place: it starts again from it.
    let mut sync = Sync::new(Epoch(0), Vec::from([ValidatorIndex(2)]), (Height(0), RETAINED), sync.kept);
    let from = manifest_asked(&ask(&mut sync, 1, 9_999, &[2])).unwrap();
    assert!(is_installing(&step(&mut sync, Input::Manifest { from, checked })));
    assert!(manifest_asked(&step(&mut sync, heal())).is_none() && !sync.heals());
}

#[test]
fn no_more_blocks_are_asked_for_than_one_answer_holds() {
    let all = limits::SYNC_BLOCKS_MAX as u64;
    assert_eq!(asked(&ask(&mut planner(), 5, 4 + all, &[2])), Some((2, 5, 4 + all)));
    assert_eq!(asked(&ask(&mut planner(), 5, 5 + all, &[2])), Some((2, 5, 4 + all)));
}

#[test]
fn a_wrong_state_before_any_checkpoint_is_replaced_by_the_genesis_once_nobody_has_a_snapshot() {
    let mut sync = planner();
    let mut effects = step(&mut sync, Input::Heal { at_least: Height(0), differs_at: Height(9) });
    for _ in 0..9 {
        assert!(!effects.iter().any(|effect| matches!(effect, Effect::InstallGenesis)));
        let from = manifest_asked(&effects).unwrap();
        effects = step(&mut sync, Input::Refused { from, height: Height(9) });
    }
    assert!(effects.iter().any(|effect| matches!(effect, Effect::InstallGenesis)), "{effects:?}");
    // With a checkpoint it waits for one who has it.
    let mut sync = planner();
    let mut effects = step(&mut sync, Input::Heal { at_least: Height(4), differs_at: Height(9) });
    for _ in 0..9 {
        let from = manifest_asked(&effects).unwrap();
        effects = step(&mut sync, Input::Refused { from, height: Height(9) });
    }
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::InstallGenesis)));
    let generation = sync.generation;
    assert!(manifest_asked(&step_at(&mut sync, 1, Input::Timer { generation })).is_some());
}

#[test]
fn a_snapshot_below_what_is_needed_is_not_taken() {
    let mut sync = planner();
    let effects = ask(&mut sync, 300, 300 + RETAINED, &[2]);
    let from = manifest_asked(&effects).unwrap();
    let effects = step(&mut sync, Input::Manifest { from, checked: manifest(256, 9, 0).0 });
    assert_eq!(parts_asked(&effects), []);
    assert!(manifest_asked(&effects).is_some_and(|to| to != from), "another is asked");
}

#[test]
fn one_whom_nobody_gives_a_snapshot_asks_for_blocks_however_many() {
    let mut sync = planner();
    let mut effects = ask(&mut sync, 1, 9_999, &[2]);
    for _ in 0..9 {
        let from = manifest_asked(&effects).unwrap();
        effects = step(&mut sync, Input::Refused { from, height: Height(1) });
    }
    assert!(!sync.is_fetching());
    assert!(asked(&ask(&mut sync, 1, 9_999, &[2])).is_some());
}
