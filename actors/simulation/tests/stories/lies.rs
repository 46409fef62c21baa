//! Each lie, told again and again by one of four or two of seven, while leaders are killed and the network is parted: it
//! is told, nothing is violated, everything is decided, and where the lie can be seen its teller is blamed.

use dtvn_simulation::run::simulate_scenario;
use dtvn_simulation::{Behaviour, Coverage, End, Fault, Level, Link, Report, Scenario, Stage};

use crate::members::decides;
use crate::snapshots::late;

/// Seeds that are tried until a lie was told: most are at once.
const SEEDS: u64 = 12;

/// A network of so many in which as many as it tolerates lie in one way.
fn troubled(behaviour: Behaviour, validators: usize, seed: u64) -> Report {
    let mut scenario = Scenario::story(validators, 10, 5_000);
    scenario.seed = seed;
    scenario.parameters.rotation_interval = 6;
    scenario.parameters.rotation_time_ms = 700;
    scenario.liars = (0..(validators - 1) / 3).map(|liar| ((liar + seed as usize) % validators, behaviour)).collect();
    scenario.liars.sort_unstable();
    scenario.faults_us = 8_000_000;
    for fault in [Fault::Partitions, Fault::Leaders, Fault::Crashes] {
        scenario.set_level(fault, Level::High);
    }
    let report = simulate_scenario(scenario);
    assert_eq!(report.end, End::Good, "{} in {validators}, seed {seed}: {report}", behaviour.name());
    assert!(report.tickets.iter().any(|(_, count)| *count >= 10), "{report}");
    report
}

/// A node that is late fetches a state, of which one of three holders lies. All the same it gets the certified one.
fn fetched(behaviour: Behaviour, seed: usize) -> Coverage {
    let liar = seed % 3;
    let mut stage = late(vec![(liar, behaviour)]);
    stage.start(3);
    stage.settle(60_000);
    assert!(stage.coverage().installed >= 1, "{}, node {liar} lies", behaviour.name());
    *stage.coverage()
}

/// How often a lie was told and its tellers were blamed.
fn tell(behaviour: Behaviour) -> (u64, u64) {
    let (mut told, mut blamed) = (0, 0);
    for seed in 0..SEEDS {
        for validators in [4, 7] {
            let met = match behaviour.is_of_snapshots() {
                true => fetched(behaviour, seed as usize),
                false => troubled(behaviour, validators, seed).coverage,
            };
            told += met.told.0[behaviour as usize];
            blamed += met.blamed;
        }
        if told > 0 {
            break;
        }
    }
    (told, blamed)
}

/// Whether it shows who lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// Honest nodes blame the liar.
    Blamed,
    /// It cannot be told from bad luck: nobody is blamed.
    Unseen,
    /// It depends on who hears what first.
    Perhaps,
}

use Seen::{Blamed, Perhaps, Unseen};

macro_rules! lies {
    ($($name:ident: $behaviour:ident, $seen:expr;)*) => {
        $(#[test]
        fn $name() {
            let id = Behaviour::$behaviour.name().replace('-', "_");
            assert_eq!(id, stringify!($name), "a test is named by the id");
            let (told, blamed) = tell(Behaviour::$behaviour);
            assert!(told > 0, "never told");
            match $seen {
                Blamed => assert!(blamed > 0, "told {told} times, and nobody is blamed"),
                Unseen => assert_eq!(blamed, 0, "there is nothing to blame for"),
                Perhaps => {}
            }
        })*

        const TOLD: &[Behaviour] = &[$(Behaviour::$behaviour),*];
    };
}

