//! The watchdog over plain snapshots, and over a tree with an actor that hangs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dtvn_messages::{Genesis, KeyPair, NodeName, Timestamp};

use super::*;
use crate::board::{Board, Identity, NotVoting};
use crate::supervision::tests::{Journal, PATIENCE, Plan, Say, Stage, gate, soon};
use crate::supervision::{ChildSpec, NodeKind, Status, Strategy, SupervisorSpec, TreeNode};

fn board() -> Arc<Board> {
    let key = KeyPair::development(dtvn_messages::crypto::DEVELOPMENT_SEED, "node0");
    let genesis = Genesis::development(1, dtvn_messages::crypto::DEVELOPMENT_SEED, false).unwrap();
    Board::new(
        Identity {
            name: NodeName::new("node0").unwrap(),
            public_key: key.public(),
            may_vote: true,
            genesis: Arc::new(genesis),
            started_at: Timestamp(0),
        },
        Arc::new(dtvn_messages::Ed25519),
    )
}

fn worker(name: &str, waiting: usize, handled: u64) -> TreeNode {
    TreeNode {
        name: name.to_owned(),
        kind: NodeKind::Worker,
        strategy: None,
        status: Status::Running,
        uptime_ms: 1,
        restarts: 0,
        last_restart_reason: None,
        last_restart_at: None,
        mailbox_depth: waiting,
        mailbox_bound: 10,
        mailbox_high_water: 0,
        mailbox_refused: 0,
        mailbox_dropped: 0,
        messages_handled: handled,
        handler_total_us: 0,
        handler_max_us: 0,
        handling_us: None,
        kinds: Vec::new(),
        children: Vec::new(),
    }
}

fn stuck(stalls: &mut Stalls, node: &TreeNode, at: Instant) -> usize {
    stalls.look(node, at).len()
}

#[test]
fn an_actor_is_stuck_when_messages_wait_and_none_is_handled_for_the_whole_time() {
    let (mut stalls, start) = (Stalls::new(Duration::from_secs(10)), Instant::now());
    let at = |seconds| start + Duration::from_secs(seconds);
    let waiting = worker("a", 3, 5);
    assert_eq!(stuck(&mut stalls, &waiting, at(0)), 0);
    assert_eq!(stuck(&mut stalls, &waiting, at(9)), 0);
    let found = stalls.look(&waiting, at(12));
    assert_eq!((found[0].actor.as_str(), found[0].waiting, found[0].lasts.as_secs()), ("a", 3, 12));
    assert_eq!(found[0].to_string(), "the actor a has handled nothing for 12 s while 3 messages wait");
    assert_eq!(stuck(&mut stalls, &worker("a", 3, 6), at(13)), 0, "it has handled one");
    assert_eq!(stuck(&mut stalls, &worker("a", 3, 6), at(22)), 0, "and the time begins anew");
    assert_eq!(stuck(&mut stalls, &worker("a", 3, 6), at(23)), 1);
}

#[test]
fn an_idle_a_starting_and_a_restarted_actor_are_not_stuck() {
    let (mut stalls, start) = (Stalls::new(Duration::from_secs(10)), Instant::now());
    let late = start + Duration::from_secs(60);
    for node in [
        worker("a", 0, 5),
        TreeNode { status: Status::Starting, ..worker("a", 3, 5) },
        TreeNode { status: Status::Stopping, ..worker("a", 3, 5) },
        TreeNode { kind: NodeKind::Supervisor, ..worker("a", 3, 5) },
    ] {
        stalls.look(&node, start);
        assert_eq!(stuck(&mut stalls, &node, late), 0, "{node:?}");
    }
    stalls.look(&worker("a", 3, 5), start);
    assert_eq!(stuck(&mut stalls, &TreeNode { restarts: 1, ..worker("a", 2, 5) }, late), 0);
}

#[test]
fn a_watchdog_that_does_not_look_is_a_reason_not_to_be_live() {
    let now = Instant::now();
    let looked_at = now.checked_sub(limits::WATCHDOG_SILENCE_MAX + Duration::from_secs(1)).unwrap();
    assert!(HealthShown::default().not_live(now).is_empty(), "it has not begun");
    assert!(HealthShown { looked_at: Some(now), ..HealthShown::default() }.not_live(now).is_empty());
    let silent = HealthShown { looked_at: Some(looked_at), ..HealthShown::default() };
    assert_eq!(silent.not_live(now), ["the watchdog has not looked for 16 s: no actor runs"]);
}

