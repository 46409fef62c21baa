//! The intake's actor: mailbox to intake and back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dtvn_ledger::{BlockEffects, OperationResult};
use dtvn_messages::{Bundle, Digest, Operation, Reason, Statement, Ticket, limits};
use dtvn_replication::intake::{self as core, Answer, Effect, Input, IntakeLimits, IntakeSettings, RequestId};
use dtvn_replication::recovery;

use super::message::{Answered, IntakeMessage, Submission};
use crate::gossip::{self, GossipMessage};
use crate::instruments::Instruments;
use crate::mailbox::{Address, CallError, Mail, Reply, SendError};
use crate::replica::{self, Pending, ReplicaMessage};
use crate::shared::Shared;
use crate::storage::{self, StorageMessage};
use crate::supervision::{ActorError, Behaviour, Context, StopReason, TaskHandle};

/// What the intake is made with.
#[derive(Clone)]
pub struct IntakeArguments {
    /// What the node's actors share.
    pub shared: Shared,
    /// The instruments.
    pub instruments: Instruments,
}

/// A request whose answers are being gathered.
struct Waiting {
    reply: Reply<Vec<Answered>>,
    answers: Vec<Option<Answered>>,
    missing: usize,
}

/// The intake.
pub struct Intake {
    core: core::Intake,
    shared: Shared,
    gossip: Address<GossipMessage>,
    storage: Address<StorageMessage>,
    waiting: BTreeMap<RequestId, Waiting>,
    next_request: u64,
    timer: Option<TaskHandle>,
    /// The block that is being decided: tickets for its answers.
    deciding: Option<Arc<BlockEffects>>,
    instruments: Instruments,
    /// When the bundles on their way were made: as many as may be on their way.
    made: BTreeMap<Digest, Instant>,
}

impl Intake {
    /// Starts with a number of its own, durable before the first bundle.
    ///
    /// # Errors
    /// If storage or replica do not answer.
    pub async fn start(context: Context<IntakeMessage>, arguments: IntakeArguments) -> Result<Self, ActorError> {
        let shared = arguments.shared;
        let storage = context.address_of(&storage::ROLE);
        // Before it asks: what is decided, gone or over after the answers is not lost.
        context.listen();
        let wait = Duration::from_millis(limits::CORE_START_WAIT_MS);
        let start = storage.call_when_up(wait, StorageMessage::NewStart).await?.map_err(ActorError::new)?;
        let replica = context.address_of(&replica::ROLE);
        let Pending { committee, bundles, .. } = replica.call_when_up(wait, ReplicaMessage::PendingBundles).await?;
        let settings = IntakeSettings {
            epoch: committee.epoch,
            origin: committee.me,
            start,
            key_retention_ms: shared.genesis.parameters().key_retention_ms,
            limits: IntakeLimits::default(),
        };
        let mut intake = Self {
            core: core::Intake::new(settings),
            gossip: context.address_of(&gossip::ROLE),
            storage,
            waiting: BTreeMap::new(),
            next_request: 0,
            timer: None,
            deciding: None,
            instruments: arguments.instruments,
            made: BTreeMap::new(),
            shared,
        };
        for bundle in bundles {
            if Some(bundle.body.origin) == committee.me {
                intake.step(&context, Input::Restored(bundle))?;
            }
        }
        intake.watch_board(&context);
        Ok(intake)
    }

    /// Follows what the board says about quorum, catching up and shutdown.
    fn watch_board(&self, context: &Context<IntakeMessage>) {
        let board = Arc::clone(&self.shared.board);
        let myself = context.myself();
        context.spawn(async move {
            let (mut quorum, mut consensus, mut stopping) = (board.quorum(), board.consensus(), board.stopping());
            let mut syncing = None;
            let _ = myself.try_send(IntakeMessage::Quorum(*quorum.borrow_and_update()));
            loop {
                let now = consensus.borrow_and_update().replica.as_ref().is_none_or(core::is_syncing);
                if syncing != Some(now) {
                    syncing = Some(now);
                    let _ = myself.try_send(IntakeMessage::Syncing(now));
                }
                tokio::select! {
                    changed = quorum.changed() => if changed.is_ok() {
                        let _ = myself.try_send(IntakeMessage::Quorum(*quorum.borrow_and_update()));
                    },
                    changed = stopping.changed() => if changed.is_ok() && *stopping.borrow_and_update() {
                        let _ = myself.try_send(IntakeMessage::Stopping);
                    },
                    _ = consensus.changed() => {}
                }
            }
        });
    }

