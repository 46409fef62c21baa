//! Operations: from a request to the intake, and its outcome back (api.md sections 2 and 3).

use std::time::Duration;

use actix_web::http::header::CONTENT_TYPE;
use actix_web::web;
use actix_web::{HttpRequest, HttpResponse};
use dtvn_actors::intake::Answered;
use dtvn_client::api::{
    Accepted, BatchAnswer, CompactError, IssueRequest, Kind, OPERATIONS_BINCODE, OperationRequest, OperationState,
    OperationStatus, Pending, Problem, SeedRequest, Seeded, TicketRequest, Time, decode_requests, encode_answers,
    operation_path,
};
use dtvn_ledger::{KeyScope, OperationResult};
use dtvn_messages::{EventId, IdempotencyKey, Operation, Outcome, Reason, Timestamp, Verdict, limits};
use dtvn_replication::intake::Answer;
use serde::Deserializer;
use serde::de::{DeserializeSeed, Error as _, SeqAccess, Visitor};

use super::Services;
use super::body::{Batch, Json, OptionalJson, media_type, of_json};
use super::connection::submit;
use super::problem::Refusal;
use super::receipts::{Wanted, proof_answer, receipt_of};

/// How long a client waits for an outcome if it does not say.
const WAIT_DEFAULT: Duration = Duration::from_secs(20);
/// The header that makes an operation happen once.
const KEY_HEADER: &str = "Idempotency-Key";

/// What `Prefer` asks for (RFC 7240).
struct Preference {
    wait: Duration,
    respond_async: bool,
}

fn preference(request: &HttpRequest) -> Preference {
    let mut preference = Preference { wait: WAIT_DEFAULT, respond_async: false };
    let given = request.headers().get_all("prefer").filter_map(|value| value.to_str().ok());
    for token in given.flat_map(|value| value.split(',')).map(str::trim) {
        if token.eq_ignore_ascii_case("respond-async") {
            preference.respond_async = true;
        } else if let Some(seconds) = token.strip_prefix("wait=").and_then(|seconds| seconds.parse().ok()) {
            preference.wait = Duration::from_secs(seconds).min(Duration::from_millis(limits::INTAKE_WAIT_MS_MAX));
        }
    }
    preference
}

/// The key of a request: from its header or its body; made up if neither has one.
pub(super) fn key_of(request: &HttpRequest, field: Option<IdempotencyKey>) -> Result<IdempotencyKey, Refusal> {
    let header = match request.headers().get(KEY_HEADER) {
        None => None,
        Some(value) => {
            let text = value.to_str().map_err(|_| Refusal::malformed(format!("{KEY_HEADER} is not ASCII")))?;
            Some(IdempotencyKey::new(text).map_err(|fault| Refusal::malformed(format!("{KEY_HEADER}: {fault}")))?)
        }
    };
    match (header, field) {
        (Some(header), Some(field)) if header != field => {
            Err(Refusal::malformed(format!("{KEY_HEADER} and idempotency_key are both given and differ")))
        }
        (Some(key), _) | (None, Some(key)) => Ok(key),
        (None, None) => made_up_key(),
    }
}

fn made_up_key() -> Result<IdempotencyKey, Refusal> {
    let internal = || Refusal::new(Reason::Internal, "the system gives no randomness");
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|_| internal())?;
    IdempotencyKey::new(&hex::encode(random)).map_err(|_| internal())
}

fn into_operation(request: OperationRequest, key: IdempotencyKey) -> Result<Operation, Refusal> {
    use dtvn_client::api::RequestError;
    // The intake says until when an operation is valid.
    request.into_operation(key, Timestamp(0)).map_err(|fault| match fault {
        RequestError::TooLarge(_) => Refusal::new(Reason::TooLarge, fault.to_string()),
        _ => Refusal::malformed(fault.to_string()),
    })
}

