//! Leaders that die.

use crate::clients::{Clients, judge};
use crate::field::Field;

#[tokio::test(flavor = "multi_thread")]
async fn leader_killed_again_and_again() {
    let mut field = Field::start(4).await;
    let clients = Clients::start(&field.shared, 11, 8);
    clients.progress(20).await;
    for _ in 0..4 {
        let leader = field.leader().await;
        field.kill(leader).await;
        // The three that are left go on without it.
        clients.progress(15).await;
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
    field.kill(leader).await;
    field.kill(next).await;
    clients.progress(30).await;
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
        for node in 0..4 {
            field.kill(node).await;
        }
        field.heal().await;
    }
    clients.progress(30).await;
    judge(&field, clients, &[0, 1, 2, 3]).await;
    field.stop().await;
}
