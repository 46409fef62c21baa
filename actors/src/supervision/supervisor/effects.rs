//! What a supervisor does: start, stop and kill children, answer, give up.

use super::{Running, SupervisorMessage, SupervisorState, launch_supervisor};
use crate::supervision::guardian::Ward;
use crate::supervision::launch::{Launched, Surroundings};
use crate::supervision::life::Life;
use crate::supervision::machine::{ChildKey, Effect, Input, Outcome, StartNumber};
use crate::supervision::record::PresentHandle;
use crate::supervision::snapshot::Status;
use crate::supervision::spec::ChildKind;
use crate::supervision::{EndCause, Escalation};
use ractor::{ActorProcessingErr, ActorRef};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

impl SupervisorState {
    /// Carries out the effects, in order. `Err` is this supervisor's own failure: it gave up.
    pub(super) fn carry_out(
        &mut self,
        myself: &ActorRef<SupervisorMessage>,
        effects: Vec<Effect>,
    ) -> Result<(), ActorProcessingErr> {
        for effect in effects {
            match effect {
                Effect::Start { child, start, restart } => self.start(myself, child, start, restart.as_deref()),
                Effect::Stop { child, start } => self.stop(myself, child, start),
                Effect::Kill { child, start } => self.kill(myself, child, start),
                Effect::Ended { child, cause } => self.note_ended(child, &cause),
                Effect::Rests { child } => {
                    if let Some(seat) = self.seats.get(&child) {
                        seat.record.set_status(Status::Stopped);
                    }
                }
                Effect::Abandoned { child } => self.note_abandoned(child),
                Effect::Forget { child } => self.forget(child),
                Effect::Answer { ticket, result } => {
                    if let Some(reply) = self.tickets.remove(&ticket) {
                        reply.send(result);
                    }
                }
                Effect::Ready => {
                    if let Some(up) = self.up.take() {
                        // An error means that nobody guards this supervisor any more; then it is being killed.
                        let _unguarded = up.send(());
                    }
                }
                Effect::GivingUp { child, cause } => self.note_giving_up(child, &cause),
                Effect::End(outcome) => return self.end(myself, outcome),
            }
        }
        Ok(())
    }

    fn start(
        &mut self,
        myself: &ActorRef<SupervisorMessage>,
        child: ChildKey,
        start: StartNumber,
        restart: Option<&str>,
    ) {
        let Some(seat) = self.seats.get_mut(&child) else {
            return;
        };
        let path = seat.record.path();
        if let Some(reason) = restart {
            tracing::warn!(actor = path, reason, "An actor is being started again.");
            seat.record.note_restart(reason);
            self.tree.observer().restarted(path, reason);
        }
        seat.record.set_status(if restart.is_some() { Status::Restarting } else { Status::Starting });
        let life = Arc::new(Life::default());
        let surroundings =
            Surroundings { record: Arc::clone(&seat.record), life: Arc::clone(&life), tree: self.tree.clone() };
        let launched = match &seat.spec.kind {
            ChildKind::Worker { launch, .. } => launch.launch(myself.get_cell(), surroundings),
            ChildKind::Supervisor(_) => launch_supervisor(Some(myself.get_cell()), surroundings),
        };
        match launched {
            Ok(launched) => {
                let (cell, handle) = (launched.present.cell.clone(), launched.present.handle.clone());
                let door = Arc::clone(&launched.door);
                self.by_actor.insert(cell.get_id(), child);
                seat.record.set_present(Some(launched.present.clone()));
                let abandoned = CancellationToken::new();
                let (asked, cause, timer) = (false, None, None);
                seat.running = Some(Running { start, cell, handle, door, life, abandoned, asked, cause, timer });
                self.set_guard(myself, child, start, launched);
            }
            Err(why) => self.report_later(myself, child, start, why),
        }
    }

    fn set_guard(&self, myself: &ActorRef<SupervisorMessage>, child: ChildKey, start: StartNumber, launched: Launched) {
        let Some((seat, running)) = self.seats.get(&child).and_then(|seat| Some((seat, seat.running.as_ref()?))) else {
            return;
        };
        let ward = Ward {
            record: Arc::clone(&seat.record),
            life: Arc::clone(&running.life),
            start_timeout: seat.spec.start_timeout,
            end_timeout: seat.spec.end_timeout,
            supervisor_over: self.life.over().clone(),
        };
        let myself = myself.clone();
        // An error means that this supervisor has ended, and with it everybody's interest in its children.
        let report = move |news| drop(myself.send_message(SupervisorMessage::News { child, start, news }));
        let mut guard = Box::pin(ward.guard(launched, report));
        let abandoned = running.abandoned.clone();
        self.life.tasks().spawn(async move {
            tokio::select! {
                () = &mut guard => {}
                // It keeps the role until the end, if that ever comes, but holds up nobody any more.
                () = abandoned.cancelled() => drop(tokio::spawn(guard)),
            }
        });
    }