lies! {
    silent_from_start: Silent, Unseen;
    silent_midway: SilentMidway, Unseen;
    leader_silent: SilentLeader, Unseen;
    leader_two_blocks: TwoBlocks, Perhaps;
    leader_leaves_one_out: OneOut, Unseen;
    leader_jumps_window: WindowJumped, Unseen;
    leader_exhausts_window: WindowExhausted, Blamed;
    leader_censors_origin: OriginCensored, Unseen;
    leader_censors_client: ClientCensored, Unseen;
    leader_forged_operation: ForgedOperation, Blamed;
    leader_malformed_operation: MalformedOperation, Blamed;
    leader_slow: Slow, Unseen;
    leader_time_past: TimePast, Unseen;
    leader_time_future: TimeFuture, Perhaps;
    leader_time_still: TimeStill, Unseen;
    leader_oversized_block: OversizedBlock, Blamed;
    leader_empty_blocks: EmptyBlocks, Blamed;
    leader_digest_without_data: DigestWithoutData, Blamed;
    leader_old_bundle: OldBundle, Perhaps;
    leader_wrong_log_root: WrongRoot, Blamed;
    voter_two_votes: TwoVotes, Blamed;
    voter_random_digest: RandomDigest, Blamed;
    voter_bad_signature: BadSignature, Blamed;
    voter_foreign_index: ForeignIndex, Blamed;
    voter_foreign_chain: ForeignChain, Blamed;
    voter_foreign_epoch: ForeignEpoch, Unseen;
    voter_foreign_kind: ForeignKind, Blamed;
    voter_replays_old_view: OldView, Unseen;
    voter_commit_without_prepare: CommitAtOnce, Unseen;
    voter_far_future: FarFuture, Unseen;
    cosign_wrong_head: WrongHead, Unseen;
    cosign_two_heads: TwoHeads, Blamed;
    receipt_forged: ForgedReceipt, Blamed;
    evidence_false: FalseEvidence, Blamed;
    thousandfold: Thousandfold, Unseen;
    view_change_hides: HiddenCertificate, Unseen;
    view_change_forged_certificate: ForgedCertificate, Blamed;
    view_change_mixed_certificate: MixedCertificate, Blamed;
    view_change_repeated_signer: RepeatedSigner, Blamed;
    view_change_foreign_signer: ForeignSigner, Blamed;
    view_change_too_few: TooFewSigners, Blamed;
    new_view_wrong_leader: WrongLeader, Blamed;
    new_view_too_few: TooFewChanges, Blamed;
    new_view_unknown_changes: UnknownChanges, Unseen;
    new_view_two_versions: TwoNewViews, Perhaps;
    new_view_alters_block: AlteredBlock, Perhaps;
    view_change_storm: Storm, Unseen;
    view_near_maximum: LastView, Unseen;
    checkpoint_wrong_root: WrongCheckpoint, Unseen;
    sync_wrong_blocks: SyncWrong, Blamed;
    sync_forged_certificate: SyncForged, Blamed;
    sync_endless: SyncEndless, Blamed;
    sync_stale: SyncStale, Unseen;
    sync_refused: SyncRefused, Unseen;
    sync_slow: SyncSlow, Unseen;
    snapshot_wrong_parts: SnapshotParts, Blamed;
    snapshot_long_parts: SnapshotLong, Blamed;
    snapshot_forged_manifest: SnapshotForged, Blamed;
    snapshot_stale: SnapshotStale, Unseen;
    snapshot_refused: SnapshotRefused, Unseen;
    snapshot_slow: SnapshotSlow, Unseen;
    snapshot_vanishes: SnapshotVanishes, Unseen;
    status_boasts: StatusBoast, Unseen;
    bundle_withheld: WithheldBundle, Unseen;
    bundle_bad_signature: BundleSignature, Blamed;
    bundle_forged_origin: BundleForged, Blamed;
    bundle_invented_operation: BundleInvented, Unseen;
    bundle_two_versions: BundleTwice, Unseen;
    bundle_for_each: BundleForEach, Unseen;
    bundle_gap: BundleGap, Unseen;
    frame_malformed: FrameJunk, Blamed;
    frame_truncated: FrameTruncated, Blamed;
    frame_trailing_byte: FrameTrailing, Blamed;
    twin: Twin, Blamed;
    mixed: Mixed, Blamed;
}

#[test]
fn every_behaviour_has_its_story() {
    assert_eq!(TOLD, Behaviour::ALL);
}

