//! Sessions in a tree, before an intake that answers as the test says.

use std::time::Duration;

use dtvn_messages::{IdempotencyKey, Operation, Reason, limits};
use dtvn_replication::intake::Answer;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::directory::Role;
use crate::intake::{self, Answered, IntakeMessage};
use crate::mailbox::Address;
use crate::supervision::{ActorError, Behaviour, ChildSpec, Context, NodeTree, Restart, Strategy, SupervisorSpec};

const WAIT: Duration = Duration::from_secs(20);

/// Answers each operation with its place among those that it was ever given, as `detail`.
struct CountingIntake(usize);

impl Behaviour for CountingIntake {
    type Message = IntakeMessage;

    async fn handle(&mut self, _: &Context<IntakeMessage>, message: IntakeMessage) -> Result<(), ActorError> {
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
    let mut edge = SupervisorSpec::new("edge", Strategy::OneForOne).dynamic(1);
    if with_intake {
        edge = edge.child(ChildSpec::worker(intake::ROLE, |_| async { Ok(CountingIntake(0)) }));
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