    /// A launch that was refused ends like a start that failed; by message, because the mind is in the middle of a step.
    fn report_later(&self, myself: &ActorRef<SupervisorMessage>, child: ChildKey, start: StartNumber, why: String) {
        let input = Input::Ended { child, start, cause: EndCause::StartFailed(why) };
        // An error means that this supervisor is ending, and then nothing is started any more.
        let _ending = myself.send_message(SupervisorMessage::Input(input));
    }

    fn stop(&mut self, myself: &ActorRef<SupervisorMessage>, child: ChildKey, start: StartNumber) {
        let Some(seat) = self.seats.get_mut(&child) else {
            return;
        };
        seat.record.set_status(if self.machine.wants(child) { Status::Restarting } else { Status::Stopping });
        let Some(running) = seat.running.as_mut() else {
            return;
        };
        running.asked = true;
        match &running.handle {
            PresentHandle::Supervisor(control) => control.stop(),
            // The drain mark comes behind everything that was let in, a plain stop before it.
            PresentHandle::Worker { .. } if seat.spec.drains => {
                running.door.refuse();
                if !running.door.drain() {
                    running.cell.stop(None);
                }
            }
            PresentHandle::Worker { .. } => running.cell.stop(None),
        }
        running.door.refuse();
        let stop_timeout = seat.spec.stop_timeout;
        self.set_timer(myself, stop_timeout, child, Input::StopOverdue { child, start });
    }

    fn kill(&mut self, myself: &ActorRef<SupervisorMessage>, child: ChildKey, start: StartNumber) {
        let Some((seat, running)) = self.seats.get(&child).and_then(|seat| Some((seat, seat.running.as_ref()?))) else {
            return;
        };
        let path = seat.record.path();
        tracing::warn!(actor = path, timeout = ?seat.spec.stop_timeout, "An actor did not stop in time and is killed.");
        self.tree.observer().killed_after_timeout(path);
        running.cell.kill();
        let grace = seat.spec.kill_grace();
        self.set_timer(myself, grace, child, Input::KillOverdue { child, start });
    }

    fn set_timer(&mut self, myself: &ActorRef<SupervisorMessage>, after: Duration, child: ChildKey, then: Input) {
        let (myself, over) = (myself.clone(), self.life.over().clone());
        let timer = self.life.tasks().spawn(async move {
            if over.run_until_cancelled(tokio::time::sleep(after)).await.is_some() {
                // An error means that this supervisor has ended.
                let _ended = myself.send_message(SupervisorMessage::Input(then));
            }
        });
        if let Some(running) = self.seats.get_mut(&child).and_then(|seat| seat.running.as_mut()) {
            running.timer = Some(timer.abort_handle());
        }
    }

    fn note_ended(&self, child: ChildKey, cause: &EndCause) {
        let Some(seat) = self.seats.get(&child) else {
            return;
        };
        let path = seat.record.path();
        if cause.is_clean() {
            tracing::debug!(actor = path, %cause, "An actor has ended.");
        } else {
            tracing::warn!(actor = path, %cause, "An actor has ended abnormally.");
        }
        seat.record.set_status(match (self.machine.wants(child), cause.is_clean()) {
            (true, _) => Status::Restarting,
            (false, true) => Status::Stopped,
            (false, false) => Status::Failed,
        });
    }

    fn note_abandoned(&mut self, child: ChildKey) {
        let Some(seat) = self.seats.get_mut(&child) else {
            return;
        };
        let path = seat.record.path();
        tracing::error!(actor = path, "An actor cannot be ended, its handler blocks a thread; going on without it.");
        self.tree.observer().abandoned(path);
        seat.record.set_status(Status::Failed);
        if let Some(running) = seat.running.take() {
            running.abandoned.cancel();
            self.by_actor.remove(&running.cell.get_id());
        }
    }

    fn forget(&mut self, child: ChildKey) {
        if let Some(seat) = self.seats.remove(&child) {
            self.record.remove_child(&seat.record);
        }
    }

    fn note_giving_up(&self, child: ChildKey, cause: &EndCause) {
        let Some(seat) = self.seats.get(&child) else {
            return;
        };
        let (supervisor, child) = (self.record.path(), seat.record.path());
        tracing::error!(supervisor, child, %cause, "A supervisor gives up and stops its children.");
        self.tree.observer().escalated(supervisor, child, &cause.to_string());
        self.record.set_status(Status::Stopping);
    }

    fn end(&mut self, myself: &ActorRef<SupervisorMessage>, outcome: Outcome) -> Result<(), ActorProcessingErr> {
        let Outcome::GaveUp { because, name, restarts, cause, .. } = outcome else {
            self.life.finish("all children are down".to_owned());
            myself.stop(None);
            return Ok(());
        };
        let prefix = self.tree.prefix_below(&self.record);
        let child = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        let supervisor = self.record.path().to_owned();
        let escalation = Escalation { supervisor, because, child, child_restarts: restarts, cause };
        self.life.give_up(escalation.clone());
        Err(Box::new(escalation))
    }
}
