//! The admin listener: the actor tree, restarts, crashes for tests, liveness and readiness (architecture.md section 8).

use actix_web::{HttpRequest, HttpResponse, web};
use dtvn_actors::supervision::{CommandError, NodeTree, TreeNode};
use dtvn_client::api::{ActorCommandAnswer, LogLevel};
use dtvn_messages::Reason;

use super::body::Json;
use super::info::health_answer;
use super::problem::Refusal;
use super::{Services, auth};
use crate::telemetry::logs::{self, LogError};

fn tree(services: &Services, request: &HttpRequest) -> Result<NodeTree, Refusal> {
    auth::check(request, services.config.admin.key.as_ref())?;
    services.tree.get().cloned().ok_or_else(|| Refusal::new(Reason::Restarting, "the actor tree is starting"))
}

pub(super) async fn actors(services: web::Data<Services>, request: HttpRequest) -> Result<HttpResponse, Refusal> {
    Ok(HttpResponse::Ok().json(tree(&services, &request)?.snapshot()))
}

pub(super) async fn actor(
    services: web::Data<Services>,
    request: HttpRequest,
    path: web::Path<String>,
) -> Result<HttpResponse, Refusal> {
    let snapshot = tree(&services, &request)?.snapshot();
    let found = find(&snapshot, &path)?;
    Ok(HttpResponse::Ok().json(found))
}

/// An actor by its path (`core/replica`) or, where that is unambiguous, by its name (`replica`).
fn find<'a>(snapshot: &'a TreeNode, name: &str) -> Result<&'a TreeNode, Refusal> {
    let last = |node: &&TreeNode| node.name.rsplit('/').next() == Some(name);
    let mut named = snapshot.walk().filter(last);
    let found = snapshot.find(name).or_else(|| named.next());
    found.ok_or_else(|| Refusal::new(Reason::NotFound, format!("there is no actor {name}")))
}

pub(super) async fn restart(
    services: web::Data<Services>,
    request: HttpRequest,
    path: web::Path<String>,
) -> Result<HttpResponse, Refusal> {
    let tree = tree(&services, &request)?;
    let name = find(&tree.snapshot(), &path)?.name.clone();
    tracing::warn!(actor = name, "A restart was asked for.");
    tree.restart(&name).await.map_err(|fault| refusal(&fault))?;
    Ok(HttpResponse::Ok().json(ActorCommandAnswer { name, status: "restarted".to_owned() }))
}

pub(super) async fn crash(
    services: web::Data<Services>,
    request: HttpRequest,
    path: web::Path<String>,
) -> Result<HttpResponse, Refusal> {
    let tree = tree(&services, &request)?;
    if !services.config.development.fault_injection {
        return Err(Refusal::new(Reason::NotPermitted, "start the node with --fault-injection to crash its actors"));
    }
    let name = find(&tree.snapshot(), &path)?.name.clone();
    tracing::warn!(actor = name, "A crash was asked for.");
    tree.crash(&name, "asked for by the operator").map_err(|fault| refusal(&fault))?;
    Ok(HttpResponse::Accepted().json(ActorCommandAnswer { name, status: "crashed".to_owned() }))
}

/// Whether all mailboxes move. No key: whoever starts the process again must be able to ask.
pub(super) async fn live(services: web::Data<Services>) -> HttpResponse {
    health_answer(services.telemetry.sources().not_live())
}

/// The level of the logs.
pub(super) async fn log_level(services: web::Data<Services>, request: HttpRequest) -> Result<HttpResponse, Refusal> {
    auth::check(&request, services.config.admin.key.as_ref())?;
    let level = logs::level().ok_or_else(|| Refusal::new(Reason::NotFound, LogError::NotOurs.to_string()))?;
    Ok(HttpResponse::Ok().json(LogLevel { level }))
}

/// Changes the level of the logs, until the process ends.
pub(super) async fn set_log_level(
    services: web::Data<Services>,
    request: HttpRequest,
    wanted: Result<Json<LogLevel>, Refusal>,
) -> Result<HttpResponse, Refusal> {
    auth::check(&request, services.config.admin.key.as_ref())?;
    let LogLevel { level } = wanted?.0;
    logs::set_level(&level).map_err(|error| match error {
        LogError::Level { .. } => Refusal::malformed(error.to_string()),
        LogError::NotOurs | LogError::Traces(_) => Refusal::new(Reason::NotFound, error.to_string()),
    })?;
    Ok(HttpResponse::Ok().json(LogLevel { level }))
}

/// What a supervisor did not do: one that is down starts again by itself, and can be asked then.
fn refusal(fault: &CommandError) -> Refusal {
    match fault {
        CommandError::Down | CommandError::Stopping => Refusal::new(Reason::Restarting, fault.to_string()),
        _ => Refusal::malformed(fault.to_string()),
    }
}
