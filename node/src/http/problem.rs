//! Errors as RFC 9457 problems (api.md section 2).

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, RETRY_AFTER};
use actix_web::{HttpResponse, ResponseError};
use dtvn_actors::storage::store::StoreError;
use dtvn_client::api::Problem;
use dtvn_messages::Reason;

/// Seconds after which a refused operation may be tried again.
const RETRY_AFTER_SECONDS: u32 = 1;

/// A request that is refused, with everything that its answer says.
#[derive(Debug, Clone)]
pub(super) struct Refusal(pub(super) Box<Problem>);

impl Refusal {
    pub(super) fn new(reason: Reason, detail: impl Into<String>) -> Self {
        let problem = Problem::new(reason, detail);
        let problem = match reason.http_status() {
            429 | 503 => problem.with_retry_after(RETRY_AFTER_SECONDS),
            _ => problem,
        };
        Self(Box::new(problem))
    }

    pub(super) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(Reason::Malformed, detail)
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}", self.0.reason)
    }
}

impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        response.insert_header((CONTENT_TYPE, "application/problem+json"));
        if matches!(self.0.status, 408 | 413) {
            // What is left of the body is not waited for.
            response.force_close();
        }
        if matches!(self.0.status, 429 | 503) {
            response.insert_header((RETRY_AFTER, RETRY_AFTER_SECONDS.to_string()));
        }
        response.body(serde_json::to_string(&self.0).unwrap_or_default())
    }
}

/// A read that the store refuses.
pub(super) fn of_store(error: &StoreError) -> Refusal {
    match error {
        StoreError::Closed => Refusal::new(Reason::Restarting, "the store is being opened"),
        StoreError::BadCursor => Refusal::new(Reason::BadCursor, error.to_string()),
        _ => {
            tracing::error!(%error, "The store refused a read.");
            Refusal::new(Reason::Internal, "the store refused to be read; the log of the node says why")
        }
    }
}
