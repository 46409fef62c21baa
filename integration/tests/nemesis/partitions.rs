//! Links that break.

use std::time::Duration;

use crate::clients::{Clients, judge};
use crate::field::{Field, until};

/// How long a partition lasts where nothing may happen: several view timeouts.
const SILENCE: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn minority_never_decides() {
    let mut field = Field::start(4).await;
    let passed = field.links.passed();
    let clients = Clients::start(&field.shared, 21, 8);
    clients.progress(20).await;
    assert!(field.links.passed() > passed + 10_000, "the nodes do not talk through our doors");
    // The leader is on the side of one.
    let leader = field.leader().await;
    field.links.split(|node| node == leader);
    clients.progress(20).await;
    // What was said before the cut may still be on its desk.
    let [before, _] = field.settled([leader, leader]).await;
    let other = (leader + 1) % 4;
    let others_before = field.height(other).await;
    tokio::time::sleep(SILENCE).await;
    assert_eq!(field.height(leader).await, before, "one of four committed a block, or found another way");
    assert!(field.height(other).await > others_before, "three of four stand still");
    field.heal().await;
    judge(&field, clients, &[0, 1, 2, 3]).await;
    assert!(field.height(leader).await > before);
    field.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_partition_stalls_both_sides_and_healing_resumes() {
    let mut field = Field::start(4).await;
    let clients = Clients::start(&field.shared, 22, 8);
    clients.progress(20).await;
    field.links.split(|node| node < 2);
    // What was decided before the cut may still arrive on either side of it.
    let before = field.settled([0, 2]).await;
    tokio::time::sleep(SILENCE).await;
    let after = [field.height(0).await, field.height(2).await];
    assert_eq!(after, before, "two of four committed a block");
    field.heal().await;
    clients.progress(20).await;
    judge(&field, clients, &[0, 1, 2, 3]).await;
    field.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ring_partition_and_asymmetric_links_leave_one_history() {
    let mut field = Field::start(4).await;
    let clients = Clients::start(&field.shared, 23, 8);
    clients.progress(20).await;
    ring(&field, &clients).await;
    field.heal().await;
    clients.progress(20).await;
    unheard_leader(&field, &clients).await;
    field.heal().await;
    clients.progress(20).await;
    deaf_leader(&field, &clients).await;
    field.heal().await;
    judge(&field, clients, &[0, 1, 2, 3]).await;
    field.stop().await;
}

/// Each hears its two neighbours only. With itself that is a quorum for each: they go on.
async fn ring(field: &Field, clients: &Clients) {
    field.links.cut_pair(0, 2);
    field.links.cut_pair(1, 3);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let across = || [(0, 2), (2, 0), (1, 3), (3, 1)].map(|(from, to)| field.links.passed_from(from, to));
    let around = || [(0, 1), (1, 2), (2, 3), (3, 0)].map(|(from, to)| field.links.passed_from(from, to));
    let (across_before, around_before, height) = (across(), around(), field.height(0).await);
    clients.progress(20).await;
    assert_eq!(across(), across_before, "something went across the ring");
    assert!(around().iter().zip(around_before).all(|(now, before)| *now > before), "the ring is broken");
    until("more is committed in the ring", async || field.height(0).await > height).await;
}

/// The leader hears all, and is not heard by two: nothing that it proposes gets a quorum, and another leads.
async fn unheard_leader(field: &Field, clients: &Clients) {
    let leader = field.leader().await;
    let height = field.height(leader).await;
    field.links.cut(leader, (leader + 1) % 4);
    field.links.cut(leader, (leader + 2) % 4);
    clients.progress(20).await;
    let next = field.leader().await;
    assert_ne!(next, leader, "it leads although two do not hear it");
    assert!(field.height(next).await > height, "nothing was committed without it");
}

/// The leader is heard, and hears nobody: it stands still, and the others go on under another.
async fn deaf_leader(field: &Field, clients: &Clients) {
    let leader = field.leader().await;
    for other in (0..4).filter(|other| *other != leader) {
        field.links.cut(other, leader);
    }
    // What was said before the cut may still be on its desk.
    let [before, _] = field.settled([leader, leader]).await;
    clients.progress(20).await;
    assert_eq!(field.height(leader).await, before, "who hears nobody committed a block, or found another way");
    let next = field.leader().await;
    assert_ne!(next, leader, "who hears nobody leads");
    assert!(field.height(next).await > before, "the others stand still");
}