#[test]
fn a_full_disk_needs_an_eighth_more_to_count_as_empty_again_and_hides_no_other_reason() {
    let board = board();
    board.post_disk_free_min(800);
    let why = || board.consensus().borrow().not_voting.clone();
    assert!(!board.post_disk_free(800) && why().is_none());
    assert!(board.post_disk_free(799));
    assert_eq!(why(), Some(NotVoting::DiskFull));
    assert!(board.post_disk_free(899) && board.disk_is_full());
    assert!(!board.post_disk_free(900) && why().is_none());
    board.post_not_voting(Some(NotVoting::Diverged));
    assert!(board.post_disk_free(0));
    assert_eq!(why(), Some(NotVoting::Diverged));
    board.post_disk_free(900);
    assert_eq!(why(), Some(NotVoting::Diverged));
}

/// A tree with a `core/replica` that does as it is told, and a watchdog that looks often.
async fn watched(board: &Arc<Board>, probe: actor::Probe) -> (Stage, Journal) {
    let journal = Journal::new();
    let arguments = HealthArguments {
        look_every: Duration::from_millis(5),
        look_at_disk_every: Duration::from_millis(5),
        stall_after: Duration::from_millis(50),
        ..HealthArguments::new(Arc::clone(board), probe)
    };
    let core = SupervisorSpec::new("core", Strategy::RestForOne).child(Plan::new("replica", &journal).spec());
    let watchdog = ChildSpec::worker(ROLE, move |context| Health::start(context, arguments.clone()));
    let root = SupervisorSpec::new("root", Strategy::OneForOne).child(ChildSpec::supervisor(core)).child(watchdog);
    (Stage::open(root).await, journal)
}

/// Waits until the board shows what is wanted; the board has no bell, and the watchdog looks every few milliseconds.
async fn until(board: &Board, what: &str, wanted: impl Fn(&HealthShown) -> bool) -> HealthShown {
    soon(what, async {
        loop {
            let shown = board.health();
            if wanted(&shown) {
                return shown;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_actor_whose_handler_blocks_its_thread_is_found_and_is_well_again_when_it_moves() {
    let board = board();
    let (stage, journal) = watched(&board, Arc::new(|| Ok(0))).await;
    let (replica, opened) = (stage.address("replica"), gate());
    replica.send(Say::BlockThread(opened.clone())).await.unwrap();
    journal.until("busy replica").await;
    until(&board, "a look", |shown| shown.looked_at.is_some()).await;
    assert!(board.health().stuck.is_empty(), "busy, but nothing waits");
    replica.try_send(Say::Noise(crate::mailbox::FullPolicy::Refuse)).unwrap();
    let shown = until(&board, "the stall", |shown| !shown.stuck.is_empty()).await;
    assert_eq!((shown.stuck[0].actor.as_str(), shown.stuck[0].waiting), ("core/replica", 1));
    assert!(shown.not_live(Instant::now())[0].starts_with("the actor core/replica has handled nothing"));
    opened.add_permits(1);
    until(&board, "its end", |shown| shown.stuck.is_empty()).await;
    stage.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_restarts_the_replica_and_space_restarts_it_again() {
    let board = board();
    board.post_disk_free_min(1_000);
    let free = Arc::new(AtomicU64::new(5_000));
    let probe = Arc::clone(&free);
    let (stage, _journal) = watched(&board, Arc::new(move || Ok(probe.load(Ordering::Relaxed)))).await;
    until(&board, "a look", |shown| shown.disk_free_bytes == Some(5_000)).await;
    let replica = stage.address("replica");
    let mut presence = replica.watch();
    for (bytes, is_full) in [(999, true), (5_000, false)] {
        let before = presence.borrow_and_update().incarnation;
        free.store(bytes, Ordering::Relaxed);
        until(&board, "the change", |shown| shown.disk_full == is_full).await;
        let restarted = presence.wait_for(|now| now.up && now.incarnation != before);
        tokio::time::timeout(PATIENCE, restarted).await.unwrap().unwrap();
    }
    let shown = stage.tree.snapshot().find("core/replica").unwrap().clone();
    assert_eq!((shown.restarts, shown.last_restart_reason.as_deref()), (2, Some("requested")));
    stage.shutdown().await;
}

#[test]
fn the_free_space_of_a_directory_is_told_and_of_none_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    assert!(free_disk_bytes(directory.path()).unwrap() > 0);
    assert!(free_disk_bytes(&directory.path().join("gone")).unwrap_err().contains("gone"));
}
