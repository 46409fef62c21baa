//! Proofs from the stored tree, against definitions that know nothing of tiles.

use super::*;
use dtvn_messages::Digest;
use dtvn_messages::merkle::{self, Frontier, node_hash};

/// 600 outcomes: two full tiles of level 0 and a growing one.
const OUTCOMES: usize = 600;

fn store_with_log(directory: &Path) -> (Store, Chain, Vec<Digest>) {
    let mut chain = Chain::new();
    let mut store = open(directory, &chain);
    let mut leaves = Vec::new();
    // Blocks of many sizes, so that tiles are completed in the middle of one, at its end, and two in one.
    for (block, size) in [1usize, 254, 1, 2, 300, 0, 42].into_iter().enumerate() {
        let operations = (0..size).map(|number| chain.issue(&format!("T-{block}-{number}"))).collect();
        let block = chain.block(operations);
        leaves.extend_from_slice(&block.effects.log.leaves);
        store.apply(&[block]).unwrap();
    }
    assert_eq!(leaves.len(), OUTCOMES);
    (store, chain, leaves)
}

fn root_of(leaves: &[Digest]) -> Digest {
    let mut frontier = Frontier::new();
    leaves.iter().for_each(|leaf| frontier.append(*leaf));
    frontier.root()
}

/// RFC 9162 section 2.1.4.2, as it is written there.
fn verify_consistency(first: u64, second: u64, path: &[Digest], first_root: &Digest, second_root: &Digest) -> bool {
    if first == second {
        return path.is_empty() && first_root == second_root;
    }
    let mut path = path.to_vec();
    if path.is_empty() {
        return false;
    }
    if first.is_power_of_two() {
        path.insert(0, *first_root);
    }
    let (mut node, mut last) = (first - 1, second - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let (mut old, mut new) = (path[0], path[0]);
    for hash in &path[1..] {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            old = node_hash(hash, &old);
            new = node_hash(hash, &new);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new = node_hash(&new, hash);
        }
        node >>= 1;
        last >>= 1;
    }
    old == *first_root && new == *second_root && last == 0
}

#[test]
fn every_outcome_is_proven_in_every_log_that_holds_it() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _, leaves) = store_with_log(directory.path());
    store
        .reader()
        .read(|view| {
            for size in [1, 2, 3, 127, 128, 255, 256, 257, 300, 511, 512, 513, 599, 600] {
                let root = root_of(&leaves[..size]);
                assert_eq!(view.log_root(size as u64)?, Some(root));
                for (index, leaf) in leaves[..size].iter().enumerate() {
                    let path = view.inclusion_path(index as u64, size as u64)?.unwrap();
                    let proves =
                        |leaf: &Digest| merkle::verify_inclusion(leaf, index as u64, size as u64, &path, &root);
                    assert!(proves(leaf), "{index} of {size}");
                    assert!(!proves(&Digest::ZERO));
                }
            }
            for index in 0..OUTCOMES as u64 {
                let leaf = merkle::leaf_hash(&view.leaf(index)?.unwrap());
                assert_eq!(leaf, leaves[index as usize], "the stored leaf is what is hashed");
            }
            assert_eq!(view.inclusion_path(5, 5)?, None);
            assert_eq!(view.inclusion_path(5, 601)?, None);
            assert_eq!(view.log_root(601)?, None);
            assert_eq!(view.log_root(0)?, Some(merkle::empty_root()));
            Ok(())
        })
        .unwrap();
}

#[test]
fn every_shorter_log_is_proven_to_be_the_beginning() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _, leaves) = store_with_log(directory.path());
    store
        .reader()
        .read(|view| {
            for second in [1, 2, 7, 256, 257, 511, 512, 600] {
                let root = root_of(&leaves[..second]);
                for first in 1..=second {
                    let path = view.consistency_path(first as u64, second as u64)?.unwrap();
                    let old = root_of(&leaves[..first]);
                    assert!(verify_consistency(first as u64, second as u64, &path, &old, &root), "{first} {second}");
                    assert!(!verify_consistency(first as u64, second as u64, &path, &Digest::ZERO, &root));
                }
            }
            assert_eq!(view.consistency_path(0, 600)?, Some(Vec::new()));
            assert_eq!(view.consistency_path(7, 6)?, None);
            assert_eq!(view.consistency_path(7, 601)?, None);
            Ok(())
        })
        .unwrap();
}

#[test]
fn tiles_are_those_of_the_specification_before_and_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let (store, mut chain, leaves) = store_with_log(directory.path());
    let check = |store: &Store, leaves: &[Digest]| {
        store
            .reader()
            .read(|view| {
                let level_1: Vec<Digest> = leaves.chunks_exact(256).map(root_of).collect();
                for (level, hashes) in [(0, leaves), (1, level_1.as_slice())] {
                    for (index, tile) in (0..).zip(hashes.chunks(256)) {
                        for width in [1, 7, tile.len()] {
                            let expected = (width <= tile.len()).then(|| tile[..width].to_vec());
                            assert_eq!(view.tile(level, index, width)?, expected, "{level}/{index} of {width}");
                        }
                        assert_eq!(view.tile(level, index, tile.len() + 1)?, None);
                        assert_eq!(view.tile(level, index, 0)?, None);
                    }
                }
                assert_eq!(view.tile(2, 0, 1)?, None);
                assert_eq!(view.tile(255, u64::MAX, 1)?, None);
                Ok(())
            })
            .unwrap();
    };
    check(&store, &leaves);
    close(store);
    let (mut store, _) = reopen(directory.path(), &chain).unwrap();
    check(&store, &leaves);
    let operations = (0..200).map(|number| chain.issue(&format!("later-{number}"))).collect();
    let block = chain.block(operations);
    let leaves = [leaves, block.effects.log.leaves.clone()].concat();
    store.apply(&[block]).unwrap();
    check(&store, &leaves);
}
