//! What a node remembers after its process, its machine or its disk failed.

use dtvn_messages::wire::PeerMessage;
use dtvn_messages::{Epoch, Height};
use dtvn_replication::intake::Answer;
use dtvn_replication::log::MemoryDisk;
use dtvn_replication::node::Media;

use crate::harness::{Network, consume, issue, validate};

fn lose_power(media: &mut Media<MemoryDisk>) {
    media.disk.crash(|_| 0);
    media.store.crash(0);
}

fn with_history() -> Network {
    let mut network = Network::new(4);
    for ticket in 0..10 {
        network.submit(ticket % 4, ticket as u64, issue(&format!("T{ticket}"), ticket as u64));
        network.run_for(100_000);
    }
    assert_eq!(network.accepted().len(), 10);
    network
}

#[test]
fn what_was_answered_survives_the_loss_of_power_everywhere() {
    let mut network = with_history();
    network.submit(1, 20, issue("the last", 20));
    while !network.answers.contains_key(&20) {
        assert!(network.step());
    }
    let mut media: Vec<_> = (0..4).map(|node| network.kill(node)).collect();
    media.iter_mut().for_each(lose_power);
    for (node, media) in media.into_iter().enumerate() {
        network.start(node, media);
    }
    // The first one has its answer, so it was not lost: a second one is refused, a retry gets the first answer.
    network.run();
    network.submit(2, 21, issue("the last", 21));
    network.submit(3, 22, issue("the last", 20));
    network.run();
    assert_eq!(network.accepted().len(), 12);
    let (Answer::Decided(first), Answer::Decided(retry)) = (&network.answers[&20], &network.answers[&22]) else {
        panic!("{:?}", network.answers)
    };
    assert_eq!(first.outcome(), retry.outcome());
    assert!(!network.accepted().contains(&21), "{:?}", network.answers[&21]);
}

#[test]
fn the_log_is_collected_and_what_remains_is_enough() {
    let mut network = Network::new(4);
    for ticket in 0..400_u64 {
        network.submit((ticket % 4) as usize, ticket, issue(&format!("a ticket with number {ticket}"), ticket));
        network.run_for(20_000);
    }
    network.run();
    let first = network.node(0).log().unwrap().segments().next().unwrap();
    assert!(first.segment.0 > 1, "{first:?}");
    let committed = network.node(0).show().committed;
    let mut media = network.kill(0);
    lose_power(&mut media);
    network.start(0, media);
    network.run();
    assert_eq!(network.node(0).show().committed, committed);
    assert!(network.node(0).show().voting);
}

#[test]
fn a_retry_at_the_node_that_was_restarted_gets_the_first_outcome() {
    for power in [false, true] {
        let mut network = with_history();
        let mut media = network.kill(2);
        if power {
            lose_power(&mut media);
        }
        network.start(2, media);
        network.run();
        network.submit(2, 30, issue("T2", 2));
        network.run();
        let Some(Answer::Decided(retry)) = network.answers.get(&30) else { panic!("{:?}", network.answers.get(&30)) };
        let Answer::Decided(first) = &network.answers[&2] else { panic!() };
        assert_eq!(first.outcome(), retry.outcome());
    }
}

/// Node 3 dies, and its log is damaged or gone.
fn without_memory(damage: &str) -> (Network, Media<MemoryDisk>) {
    let mut network = with_history();
    let mut media = network.kill(3);
    let name = "0000000000000001.segment";
    match damage {
        "flip" => assert!(media.disk.flip_bit(name, 8 * 512 + 100)),
        _ => assert!(media.disk.lose(name)),
    }
    (network, media)
}

#[test]
fn a_damaged_or_lost_log_is_amnesia_and_no_restart_lifts_the_mark() {
    for damage in ["flip", "lose"] {
        let (mut network, media) = without_memory(damage);
        // Without a quorum nobody can order its recovery.
        let away = [1, 2].map(|node| network.kill(node));
        let is_signed = |message: &PeerMessage| {
            matches!(message, PeerMessage::Vote(_) | PeerMessage::ViewChange(_) | PeerMessage::Checkpoint(_))
        };
        let signed_before = network.said(3, is_signed);
        network.start(3, media);
        network.run();
        let amnesia = network.node(3).amnesia().cloned();
        assert!(amnesia.is_some() && !network.node(3).show().voting, "{damage}");
        let media = network.kill(3);
        network.start(3, media);
        network.run();
        assert_eq!(network.node(3).amnesia().cloned(), amnesia, "{damage}: with the same nonce");
        assert_eq!(network.said(3, is_signed), signed_before, "{damage}: it signs nothing");
        drop(away);
    }
}

