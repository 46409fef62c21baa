//! Each outcome can be proven against the root that the block's header carries, and against every later one.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod common;

use common::tree::{audit_path, tree_hash};
use common::*;
use dtvn_messages::merkle::{empty_root, verify_inclusion};
use dtvn_messages::{Height, Layout, Outcome};

const NOW: u64 = START + 1;

#[test]
fn every_outcome_is_proven_by_its_path_under_every_later_root() {
    let mut chain = Chain::new();
    let mut leaves = Vec::new();
    let mut outcomes: Vec<Outcome> = Vec::new();
    for step in 0..9u64 {
        let time = NOW + step;
        let ticket = format!("T{}", step / 3);
        let action = [issue, validate, consume][usize::try_from(step % 3).unwrap()];
        let operations = vec![
            operation(&format!("a{step}"), time, action(&ticket)),
            operation(&format!("b{step}"), time, consume("nothing")),
            operation(&format!("a{step}"), time, action(&ticket)),
        ];
        let effects = chain.block(time, vec![(0, operations)]);
        outcomes.extend(effects.results[..2].iter().map(|result| (**recorded(result)).clone()));
        leaves.extend(effects.log.leaves.iter().copied());
        let (size, root) = (effects.executed.log_size, effects.executed.log_root);
        assert_eq!((size, root), (leaves.len() as u64, tree_hash(&leaves)));
        for (index, outcome) in outcomes.iter().enumerate() {
            assert_eq!(outcome.index, index as u64);
            let path = audit_path(index, &leaves);
            assert!(verify_inclusion(&outcome.leaf_hash(), outcome.index, size, &path, &root));
            let forged = Outcome { origin: node("east"), ..outcome.clone() };
            assert!(!verify_inclusion(&forged.leaf_hash(), outcome.index, size, &path, &root));
        }
    }
}

#[test]
fn an_outcome_is_read_back_from_its_leaf() {
    let mut chain = Chain::new();
    chain.act(NOW, issue("T"));
    chain.act(NOW + 1, validate("T"));
    let result = chain.one(NOW + 2, operation("again", NOW + 2, validate("T")));
    let outcome = recorded(&result);
    assert_eq!(Outcome::from_bytes(&outcome.to_bytes()).unwrap(), **outcome);
}

#[test]
fn an_empty_block_leaves_the_log_alone() {
    let mut chain = Chain::new();
    let effects = chain.block(NOW, vec![]);
    assert_eq!((effects.executed.log_size, effects.executed.log_root), (0, empty_root()));
    chain.act(NOW + 1, issue("T"));
    let before = chain.ledger.root_at(Height(2)).unwrap();
    let effects = chain.block(NOW + 2, vec![]);
    assert_eq!(effects.executed, before);
    assert!(effects.results.is_empty() && effects.tickets.is_empty() && effects.last_bundles.is_empty());
    assert_eq!(effects.log.first_index, 1);
}
