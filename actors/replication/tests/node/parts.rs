//! Each part of a node starts again by itself, at any moment.

use dtvn_replication::node::{Input, Part};

use crate::harness::{Network, issue};

#[test]
fn any_part_may_fail_at_any_moment() {
    for part in Part::ALL {
        for moment in 0..12 {
            let mut network = Network::new(4);
            network.submit(0, 1, issue("A", 1));
            network.submit(1, 2, issue("B", 2));
            network.run_for(150 * moment);
            for node in 0..4 {
                network.input(node, Input::Restart(part));
            }
            // Those who waited at an intake that failed ask again.
            network.submit(2, 3, issue("A", 1));
            network.submit(3, 4, issue("B", 2));
            network.run_for(20_000_000);
            assert!(network.accepted().ends_with(&[3, 4]), "{part:?} at {moment}: {:?}", network.answers);
            assert_eq!(network.blamed, [""; 0], "{part:?} at {moment}");
        }
    }
}

#[test]
fn what_a_failed_intake_had_cut_is_decided_all_the_same() {
    let mut network = Network::new(4);
    network.submit(0, 1, issue("A", 1));
    network.input(0, Input::Restart(Part::Intake));
    network.submit(0, 2, issue("A", 1));
    network.run();
    assert_eq!(network.accepted(), [2], "the retry joins what is under way");
    assert!(network.nodes().all(|node| node.execution().ledger().tickets_len() == 1));
}

#[test]
fn parts_that_fail_again_and_again_lose_nothing() {
    let mut network = Network::new(4);
    for ticket in 0..40_u64 {
        network.submit((ticket % 4) as usize, ticket, issue(&format!("T{ticket}"), ticket));
        network.run_for(5_000);
        let part = Part::ALL[ticket as usize % Part::ALL.len()];
        if part != Part::Intake {
            network.input((ticket * 7 % 4) as usize, Input::Restart(part));
        }
    }
    network.run_for(20_000_000);
    assert_eq!(network.accepted().len(), 40, "{:?}", network.answers.keys());
}
