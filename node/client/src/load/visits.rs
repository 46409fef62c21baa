//! What one visitor does: the steps of a ticket's life, each with a key of its own.

use std::sync::Arc;
use std::time::Duration;

use dtvn_messages::{IdempotencyKey, TicketId, limits};
use tokio::time::Instant;

use super::record::Recorder;
use super::{Shared, Workload};
use crate::api::{BatchAnswer, IssueRequest, Kind, OperationRequest, TicketRequest};
use crate::{BatchForm, Client, ClientError};

/// A worker: it makes one visit after the other.
pub(super) struct Visitor {
    client: Client,
    shared: Arc<Shared>,
    recorder: Recorder,
}

impl Workload {
    const fn steps(self) -> &'static [Kind] {
        match self {
            Self::Lifecycle => &[Kind::Issue, Kind::Validate, Kind::Consume],
            Self::Issue => &[Kind::Issue],
            Self::Validate => &[Kind::Validate],
        }
    }
}

impl Visitor {
    pub(super) fn new(client: Client, shared: Arc<Shared>) -> Self {
        Self { client, shared, recorder: Recorder::new() }
    }

    /// Makes visits until the run is over.
    pub(super) async fn work(mut self) -> Recorder {
        while let Some((number, intended)) = self.shared.next_visit() {
            if let Some(intended) = intended {
                tokio::time::sleep_until(intended).await;
            }
            if !self.visit(number, intended.unwrap_or_else(Instant::now)).await {
                break;
            }
        }
        self.recorder
    }

    /// One visit; false when no further request is allowed.
    async fn visit(&mut self, number: u64, intended: Instant) -> bool {
        let mut begin = intended;
        for kind in self.shared.plan.workload.steps() {
            if !self.shared.may_send() {
                return false;
            }
            let went_well = match self.shared.form() {
                None => self.single(*kind, number).await,
                Some(form) => self.batch(*kind, number, form).await,
            };
            self.recorder.latency(begin.elapsed());
            if !went_well {
                break;
            }
            begin = Instant::now();
        }
        true
    }

    async fn single(&mut self, kind: Kind, number: u64) -> bool {
        let (ticket, key) = names(&self.shared.run, number, kind);
        let answer = if kind == Kind::Issue {
            self.client.issue(issue_request(ticket, key)).await
        } else {
            self.client.on_ticket(kind, ticket_request(ticket, key)).await
        };
        match answer {
            Ok(_) => {
                self.shared.counters.count_accepted(1);
                true
            }
            Err(error) => {
                self.shared.counters.count_failed(1);
                self.recorder.error(error.name());
                false
            }
        }
    }

    async fn batch(&mut self, kind: Kind, number: u64, form: BatchForm) -> bool {
        let size = self.shared.tickets_per_visit();
        let first = number * size;
        match self.client.batch(requests(&self.shared.run, kind, first, size), form).await {
            Ok(answers) => {
                let mut accepted = 0;
                for answer in answers {
                    match answer {
                        BatchAnswer::Accepted(_) => accepted += 1,
                        BatchAnswer::Refused(problem) => self.recorder.error(problem.reason.name()),
                    }
                }
                if accepted > 0 {
                    self.shared.counters.count_accepted(accepted);
                }
                self.shared.counters.count_failed(size - accepted);
                accepted > 0
            }
            Err(error) => {
                self.shared.counters.count_failed(size);
                for _ in 0..size {
                    self.recorder.error(error.name());
                }
                false
            }
        }
    }
}

/// Issues tickets number 0 to `count - 1` of a run.
pub(super) async fn issue_beforehand(client: &Client, run: &str, count: u64) -> Result<(), ClientError> {
    let patient = client.with_deadline(Duration::from_secs(120));
    let mut first = 0;
    while first < count {
        let size = (count - first).min(limits::API_BATCH_OPERATIONS_MAX as u64);
        for answer in patient.batch(requests(run, Kind::Issue, first, size), BatchForm::Bincode).await? {
            if let BatchAnswer::Refused(problem) = answer {
                return Err(ClientError::Refused(problem));
            }
        }
        first += size;
    }
    Ok(())
}

fn requests(run: &str, kind: Kind, first: u64, count: u64) -> Vec<OperationRequest> {
    let request = |number| {
        let (ticket, key) = names(run, number, kind);
        OperationRequest { idempotency_key: Some(key), ..OperationRequest::new(kind, ticket) }
    };
    (first..first + count).map(request).collect()
}

/// The name of a run's ticket, and the key of a step of its life.
fn names(run: &str, number: u64, kind: Kind) -> (TicketId, IdempotencyKey) {
    let ticket = format!("{run}-{number}");
    let key = format!("{ticket}-{}-once", kind.name());
    #[expect(clippy::expect_used, reason = "short ASCII words and digits with dashes between, at least 16 letters")]
    let names = (
        TicketId::new(&ticket).expect("a run, a dash and a number"),
        IdempotencyKey::new(&key).expect("a ticket and a word"),
    );
    names
}

fn issue_request(ticket_id: TicketId, key: IdempotencyKey) -> IssueRequest {
    IssueRequest {
        ticket_id,
        event: None,
        data: None,
        metadata: dtvn_messages::ticket::Metadata::new(),
        valid_from: None,
        valid_until: None,
        gate: None,
        device: None,
        idempotency_key: Some(key),
    }
}

fn ticket_request(ticket_id: TicketId, key: IdempotencyKey) -> TicketRequest {
    TicketRequest { idempotency_key: Some(key), ..TicketRequest::new(ticket_id) }
}
