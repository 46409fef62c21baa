//! The one ractor actor that runs any [`Behaviour`]: opens envelopes, counts and times, and catches nothing.

use crate::directory::Slot;
use crate::mailbox::{Envelope, Mail, Mailbox};
use crate::supervision::behaviour::{ActorError, Behaviour, StopReason};
use crate::supervision::context::Context;
use crate::supervision::life::Life;
use crate::supervision::record::{KindCount, Record, RecordSpec};
use crate::supervision::tree::NodeTree;
use futures::future::BoxFuture;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// Builds an actor's state at every start.
pub(crate) type Factory<B> =
    Arc<dyn Fn(Context<<B as Behaviour>::Message>) -> BoxFuture<'static, Result<B, ActorError>> + Send + Sync>;

/// What an incarnation is started with.
pub(crate) struct Birth<B: Behaviour> {
    pub(crate) factory: Factory<B>,
    pub(crate) slot: Arc<Slot<B::Message>>,
    pub(crate) record: Arc<Record>,
    pub(crate) life: Arc<Life>,
    pub(crate) tree: NodeTree,
    /// Where the guardian finds the mailbox that the start has opened.
    pub(crate) mailbox: Arc<OnceLock<Arc<Mailbox<B::Message>>>>,
}

/// Runs a behaviour as a ractor actor.
pub(crate) struct Adaptor<B>(PhantomData<fn() -> B>);

impl<B> Adaptor<B> {
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }
}

/// A behaviour with what the adaptor needs beside it.
pub(crate) struct Resident<B: Behaviour> {
    behaviour: B,
    context: Context<B::Message>,
    life: Arc<Life>,
    record: Arc<Record>,
    kinds: Vec<Arc<KindCount>>,
}

impl<B: Behaviour> Resident<B> {
    async fn on_mail(&mut self, message: B::Message) -> Result<(), ActorError> {
        let count = self.count_of(message.kind());
        let began = Instant::now();
        self.record.work().begin(began);
        let result = self.behaviour.handle(&self.context, message).await;
        self.record.work().idle();
        count.note(began.elapsed());
        result
    }

    fn count_of(&mut self, kind: &'static str) -> Arc<KindCount> {
        if let Some(known) = self.kinds.iter().find(|count| count.kind() == kind) {
            return Arc::clone(known);
        }
        let fresh = self.record.work().kind(kind);
        self.kinds.push(Arc::clone(&fresh));
        fresh
    }
}

impl<B: Behaviour> Drop for Resident<B> {
    fn drop(&mut self) {
        // After a panic or a kill in a handler nobody else says that it is over.
        self.record.work().idle();
    }
}

impl<B: Behaviour> Actor for Adaptor<B> {
    type Msg = Envelope<B::Message>;
    // Taken out by an orderly stop, so that it is dropped on the actor's own task and not by whoever hears of the end.
    type State = Option<Resident<B>>;
    type Arguments = Birth<B>;

    async fn pre_start(&self, myself: ActorRef<Self::Msg>, birth: Birth<B>) -> Result<Self::State, ActorProcessingErr> {
        let Birth { factory, slot, record, life, tree, mailbox: opened } = birth;
        let RecordSpec::Worker { gauge } = record.spec() else {
            return Err("a supervisor's place was given to a worker".into());
        };
        let incarnation = tree.next_incarnation();
        let mailbox = Arc::new(Mailbox::open(incarnation, myself.clone(), Arc::clone(gauge)));
        let mailbox = Arc::clone(opened.get_or_init(|| mailbox));
        let path = record.path().to_owned();
        let context = Context::new(path, slot, mailbox, myself.get_cell(), Arc::clone(&life), tree);
        let behaviour = factory(context.clone()).await.map_err(|error| error.to_string())?;
        Ok(Some(Resident { behaviour, context, life, record, kinds: Vec::new() }))
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        envelope: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let resident = state.as_mut().ok_or("a message came after the stop")?;
        match envelope {
            Envelope::Mail { message, permit } => {
                drop(permit);
                resident.on_mail(message).await.map_err(|error| error.to_string().into())
            }
            Envelope::Crash(reason) => panic!("crashed on purpose: {reason}"),
            Envelope::Failed(why) => Err(why.into()),
            Envelope::Drained => {
                myself.stop(None);
                Ok(())
            }
        }
    }

    async fn post_stop(&self, _: ActorRef<Self::Msg>, state: &mut Self::State) -> Result<(), ActorProcessingErr> {
        let Some(mut resident) = state.take() else {
            return Ok(());
        };
        let reason = match resident.life.finished() {
            Some(reason) => StopReason::Finished(reason.to_owned()),
            None => StopReason::Asked,
        };
        resident.behaviour.stop(&resident.context, reason).await.map_err(|error| error.to_string().into())
    }
}
