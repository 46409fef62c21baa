//! A seeded mix of everything that heals by itself.

use std::time::Duration;

use crate::clients::{Clients, Random, judge};
use crate::field::Field;

const STEPS: u64 = 8;
const SEED: u64 = 1;
const STEPS_OF_A_NETWORK: u64 = 25;

/// What is done to the network in one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Torment {
    KillLeader,
    Kill(usize),
    KillAll,
    Pause(usize),
    PauseLeader,
    Isolate(usize),
    Halves(usize),
    Ring,
    OneWay(usize, usize),
    Slow,
}

impl Torment {
    fn draw(random: &mut Random, nodes: usize) -> Self {
        let node = random.below(nodes);
        match random.below(10) {
            0 => Self::KillLeader,
            1 => Self::Kill(node),
            2 => Self::KillAll,
            3 => Self::Pause(node),
            4 => Self::PauseLeader,
            5 => Self::Isolate(node),
            6 => Self::Halves(1 + random.below(nodes - 1)),
            7 => Self::Ring,
            8 => Self::OneWay(node, (node + 1 + random.below(nodes - 1)) % nodes),
            _ => Self::Slow,
        }
    }

    async fn begin(self, field: &mut Field) {
        let nodes = field.nodes();
        match self {
            Self::KillLeader => {
                let leader = field.leader().await;
                field.kill(leader).await;
            }
            Self::Kill(node) => field.kill(node).await,
            Self::KillAll => {
                for node in 0..nodes {
                    field.kill(node).await;
                }
            }
            Self::Pause(node) => field.pause(node),
            Self::PauseLeader => field.pause(field.leader().await),
            Self::Isolate(node) => field.links.split(|other| other == node),
            Self::Halves(with) => field.links.split(|other| other == 0 || other == with),
            Self::Ring => {
                let follows = |one: usize, other: usize| (one + 1) % nodes == other;
                let is_apart = |one: usize, other: usize| !follows(one, other) && !follows(other, one);
                for one in 0..nodes {
                    (0..one).filter(|other| is_apart(one, *other)).for_each(|other| field.links.cut_pair(one, other));
                }
            }
            Self::OneWay(from, to) => field.links.cut(from, to),
            Self::Slow => field.links.delay_all(Duration::from_millis(60)),
        }
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn seeded_mix_of_torments_leaves_one_history() {
    let (seed, steps) = (setting("DTVN_NEMESIS_SEED", SEED), setting("DTVN_NEMESIS_STEPS", STEPS));
    println!(
        "again: DTVN_NEMESIS_SEED={seed} DTVN_NEMESIS_STEPS={steps} cargo test -p dtvn-integration --test nemesis seeded \
         -- --nocapture"
    );
    let mut random = Random::new(seed, 0);
    // A long run is one of several networks: of each all blocks must still be there when it is judged.
    for part in 0..steps.div_ceil(STEPS_OF_A_NETWORK) {
        let mut field = Field::start(4).await;
        let clients = Clients::start(&field.shared, seed + 1_000_000 * part, 8);
        for _ in 0..(steps - STEPS_OF_A_NETWORK * part).min(STEPS_OF_A_NETWORK) {
            let torment = Torment::draw(&mut random, 4);
            let lasts = Duration::from_millis(1_000 + random.below(2_500) as u64);
            println!("{torment:?} for {lasts:?}; {} outcomes so far", clients.done());
            torment.begin(&mut field).await;
            tokio::time::sleep(lasts).await;
            field.heal().await;
            clients.progress(10).await;
        }
        judge_part(&field, clients, part).await;
        field.stop().await;
    }
}

async fn judge_part(field: &Field, clients: Clients, part: u64) {
    let (history, _) = judge(field, clients, &[0, 1, 2, 3]).await;
    let answered = history.calls.iter().filter(|call| call.answered_us.is_some()).count();
    assert!(answered > 50, "part {part}: only {answered} operations got an answer");
}