    fn step(&mut self, context: &Context<IntakeMessage>, input: Input) -> Result<(), ActorError> {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            let mut effects = Vec::new();
            self.core.step(self.shared.clock.now(), input, &mut effects);
            for effect in effects {
                self.carry_out(context, effect, &mut inputs)?;
            }
        }
        Ok(())
    }

    fn carry_out(
        &mut self,
        context: &Context<IntakeMessage>,
        effect: Effect,
        inputs: &mut Vec<Input>,
    ) -> Result<(), ActorError> {
        match effect {
            Effect::Cut(body) => {
                let chain = self.shared.genesis.chain_id();
                let signature = self.shared.signer.sign(&body.signed_bytes(chain));
                let bundle = Bundle::assemble(body, signature, chain);
                self.made.insert(bundle.digest, Instant::now());
                deliver(&self.gossip, GossipMessage::Own(Arc::clone(&bundle)))?;
                inputs.push(Input::Signed(bundle));
            }
            Effect::Offer(bundle) => deliver(&self.gossip, GossipMessage::Own(bundle))?,
            Effect::Answer { request, index, answer } => self.answer(request, index, answer),
            Effect::Outrun { start } => {
                // Another process runs with this key, or this one starts anew: a later number is needed.
                tracing::error!(start, "A later start of this validator has bundles ordered: is its key used twice?");
                return Err(ActorError::new("a later start of this validator is at work"));
            }
            Effect::SetTimer { generation, after_ms } => {
                let handle = context.send_after(Duration::from_millis(after_ms), IntakeMessage::Timer(generation));
                if let Some(former) = self.timer.replace(handle) {
                    former.cancel();
                }
            }
        }
        Ok(())
    }

    fn on_submit(&mut self, context: &Context<IntakeMessage>, submission: Submission) -> Result<(), ActorError> {
        let Submission { operations, wait, reply } = submission;
        let request = RequestId(self.next_request);
        self.next_request += 1;
        let count = operations.len();
        if count == 0 {
            reply.send(Vec::new());
            return Ok(());
        }
        let answers = vec![None; count];
        self.waiting.insert(request, Waiting { reply, answers, missing: count });
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        self.step(context, Input::Submit { request, operations, wait_ms })?;
        if wait.is_zero()
            && let Some(Waiting { reply, answers, .. }) = self.waiting.remove(&request)
        {
            // Who does not wait is told now what was refused; everything else is on its way, and stays so.
            self.step(context, Input::Withdraw { request })?;
            let on_its_way = Answered { answer: Answer::Unknown, ticket: None };
            reply.send(answers.into_iter().map(|answer| answer.unwrap_or_else(|| on_its_way.clone())).collect());
        }
        Ok(())
    }

    fn answer(&mut self, request: RequestId, index: usize, answer: Answer) {
        let ticket = self.ticket_of(&answer);
        let Some(waiting) = self.waiting.get_mut(&request) else { return };
        if let Some(place) = waiting.answers.get_mut(index).filter(|place| place.is_none()) {
            *place = Some(Answered { answer, ticket });
            waiting.missing -= 1;
        }
        if waiting.missing == 0
            && let Some(waiting) = self.waiting.remove(&request)
        {
            waiting.reply.send(waiting.answers.into_iter().flatten().collect());
        }
    }

    /// The ticket after the block that decided.
    fn ticket_of(&self, answer: &Answer) -> Option<Arc<Ticket>> {
        let Answer::Decided(OperationResult::Recorded(outcome)) = answer else { return None };
        let id = outcome.ticket.as_ref()?;
        let tickets = &self.deciding.as_ref()?.tickets;
        let found = tickets.binary_search_by(|ticket| (&ticket.event, &ticket.id).cmp(&(&outcome.event, id)));
        found.ok().and_then(|position| tickets.get(position)).cloned()
    }
}

