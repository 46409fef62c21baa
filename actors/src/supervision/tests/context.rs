//! Timers and tasks of an actor, and that they end with it.

use super::{Journal, Stage, soon};
use crate::directory::Role;
use crate::mailbox::{Address, FullPolicy, Mail, SendError};
use crate::supervision::{ActorError, Behaviour, ChildSpec, Context, Lifeline, Strategy, SupervisorSpec, TaskHandle};
use dtvn_messages::limits::ACTOR_TASKS_MAX;
use std::sync::{Arc, Mutex};
use std::time::Duration;

type Work = Box<dyn FnOnce(&Context<Order>) + Send>;

enum Order {
    Run(Work),
    Note(String),
    Escalate(Address<Order>),
    Fail,
}

impl Mail for Order {
    fn kind(&self) -> &'static str {
        "order"
    }

    fn policy(&self) -> FullPolicy {
        match self {
            Self::Note(_) => FullPolicy::DropNewest,
            _ => FullPolicy::Must,
        }
    }
}

const ACTOR: Role<Order> = Role::new("actor");

struct Doer(Journal);

impl Behaviour for Doer {
    type Message = Order;

    async fn handle(&mut self, context: &Context<Order>, order: Order) -> Result<(), ActorError> {
        match order {
            Order::Run(work) => work(context),
            Order::Note(text) => self.0.note(text),
            Order::Escalate(address) => address.try_send(Order::Fail)?,
            Order::Fail => return Err(ActorError::new("told to")),
        }
        Ok(())
    }
}

async fn stage(journal: &Journal) -> (Stage, Address<Order>) {
    open(spec(journal)).await
}

fn spec(journal: &Journal) -> ChildSpec {
    let journal = journal.clone();
    let child = ChildSpec::worker(ACTOR, move |context: Context<Order>| {
        let journal = journal.clone();
        async move {
            // What an actor says to itself during its start is there when it begins to work.
            context.myself().try_send(Order::Note("begin".to_owned()))?;
            Ok(Doer(journal))
        }
    });
    child.mailbox(4)
}

async fn open(child: ChildSpec) -> (Stage, Address<Order>) {
    let stage = Stage::open(SupervisorSpec::new("root", Strategy::OneForOne).child(child)).await;
    let address = stage.tree.directory().address(&ACTOR);
    (stage, address)
}

async fn run<T: Send + 'static>(
    address: &Address<Order>,
    work: impl FnOnce(&Context<Order>) -> T + Send + 'static,
) -> T {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let work = Box::new(move |context: &Context<Order>| drop(sender.send(work(context))));
    address.try_send(Order::Run(work)).unwrap();
    soon("work", receiver).await.unwrap()
}