#[test]
fn a_validator_without_memory_votes_again_in_the_epoch_that_its_own_recovery_opens() {
    for damage in ["flip", "lose"] {
        let (mut network, media) = without_memory(damage);
        network.start(3, media);
        assert!(network.node(3).amnesia().is_some(), "{damage}");
        network.submit(0, 40, validate("T1", 40));
        network.run_for(10_000_000);
        assert!(network.accepted().contains(&40));
        assert_eq!(network.node(3).amnesia(), None, "{damage}");
        for node in network.nodes() {
            let (config, shown) = (node.config(), node.show());
            assert_eq!((config.epoch, shown.voting), (Epoch(1), true), "{damage}");
            assert_eq!(config.epoch_base, Height(shown.committed.0 / 4 * 4), "{damage}: at a checkpoint");
        }
        // Its vote is one of those that are needed.
        network.kill(1);
        network.submit(0, 41, consume("T1", 41));
        network.run_for(10_000_000);
        assert!(network.accepted().contains(&41), "{damage}");
        let committed = network.node(0).show().committed;
        assert_eq!(network.node(3).show().committed, committed, "{damage}");
        // It is still so after a restart.
        let media = network.kill(3);
        network.start(3, media);
        assert!(network.node(3).show().voting, "{damage}");
        assert_eq!(network.node(3).config().epoch, Epoch(1));
    }
}

/// It has voted in the epoch that it opened: if it forgets that, it needs another one.
#[test]
fn a_validator_that_loses_its_memory_twice_does_not_vote_in_the_epoch_of_its_first_recovery() {
    let (mut network, media) = without_memory("lose");
    network.start(3, media);
    network.submit(0, 40, validate("T1", 40));
    network.run_for(10_000_000);
    assert_eq!((network.node(3).config().epoch, network.node(3).amnesia()), (Epoch(1), None));
    let away = [1, 2].map(|node| network.kill(node));
    let media = network.kill(3);
    network.start(3, Media { disk: network.new_media().disk, ..media });
    network.run();
    let amnesia = network.node(3).amnesia().cloned();
    assert!(amnesia.is_some() && !network.node(3).show().voting, "nobody can order its second recovery");
    for (node, media) in [1, 2].into_iter().zip(away) {
        network.start(node, media);
    }
    network.submit(0, 41, consume("T1", 41));
    network.run_for(60_000_000);
    assert_eq!(network.node(3).amnesia(), None);
    assert!(network.node(3).show().voting && network.node(3).config().epoch == Epoch(2));
}

/// Node 3 recovers, and after so many further blocks loses the last ones of its database, and with them that an epoch is
/// over; its log has them. Says how often it then stands just before the epoch that it opened.
fn database_ends_before_the_recovery(further: u64) -> usize {
    let (mut network, media) = without_memory("lose");
    network.start(3, media);
    network.submit(0, 40, validate("T1", 40));
    network.run_for(10_000_000);
    assert_eq!((network.node(3).config().epoch, network.node(3).amnesia()), (Epoch(1), None));
    let base = network.node(3).config().epoch_base;
    for number in 0..further {
        network.submit(0, 50 + number, issue(&format!("N{number}"), 50 + number));
        network.run_for(100_000);
    }
    let others = [0, 1, 2].map(|node| network.kill(node));
    let left = network.kill(3);
    let of_first_epoch = |message: &PeerMessage| match message {
        PeerMessage::Vote(vote) => vote.body.epoch == Epoch(0),
        PeerMessage::ViewChange(signed) => signed.body.epoch == Epoch(0),
        PeerMessage::Checkpoint(vote) => vote.body.epoch == Epoch(0),
        PeerMessage::Cosign(heads) => heads.iter().any(|head| head.body.epoch == Epoch(0)),
        _ => false,
    };
    let mut met = 0;
    for keep in 0..8 {
        let mut media = left.clone();
        media.store.crash(keep);
        if media.store.load().ends.is_empty() {
            met += usize::from(media.store.applied() == base);
            let said_before = network.said(3, of_first_epoch);
            network.start(3, media);
            network.run_for(1_000_000);
            assert_eq!(network.said(3, of_first_epoch), said_before, "{keep}: it has forgotten what it signed there");
            network.kill(3);
        }
    }
    for (node, media) in others.into_iter().enumerate() {
        network.start(node, media);
    }
    network.start(3, left);
    network.run_for(10_000_000);
    assert!(network.node(3).show().voting, "in the epoch that it opened it forgot nothing");
    met
}

#[test]
fn a_database_that_ends_before_the_recovery_brings_no_vote_back_in_the_epochs_before() {
    assert!((1..5).map(database_ends_before_the_recovery).sum::<usize>() > 0);
}

#[test]
fn a_node_that_was_away_catches_up_from_the_others() {
    let mut network = Network::new(4);
    let media = network.kill(3);
    for ticket in 0..30_u64 {
        network.submit((ticket % 3) as usize, ticket, issue(&format!("T{ticket}"), ticket));
        network.run_for(50_000);
    }
    network.start(3, media);
    network.run();
    assert!(network.node(0).show().committed > Height(20));
    assert_eq!(network.node(3).show().committed, network.node(0).show().committed);
}
