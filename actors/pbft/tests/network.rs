//! Networks of replicas on an in-memory queue: everything commits; a silent leader is replaced; and under any schedule of
//! loss, repetition, reordering, crashes and restarts nobody forks, nobody votes twice, and after healing everything
//! commits (consensus.md section 12).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests")]

mod common;

use std::sync::Arc;

use common::network::{Network, Weather};
use common::oracle::Count;
use common::random::Random;

const SECOND_US: u64 = 1_000_000;

fn fine_network(count: usize) -> Network {
    let genesis = Arc::new(common::genesis(count, |parameters| {
        parameters.view_timeout_ms = 100;
        parameters.checkpoint_interval = 8;
        parameters.log_window = 32;
        parameters.rotation_interval = 0;
    }));
    Network::new(&genesis, 1, &[])
}

#[test]
fn everything_commits_without_a_view_change_when_nothing_is_wrong() {
    for count in [1, 4, 7] {
        let mut network = fine_network(count);
        network.start_all();
        for round in 0..20 {
            network.make_bundle(round % count);
            network.run_for(2_000);
        }
        assert!(network.run_until(SECOND_US, Network::is_all_committed), "n = {count}\n{}", network.describe());
        for node in &network.nodes {
            let shown = node.replica().show();
            assert_eq!(shown.view.0, 0, "n = {count}: a view change without a cause");
            assert!(shown.stable.0 >= 8, "n = {count}: no stable checkpoint");
        }
    }
}

#[test]
fn a_silent_leader_is_replaced_and_everything_commits() {
    for count in [4, 7] {
        let mut network = fine_network(count);
        network.start_all();
        network.make_bundle(1);
        network.run_for(10_000);
        network.crash(0);
        network.make_bundle(2);
        assert!(network.run_until(SECOND_US, Network::is_all_committed), "n = {count}\n{}", network.describe());
        for node in &network.nodes[1..] {
            assert_eq!(node.replica().show().view.0, 1, "n = {count}: one view change is enough");
        }
    }
}

/// Prints the seed of a run that fails.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("seed {0} fails: DTVN_SEED={0} cargo test -p dtvn-pbft --test network any_schedule", self.0);
        }
    }
}

fn random_network(seed: u64) -> Network {
    let mut random = Random::new(seed ^ 0xfeed);
    let count = random.pick(&[1, 3, 4, 4, 4, 5, 7]);
    let interval = random.pick(&[2, 4, 8]);
    let rotation = random.pick(&[0, 0, 5, 12]);
    let rotation_time = random.pick(&[200, 60_000]);
    let powers: Vec<u32> = if random.chance(80) {
        vec![1; count]
    } else {
        (0..count).map(|_| u32::try_from(random.between(1, 3)).unwrap()).collect()
    };
    let genesis = Arc::new(common::genesis_with_powers(&powers, |parameters| {
        parameters.view_timeout_ms = random.pick(&[20, 40, 100]);
        parameters.view_timeout_cap_ms = 1_600;
        parameters.checkpoint_interval = interval;
        parameters.pipeline = random.pick(&[1, 2, 4]);
        parameters.log_window = 2 * interval + parameters.pipeline + random.pick(&[0, 4]);
        parameters.rotation_interval = rotation;
        parameters.rotation_time_ms = rotation_time;
    }));
    let twins: Vec<usize> = if count >= 4 && powers.iter().all(|power| *power == 1) && random.chance(25) {
        vec![usize::try_from(random.below(count as u64)).unwrap()]
    } else {
        Vec::new()
    };
    let mut network = Network::new(&genesis, seed, &twins);
    if count >= 4 && twins.is_empty() && powers.iter().all(|power| *power == 1) && random.chance(40) {
        let liar = usize::try_from(random.below(count as u64)).unwrap();
        network.liars[liar] = true;
        if count == 7 {
            network.liars[(liar + 2) % count] = true;
        }
    }
    network.collects = random.chance(60);
    let slow = random.pick(&[1, 1, 10]);
    network.weather = Weather {
        lost: random.pick(&[0, 2, 10, 25]),
        repeated: random.pick(&[0, 10]),
        lost_prepares: random.pick(&[0, 0, 20, 60]),
        lost_commits: random.pick(&[0, 0, 60, 95]),
        delay_us: (100, 300 * random.pick(&[1, 10, 50])),
        disk_us: (50, 500 * slow),
        execute_us: (0, 100 * slow),
    };
    for node in 0..network.nodes.len() {
        network.skews_us[node] = i64::try_from(random.below(100_000)).unwrap();
    }
    network
}