/// Submits operations and waits for their answers: one for each, in their order, also when the intake is down, has no
/// room, or starts again meanwhile.
pub async fn submit(intake: &Address<IntakeMessage>, operations: Vec<Operation>, wait: Duration) -> Vec<Answered> {
    if intake.depth() >= limits::INTAKE_SUBMISSIONS_MAX {
        return Answered::all(operations.len(), Answer::Refused { reason: Reason::Overloaded, detail: None });
    }
    submit_by(intake, operations, wait, IntakeMessage::Submit).await
}

/// The same by way of any actor that hands submissions on.
pub(crate) async fn submit_by<M: Mail>(
    to: &Address<M>,
    operations: Vec<Operation>,
    wait: Duration,
    message: impl FnOnce(Submission) -> M,
) -> Vec<Answered> {
    let count = operations.len();
    let refused = |reason| Answer::Refused { reason, detail: None };
    // The core answers every request by its deadline; this only guards against a core that cannot.
    let patience = wait + Duration::from_secs(5);
    match to.call(patience, |reply| message(Submission { operations, wait, reply })).await {
        Ok(answers) => answers,
        Err(CallError::Down) => Answered::all(count, refused(Reason::Restarting)),
        Err(CallError::Full | CallError::Overrun) => Answered::all(count, refused(Reason::Overloaded)),
        // It was taken, and may be in a bundle.
        Err(CallError::Unanswered | CallError::TimedOut) => Answered::all(count, Answer::Unknown),
    }
}

/// Gives a message to a neighbour. One that is down starts again and asks for what it needs; one whose mailbox is full
/// breaks an invariant.
fn deliver<M: Mail>(to: &Address<M>, message: M) -> Result<(), ActorError> {
    match to.try_send(message) {
        Ok(()) | Err(SendError::Down(_)) => Ok(()),
        Err(error) => Err(ActorError::new(error.to_string())),
    }
}

impl Behaviour for Intake {
    type Message = IntakeMessage;

    async fn handle(&mut self, context: &Context<IntakeMessage>, message: IntakeMessage) -> Result<(), ActorError> {
        let input = match message {
            IntakeMessage::Submit(submission) => return self.on_submit(context, submission),
            IntakeMessage::Decided { bundles, effects } => {
                let made = bundles.iter().filter_map(|bundle| self.made.remove(&bundle.digest)).collect::<Vec<_>>();
                made.iter().for_each(|made| self.instruments.bundle_committed(made.elapsed()));
                self.deciding = Some(Arc::clone(&effects));
                self.step(context, Input::Decided { bundles, effects })?;
                self.deciding = None;
                return Ok(());
            }
            IntakeMessage::BundleGone { bundle, last } => {
                self.made.remove(&bundle.digest);
                Input::BundleGone { bundle, last }
            }
            IntakeMessage::Epoch { epoch, origin } => Input::Epoch { epoch, origin },
            IntakeMessage::Recover(recovery) => {
                return recovery::taken_in(*recovery).into_iter().try_for_each(|input| self.step(context, input));
            }
            IntakeMessage::PoolFull(full) => Input::PoolFull(full),
            IntakeMessage::PoolRestarted => Input::PoolRestarted,
            IntakeMessage::Quorum(quorum) => Input::Quorum(quorum),
            IntakeMessage::Syncing(syncing) => Input::Syncing(syncing),
            IntakeMessage::Stopping => Input::Stopping,
            IntakeMessage::Timer(generation) => Input::Timer { generation },
        };
        self.step(context, input)
    }

    async fn stop(&mut self, context: &Context<IntakeMessage>, _reason: StopReason) -> Result<(), ActorError> {
        let _ = &self.storage;
        self.step(context, Input::Close)
    }
}
