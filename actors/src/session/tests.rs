//! Sessions in a tree, before an intake that answers as the test says.

use std::sync::Arc;
use std::time::Duration;

use dtvn_messages::{IdempotencyKey, Operation, Reason, limits};
use dtvn_replication::intake::Answer;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::directory::Role;
use crate::intake::{self, Answered, IntakeMessage, Submission};
use crate::mailbox::{Address, Reply};
use crate::supervision::{ActorError, Behaviour, ChildSpec, Context, NodeTree, Restart, Strategy, SupervisorSpec};

const WAIT: Duration = Duration::from_secs(20);

/// Answers each operation with its place among those that it was ever given, as `detail`; behind a gate, if there is one,
/// each message with a permit.
struct CountingIntake(usize, Option<Arc<Semaphore>>);

impl Behaviour for CountingIntake {
    type Message = IntakeMessage;

    async fn handle(&mut self, _: &Context<IntakeMessage>, message: IntakeMessage) -> Result<(), ActorError> {
        if let Some(gate) = &self.1 {
            gate.acquire().await?.forget();
        }
        if let IntakeMessage::Submit(submission) = message {
            let answers = submission.operations.iter().map(|_| {
                self.0 += 1;
                let answer = Answer::Refused { reason: Reason::NoQuorum, detail: Some(self.0.to_string()) };
                Answered { answer, ticket: None }
            });
            submission.reply.send(answers.collect());
        }
        Ok(())
    }
}

struct Stage {
    tree: NodeTree,
    session: Address<SessionMessage>,
    load: Load,
    connection: CancellationToken,
}

async fn stage(with_intake: bool) -> Stage {
    stage_of(with_intake.then(|| ChildSpec::worker(intake::ROLE, |_| async { Ok(CountingIntake(0, None)) }))).await
}

async fn stage_of(intake: Option<ChildSpec>) -> Stage {
    let mut edge = SupervisorSpec::new("edge", Strategy::OneForOne).dynamic(1);
    if let Some(intake) = intake {
        edge = edge.child(intake);
    }
    let root = SupervisorSpec::new("root", Strategy::OneForOne).child(ChildSpec::supervisor(edge));
    let tree = NodeTree::start(root).await.unwrap();
    let (load, connection) = (Load::default(), CancellationToken::new());
    let stage = Stage { session: tree.directory().address(&role(1)), tree, load, connection };
    stage.add(role(1)).await;
    stage
}

impl Stage {
    async fn add(&self, role: Role<SessionMessage>) {
        let arguments = SessionArguments { load: self.load.clone(), connection: self.connection.clone() };
        let child = ChildSpec::worker(role, move |context| Session::start(context, arguments.clone()));
        self.tree.add("edge", child.restart(Restart::Temporary)).await.unwrap();
    }

    /// Submits as a request does; the reasons and details of its answers.
    async fn submit(&self, count: usize) -> Vec<(Reason, Option<String>)> {
        let operations = (0..count).map(|_| operation()).collect();
        let _place = self.load.operations(count);
        let answers = submit(&self.session, operations, WAIT).await;
        let refused = |answered: Answered| match answered.answer {
            Answer::Refused { reason, detail } => (reason, detail),
            other => panic!("{other:?}"),
        };
        answers.into_iter().map(refused).collect()
    }
}

