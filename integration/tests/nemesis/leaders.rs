//! Leaders that die.

use crate::clients::{Clients, judge};
use crate::field::{Field, until};

#[tokio::test(flavor = "multi_thread")]
async fn leader_killed_again_and_again() {
    let mut field = Field::start(4).await;
    let clients = Clients::start(&field.shared, 11, 8);
    clients.progress(20).await;
    for _ in 0..4 {
        let leader = field.leader().await;
        let height = field.height(leader).await;
        field.kill(leader).await;
        assert_eq!(field.height_if_up(leader).await, None, "node{leader} is not dead");
        // The three that are left go on without it, which they cannot while it leads.
        clients.progress(15).await;
        let next = field.leader().await;
        assert_ne!(next, leader, "a dead node leads");
        assert!(field.height(next).await > height, "nothing was committed without node{leader}");
        field.restart(leader).await;
        clients.progress(15).await;
    }
    field.heal().await;
    judge(&field, clients, &[0, 1, 2, 3]).await;
    field.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f_leaders_in_a_row_dead() {
    let mut field = Field::start(7).await;
    let clients = Clients::start(&field.shared, 12, 7);
    clients.progress(20).await;
    // The next leader is the next node: both die at once, and the view goes past two of them.
    let leader = field.leader().await;
    let next = (leader + 1) % 7;
    let height = field.height(leader).await;
    field.kill(leader).await;
    field.kill(next).await;
    clients.progress(30).await;
    let third = field.leader().await;
    assert!(third != leader && third != next, "node{third} leads, which is dead");
    for dead in [leader, next] {
        assert_eq!(field.height_if_up(dead).await, None, "node{dead} is not dead");
    }
    assert!(field.height(third).await > height, "nothing was committed without the two");
    field.heal().await;
    judge(&field, clients, &[0, 1, 2, 3, 4, 5, 6]).await;
    field.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_killed_at_once_under_load() {
    let mut field = Field::start(4).await;
    let clients = Clients::start(&field.shared, 13, 8);
    for _ in 0..2 {
        clients.progress(30).await;
        let height = field.height(0).await;
        for node in 0..4 {
            field.kill(node).await;
        }
        for node in 0..4 {
            assert_eq!(field.height_if_up(node).await, None, "node{node} is not dead");
        }
        field.heal().await;
        // What was committed is still there, and more comes, by itself.
        clients.progress(30).await;
        until("more is committed than before all were killed", async || field.height(0).await > height).await;
    }
    judge(&field, clients, &[0, 1, 2, 3]).await;
    field.stop().await;
}
