//! Who may: one API key, compared in constant time (api.md section 4).

use actix_web::HttpRequest;
use actix_web::http::header::AUTHORIZATION;
use dtvn_messages::{Reason, sha256};
use subtle::ConstantTimeEq;

use super::problem::Refusal;
use crate::config::Secret;

/// Checks the key of a request, if one is asked for.
pub(super) fn check(request: &HttpRequest, expected: Option<&Secret>) -> Result<(), Refusal> {
    if has_key(request, expected)? {
        Ok(())
    } else {
        Err(Refusal::new(Reason::Unauthenticated, "send the API key as X-API-Key or as a Bearer token"))
    }
}

/// Whether a request has the key, if one is asked for; false if it has none.
///
/// # Errors
/// If it has another one.
pub(super) fn has_key(request: &HttpRequest, expected: Option<&Secret>) -> Result<bool, Refusal> {
    if expected.is_none() {
        return Ok(true);
    }
    let Some(given) = key_of(request) else { return Ok(false) };
    if is_key(given, expected) {
        Ok(true)
    } else {
        Err(Refusal::new(Reason::Unauthenticated, "the API key is not this node's"))
    }
}

/// The key that a request shows.
pub(super) fn key_of(request: &HttpRequest) -> Option<&str> {
    let headers = request.headers();
    let bearer = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = bearer.and_then(|value| value.strip_prefix("Bearer "));
    headers.get("x-api-key").and_then(|value| value.to_str().ok()).or(bearer)
}

/// Whether a text is the key; any is if none is asked for.
pub(super) fn is_key(given: &str, expected: Option<&Secret>) -> bool {
    let Some(expected) = expected else { return true };
    // Hashes have one length, so that the comparison does not tell the key's.
    let (given, expected) = (sha256(&[given.as_bytes()]), sha256(&[expected.expose().as_bytes()]));
    bool::from(given.0.ct_eq(&expected.0))
}
