//! Passes: a browser cannot send headers with a WebSocket, so who has the key gets a short-lived key for one.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use actix_web::{HttpResponse, web};
use dtvn_client::api::WsTicket;
use dtvn_messages::{Digest, Reason, limits, sha256};
use subtle::ConstantTimeEq as _;
use tokio::time::Instant;

use crate::http::Services;
use crate::http::problem::Refusal;

/// The passes that were given out and not used. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Passes {
    // Their hashes, oldest first: what is looked up takes no time that depends on a pass.
    open: Arc<Mutex<VecDeque<(Digest, Instant)>>>,
}

impl Passes {
    /// A new pass.
    fn give(&self) -> Result<String, getrandom::Error> {
        let mut random = [0; 16];
        getrandom::fill(&mut random)?;
        let pass = hex::encode(random);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= limits::WS_PASSES_MAX {
            open.pop_front();
        }
        open.push_back((sha256(&[pass.as_bytes()]), Instant::now() + limits::WS_PASS_LIFETIME));
        Ok(pass)
    }

    /// Uses a pass up; false if it does not hold.
    pub(super) fn take(&self, pass: &str) -> bool {
        let (hash, now) = (sha256(&[pass.as_bytes()]), Instant::now());
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|(_, until)| *until > now);
        let found = open.iter().position(|(known, _)| bool::from(known.0.ct_eq(&hash.0)));
        found.is_some_and(|place| open.remove(place).is_some())
    }
}

#[utoipa::path(post, path = "/api/v1/ws-ticket", tag = "live", responses((status = 200, body = WsTicket)))]
/// Gives a short-lived key for one WebSocket.
pub(in crate::http) async fn give_pass(services: web::Data<Services>) -> Result<HttpResponse, Refusal> {
    let ticket = services.passes.give();
    let ticket = ticket.map_err(|_| Refusal::new(Reason::Internal, "the system gives no randomness"))?;
    let expires_in_seconds = limits::WS_PASS_LIFETIME.as_secs();
    Ok(HttpResponse::Ok().insert_header(("Cache-Control", "no-store")).json(WsTicket { ticket, expires_in_seconds }))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_pass_holds_once_and_not_for_long() {
        let passes = Passes::default();
        let (first, second) = (passes.give().unwrap(), passes.give().unwrap());
        assert_ne!(first, second);
        assert!(!passes.take("0123456789abcdef0123456789abcdef"));
        assert!(passes.take(&first));
        assert!(!passes.take(&first), "used up");
        tokio::time::advance(limits::WS_PASS_LIFETIME + Duration::from_millis(1)).await;
        assert!(!passes.take(&second), "too late");
        assert!(passes.open.lock().unwrap().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn too_many_passes_push_out_the_oldest() {
        let passes = Passes::default();
        let first = passes.give().unwrap();
        let second = passes.give().unwrap();
        for _ in 0..limits::WS_PASSES_MAX - 1 {
            passes.give().unwrap();
        }
        assert!(!passes.take(&first));
        assert!(passes.take(&second));
    }
}