/// Runs one operation of a client's request and answers.
async fn run(services: &Services, request: &HttpRequest, operation: OperationRequest) -> Result<HttpResponse, Refusal> {
    let key = key_of(request, operation.idempotency_key.clone())?;
    let operation = into_operation(operation, key.clone())?;
    let event = operation.event.clone();
    let wait = match preference(request) {
        Preference { respond_async: true, .. } => return accept_later(services, request, operation, key).await,
        Preference { wait, .. } => wait,
    };
    let response = match one(services, request, operation, wait).await {
        Ok(answered) => decided(services, answered, Wanted::of(request)).await,
        Err(refusal) => Err(refusal),
    };
    with_key(response, &event, &key)
}

/// Runs one operation that is about no ticket, and answers what `show` makes of its outcome.
pub(super) async fn run_plain(
    services: &Services,
    request: &HttpRequest,
    operation: Operation,
    show: impl FnOnce(&Outcome) -> Result<HttpResponse, Refusal>,
) -> Result<HttpResponse, Refusal> {
    let (event, key) = (operation.event.clone(), operation.key.clone());
    let wait = match preference(request) {
        Preference { respond_async: true, .. } => return accept_later(services, request, operation, key).await,
        Preference { wait, .. } => wait,
    };
    let answered = one(services, request, operation, wait).await;
    with_key(answered.and_then(|answered| show(refusal_of(&answered)?)), &event, &key)
}

async fn one(
    services: &Services,
    request: &HttpRequest,
    operation: Operation,
    wait: Duration,
) -> Result<Answered, Refusal> {
    let mut answers = submit(services, request, vec![operation], wait).await;
    answers.pop().ok_or_else(|| Refusal::new(Reason::Internal, "the intake gave no answer"))
}

/// An answer or a refusal with the key that it is about.
fn with_key(
    response: Result<HttpResponse, Refusal>,
    event: &EventId,
    key: &IdempotencyKey,
) -> Result<HttpResponse, Refusal> {
    let mut response = response.map_err(|refusal| Refusal(Box::new(refusal.0.with_key(event, key.clone()))))?;
    if let Ok(value) = key.as_str().parse() {
        response.headers_mut().insert(actix_web::http::header::HeaderName::from_static("idempotency-key"), value);
    }
    Ok(response)
}

/// 202: the operation is on its way; where to ask.
async fn accept_later(
    services: &Services,
    request: &HttpRequest,
    operation: Operation,
    key: IdempotencyKey,
) -> Result<HttpResponse, Refusal> {
    let location = operation_path(&operation.event, &key);
    // A wait of nothing: what is refused at once is said at once, everything else is on its way.
    let answers = submit(services, request, vec![operation], Duration::ZERO).await;
    if let Some(Answered { answer: Answer::Refused { reason, detail }, .. }) = answers.first() {
        return Err(Refusal::new(*reason, detail.clone().unwrap_or_else(|| why(*reason).to_owned())));
    }
    let pending = Pending { status: OperationState::Pending, idempotency_key: key, location: location.clone() };
    Ok(HttpResponse::Accepted().insert_header(("Location", location)).json(pending))
}

/// What a refusal of the intake means, where it says no more.
fn why(reason: Reason) -> &'static str {
    match reason {
        Reason::NotPermitted => "this node has no vote and takes no operations in: ask a validator",
        Reason::NoQuorum => "too few validators are connected to decide anything: ask another node, or later",
        Reason::Overloaded => "this node has more to do than it may keep: ask another node, or later",
        Reason::Syncing => "this node is catching up: ask another node, or later",
        Reason::Restarting => "a part of this node is starting: ask again with the same key, at any node",
        _ => "",
    }
}

/// The refusal of an answer that is no outcome, or of a key that was used for something else.
fn refusal_of(answered: &Answered) -> Result<&std::sync::Arc<Outcome>, Refusal> {
    match &answered.answer {
        Answer::Decided(OperationResult::Recorded(outcome) | OperationResult::Repeated(outcome)) => {
            match Problem::of_outcome(outcome) {
                Some(problem) => Err(Refusal(Box::new(problem))),
                None => Ok(outcome),
            }
        }
        Answer::Decided(OperationResult::KeyReused { first }) => {
            let detail = format!("the key was used for another request, decided at height {}", first.height);
            Err(Refusal::new(Reason::KeyReused, detail))
        }
        Answer::Refused { reason, detail } => {
            Err(Refusal::new(*reason, detail.clone().unwrap_or_else(|| why(*reason).to_owned())))
        }
        Answer::Unknown => Err(Refusal::new(
            Reason::OutcomeUnknown,
            "the wait is over; the operation may still happen: ask again with the same key, at any node",
        )),
    }
}

