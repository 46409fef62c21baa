//! Reading tickets and their histories (api.md section 3).

use actix_web::{HttpRequest, HttpResponse, web};
use dtvn_actors::storage::store::{TicketFilter, View};
use dtvn_client::api::{History, OutcomeRecord, Ticket, TicketPage};
use dtvn_messages::{EventId, Reason, TicketId, TicketState, limits};

use super::Services;
use super::operations::EventQuery;
use super::problem::Refusal;

/// What a list of tickets is asked for.
#[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// Only of this event.
    #[param(value_type = Option<String>)]
    event: Option<EventId>,
    /// Only in this state.
    #[param(value_type = Option<String>)]
    state: Option<TicketState>,
    /// The `next` of the page before.
    after: Option<String>,
    /// How many at most: 1 to 1,000.
    limit: Option<usize>,
}

/// What a history is asked for.
#[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct HistoryQuery {
    /// The event; `default` if not given.
    #[param(value_type = Option<String>)]
    event: Option<EventId>,
    /// The `next` of the page before.
    after: Option<String>,
    /// How many at most: 1 to 1,000.
    limit: Option<usize>,
}

pub(super) fn limit_of(limit: Option<usize>) -> Result<usize, Refusal> {
    match limit {
        None => Ok(limits::STORE_PAGE_ITEMS_MAX),
        Some(limit) if (1..=limits::STORE_PAGE_ITEMS_MAX).contains(&limit) => Ok(limit),
        Some(limit) => {
            Err(Refusal::malformed(format!("limit is {limit}, it must be 1 to {}", limits::STORE_PAGE_ITEMS_MAX)))
        }
    }
}

fn ticket_id(text: &str) -> Result<TicketId, Refusal> {
    TicketId::new(text).map_err(|fault| Refusal::malformed(fault.to_string()))
}

#[utoipa::path(get, path = "/api/v1/tickets/{id}", tag = "tickets",
    params(("id" = String, Path, description = "The ticket's name"), EventQuery),
    responses((status = 200, body = Ticket)))]
/// A ticket.
pub(super) async fn get(
    services: web::Data<Services>,
    path: web::Path<String>,
    query: web::Query<EventQuery>,
) -> Result<HttpResponse, Refusal> {
    read(&services, &path, query.into_inner()).await
}

/// The ticket whose name is the last part of the route, where that is also something else.
pub(super) async fn get_by_path(
    services: web::Data<Services>,
    request: HttpRequest,
    query: web::Query<EventQuery>,
) -> Result<HttpResponse, Refusal> {
    let route = request.match_pattern().unwrap_or_default();
    let name = route.rsplit('/').next().unwrap_or_default();
    read(&services, name, query.into_inner()).await
}

async fn read(services: &Services, id: &str, query: EventQuery) -> Result<HttpResponse, Refusal> {
    let id = ticket_id(id)?;
    let event = query.event.unwrap_or_else(EventId::default_event);
    let (name, wanted) = (event.clone(), id.clone());
    let (height, ticket) = services.read_state(move |view| view.ticket(&name, &wanted)).await?;
    let ticket = ticket
        .ok_or_else(|| Refusal::new(Reason::UnknownTicket, format!("there is no ticket {id} in the event {event}")))?;
    Ok(HttpResponse::Ok().insert_header(("DTVN-Height", height.to_string())).json(Ticket::from(&ticket)))
}

#[utoipa::path(get, path = "/api/v1/tickets", tag = "tickets", params(ListQuery),
    responses((status = 200, body = TicketPage)))]
/// Tickets, in the order of their names.
pub(super) async fn list(services: web::Data<Services>, query: web::Query<ListQuery>) -> Result<HttpResponse, Refusal> {
    let ListQuery { event, state, after, limit } = query.into_inner();
    let limit = limit_of(limit)?;
    let filter = TicketFilter { event, state };
    let (height, page) = services.read_state(move |view| view.tickets(&filter, after.as_deref(), limit)).await?;
    let tickets = page.items.iter().map(Ticket::from).collect();
    let page = TicketPage { tickets, next: page.next };
    Ok(HttpResponse::Ok().insert_header(("DTVN-Height", height.to_string())).json(page))
}

#[utoipa::path(get, path = "/api/v1/tickets/{id}/history", tag = "tickets",
    params(("id" = String, Path, description = "The ticket's name"), HistoryQuery),
    responses((status = 200, body = History)))]
/// All that was asked of a ticket, refusals too, oldest first.
pub(super) async fn history(
    services: web::Data<Services>,
    path: web::Path<String>,
    query: web::Query<HistoryQuery>,
) -> Result<HttpResponse, Refusal> {
    let id = ticket_id(&path)?;
    let HistoryQuery { event, after, limit } = query.into_inner();
    let event = event.unwrap_or_else(EventId::default_event);
    let limit = limit_of(limit)?;
    let (name, wanted) = (event.clone(), id.clone());
    let look =
        move |view: &View<'_>| Ok((view.history(&name, &wanted, after.as_deref(), limit)?, view.installed()?.log_size));
    let (height, (page, complete_from)) = services.read_state(look).await?;
    let history = page.items.iter().map(OutcomeRecord::from).collect();
    let answer = History { ticket_id: id, event, history, complete_from, next: page.next };
    Ok(HttpResponse::Ok().insert_header(("DTVN-Height", height.to_string())).json(answer))
}