/// The leader colludes with as many others as are tolerated: of those who are honest each half is shown a block of its own,
/// and the votes of all liars for it. One half may come to a quorum, and never both.
#[test]
fn leader_two_blocks_with_all_that_are_tolerated() {
    for validators in [4, 7, 10] {
        let liars = (validators - 1) / 3;
        let mut scenario = Scenario::story(validators, 10, 3_000);
        // The first views are the liars', one after the other.
        scenario.parameters.rotation_interval = 6;
        scenario.liars = (0..liars).map(|liar| (liar, Behaviour::TwoBlocks)).collect();
        let mut stage = Stage::new(scenario);
        assert_eq!(stage.leader(), 0);
        stage.settle(60_000);
        assert!(stage.view().0 >= liars as u64, "each of them has led");
        let met = stage.coverage();
        assert!(met.told.0[Behaviour::TwoBlocks as usize] > 0 && met.two_votes > 0, "{validators}: {met:?}");
        // All who are left are needed, and they agree.
        (0..liars).for_each(|liar| stage.kill(liar));
        stage.run(500);
        decides(&mut stage, liars, "without-the-liars");
        stage.settle(20_000);
    }
}

#[test]
fn leader_two_blocks_with_all_that_are_tolerated_amid_faults() {
    for validators in [4, 7, 10] {
        let told =
            |seed| troubled(Behaviour::TwoBlocks, validators, seed).coverage.told.0[Behaviour::TwoBlocks as usize];
        assert!((0..4).map(told).sum::<u64>() > 0, "{validators}: never told");
    }
}

/// Each message a thousand times, in any order, by the leader or by another: nothing takes effect twice, no view ends,
/// and nobody is to blame.
#[test]
fn thousandfold_a_thousand_times() {
    for liar in [0, 2] {
        let mut scenario = Scenario::story(4, 2, 500);
        (scenario.liars, scenario.repeats) = (vec![(liar, Behaviour::Thousandfold)], 1_000);
        let mut stage = Stage::new(scenario);
        // All are up, so that everything that is said is sent.
        stage.run(100);
        let before = *stage.coverage();
        stage.settle(20_000);
        stage.run(1_000);
        let met = stage.coverage();
        let told = |coverage: &Coverage| coverage.told.0[Behaviour::Thousandfold as usize];
        let (told, sent) = (told(met) - told(&before), met.sent - before.sent);
        assert!(told > 20 && sent >= 1_000 * told, "{sent} messages for {told} that were said a thousand times");
        assert_eq!((met.blamed, met.evidence, met.accusations, met.views.total()), (0, 0, 0, 0));
        assert_eq!(stage.tickets(), 2, "one for each client");
    }
}

/// A leader starts its view in two ways that both hold: one half builds on one quorum, the other half on another. Who
/// is shown both can prove it, neither is bad by itself, and all decide the same.
#[test]
fn new_view_two_versions_that_both_hold() {
    let mut without_a_lie_of_its_own = 0;
    for seed in 0..6 {
        let mut scenario = Scenario::story(7, 6, 3_000);
        (scenario.seed, scenario.liars) = (seed, vec![(1, Behaviour::TwoNewViews)]);
        scenario.link = Some(Link { latency_us: 300, lost_ppm: 0 });
        let mut stage = Stage::new(scenario);
        stage.run(1_000);
        assert_eq!(stage.leader(), 0);
        stage.kill(0);
        stage.settle(30_000);
        decides(&mut stage, 3, "after-both");
        stage.start(0);
        stage.settle(30_000);
        let met = stage.coverage();
        assert!(met.told.0[Behaviour::TwoNewViews as usize] > 0 && met.two_new_views > 0, "seed {seed}: {met:?}");
        assert_eq!((met.bad_new_views, met.forged_certificates), (0, 0), "seed {seed}: each holds by itself");
        without_a_lie_of_its_own += u64::from(met.two_view_changes == 0);
    }
    assert!(without_a_lie_of_its_own > 0, "the two never built on two quorums of the very same VIEW-CHANGEs");
}
