//! What neighbours say right after they have told a starting actor where things stand: it is heard.

use std::sync::Arc;

use dtvn_messages::{Digest, Height};
use dtvn_pbft::{Base, Config};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::directory::Role;
use crate::gossip::{self, Gossip, GossipArguments, GossipMessage};
use crate::instruments::Instruments;
use crate::intake::{self, Intake, IntakeArguments, IntakeMessage};
use crate::mailbox::Mail;
use crate::replica::{self, Pending, Replica, ReplicaArguments, ReplicaMessage};
use crate::shared::Shared;
use crate::shared::tests::shared;
use crate::state_machine::{self, Standing, StateMachineMessage};
use crate::storage::{self, StorageMessage, StoreSlot};
use crate::supervision::tests::soon;
use crate::supervision::{ActorError, Behaviour, ChildSpec, Context, NodeTree, Strategy, SupervisorSpec};

/// What a neighbour does with a message.
type Act<M> = Arc<dyn Fn(&Context<M>, M) + Send + Sync>;

/// Does with each message as the test says.
struct Neighbour<M: Mail> {
    answer: Act<M>,
}

impl<M: Mail> Behaviour for Neighbour<M> {
    type Message = M;

    async fn handle(&mut self, context: &Context<M>, message: M) -> Result<(), ActorError> {
        (self.answer)(context, message);
        Ok(())
    }
}

fn neighbour<M: Mail>(role: Role<M>, answer: impl Fn(&Context<M>, M) + Send + Sync + 'static) -> ChildSpec {
    let answer: Act<M> = Arc::new(answer);
    ChildSpec::worker(role, move |_| std::future::ready(Ok(Neighbour { answer: Arc::clone(&answer) })))
}

fn instruments() -> Instruments {
    Instruments::new(&opentelemetry::global::meter("test"))
}

/// Whether what was said right behind an answer was taken.
fn taken() -> (Sender<bool>, Receiver<bool>) {
    channel(16)
}

/// A replica that tells what is pending, and has something to say to the one that asked.
fn replica_that_says<M: Mail>(shared: &Shared, to: Role<M>, what: fn() -> M, taken: Sender<bool>) -> ChildSpec {
    let committee = shared.epoch().config.committee();
    neighbour(replica::ROLE, move |context, message| {
        if let ReplicaMessage::PendingBundles(reply) = message {
            reply.send(Pending { committee: committee.clone(), bundles: Vec::new(), positions: Vec::new() });
            taken.try_send(context.address_of(&to).try_send(what()).is_ok()).unwrap();
        }
    })
}

/// How many messages an actor has handled.
fn handled(tree: &NodeTree, name: &str) -> u64 {
    tree.snapshot().find(name).unwrap().messages_handled
}

async fn until_handled(tree: &NodeTree, name: &str) {
    let handling = async {
        while handled(tree, name) == 0 {
            tokio::task::yield_now().await;
        }
    };
    soon("handled", handling).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gossip_that_starts_hears_what_the_replica_says_after_its_answer() {
    let (shared, (sender, mut taken)) = (shared(), taken());
    let replica = replica_that_says(&shared, gossip::ROLE, || GossipMessage::Stable(Height(0)), sender);
    let arguments = GossipArguments { shared };
    let started = ChildSpec::worker(gossip::ROLE, move |context| Gossip::start(context, arguments.clone()));
    let root = SupervisorSpec::new("root", Strategy::OneForOne).child(replica).child(started);
    let tree = soon("start", NodeTree::start(root)).await.unwrap();
    assert_eq!(soon("answer", taken.recv()).await, Some(true));
    until_handled(&tree, "gossip").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_intake_that_starts_hears_what_is_said_after_the_answers() {
    let (shared, (sender, mut taken)) = (shared(), taken());
    let replica = replica_that_says(&shared, intake::ROLE, || IntakeMessage::PoolRestarted, sender);
    let storage = neighbour(storage::ROLE, |_, message| {
        if let StorageMessage::NewStart(reply) = message {
            reply.send(Ok(1));
        }
    });
    let arguments = IntakeArguments { shared, instruments: instruments() };
    let started = ChildSpec::worker(intake::ROLE, move |context| Intake::start(context, arguments.clone()));
    let root = SupervisorSpec::new("root", Strategy::OneForOne).child(replica).child(storage).child(started);
    let tree = soon("start", NodeTree::start(root)).await.unwrap();
    assert_eq!(soon("answer", taken.recv()).await, Some(true));
    until_handled(&tree, "intake").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_starts_hears_of_a_root_that_is_known_after_the_ledger_said_where_it_stands() {
    let (shared, (sender, mut taken)) = (shared(), taken());
    let genesis = Arc::clone(&shared.genesis);
    let state_machine = neighbour(state_machine::ROLE, move |context, message| {
        if let StateMachineMessage::Reset(reply) = message {
            let config = Config::from_genesis(&genesis, None);
            reply.send(Standing { base: Base::genesis(&genesis), config, own_recovery: None });
            let root = ReplicaMessage::StateRoot { height: Height(0), root: Digest::ZERO };
            sender.try_send(context.address_of(&replica::ROLE).try_send(root).is_ok()).unwrap();
        }
    });
    // It gets no further: there is no storage.
    let arguments = ReplicaArguments { shared, instruments: instruments(), store: StoreSlot::default() };
    let started = ChildSpec::worker(replica::ROLE, move |context| Replica::start(context, arguments.clone()));
    let root = SupervisorSpec::new("root", Strategy::OneForOne).child(state_machine).child(started);
    assert!(soon("start", NodeTree::start(root)).await.is_err());
    assert_eq!(soon("answer", taken.recv()).await, Some(true));
}
