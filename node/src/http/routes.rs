//! The table of routes of the public API: each path with its methods. Whatever else is asked of a path is answered 405
//! with what is allowed; `openapi.rs` describes the same routes, and a test compares.

use actix_web::http::header::ALLOW;
use actix_web::web::{self, ServiceConfig};
use actix_web::{FromRequest, Handler, HttpRequest, HttpResponse, Responder, ResponseError as _, Route, guard};
use dtvn_messages::Reason;

use super::problem::Refusal;
use super::{catalogue, chain, events, info, metrics, openapi, operations, receipts, tickets, validators};

/// Where the API begins.
pub(super) const API: &str = "/api/v1";

/// A method of a path, and what answers it.
type Method = (&'static str, Route);

/// Routes as they are registered.
struct Table<'a> {
    config: &'a mut ServiceConfig,
    listed: Vec<(&'static str, &'static str)>,
}

impl Table<'_> {
    fn at<const N: usize>(&mut self, path: &'static str, methods: [Method; N]) -> &mut Self {
        self.listed.extend(methods.iter().map(|(method, _)| (path, *method)));
        // The last part of a path may have slashes.
        self.register(&path.replace("{path}", "{path:.*}"), methods)
    }

    /// What is posted to a name in the place of a ticket's: a ticket may be called so too, and is read like any other.
    fn named<const N: usize>(&mut self, paths: [(&'static str, Method); N]) -> &mut Self {
        for (path, method) in paths {
            self.listed.push((path, method.0));
            self.register(path, [get(tickets::get_by_path), method]);
        }
        self
    }

    fn register<const N: usize>(&mut self, path: &str, methods: [Method; N]) -> &mut Self {
        let mut resource = web::resource(path);
        let mut allowed = Vec::new();
        for (method, route) in methods {
            resource = resource.route(route);
            allowed.extend(if method == "get" { vec!["GET", "HEAD"] } else { vec!["POST"] });
        }
        let (allowed, operations) = (allowed.join(", "), self.posted_beside(path));
        let wrong_method = move |request: HttpRequest| {
            let detail = if request.method() == "POST" && !operations.is_empty() {
                format!("{} is no operation: there are {operations}", request.path())
            } else {
                format!("{} does not know the method {}", request.path(), request.method())
            };
            let mut response = Refusal::new(Reason::MethodNotAllowed, detail).error_response();
            if let Ok(allowed) = allowed.parse() {
                response.headers_mut().insert(ALLOW, allowed);
            }
            async move { response }
        };
        self.config.service(resource.default_service(web::to(wrong_method)));
        self
    }

    /// What may be posted to in the place of the id at the end of a path, as names.
    fn posted_beside(&self, path: &str) -> String {
        let Some(above) = path.strip_suffix("{id}") else { return String::new() };
        let posted = self.listed.iter().filter(|(_, method)| *method == "post");
        let names = posted.filter_map(|(listed, _)| listed.strip_prefix(above));
        names.filter(|name| !name.contains(['/', '{'])).collect::<Vec<_>>().join(", ")
    }
}

fn get<F, A>(handler: F) -> Method
where
    F: Handler<A>,
    A: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    ("get", web::route().guard(guard::Any(guard::Get()).or(guard::Head())).to(handler))
}

fn post<F, A>(handler: F) -> Method
where
    F: Handler<A>,
    A: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    ("post", web::post().to(handler))
}

/// What is open to all: each path with its methods.
pub(super) fn open(config: &mut ServiceConfig) -> Vec<(&'static str, &'static str)> {
    let mut table = Table { config, listed: Vec::new() };
    table.at("/health", [get(info::health)]).at("/ws", [get(events::listen)]).at("/metrics", [get(metrics::public)]);
    table.listed
}

/// What is guarded by the key, below [`API`].
pub(super) fn api(config: &mut ServiceConfig) -> Vec<(&'static str, &'static str)> {
    let mut table = Table { config, listed: Vec::new() };
    table
        .at("/tickets", [get(tickets::list), post(operations::issue)])
        .named([
            ("/tickets/validate", post(operations::validate)),
            ("/tickets/consume", post(operations::consume)),
            ("/tickets/dispute", post(operations::dispute)),
            ("/tickets/seed", post(operations::seed)),
        ])
        .at("/tickets/{id}", [get(tickets::get)])
        .at("/tickets/{id}/history", [get(tickets::history)])
        .at("/tickets/{id}/proof", [get(receipts::proof)])
        .at("/operations", [post(operations::batch)])
        .at("/operations/{key}", [get(operations::status)])
        .at("/events", [get(catalogue::list)])
        .at("/events/{id}", [get(catalogue::get)])
        .at("/ws-ticket", [post(events::give_pass)])
        .at("/status", [get(info::status)])
        .at("/stats", [get(info::stats)])
        .at("/peers", [get(info::peers)])
        .at("/config", [get(info::config)])
        .at("/consensus/logs", [get(chain::logs)])
        .at("/blocks", [get(chain::blocks)])
        .at("/blocks/{height}", [get(chain::block)])
        .at("/evidence", [get(chain::evidence)])
        .at("/epochs", [get(chain::epochs)])
        .at("/validators", [get(validators::get), post(validators::change)])
        .at("/validators.policy", [get(receipts::trust_policy)])
        .at("/checkpoint", [get(receipts::checkpoint)])
        .at("/tile/{path}", [get(receipts::tile)])
        .at("/genesis", [get(info::genesis)])
        .at("/node/crypto", [get(info::crypto)])
        .at("/storage/entries", [get(info::storage)])
        .at("/sequence", [get(chain::sequence)])
        .at("/openapi.json", [get(openapi::document)]);
    table.listed
}

/// What is not there.
pub(super) async fn not_found(request: HttpRequest) -> HttpResponse {
    Refusal::new(Reason::NotFound, format!("there is nothing at {}", request.path())).error_response()
}
