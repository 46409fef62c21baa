//! The supervisor as a ractor actor: carries out what its mind (`machine/`) decides, and tells it what happened.
//!
//! No handler here waits for anything, so a supervisor always hears the next event. What takes time runs elsewhere and
//! reports by message: each incarnation has a guardian (`guardian.rs`), each stop a timer. Why no event is lost:
//! - An end is acted upon when the *guardian* reports it, and a guardian lives until it has reported: it is spawned in
//!   the same handler that launched the actor, awaits only the actor's own task and bounded waits, and its report goes
//!   to ractor's unbounded mailbox (two reports per start, two timers per stop; commands hold permits).
//! - ractor's supervision event only adds the *reason*. It is sent before the actor's task ends, and the guardian reports
//!   after that, and ractor delivers supervision events before messages: so the reason is here when the report comes.
//! - An event about an actor that is no present child (told by actor id, and by the number of the start) is ignored.

mod effects;
mod events;

use crate::mailbox::{Gauge, Reply};
use crate::supervision::guardian::News;
use crate::supervision::launch::{Door, Launched, Surroundings};
use crate::supervision::machine::{ChildKey, CommandError, Input, Machine, StartNumber, Ticket};
use crate::supervision::record::{Present, PresentHandle, Record, RecordSpec};
use crate::supervision::spec::ChildSpec;
use crate::supervision::{EndCause, NodeTree, life::Life};
use dtvn_messages::limits::SUPERVISOR_COMMANDS_MAX;
use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, ActorRuntime, SpawnErr, SupervisionEvent};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::{AbortHandle, JoinHandle};
use tokio_util::sync::CancellationToken;

/// What a supervisor is told.
pub(crate) enum SupervisorMessage {
    /// A guardian's report.
    News { child: ChildKey, start: StartNumber, news: News },
    /// What is known here already: a timer has run out, a launch was refused.
    Input(Input),
    /// Its own supervisor wants it to stop.
    Stop,
    /// Somebody wants something, and waits for the outcome.
    Command { command: Command, reply: Reply<Result<(), CommandError>>, permit: OwnedSemaphorePermit },
}

/// What can be asked of a supervisor.
pub(crate) enum Command {
    Add(Box<ChildSpec>),
    Remove(String),
    Restart(String),
}

/// How a running supervisor is reached.
#[derive(Clone)]
pub(crate) struct Control {
    actor: ActorRef<SupervisorMessage>,
    permits: Arc<Semaphore>,
    gauge: Arc<Gauge>,
}

impl Control {
    pub(crate) fn gauge(&self) -> Arc<Gauge> {
        Arc::clone(&self.gauge)
    }

    /// Asks it to stop all children in reverse order and then itself.
    pub(crate) fn stop(&self) {
        // An error means that it has ended already, which its guardian reports.
        let _ended = self.actor.send_message(SupervisorMessage::Stop);
    }

    /// Asks for something and waits for the outcome.
    pub(crate) async fn ask(&self, command: Command) -> Result<(), CommandError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_closed| CommandError::Down)?;
        let (reply, answer) = Reply::channel();
        let message = SupervisorMessage::Command { command, reply, permit };
        self.actor.send_message(message).map_err(|_ended| CommandError::Down)?;
        answer.await.unwrap_or(Err(CommandError::Down))
    }
}

impl Door for Control {
    fn open(&self) {}

    fn refuse(&self) {
        self.gauge.shut(&self.permits);
    }

    fn drain(&self) -> bool {
        false
    }

    fn shut(&self) {
        self.refuse();
    }
}