fn note(text: &str) -> Order {
    Order::Note(text.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn timers_tasks_and_their_results_come_as_messages() {
    let journal = Journal::new();
    let (stage, address) = stage(&journal).await;
    journal.until("begin").await;
    run(&address, |context| {
        context.send_after(Duration::from_millis(1), note("later"));
        context.send_every(Duration::from_millis(1), || note("tick"));
        context.spawn_then(async { 6 * 7 }, |answer| Order::Note(format!("answer {answer}")))
    })
    .await;
    for (entry, times) in [("later", 1), ("answer 42", 1), ("tick", 3)] {
        journal.until_times(entry, times).await;
    }
    stage.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_timer_is_silent() {
    let journal = Journal::new();
    let (stage, address) = stage(&journal).await;
    let timer: TaskHandle = run(&address, |context| {
        let timer = context.send_after(Duration::from_millis(500), note("late"));
        context.send_after(Duration::from_millis(700), note("end"));
        timer
    })
    .await;
    timer.cancel();
    journal.until("end").await;
    assert!(!journal.all().contains(&"late".to_owned()));
    assert!(timer.is_finished());
    stage.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn timers_and_pinned_addresses_end_with_their_incarnation() {
    let journal = Journal::new();
    let (stage, address) = stage(&journal).await;
    let (pinned, over) = run(&address, |context| {
        context.send_after(Duration::from_millis(100), note("of a former life"));
        (context.myself(), context.over())
    })
    .await;
    let first = address.incarnation();
    assert_eq!((pinned.incarnation(), pinned.is_up(), over.is_cancelled()), (first, true, false));
    address.try_send(Order::Fail).unwrap();
    stage.await_successor_of(&address, first).await;
    assert!(!pinned.is_up() && over.is_cancelled());
    assert!(matches!(pinned.try_send(note("x")), Err(SendError::Down(_))));
    run(&address, |context| context.send_after(Duration::from_millis(200), note("end"))).await;
    journal.until("end").await;
    assert!(!journal.all().contains(&"of a former life".to_owned()));
    stage.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_successor_waits_for_a_lifeline() {
    let journal = Journal::new();
    let (stage, address) = stage(&journal).await;
    let kept: Arc<Mutex<Option<Lifeline>>> = Arc::default();
    let keeper = Arc::clone(&kept);
    let over = run(&address, move |context| {
        *keeper.lock().unwrap() = Some(context.lifeline());
        context.over()
    })
    .await;
    let first = address.incarnation();
    address.try_send(Order::Fail).unwrap();
    soon("over", over.cancelled()).await;
    let too_early = tokio::time::timeout(Duration::from_millis(300), stage.await_successor_of(&address, first)).await;
    assert!(too_early.is_err(), "a thread of the former incarnation still has the database");
    kept.lock().unwrap().take();
    stage.await_successor_of(&address, first).await;
    stage.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lifeline_that_is_never_let_go_of_ends_the_tree_and_no_second_holder_starts() {
    let journal = Journal::new();
    let (stage, address) = open(spec(&journal).end_timeout(Duration::from_millis(100))).await;
    let kept: Arc<Mutex<Option<Lifeline>>> = Arc::default();
    let keeper = Arc::clone(&kept);
    run(&address, move |context| *keeper.lock().unwrap() = Some(context.lifeline())).await;
    let first = address.incarnation();
    address.try_send(Order::Fail).unwrap();
    let end = soon("the end of the tree", stage.tree.ended()).await;
    assert!(end.to_string().contains("its threads still held what is its own"));
    assert_eq!(address.incarnation(), first, "a successor would write to the same files");
    drop(kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_send_escalates_with_a_question_mark() {
    let journal = Journal::new();
    let (stage, address) = stage(&journal).await;
    let nobody = stage.tree.directory().address(&Role::<Order>::new("nobody"));
    let first = address.incarnation();
    address.try_send(Order::Escalate(nobody)).unwrap();
    stage.await_successor_of(&address, first).await;
    let reason = stage.tree.snapshot().find("actor").unwrap().last_restart_reason.clone();
    assert_eq!(reason.as_deref(), Some("failed: the receiver is down"));
    stage.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_that_fails_or_panics_fails_its_actor() {
    let journal = Journal::new();
    let (stage, address) = stage(&journal).await;
    let reason = |stage: &Stage| stage.tree.snapshot().find("actor").unwrap().last_restart_reason.clone().unwrap();
    let first = address.incarnation();
    run(&address, |context| {
        let alarm = context.alarm();
        std::thread::spawn(move || alarm.ring("the disk is gone"));
    })
    .await;
    stage.await_successor_of(&address, first).await;
    assert_eq!(reason(&stage), "failed: the disk is gone");
    let second = address.incarnation();
    run(&address, |context| {
        let alarm = context.alarm();
        let work = move || {
            let _alarm = alarm;
            panic!("told to panic in a thread");
        };
        std::thread::Builder::new().name("disk".to_owned()).spawn(work).unwrap();
    })
    .await;
    stage.await_successor_of(&address, second).await;
    assert_eq!(reason(&stage), "failed: its thread `disk` panicked");
    stage.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_actor_that_spawns_without_end_fails_at_its_bound() {
    let journal = Journal::new();
    let (stage, address) = stage(&journal).await;
    let first = address.incarnation();
    let tasks = run(&address, |context| {
        let spawn = |_| context.spawn(std::future::pending());
        (0..ACTOR_TASKS_MAX).map(spawn).collect::<Vec<_>>()
    })
    .await;
    assert_eq!(address.incarnation(), first, "so many it may have");
    let mut cancelled = tasks;
    let last = cancelled.pop().unwrap();
    last.cancel();
    soon("its place", async {
        while !last.is_finished() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // The place of one that ended is free again; one more is too many.
    let one_too_many = Box::new(|context: &Context<Order>| {
        context.spawn(std::future::pending());
        context.send_after(Duration::from_secs(3_600), note("never"));
    });
    address.try_send(Order::Run(one_too_many)).unwrap();
    stage.await_successor_of(&address, first).await;
    let reason = stage.tree.snapshot().find("actor").unwrap().last_restart_reason.clone().unwrap();
    assert!(reason.contains(&format!("has {ACTOR_TASKS_MAX} tasks")), "{reason}");
    // What a task held is gone before the successor starts; its handle says so a moment later.
    soon("the end of its tasks", async {
        while !cancelled.iter().all(TaskHandle::is_finished) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    stage.shutdown().await;
}
