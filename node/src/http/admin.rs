//! The admin listener: the actor tree, restarts, crashes for tests, liveness and readiness (architecture.md section 8).

use actix_web::{HttpRequest, HttpResponse, web};
use dtvn_actors::supervision::{NodeTree, TreeNode};
use dtvn_client::api::{ActorCommandAnswer, Health};
use dtvn_messages::Reason;

use super::problem::Refusal;
use super::{Services, auth};

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
    tree.restart(&name).await.map_err(|fault| Refusal::malformed(fault.to_string()))?;
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
    tree.crash(&name, "asked for by the operator").map_err(|fault| Refusal::malformed(fault.to_string()))?;
    Ok(HttpResponse::Accepted().json(ActorCommandAnswer { name, status: "crashed".to_owned() }))
}

pub(super) async fn live() -> HttpResponse {
    HttpResponse::Ok().json(Health { status: "healthy".to_owned(), reasons: Vec::new() })
}
