//! Links that break.

use std::time::Duration;

use crate::clients::{Clients, judge};
use crate::field::Field;

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
    // Each hears its two neighbours only.
    field.links.cut_pair(0, 2);
    field.links.cut_pair(1, 3);
    tokio::time::sleep(SILENCE).await;
    field.heal().await;
    clients.progress(20).await;
    // The leader hears, and is not heard by two: nothing that it proposes gets a quorum.
    let leader = field.leader().await;
    field.links.cut(leader, (leader + 1) % 4);
    field.links.cut(leader, (leader + 2) % 4);
    clients.progress(20).await;
    field.heal().await;
    // The leader is heard, and hears nobody.
    let leader = field.leader().await;
    for other in (0..4).filter(|other| *other != leader) {
        field.links.cut(other, leader);
    }
    clients.progress(20).await;
    field.heal().await;
    judge(&field, clients, &[0, 1, 2, 3]).await;
    field.stop().await;
}
