//! Operations: one at a time, or many in one request.

use std::time::Duration;

use bytes::Bytes;
use dtvn_messages::{IdempotencyKey, limits};
use hyper::Method;
use hyper::header::HeaderValue;
use hyper::http::uri::PathAndQuery;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::transport::{Ask, Reply};
use super::{Client, ClientError, Fate, Purpose, backoff, fate, new_key};
use crate::api::{
    Accepted, BatchAnswer, Changed, IssueRequest, JSON, Kind, OPERATIONS_BINCODE, OperationRequest, ProposedChange,
    SeedRequest, Seeded, TicketRequest, VALIDATORS, decode_answers, encode_requests,
};

/// The form in which a batch travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchForm {
    /// For people and other programs.
    Json,
    /// Smaller and cheaper.
    Bincode,
}

impl Client {
    /// Issues a ticket. Makes up a key if the request has none.
    ///
    /// # Errors
    /// As every operation: refused, unknown, unavailable, unreachable.
    pub async fn issue(&self, mut request: IssueRequest) -> Result<Accepted, ClientError> {
        let key = request.idempotency_key.get_or_insert_with(new_key).clone();
        self.operate(Kind::Issue.route(), &request, &key).await
    }

    /// Validates a ticket. Makes up a key if the request has none.
    ///
    /// # Errors
    /// As every operation.
    pub async fn validate(&self, request: TicketRequest) -> Result<Accepted, ClientError> {
        self.on_ticket(Kind::Validate, request).await
    }

    /// Consumes a ticket. Makes up a key if the request has none.
    ///
    /// # Errors
    /// As every operation.
    pub async fn consume(&self, request: TicketRequest) -> Result<Accepted, ClientError> {
        self.on_ticket(Kind::Consume, request).await
    }

    /// Disputes a ticket. Makes up a key if the request has none.
    ///
    /// # Errors
    /// As every operation.
    pub async fn dispute(&self, request: TicketRequest) -> Result<Accepted, ClientError> {
        self.on_ticket(Kind::Dispute, request).await
    }

    /// Validates, consumes or disputes a ticket.
    ///
    /// # Errors
    /// As every operation; the request's own route refuses other kinds.
    pub async fn on_ticket(&self, kind: Kind, mut request: TicketRequest) -> Result<Accepted, ClientError> {
        let key = request.idempotency_key.get_or_insert_with(new_key).clone();
        self.operate(kind.route(), &request, &key).await
    }

    /// Seeds the 500 test tickets, where the genesis allows it.
    ///
    /// # Errors
    /// As every operation.
    pub async fn seed(&self, mut request: SeedRequest) -> Result<Seeded, ClientError> {
        let key = request.idempotency_key.get_or_insert_with(new_key).clone();
        self.operate(Kind::Seed.route(), &request, &key).await
    }

    /// Changes the validator set.
    ///
    /// # Errors
    /// As every operation.
    pub async fn change_validators(&self, mut change: ProposedChange) -> Result<Changed, ClientError> {
        let key = change.idempotency_key.get_or_insert_with(new_key).clone();
        self.operate(VALIDATORS, &change, &key).await
    }

    async fn operate<A: DeserializeOwned>(
        &self,
        route: &'static str,
        request: &impl Serialize,
        key: &IdempotencyKey,
    ) -> Result<A, ClientError> {
        let body = serde_json::to_vec(request).map_err(|error| ClientError::Usage(error.to_string()))?;
        let ask = Ask {
            method: Method::POST,
            path: PathAndQuery::from_static(route),
            media: HeaderValue::from_static(JSON),
            body: Bytes::from(body),
        };
        self.ask(&ask, Purpose::Operation(key), read_json).await
    }

