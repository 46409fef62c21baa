//! What a supervisor hears: guardians' reports, ractor's reasons, and commands.

use super::{Command, Running, Seat, SupervisorMessage, SupervisorState};
use crate::mailbox::Reply;
use crate::supervision::EndCause;
use crate::supervision::behaviour::chain_of;
use crate::supervision::guardian::News;
use crate::supervision::machine::{ChildKey, CommandError, Input, StartNumber};
use crate::supervision::record::Record;
use crate::supervision::snapshot::Status;
use crate::supervision::spec::ChildSpec;
use ractor::{ActorProcessingErr, ActorRef, SupervisionEvent};
use std::sync::Arc;

impl SupervisorState {
    pub(super) fn take_in(
        &mut self,
        myself: &ActorRef<SupervisorMessage>,
        input: Input,
    ) -> Result<(), ActorProcessingErr> {
        let effects = self.machine.step(input, self.began.elapsed());
        self.carry_out(myself, effects)
    }

    pub(super) fn on_news(
        &mut self,
        myself: &ActorRef<SupervisorMessage>,
        child: ChildKey,
        start: StartNumber,
        news: News,
    ) -> Result<(), ActorProcessingErr> {
        match news {
            News::Started => {
                if let Some(seat) = self.seats.get(&child).filter(|seat| seat.is_at(start)) {
                    seat.record.set_status(Status::Running);
                }
                self.take_in(myself, Input::Started { child, start })
            }
            News::Ended(cause) => self.on_ended(myself, child, start, cause),
        }
    }

    fn on_ended(
        &mut self,
        myself: &ActorRef<SupervisorMessage>,
        child: ChildKey,
        start: StartNumber,
        known: Option<EndCause>,
    ) -> Result<(), ActorProcessingErr> {
        let Some(seat) = self.seats.get_mut(&child).filter(|seat| seat.is_at(start)) else {
            return Ok(());
        };
        let heard = seat.running.take().and_then(|running| {
            self.by_actor.remove(&running.cell.get_id());
            if let Some(timer) = running.timer {
                timer.abort();
            }
            running.cause
        });
        let cause = known.or(heard).unwrap_or_else(|| EndCause::Failed("it ended without a word".to_owned()));
        self.take_in(myself, Input::Ended { child, start, cause })
    }

    /// Keeps the reason until the guardian reports the end; whoever is tied to a child that failed is judged with that
    /// in mind from now on.
    pub(super) fn on_supervision_event(
        &mut self,
        myself: &ActorRef<SupervisorMessage>,
        event: SupervisionEvent,
    ) -> Result<(), ActorProcessingErr> {
        let Some(&child) = event.actor_id().and_then(|actor| self.by_actor.get(&actor)) else {
            return Ok(());
        };
        let Some(running) = self.seats.get_mut(&child).and_then(|seat| seat.running.as_mut()) else {
            return Ok(());
        };
        let cause = match event {
            SupervisionEvent::ActorTerminated(_, _, reason) => running.termination(reason),
            SupervisionEvent::ActorFailed(_, error) => EndCause::Failed(chain_of(error.as_ref())),
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => return Ok(()),
        };
        running.cause = Some(cause.clone());
        let start = running.start;
        if cause.is_clean() {
            return Ok(());
        }
        self.take_in(myself, Input::Failing { child, start, cause })
    }

    pub(super) fn on_command(
        &mut self,
        myself: &ActorRef<SupervisorMessage>,
        command: Command,
        reply: Reply<Result<(), CommandError>>,
    ) -> Result<(), ActorProcessingErr> {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let effects = match command {
            Command::Add(spec) => match self.add(*spec, ticket) {
                Ok(()) => {
                    self.tickets.insert(ticket, reply);
                    self.machine.go_on()
                }
                Err(error) => {
                    reply.send(Err(error));
                    return Ok(());
                }
            },
            Command::Remove(name) => {
                self.tickets.insert(ticket, reply);
                self.machine.remove(&name, ticket)
            }
            Command::Restart(name) => {
                self.tickets.insert(ticket, reply);
                self.machine.restart(&name, ticket)
            }
        };
        self.carry_out(myself, effects)
    }

    fn add(&mut self, spec: ChildSpec, ticket: u64) -> Result<(), CommandError> {
        spec.check()?;
        let key = self.machine.add(&spec.name, spec.restart, ticket)?;
        let record = Record::child(&spec, self.tree.prefix_below(&self.record));
        self.record.add_child(Arc::clone(&record));
        self.seats.insert(key, Seat { spec, record, running: None });
        Ok(())
    }
}

impl Seat {
    fn is_at(&self, start: StartNumber) -> bool {
        self.running.as_ref().is_some_and(|running| running.start == start)
    }
}

impl Running {
    /// What a termination means that ractor reports without an error. Stops of ours carry no reason text.
    fn termination(&self, reason: Option<String>) -> EndCause {
        match (reason.as_deref(), self.life.finished()) {
            (Some("killed"), _) => EndCause::Killed,
            (Some("actor_task_cancelled"), _) => EndCause::Cancelled,
            _ if self.asked => EndCause::Asked,
            (_, Some(finished)) => EndCause::Finished(finished.to_owned()),
            _ => EndCause::Unasked(reason),
        }
    }
}