/// One run: trouble, then healing, then everything must commit.
fn run(seed: u64) -> Count {
    let _seed = Seed(seed);
    let mut network = random_network(seed);
    if std::env::var("DTVN_TRACE").is_ok() {
        network.nodes.iter_mut().for_each(|node| node.trace = true);
    }
    let count = network.nodes.len();
    network.start_all();
    let mut random = Random::new(seed ^ 0xabcd);
    let crashes = random.pick(&[0, 5, 15]);
    let splits = random.pick(&[0, 0, 10]);
    for _ in 0..random.between(20, 60) {
        let node = usize::try_from(random.below(count as u64)).unwrap();
        if random.chance(70) && network.is_up(node) {
            network.make_bundle(node);
        }
        if random.chance(crashes) {
            if random.chance(10) {
                (0..count)
                    .filter(|node| network.is_up(*node))
                    .collect::<Vec<_>>()
                    .into_iter()
                    .for_each(|node| network.crash(node));
            } else if network.is_up(node) {
                network.crash(node);
            }
        }
        if random.chance(30) && !network.is_up(node) {
            network.start(node);
        }
        if random.chance(splits) {
            network.groups = (0..count).map(|_| random.below(2)).collect();
        } else if random.chance(20) {
            network.groups = vec![0; count];
            (0..count)
                .filter(|node| network.is_up(*node))
                .collect::<Vec<_>>()
                .into_iter()
                .for_each(|node| network.greet(node));
        }
        let pause_us = random.pick(&[500, 2_000, 20_000, 100_000]);
        network.run_for(pause_us);
    }
    heal(&mut network, &mut random);
    if count > 0 {
        let done = network.run_until(60 * SECOND_US, Network::is_all_committed);
        assert!(done, "not everything commits after healing:\n{}", network.describe());
    }
    network.oracle.count
}

fn heal(network: &mut Network, random: &mut Random) {
    network.weather = Weather::fine();
    let count = network.nodes.len();
    network.groups = vec![0; count];
    let total = network.genesis.validators().total_power();
    let mut may_stay_down = total - network.genesis.validators().quorum();
    for node in 0..count {
        let power = network.genesis.validators().power(network.nodes[node].index);
        let all_honest = (0..count).all(|node| network.is_honest(node));
        if all_honest && !network.is_up(node) && power <= may_stay_down && random.chance(50) {
            may_stay_down -= power;
        } else if !network.is_up(node) {
            network.start(node);
        }
    }
    (0..count).filter(|node| network.is_up(*node)).collect::<Vec<_>>().into_iter().for_each(|node| network.greet(node));
    for node in 0..count {
        if network.is_up(node) {
            network.make_bundle(node);
        }
    }
}

#[test]
fn any_schedule_keeps_agreement_and_after_healing_everything_commits() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("DTVN_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("DTVN_SEEDS").unwrap_or(1_000),
    };
    let mut total = Count::default();
    for seed in seeds {
        let count = run(seed);
        total.add(&count);
    }
    println!("{total:?}");
    if number("DTVN_SEED").is_none() {
        for (what, count) in total.all() {
            assert!(count > 0, "these runs are blind: no {what}");
        }
    }
}
