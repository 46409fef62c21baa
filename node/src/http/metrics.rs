//! `/metrics` of both listeners, for Prometheus.

use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpRequest, HttpResponse, web};
use dtvn_messages::Reason;

use super::problem::Refusal;
use super::{Services, auth};
use crate::config::Secret;
use crate::telemetry::PROMETHEUS_TEXT;

#[utoipa::path(get, path = "/metrics", tag = "node", security(("api_key" = []), ("bearer" = [])),
    responses((status = 200, body = String, content_type = "text/plain")))]
/// The node's metrics, in Prometheus' text format; guarded as `/api/` is.
pub(super) async fn public(services: web::Data<Services>, request: HttpRequest) -> actix_web::Result<HttpResponse> {
    services.rates.check_address(request.peer_addr().map(|peer| peer.ip()))?;
    Ok(metrics(&services, &request, services.config.api.key.as_ref()).await?)
}

/// On the admin listener: guarded by its own key.
pub(super) async fn admin(services: web::Data<Services>, request: HttpRequest) -> Result<HttpResponse, Refusal> {
    metrics(&services, &request, services.config.admin.key.as_ref()).await
}

async fn metrics(services: &Services, request: &HttpRequest, key: Option<&Secret>) -> Result<HttpResponse, Refusal> {
    auth::check(request, key)?;
    let telemetry = services.telemetry.clone();
    let rendered = tokio::task::spawn_blocking(move || telemetry.render()).await;
    let failed = |error: &dyn std::error::Error| Refusal::new(Reason::Internal, error.to_string());
    let text = rendered.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
    Ok(HttpResponse::Ok().insert_header((CONTENT_TYPE, PROMETHEUS_TEXT)).body(text))
}
