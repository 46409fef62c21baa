//! The events of the chain (api.md sections 1 and 3): those of its genesis, under rules version 1.

use actix_web::{HttpResponse, web};
use dtvn_actors::storage::store::Counts;
use dtvn_client::api::{EventInfo, EventList};
use dtvn_messages::genesis::EventPolicy;
use dtvn_messages::{EventId, Reason};

use super::Services;
use super::problem::Refusal;

fn info(policy: &EventPolicy, counts: Option<&Counts>) -> EventInfo {
    let states =
        |counts: &Counts| counts.by_state().into_iter().map(|(state, count)| (state.to_owned(), count)).collect();
    EventInfo {
        id: policy.id.clone(),
        auto_issue: policy.auto_issue,
        tickets: counts.map(Counts::tickets),
        ticket_states: counts.map(states),
    }
}

/// The counts of a chain's only event.
fn counts_of_one(services: &Services, counts: Counts) -> Option<Counts> {
    (services.board.identity.genesis.file().events.len() == 1).then_some(counts)
}

#[utoipa::path(get, path = "/api/v1/events", tag = "tickets", responses((status = 200, body = EventList)))]
/// The events of the chain.
pub(super) async fn list(services: web::Data<Services>) -> Result<HttpResponse, Refusal> {
    let (height, counts) = services.read(|view| Ok(view.applied().counts)).await?;
    let counts = counts_of_one(&services, counts);
    let events = &services.board.identity.genesis.file().events;
    let events = events.iter().map(|policy| info(policy, counts.as_ref())).collect();
    let answer = EventList { events, next: None };
    Ok(HttpResponse::Ok().insert_header(("DTVN-Height", height.to_string())).json(answer))
}

#[utoipa::path(get, path = "/api/v1/events/{id}", tag = "tickets",
    params(("id" = String, Path, description = "The event's name")),
    responses((status = 200, body = EventInfo)))]
/// An event.
pub(super) async fn get(services: web::Data<Services>, path: web::Path<String>) -> Result<HttpResponse, Refusal> {
    let id = EventId::new(&path).map_err(|fault| Refusal::malformed(fault.to_string()))?;
    let events = &services.board.identity.genesis.file().events;
    let policy = events.iter().find(|policy| policy.id == id);
    let policy = policy.ok_or_else(|| Refusal::new(Reason::UnknownEvent, format!("there is no event {id}")))?;
    let (height, counts) = services.read(|view| Ok(view.applied().counts)).await?;
    let answer = info(policy, counts_of_one(&services, counts).as_ref());
    Ok(HttpResponse::Ok().insert_header(("DTVN-Height", height.to_string())).json(answer))
}
