//! Measures every request: route template, method, status, time; and makes its span, if spans are exported.

use std::time::Instant;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::middleware::Next;
use actix_web::{Error, web};

use tracing::Instrument as _;

use super::Services;
use crate::telemetry::Listener;
use crate::telemetry::traces::RequestSpan;

/// The middleware of the public listener.
pub(super) async fn public(
    services: web::Data<Services>,
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    measure(&services, Listener::Public, request, next).await
}

/// The middleware of the admin listener.
pub(super) async fn admin(
    services: web::Data<Services>,
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    measure(&services, Listener::Admin, request, next).await
}

async fn measure<B: MessageBody>(
    services: &Services,
    listener: Listener,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let requests = services.telemetry.requests();
    let _in_flight = requests.begin(listener);
    let (began, method) = (Instant::now(), method_name(request.method()));
    let span = RequestSpan::begin(method, request.headers());
    let answer = next.call(request).instrument(span.span()).await;
    let (route, status) = match &answer {
        Ok(answer) => (answer.request().match_pattern(), answer.status()),
        // Refused by a middleware, before any route took it.
        Err(error) => (None, error.as_response_error().status_code()),
    };
    span.answered(route.as_deref(), method, status.as_u16());
    requests.answered(route, method, status.as_u16(), began.elapsed());
    answer
}

/// The method as a label: what clients make up shares one.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        _ => "other",
    }
}