fn seeded(outcome: &Outcome) -> Result<HttpResponse, Refusal> {
    let Verdict::Accepted { tickets, .. } = outcome.verdict else {
        return Err(Refusal::new(Reason::Internal, "an accepted outcome is none"));
    };
    let agreed_time = Time(outcome.agreed_time);
    Ok(HttpResponse::Ok().json(Seeded { seeded: tickets, height: outcome.height, index: outcome.index, agreed_time }))
}

async fn decided(services: &Services, answered: Answered, wanted: Wanted) -> Result<HttpResponse, Refusal> {
    let outcome = std::sync::Arc::clone(refusal_of(&answered)?);
    let ticket = match (answered.ticket, &outcome.ticket) {
        (Some(ticket), _) => ticket,
        (None, Some(id)) => {
            let (event, id) = (outcome.event.clone(), id.clone());
            let found = services.read(move |view| view.ticket(&event, &id)).await;
            // It is decided: no failure from here on may read as if it were not.
            let (_, found) = found.map_err(|refusal| {
                let detail = format!(
                    "it is decided at height {}, but cannot be shown now: ask again with the same key",
                    outcome.height
                );
                tracing::debug!(why = refusal.0.detail, "A decided ticket could not be read.");
                Refusal::new(Reason::OutcomeUnknown, detail)
            })?;
            std::sync::Arc::new(found.ok_or_else(|| Refusal::new(Reason::Internal, "the ticket is not in the store"))?)
        }
        (None, None) => return Err(Refusal::new(Reason::Internal, "the operation is about no ticket")),
    };
    let mut accepted = match outcome.verdict {
        // There were later operations on it: the answer is about this one.
        Verdict::Accepted { version_after, state: Some(state), .. } if ticket.version != version_after => {
            let then = ticket.as_after((state, version_after), &outcome.origin, outcome.agreed_time);
            Accepted::new(&outcome, &then)
        }
        _ => Accepted::new(&outcome, &ticket),
    };
    if wanted != Wanted::Nothing
        // What happened has happened: without a receipt it is told all the same.
        && let Ok(Some(receipt)) = receipt_of(services, outcome.height, outcome.index).await
    {
        if wanted == Wanted::Instead {
            return Ok(proof_answer(&receipt));
        }
        accepted.receipt = Some(receipt.to_text());
    }
    Ok(HttpResponse::Ok().json(accepted))
}

#[utoipa::path(post, path = "/api/v1/tickets", tag = "operations", params(OperationHeaders, ReceiptQuery), request_body = IssueRequest,
    responses((status = 200, body = Accepted), (status = 202, body = Pending)))]
/// Issues a ticket.
pub(super) async fn issue(
    services: web::Data<Services>,
    request: HttpRequest,
    body: Json<IssueRequest>,
) -> Result<HttpResponse, Refusal> {
    run(&services, &request, OperationRequest::from(body.0)).await
}

#[utoipa::path(post, path = "/api/v1/tickets/validate", tag = "operations", params(OperationHeaders, ReceiptQuery), request_body = TicketRequest,
    responses((status = 200, body = Accepted), (status = 202, body = Pending)))]
/// Validates a ticket: `ISSUED` becomes `VALIDATED`.
pub(super) async fn validate(
    services: web::Data<Services>,
    request: HttpRequest,
    body: Json<TicketRequest>,
) -> Result<HttpResponse, Refusal> {
    run(&services, &request, OperationRequest::of_ticket(Kind::Validate, body.0)).await
}

#[utoipa::path(post, path = "/api/v1/tickets/consume", tag = "operations", params(OperationHeaders, ReceiptQuery), request_body = TicketRequest,
    responses((status = 200, body = Accepted), (status = 202, body = Pending)))]
