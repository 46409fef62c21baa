//! Bodies of requests (api.md sections 2 and 4): their size, their time and their shape are bounded, and each fault is a
//! problem with its own reason.

use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap};
use actix_web::web::{Bytes, BytesMut};
use actix_web::{FromRequest, HttpRequest};
use dtvn_messages::{Reason, limits};
use futures::StreamExt as _;
use serde::de::DeserializeOwned;

use super::problem::Refusal;

/// A body of a single operation, in JSON.
pub(super) struct Json<T>(pub(super) T);

/// A body of a single operation that may be missing, as in `curl -X POST .../seed`.
pub(super) struct OptionalJson<T>(pub(super) T);

/// The bytes of a body of many operations.
pub(super) struct Batch(pub(super) Bytes);

type Reading<T> = Pin<Box<dyn Future<Output = Result<T, Refusal>>>>;

impl<T: DeserializeOwned + 'static> FromRequest for Json<T> {
    type Error = Refusal;
    type Future = Reading<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let is_json = media_type(request.headers()).eq_ignore_ascii_case("application/json");
        let body = read(request.headers(), payload.take(), limits::API_BODY_BYTES_MAX);
        Box::pin(async move {
            let body = body.await?;
            if is_json { parse(&body).map(Self) } else { Err(no_json()) }
        })
    }
}

impl<T: DeserializeOwned + Default + 'static> FromRequest for OptionalJson<T> {
    type Error = Refusal;
    type Future = Reading<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let is_json = media_type(request.headers()).eq_ignore_ascii_case("application/json");
        let body = read(request.headers(), payload.take(), limits::API_BODY_BYTES_MAX);
        Box::pin(async move {
            let body = body.await?;
            match () {
                () if body.is_empty() => Ok(Self(T::default())),
                () if is_json => parse(&body).map(Self),
                () => Err(no_json()),
            }
        })
    }
}

impl FromRequest for Batch {
    type Error = Refusal;
    type Future = Reading<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let body = read(request.headers(), payload.take(), limits::API_BATCH_BYTES_MAX);
        Box::pin(async move { body.await.map(Self) })
    }
}

fn no_json() -> Refusal {
    Refusal::new(Reason::UnsupportedMediaType, "the body must be JSON: send Content-Type: application/json")
}

/// The media type of a body, without parameters; empty if it is not given.
pub(super) fn media_type(headers: &HeaderMap) -> &str {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    given.split(';').next().unwrap_or_default().trim()
}

/// What a JSON text says.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|fault| of_json(&fault))
}

/// A text that is no JSON, or not of the expected shape.
pub(super) fn of_json(fault: &serde_json::Error) -> Refusal {
    Refusal::malformed(format!("the body is not what is expected: {fault}"))
}

/// Reads a whole body, up to so many bytes, within [`limits::API_BODY_TIMEOUT`].
fn read(
    headers: &HeaderMap,
    payload: Payload,
    bytes_max: usize,
) -> impl Future<Output = Result<Bytes, Refusal>> + 'static {
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let encoding = headers.get(CONTENT_ENCODING).map(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"identity"));
    async move {
        if encoding == Some(false) {
            return Err(Refusal::new(Reason::UnsupportedMediaType, "the body must not be compressed"));
        }
        if announced.is_some_and(|announced| announced > bytes_max as u64) {
            return Err(too_large(bytes_max));
        }
        let read = tokio::time::timeout(limits::API_BODY_TIMEOUT, gather(payload, bytes_max)).await;
        read.unwrap_or_else(|_late| {
            let seconds = limits::API_BODY_TIMEOUT.as_secs();
            Err(Refusal::new(Reason::RequestTimeout, format!("the body did not arrive within {seconds} s")))
        })
    }
}

async fn gather(mut payload: Payload, bytes_max: usize) -> Result<Bytes, Refusal> {
    // A small body is one chunk, and is not copied.
    let (mut first, mut rest) = (Bytes::new(), BytesMut::new());
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|fault| of_payload(&fault, bytes_max))?;
        if first.len() + rest.len() + chunk.len() > bytes_max {
            return Err(too_large(bytes_max));
        }
        if first.is_empty() && rest.is_empty() {
            first = chunk;
            continue;
        }
        if rest.is_empty() {
            rest.extend_from_slice(&std::mem::take(&mut first));
        }
        rest.extend_from_slice(&chunk);
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}

fn too_large(bytes_max: usize) -> Refusal {
    Refusal::new(Reason::TooLarge, format!("the body has more than {bytes_max} bytes"))
}

fn of_payload(fault: &PayloadError, bytes_max: usize) -> Refusal {
    match fault {
        PayloadError::Overflow => too_large(bytes_max),
        other => Refusal::malformed(format!("the body cannot be read: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn payload(chunks: Vec<&'static str>, pause: Duration) -> Payload {
        let stream = futures::stream::iter(chunks).then(move |chunk| async move {
            tokio::time::sleep(pause).await;
            Ok(Bytes::from_static(chunk.as_bytes()))
        });
        Payload::Stream { payload: Box::pin(stream) }
    }

    async fn read_all(chunks: Vec<&'static str>, pause: Duration) -> Result<Bytes, Reason> {
        read(&HeaderMap::new(), payload(chunks, pause), 10).await.map_err(|refusal| refusal.0.reason)
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_comes_in_any_number_of_pieces() {
        for pieces in [vec!["0123456789"], vec!["01", "", "23456", "789"], vec!["", "0123456789"]] {
            assert_eq!(read_all(pieces, Duration::ZERO).await.unwrap(), "0123456789");
        }
        assert_eq!(read_all(vec![], Duration::ZERO).await.unwrap(), "");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_has_its_size_and_its_time() {
        assert_eq!(read_all(vec!["0123456789", "0"], Duration::ZERO).await, Err(Reason::TooLarge));
        let third = limits::API_BODY_TIMEOUT / 3;
        assert_eq!(read_all(vec!["0", "1"], third).await.unwrap(), "01");
        assert_eq!(read_all(vec!["0", "1", "2", "3"], third).await, Err(Reason::RequestTimeout), "it trickles");
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_LENGTH, "11".parse().unwrap());
        let refused = read(&headers, Payload::None, 10).await.map_err(|refusal| refusal.0.reason);
        assert_eq!(refused, Err(Reason::TooLarge), "before anything was read");
    }
}