    /// Many operations in one request: the fast lane. Keys are made up where there are none. What a node could not take
    /// in or did not know the outcome of is asked for again, with the same keys, until the deadline; then the last
    /// answer stands. The answers are in the order of the requests.
    ///
    /// # Errors
    /// If the whole request failed.
    pub async fn batch(
        &self,
        mut requests: Vec<OperationRequest>,
        form: BatchForm,
    ) -> Result<Vec<BatchAnswer>, ClientError> {
        if requests.len() > limits::API_BATCH_OPERATIONS_MAX {
            let (count, most) = (requests.len(), limits::API_BATCH_OPERATIONS_MAX);
            return Err(ClientError::Usage(format!("a batch has at most {most} operations, this one has {count}")));
        }
        for request in &mut requests {
            request.idempotency_key.get_or_insert_with(new_key);
        }
        let deadline = Instant::now() + self.deadline;
        let mut answers = self.batch_once(&requests, form).await?;
        for round in 0_u32.. {
            let again: Vec<usize> = (0..answers.len()).filter(|position| is_open(&answers[*position])).collect();
            let asked = answers.iter().filter_map(asked_wait).max().unwrap_or_default();
            let wait = asked.max(backoff(round));
            if again.is_empty() || Instant::now() + wait >= deadline {
                break;
            }
            tokio::time::sleep(wait).await;
            let open = again.iter().map(|position| requests[*position].clone()).collect::<Vec<_>>();
            let left = self.with_deadline(deadline.saturating_duration_since(Instant::now()));
            // If nobody answers any more, what was answered before still stands.
            let Ok(later) = left.batch_once(&open, form).await else { break };
            for (position, answer) in again.into_iter().zip(later) {
                answers[position] = answer;
            }
        }
        Ok(answers)
    }

    async fn batch_once(
        &self,
        requests: &[OperationRequest],
        form: BatchForm,
    ) -> Result<Vec<BatchAnswer>, ClientError> {
        let Some(key) = requests.first().and_then(|request| request.idempotency_key.clone()) else {
            return Ok(Vec::new());
        };
        let refused = |error: &dyn std::fmt::Display| ClientError::Usage(error.to_string());
        let (media, body) = match form {
            BatchForm::Json => (JSON, serde_json::to_vec(requests).map_err(|error| refused(&error))?),
            BatchForm::Bincode => (OPERATIONS_BINCODE, encode_requests(requests).map_err(|error| refused(&error))?),
        };
        if body.len() > limits::API_BATCH_BYTES_MAX {
            let (size, most) = (body.len(), limits::API_BATCH_BYTES_MAX);
            return Err(ClientError::Usage(format!("a batch has at most {most} bytes, this one has {size}")));
        }
        let ask = Ask {
            method: Method::POST,
            path: PathAndQuery::from_static("/api/v1/operations"),
            media: HeaderValue::from_static(media),
            body: Bytes::from(body),
        };
        let read = |reply: &Reply| {
            let answers = match form {
                BatchForm::Json => read_json::<Vec<BatchAnswer>>(reply)?,
                BatchForm::Bincode => decode_answers(&reply.body).map_err(|error| error.to_string())?,
            };
            if answers.len() == requests.len() {
                Ok(answers)
            } else {
                Err(format!("{} answers to {} operations", answers.len(), requests.len()))
            }
        };
        self.ask(&ask, Purpose::Operation(&key), read).await
    }
}

fn is_open(answer: &BatchAnswer) -> bool {
    matches!(answer, BatchAnswer::Refused(problem) if fate(problem) != Fate::Final)
}

/// How long a node asked us to wait for one that is open.
fn asked_wait(answer: &BatchAnswer) -> Option<Duration> {
    match answer {
        BatchAnswer::Refused(problem) if is_open(answer) => {
            problem.retry_after_seconds.map(|seconds| Duration::from_secs(seconds.into()))
        }
        _ => None,
    }
}

/// Reads an answer in JSON.
pub(super) fn read_json<T: DeserializeOwned>(reply: &Reply) -> Result<T, String> {
    serde_json::from_slice(&reply.body).map_err(|error| error.to_string())
}