/// Consumes a ticket: `VALIDATED` becomes `CONSUMED`.
pub(super) async fn consume(
    services: web::Data<Services>,
    request: HttpRequest,
    body: Json<TicketRequest>,
) -> Result<HttpResponse, Refusal> {
    run(&services, &request, OperationRequest::of_ticket(Kind::Consume, body.0)).await
}

#[utoipa::path(post, path = "/api/v1/tickets/dispute", tag = "operations", params(OperationHeaders, ReceiptQuery), request_body = TicketRequest,
    responses((status = 200, body = Accepted), (status = 202, body = Pending)))]
/// Disputes a ticket: `VALIDATED` becomes `DISPUTED`.
pub(super) async fn dispute(
    services: web::Data<Services>,
    request: HttpRequest,
    body: Json<TicketRequest>,
) -> Result<HttpResponse, Refusal> {
    run(&services, &request, OperationRequest::of_ticket(Kind::Dispute, body.0)).await
}

#[utoipa::path(post, path = "/api/v1/tickets/seed", tag = "operations", params(OperationHeaders),
    request_body = Option<SeedRequest>, responses((status = 200, body = Seeded), (status = 202, body = Pending)))]
/// Issues the 500 seed tickets. The body may be missing.
pub(super) async fn seed(
    services: web::Data<Services>,
    request: HttpRequest,
    body: OptionalJson<SeedRequest>,
) -> Result<HttpResponse, Refusal> {
    let OptionalJson(body) = body;
    let key = key_of(&request, body.idempotency_key)?;
    let operation = into_operation(OperationRequest::seed(body.event, Some(key.clone())), key)?;
    run_plain(&services, &request, operation, seeded).await
}

#[utoipa::path(post, path = "/api/v1/operations", tag = "operations",
    request_body(content((Vec<OperationRequest> = "application/json"),
        (Vec<u8> = "application/vnd.dtvn.operations+bincode"))),
    params(("Prefer" = Option<String>, Header, description = "`wait=N`: how many seconds to wait for the outcomes")),
    responses((status = 200, description = "One answer for each operation, in their order", body = Vec<BatchAnswer>)))]
/// The fast lane: up to 1,000 operations in one request, one answer each, in their order.
pub(super) async fn batch(
    services: web::Data<Services>,
    request: HttpRequest,
    Batch(body): Batch,
) -> Result<HttpResponse, Refusal> {
    let media_type = media_type(request.headers());
    let is_compact = media_type.eq_ignore_ascii_case(OPERATIONS_BINCODE);
    let requests: Vec<OperationRequest> = if is_compact {
        decode_requests(&body).map_err(|fault| match fault {
            CompactError::TooMany(_) => too_many(),
            fault => Refusal::malformed(fault.to_string()),
        })?
    } else if media_type.eq_ignore_ascii_case("application/json") {
        parse_batch(&body)?
    } else {
        let detail = format!("send application/json or {OPERATIONS_BINCODE}");
        return Err(Refusal::new(Reason::UnsupportedMediaType, detail));
    };
    if requests.len() > limits::API_BATCH_OPERATIONS_MAX {
        return Err(too_many());
    }
    let wait = preference(&request).wait;
    let mut operations = Vec::with_capacity(requests.len());
    for (place, request) in requests.into_iter().enumerate() {
        let key = match request.idempotency_key.clone() {
            Some(key) => key,
            None => made_up_key()?,
        };
        let operation = into_operation(request, key)
            .map_err(|refusal| Refusal::new(refusal.0.reason, format!("operation {place}: {}", refusal.0.detail)))?;
        operations.push(operation);
    }
    let answers: Vec<BatchAnswer> =
        submit(&services, &request, operations, wait).await.iter().map(batch_answer).collect();
    if is_compact {
        let bytes = encode_answers(&answers).map_err(|fault| Refusal::new(Reason::Internal, fault.to_string()))?;
        return Ok(HttpResponse::Ok().insert_header((CONTENT_TYPE, OPERATIONS_BINCODE)).body(bytes));
    }
    Ok(HttpResponse::Ok().json(answers))
}

fn too_many() -> Refusal {
    let limit = limits::API_BATCH_OPERATIONS_MAX;
    Refusal::new(Reason::TooLarge, format!("one request has at most {limit} operations"))
}

