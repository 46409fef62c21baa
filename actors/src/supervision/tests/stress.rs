//! Seeded random crashes over a tree of three levels, while others talk to its actors: in the end all is as it should be.

use super::{Dice, Journal, PATIENCE, Plan, Say, Stage, soon};
use crate::mailbox::{CallError, FullPolicy};
use crate::supervision::{ChildSpec, Restart, Status, Strategy, SupervisorSpec};
use std::sync::atomic::Ordering;
use std::time::Duration;

const NAMES: [&str; 9] = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
const PATHS: [&str; 9] = ["x/a", "x/b", "x/deep/c", "x/deep/d", "x/deep/e", "y/f", "y/g", "y/h", "i"];
const ROUNDS: usize = 400;

fn tree(plans: &[Plan]) -> SupervisorSpec {
    let often = |spec: SupervisorSpec| spec.intensity(u32::MAX, Duration::from_secs(1));
    let workers = |spec: SupervisorSpec, plans: &[Plan]| plans.iter().fold(spec, |spec, plan| spec.child(plan.spec()));
    // The deep subtree gives up now and then, so that escalation takes part.
    let deep = SupervisorSpec::new("deep", Strategy::RestForOne).intensity(2, Duration::from_millis(5));
    let x = often(SupervisorSpec::new("x", Strategy::RestForOne)).child(plans[0].spec()).child(plans[1].spec());
    let x = x.child(ChildSpec::supervisor(workers(deep, &plans[2..5])));
    let y = workers(often(SupervisorSpec::new("y", Strategy::OneForAll)), &plans[5..8]).dynamic(4);
    often(SupervisorSpec::new("root", Strategy::OneForOne))
        .child(ChildSpec::supervisor(x))
        .child(ChildSpec::supervisor(y))
        .child(plans[8].spec())
}

async fn trouble(stage: &Stage, plans: &[Plan], dice: &mut Dice) {
    let victim = dice.below(NAMES.len());
    let (name, path) = (NAMES[victim], PATHS[victim]);
    match dice.below(9) {
        0 => drop(stage.address(name).try_send(Say::Fail)),
        1 => drop(stage.tree.crash(path, "stress")),
        2 => drop(stage.address(name).try_send(Say::Finish)),
        3 => drop(stage.address(name).try_send(Say::TaskPanic)),
        // A victim that is down at this moment was killed by something else.
        4 => drop(stage.tree.find(path).unwrap().present().map(|present| present.cell.kill())),
        5 => drop(tokio::spawn({
            let tree = stage.tree.clone();
            async move { tree.restart(path).await }
        })),
        6 => {
            plans[victim].failing_starts.store(1, Ordering::Release);
            drop(stage.address(name).try_send(Say::Fail));
        }
        7 => {
            let plan = Plan::new(["p", "q"][dice.below(2)], &Journal::new());
            let restart = [Restart::Permanent, Restart::Temporary][dice.below(2)];
            let tree = stage.tree.clone();
            drop(tokio::spawn(async move { tree.add("y", plan.spec().restart(restart)).await }));
        }
        _ => drop(stage.address(name).try_send(Say::Noise(FullPolicy::Refuse))),
    }
    if dice.below(3) == 0 {
        tokio::time::sleep(Duration::from_micros(dice.below(1_500) as u64)).await;
    }
}

/// Calls actors all the time; whatever happens, each call ends with an answer or an error.
async fn talk(stage: &Stage, mut dice: Dice) -> usize {
    let mut answered = 0;
    for _ in 0..ROUNDS {
        let name = NAMES[dice.below(NAMES.len())];
        match stage.count(name).await {
            Ok(_) => answered += 1,
            Err(CallError::Down | CallError::Unanswered) => tokio::task::yield_now().await,
            Err(error) => panic!("{name}: {error}"),
        }
    }
    answered
}

async fn storm(seed: u64) {
    let journal = Journal::new();
    let plans = NAMES.map(|name| Plan::new(name, &journal));
    let stage = Stage::open(tree(&plans)).await;
    let mut dice = Dice::new(seed);
    let storm = async {
        for _ in 0..ROUNDS {
            trouble(&stage, &plans, &mut dice).await;
        }
    };
    let ((), answered) = soon("storm", async { tokio::join!(storm, talk(&stage, Dice::new(!seed))) }).await;
    assert!(answered > 0, "seed {seed}: nobody ever answered");
    plans.iter().for_each(|plan| plan.failing_starts.store(0, Ordering::Release));
    settle(&stage, seed).await;
    stage.shutdown().await;
    check_lives(&journal, seed);
}

/// Waits until every actor is up and every supervisor, too, and then asks all of them something.
async fn settle(stage: &Stage, seed: u64) {
    let settled = async {
        loop {
            let restless = stage.tree.snapshot().walk().filter(|node| node.status != Status::Running).count();
            let mut mute = 0;
            for name in NAMES {
                mute += usize::from(stage.count(name).await.is_err());
            }
            if restless + mute == 0 {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    let result = tokio::time::timeout(PATIENCE, settled).await;
    assert!(result.is_ok(), "seed {seed}: it never settled: {:#?}", stage.tree.snapshot());
}

/// No two incarnations of one actor ever lived at the same time, and none is left.
fn check_lives(journal: &Journal, seed: u64) {
    for name in NAMES {
        let mut living = 0_i32;
        for entry in journal.all() {
            if entry == format!("start {name}") {
                living += 1;
            } else if entry == format!("gone {name}") {
                living -= 1;
            }
            assert!((0..=1).contains(&living), "seed {seed}: {name} has {living} lives");
        }
        assert_eq!(living, 0, "seed {seed}: {name} is still there");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn after_a_storm_of_crashes_the_tree_is_whole() {
    for seed in 1..=8 {
        storm(seed).await;
    }
}