/// Begins the start of a supervisor; the root has none above it.
pub(crate) fn launch_supervisor(above: Option<ActorCell>, surroundings: Surroundings) -> Result<Launched, String> {
    let (up, ready) = oneshot::channel();
    let birth = SupervisorBirth { surroundings, up };
    let spawned: Result<Spawned, SpawnErr> = match above {
        Some(above) => ActorRuntime::spawn_linked_instant(None, Supervisor, birth, above),
        None => ActorRuntime::spawn_instant(None, Supervisor, birth),
    };
    let (actor, starting) = spawned.map_err(|error| error.to_string())?;
    let gauge = Arc::new(Gauge::new(SUPERVISOR_COMMANDS_MAX));
    let control = Control { actor: actor.clone(), permits: gauge.open(), gauge };
    let present = Present { cell: actor.get_cell(), handle: PresentHandle::Supervisor(control.clone()) };
    Ok(Launched { present, starting, ready: Some(ready), door: Arc::new(control) })
}

type Spawned = (ActorRef<SupervisorMessage>, JoinHandle<Result<JoinHandle<()>, SpawnErr>>);

pub(crate) struct SupervisorBirth {
    surroundings: Surroundings,
    up: oneshot::Sender<()>,
}

/// The ractor actor.
pub(crate) struct Supervisor;

/// What a supervisor knows.
pub(crate) struct SupervisorState {
    machine: Machine,
    record: Arc<Record>,
    life: Arc<Life>,
    tree: NodeTree,
    began: Instant,
    seats: BTreeMap<ChildKey, Seat>,
    by_actor: BTreeMap<ActorId, ChildKey>,
    tickets: BTreeMap<Ticket, Reply<Result<(), CommandError>>>,
    next_ticket: Ticket,
    up: Option<oneshot::Sender<()>>,
}

/// A child's place, with its present incarnation.
struct Seat {
    spec: ChildSpec,
    record: Arc<Record>,
    running: Option<Running>,
}

struct Running {
    start: StartNumber,
    cell: ActorCell,
    handle: PresentHandle,
    door: Arc<dyn Door>,
    life: Arc<Life>,
    /// Cancelled when this supervisor no longer waits for it.
    abandoned: CancellationToken,
    asked: bool,
    cause: Option<EndCause>,
    timer: Option<AbortHandle>,
}

impl SupervisorState {
    fn new(surroundings: Surroundings, up: oneshot::Sender<()>) -> Result<Self, String> {
        let Surroundings { record, life, tree } = surroundings;
        let RecordSpec::Supervisor { spec } = record.spec() else {
            return Err("a worker's place was given to a supervisor".to_owned());
        };
        let names = spec.children.iter().map(|child| (child.name.clone(), child.restart));
        let machine = Machine::new(spec.strategy, spec.intensity, spec.dynamic_max, names);
        let seat = |(spec, record): (&ChildSpec, Arc<Record>)| Seat { spec: spec.clone(), record, running: None };
        let seats = (0..).zip(spec.children.iter().zip(record.children()).map(seat)).collect();
        Ok(Self {
            machine,
            record,
            life,
            tree,
            began: Instant::now(),
            seats,
            by_actor: BTreeMap::new(),
            tickets: BTreeMap::new(),
            next_ticket: 0,
            up: Some(up),
        })
    }
}

impl Actor for Supervisor {
    type Msg = SupervisorMessage;
    type State = SupervisorState;
    type Arguments = SupervisorBirth;

    async fn pre_start(
        &self,
        _: ActorRef<Self::Msg>,
        birth: SupervisorBirth,
    ) -> Result<SupervisorState, ActorProcessingErr> {
        Ok(SupervisorState::new(birth.surroundings, birth.up)?)
    }

    async fn post_start(
        &self,
        myself: ActorRef<Self::Msg>,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        state.take_in(&myself, Input::Boot)
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: SupervisorMessage,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SupervisorMessage::News { child, start, news } => state.on_news(&myself, child, start, news),
            SupervisorMessage::Input(input) => state.take_in(&myself, input),
            SupervisorMessage::Stop => state.take_in(&myself, Input::Stop),
            SupervisorMessage::Command { command, reply, permit } => {
                drop(permit);
                state.on_command(&myself, command, reply)
            }
        }
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Self::Msg>,
        event: SupervisionEvent,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        state.on_supervision_event(&myself, event)
    }
}
