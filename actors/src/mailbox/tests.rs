//! Mailboxes of real actors: bounds, policies, answers.

use crate::mailbox::{Address, CallError, FullPolicy, Reply, SendError};
use crate::supervision::tests::{Journal, PATIENCE, Plan, Say, Stage, gate, soon};
use crate::supervision::{Strategy, SupervisorSpec};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// An actor with a mailbox for two messages, busy until the gate opens.
async fn busy() -> (Stage, Address<Say>, Arc<Semaphore>) {
    let journal = Journal::new();
    let plan = Plan::new("a", &journal);
    let stage = Stage::open(SupervisorSpec::new("root", Strategy::OneForOne).child(plan.spec().mailbox(2))).await;
    let (address, opened) = (stage.address("a"), gate());
    address.send(Say::Block(opened.clone())).await.unwrap();
    journal.until("busy a").await;
    (stage, address, opened)
}

fn noise(policy: FullPolicy) -> Say {
    Say::Noise(policy)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_mailbox_does_with_each_message_what_its_policy_says() {
    let (stage, address, opened) = busy().await;
    address.try_send(noise(FullPolicy::Refuse)).unwrap();
    address.try_send(noise(FullPolicy::Must)).unwrap();
    assert_eq!(address.depth(), 2);
    let returned = address.send(noise(FullPolicy::Refuse)).await.unwrap_err();
    assert!(matches!(returned.into_message(), Say::Noise(FullPolicy::Refuse)));
    assert!(matches!(address.send(noise(FullPolicy::Must)).await, Err(SendError::Overrun(_))));
    assert!(matches!(address.try_send(noise(FullPolicy::Wait)), Err(SendError::Full(_))));
    assert!(address.send(noise(FullPolicy::DropNewest)).await.is_ok());
    assert_eq!(address.depth(), 2);
    let figures = stage.tree.snapshot().find("a").cloned().unwrap();
    assert_eq!((figures.mailbox_refused, figures.mailbox_dropped), (3, 1));
    opened.add_permits(1);
    assert_eq!(stage.count("a").await, Ok(3), "the one that blocked and the two that fitted");
    assert_eq!(address.depth(), 0);
    stage.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_place_gets_it_in_turn() {
    let (stage, address, opened) = busy().await;
    let (first, second) = (Reply::channel(), Reply::channel());
    for _ in 0..2 {
        address.try_send(noise(FullPolicy::Refuse)).unwrap();
    }
    let waiting = tokio::spawn({
        let address = address.clone();
        async move {
            address.send(Say::Count(first.0)).await.unwrap();
            address.send(Say::Count(second.0)).await.unwrap();
        }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    opened.add_permits(1);
    soon("places", waiting).await.unwrap();
    assert_eq!((first.1.await, second.1.await), (Ok(3), Ok(4)));
    stage.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_actor_that_dies_with_a_full_mailbox_frees_all_who_wait_and_its_successor_starts_empty() {
    let (stage, address, _opened) = busy().await;
    let (queued, queued_answer) = Reply::channel();
    address.try_send(Say::Count(queued)).unwrap();
    address.try_send(noise(FullPolicy::Refuse)).unwrap();
    let waiting = tokio::spawn({
        let address = address.clone();
        async move { address.call(PATIENCE, Say::Count).await }
    });
    while stage.tree.snapshot().find("a").unwrap().mailbox_depth < 2 {
        tokio::task::yield_now().await;
    }
    let former = address.incarnation();
    stage.kill("a");
    assert!(soon("queued", queued_answer).await.is_err());
    let waited = soon("waiting", waiting).await.unwrap();
    assert!(matches!(waited, Err(CallError::Down) | Ok(0)), "down, or it came late and met the successor: {waited:?}");
    stage.await_successor("a", former).await;
    for _ in 0..20 {
        assert!(stage.count("a").await.is_ok(), "every place is there again");
    }
    assert_eq!(stage.tree.snapshot().find("a").unwrap().mailbox_depth, 0);
    stage.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_answered_or_tells_why_not() {
    let (stage, address, opened) = busy().await;
    let short = Duration::from_millis(10);
    assert_eq!(address.call(short, Say::Count).await, Err(CallError::TimedOut), "busy");
    address.try_send(noise(FullPolicy::Refuse)).unwrap();
    assert_eq!(address.call(short, Say::Count).await, Err(CallError::TimedOut), "no place in time");
    opened.add_permits(1);
    assert_eq!(address.call(PATIENCE, Say::Count).await, Ok(3), "one of the two that gave up had asked already");
    assert_eq!(address.call(PATIENCE, Say::Ignore).await, Err(CallError::Unanswered));
    stage.shutdown().await;
    assert_eq!(address.call(PATIENCE, Say::Count).await, Err(CallError::Down));
    assert!(matches!(address.try_send(Say::Fail), Err(SendError::Down(Say::Fail))));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_starts_waits_for_a_neighbour_that_is_starting_again() {
    for patient in [false, true] {
        let (stage, address, opened) = busy().await;
        address.try_send(Say::Fail).unwrap();
        let asked = address.clone();
        let answer = tokio::spawn(async move {
            match patient {
                true => asked.call_when_up(PATIENCE, Say::Count).await,
                false => asked.call(PATIENCE, Say::Count).await,
            }
        });
        while address.depth() < 2 {
            tokio::task::yield_now().await;
        }
        // It fails before it comes to the question.
        opened.add_permits(1);
        assert_eq!(answer.await.unwrap(), if patient { Ok(0) } else { Err(CallError::Unanswered) });
        stage.shutdown().await;
        assert_eq!(address.call_when_up(Duration::from_millis(10), Say::Count).await, Err(CallError::TimedOut));
    }
}

#[tokio::test]
async fn a_reply_knows_whether_anybody_still_waits() {
    let (reply, answer) = Reply::channel();
    assert!(!reply.is_abandoned());
    drop(answer);
    assert!(reply.is_abandoned());
    assert!(!reply.send(1));
    let (reply, answer) = Reply::channel();
    assert!(reply.send(2));
    assert_eq!(answer.await, Ok(2));
}
