//! Who may: one API key, compared in constant time (api.md section 4).

use actix_web::HttpRequest;
use actix_web::http::header::AUTHORIZATION;
use dtvn_messages::{Reason, sha256};
use subtle::ConstantTimeEq;

use super::problem::Refusal;
use crate::config::Secret;

/// Checks the key of a request, if one is asked for.
pub(super) fn check(request: &HttpRequest, expected: Option<&Secret>) -> Result<(), Refusal> {
    let Some(expected) = expected else { return Ok(()) };
    let headers = request.headers();
    let bearer = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = bearer.and_then(|value| value.strip_prefix("Bearer "));
    let given = headers.get("x-api-key").and_then(|value| value.to_str().ok()).or(bearer);
    let Some(given) = given else {
        return Err(Refusal::new(Reason::Unauthenticated, "send the API key as X-API-Key or as a Bearer token"));
    };
    // Hashes have one length, so that the comparison does not tell the key's.
    let (given, expected) = (sha256(&[given.as_bytes()]), sha256(&[expected.expose().as_bytes()]));
    if bool::from(given.0.ct_eq(&expected.0)) {
        Ok(())
    } else {
        Err(Refusal::new(Reason::Unauthenticated, "the API key is not this node's"))
    }
}
