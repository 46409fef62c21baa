//! A seeded mix of everything that heals by itself. The seed chooses the order, and to whom; a torment comes again only
//! after all others, so that no short run does without partitions.

use std::collections::HashSet;
use std::mem::discriminant;
use std::time::Duration;

use crate::clients::{Clients, Random, judge};
use crate::field::{Field, until};

/// Torments.
const KINDS: usize = 10;
/// Each of them once.
const STEPS: u64 = KINDS as u64;
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
    fn of(kind: usize, random: &mut Random, nodes: usize) -> Self {
        let node = random.below(nodes);
        match kind {
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

    /// Each once, in any order.
    fn deck(random: &mut Random, nodes: usize) -> Vec<Self> {
        let mut deck: Vec<Self> = (0..KINDS).map(|kind| Self::of(kind, random, nodes)).collect();
        for place in (1..KINDS).rev() {
            deck.swap(place, random.below(place + 1));
        }
        deck
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

    /// What must be seen of it.
    fn traces(self, nodes: usize) -> Traces {
        let none = Traces::default();
        match self {
            Self::KillLeader | Self::Kill(_) => Traces { gone: 1, ..none },
            Self::KillAll => Traces { gone: nodes, ..none },
            Self::Pause(_) | Self::PauseLeader => Traces { still: 1, ..none },
            Self::Isolate(_) => Traces { cut: 2 * (nodes - 1), ..none },
            Self::Halves(_) => Traces { cut: 2 * 2 * (nodes - 2), ..none },
            Self::Ring => Traces { cut: nodes * (nodes - 3), ..none },
            Self::OneWay(..) => Traces { cut: 1, ..none },
            Self::Slow => Traces { slow: nodes * (nodes - 1), ..none },
        }
    }
}

/// What is to be seen of a torment: processes that are gone and that stand still, directions that are cut and that are slow.
#[derive(Debug, Default, PartialEq, Eq)]
struct Traces {
    gone: usize,
    still: usize,
    cut: usize,
    slow: usize,
}

impl Traces {
    fn of(field: &Field) -> Self {
        let states: Vec<Option<char>> = (0..field.nodes()).map(|node| field.process_state(node)).collect();
        Self {
            gone: states.iter().filter(|state| state.is_none()).count(),
            still: states.iter().filter(|state| **state == Some('T')).count(),
            cut: field.links.count(|weather| weather.is_cut),
            slow: field.links.count(|weather| !weather.delay.is_zero()),
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
    let (mut deck, mut applied) = (Vec::new(), HashSet::new());
    // A long run is one of several networks: of each all blocks must still be there when it is judged.
    for part in 0..steps.div_ceil(STEPS_OF_A_NETWORK) {
        let mut field = Field::start(4).await;
        let clients = Clients::start(&field.shared, seed + 1_000_000 * part, 8);
        let steps_of_part = (steps - STEPS_OF_A_NETWORK * part).min(STEPS_OF_A_NETWORK);
        for _ in 0..steps_of_part {
            if deck.is_empty() {
                deck = Torment::deck(&mut random, 4);
            }
            let torment = deck.pop().unwrap();
            let lasts = Duration::from_millis(1_000 + random.below(2_500) as u64);
            println!("{torment:?} for {lasts:?}; {} outcomes so far", clients.done());
            torment.begin(&mut field).await;
            until("the torment is there", async || Traces::of(&field) == torment.traces(4)).await;
            applied.insert(discriminant(&torment));
            tokio::time::sleep(lasts).await;
            field.heal().await;
            clients.progress(10).await;
        }
        judge_part(&field, clients, part, steps_of_part).await;
        field.stop().await;
    }
    assert_eq!(applied.len() as u64, steps.min(KINDS as u64), "each torment comes before any comes again");
}

#[test]
fn every_deck_holds_every_torment() {
    for seed in 0..100 {
        let deck = Torment::deck(&mut Random::new(seed, 0), 4);
        let kinds: HashSet<_> = deck.iter().map(discriminant).collect();
        assert_eq!((deck.len(), kinds.len()), (KINDS, KINDS), "seed {seed}: {deck:?}");
    }
}

async fn judge_part(field: &Field, clients: Clients, part: u64, steps: u64) {
    let (history, _) = judge(field, clients, &[0, 1, 2, 3]).await;
    let answered = history.calls.iter().filter(|call| call.answered_us.is_some()).count();
    assert!(answered as u64 > 5 * steps, "part {part}: only {answered} operations got an answer");
}