fn operation() -> Operation {
    Operation::new(IdempotencyKey::new("0123456789abcdef").unwrap(), dtvn_messages::Action::Seed)
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_go_to_the_intake_and_each_gets_its_own_answer() {
    let stage = stage(true).await;
    let counted = |number: usize| (Reason::NoQuorum, Some(number.to_string()));
    assert_eq!(stage.submit(2).await, [counted(1), counted(2)]);
    assert_eq!(stage.submit(1).await, [counted(3)]);
    assert_eq!(stage.load.operations_in_flight(), 0, "what was answered is in flight no more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_may_have_so_much_in_flight_and_no_more() {
    let stage = stage(true).await;
    let flying = stage.load.operations(limits::SESSION_OPERATIONS_MAX);
    let refused = stage.submit(1).await;
    assert_eq!(refused[0].0, Reason::Overloaded);
    drop(flying);
    assert_eq!(stage.submit(1).await, [(Reason::NoQuorum, Some("1".to_owned()))], "the refused one never arrived");
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_submissions_wait_for_the_intake_and_a_further_one_is_refused() {
    let gate = Arc::new(Semaphore::new(0));
    let behind = Arc::clone(&gate);
    let intake =
        ChildSpec::worker(intake::ROLE, move |_| std::future::ready(Ok(CountingIntake(0, Some(Arc::clone(&behind))))));
    let stage = stage_of(Some(intake.mailbox(2 * limits::INTAKE_SUBMISSIONS_MAX))).await;
    let intake = stage.tree.directory().address(&intake::ROLE);
    let submitted = || {
        let (reply, _answer) = Reply::channel();
        IntakeMessage::Submit(Submission { operations: vec![operation()], wait: WAIT, reply })
    };
    // It has begun with the first one, which waits no more.
    intake.try_send(submitted()).unwrap();
    until(|| intake.depth() == 0).await;
    for _ in 1..limits::INTAKE_SUBMISSIONS_MAX {
        intake.try_send(submitted()).unwrap();
    }
    let last = stage.session.clone();
    let last = tokio::spawn(async move { submit(&last, vec![operation()], WAIT).await });
    until(|| intake.depth() == limits::INTAKE_SUBMISSIONS_MAX).await;
    assert_eq!(stage.submit(1).await, [(Reason::Overloaded, None)], "through a session");
    let direct = intake::submit(&intake, vec![operation(), operation()], WAIT).await;
    let refused = Answer::Refused { reason: Reason::Overloaded, detail: None };
    assert!(direct.len() == 2 && direct.iter().all(|answered| answered.answer == refused), "{direct:?}");
    gate.add_permits(Semaphore::MAX_PERMITS / 2);
    let answered = last.await.unwrap();
    let detail = Some((limits::INTAKE_SUBMISSIONS_MAX + 1).to_string());
    assert_eq!(answered[0].answer, Answer::Refused { reason: Reason::NoQuorum, detail }, "the last that had a place");
}

async fn until(wanted: impl Fn() -> bool) {
    let looking = async {
        while !wanted() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(WAIT, looking).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_intake_everything_is_refused_as_restarting() {
    let stage = stage(false).await;
    assert_eq!(stage.submit(2).await, [(Reason::Restarting, None), (Reason::Restarting, None)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_has_one_subscription() {
    let stage = stage(true).await;
    let first = stage.load.subscription();
    assert_eq!(stage.session.call(WAIT, SessionMessage::Subscribe).await, Ok(true));
    let second = stage.load.subscription();
    assert_eq!(stage.session.call(WAIT, SessionMessage::Subscribe).await, Ok(false));
    drop(first);
    assert_eq!(stage.session.call(WAIT, SessionMessage::Subscribe).await, Ok(true));
    drop(second);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_with_its_connection_and_leaves_its_place() {
    let stage = stage(true).await;
    let mut presence = stage.session.watch();
    stage.connection.cancel();
    tokio::time::timeout(WAIT, presence.wait_for(|presence| !presence.up)).await.unwrap().unwrap();
    assert_eq!(stage.submit(1).await, [(Reason::Restarting, None)], "submitted too late");
    let fresh = Stage { load: Load::default(), connection: CancellationToken::new(), ..stage };
    // The place is free as soon as the supervisor has seen the end.
    tokio::time::timeout(WAIT, async {
        while fresh.tree.snapshot().find("edge/session-1").is_some() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    fresh.add(role(2)).await;
    assert!(fresh.tree.snapshot().find("edge/session-2").is_some());
}