/// The operations of a JSON array: what is beyond their number is not even read.
pub(super) fn parse_batch(body: &[u8]) -> Result<Vec<OperationRequest>, Refusal> {
    let mut is_too_long = false;
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let parsed = Operations { is_too_long: &mut is_too_long }.deserialize(&mut deserializer);
    let parsed = parsed.and_then(|operations| deserializer.end().map(|()| operations));
    match parsed {
        Err(_) if is_too_long => Err(too_many()),
        parsed => parsed.map_err(|fault| of_json(&fault)),
    }
}

/// Reads an array of operations, and notes if it has too many.
struct Operations<'a> {
    is_too_long: &'a mut bool,
}

impl<'de> DeserializeSeed<'de> for Operations<'_> {
    type Value = Vec<OperationRequest>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Operations<'_> {
    type Value = Vec<OperationRequest>;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("an array of operations")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        let mut operations = Vec::new();
        while let Some(operation) = array.next_element()? {
            if operations.len() == limits::API_BATCH_OPERATIONS_MAX {
                *self.is_too_long = true;
                return Err(A::Error::custom("too many operations"));
            }
            operations.push(operation);
        }
        Ok(operations)
    }
}

fn batch_answer(answered: &Answered) -> BatchAnswer {
    match &answered.answer {
        Answer::Decided(OperationResult::Recorded(outcome) | OperationResult::Repeated(outcome)) => {
            BatchAnswer::from(&**outcome)
        }
        _ => match refusal_of(answered) {
            Ok(outcome) => BatchAnswer::from(&**outcome),
            Err(refusal) => BatchAnswer::Refused(refusal.0),
        },
    }
}

#[utoipa::path(get, path = "/api/v1/operations/{key}", tag = "operations",
    params(("key" = String, Path, description = "The idempotency key"), EventQuery),
    responses((status = 200, body = OperationStatus)))]
/// What became of the operation with a key.
pub(super) async fn status(
    services: web::Data<Services>,
    path: web::Path<String>,
    query: web::Query<EventQuery>,
) -> Result<HttpResponse, Refusal> {
    let key = IdempotencyKey::new(&path).map_err(|fault| Refusal::malformed(fault.to_string()))?;
    let event = query.into_inner().event.unwrap_or_else(EventId::default_event);
    let wanted = key.clone();
    let (height, outcome) =
        services.read_state(move |view| view.outcome_of_key(&KeyScope::Event(event), &wanted)).await?;
    let Some(outcome) = outcome else {
        let detail = "no operation with this key is decided; it may be on its way, or its time is over";
        return Err(Refusal::new(Reason::NotFound, detail));
    };
    let status = if outcome.verdict.is_accepted() { OperationState::Accepted } else { OperationState::Refused };
    let answer = OperationStatus { idempotency_key: key, status, outcome: Some((&outcome).into()) };
    Ok(HttpResponse::Ok().insert_header(("DTVN-Height", height.to_string())).json(answer))
}

/// The headers of an operation.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "only described: `key_of` and `preference` read them")]
pub(super) struct OperationHeaders {
    /// What makes the operation happen once, at whichever node: 16 to 128 printable ASCII characters. The field
    /// `idempotency_key` does the same; made up by the node if neither is given.
    #[param(rename = "Idempotency-Key")]
    idempotency_key: Option<String>,
    /// `wait=N`: how many seconds to wait for the outcome; `respond-async`: do not wait, and answer 202 with where to ask.
    #[param(rename = "Prefer")]
    prefer: Option<String>,
}

/// `?receipt=true`: the receipt of the outcome comes with the answer.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only described: `Wanted::of` reads it")]
struct ReceiptQuery {
    /// Whether the receipt (C2SP tlog-proof) comes with the answer. `Accept: text/vnd.tlog-proof` asks for it alone.
    receipt: Option<bool>,
}

/// `?event=`: the event of a path that names none.
#[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct EventQuery {
    /// The event; `default` if not given.
    #[param(value_type = Option<String>)]
    pub(super) event: Option<EventId>,
}

#[cfg(test)]
mod tests;
