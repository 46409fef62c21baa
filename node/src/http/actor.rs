//! The actors that own the listeners: `http` for the public API, `admin` for the operator, so that the tree can be looked
//! at while the public one restarts.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::web::{self, Data, JsonConfig, PathConfig, PayloadConfig, QueryConfig};
use actix_web::{App, HttpRequest, HttpServer, middleware};
use dtvn_actors::directory::Role;
use dtvn_actors::mailbox::{FullPolicy, Mail};
use dtvn_actors::supervision::{ActorError, Behaviour, Context, StopReason};
use dtvn_messages::{Reason, limits};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::events::{self, Closing};
use super::problem::{Refusal, of_json};
use super::{Services, admin, auth, connection, info, operations, tickets};

/// The role of the public API.
pub const HTTP: Role<HttpMessage> = Role::new("http");
/// The role of the admin listener.
pub const ADMIN: Role<HttpMessage> = Role::new("admin");

/// Longest body of a single operation, in bytes.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Threads of a server: requests wait for consensus, not for the processor.
const WORKERS: usize = 1;
/// How long requests in flight may take when the server stops, in seconds.
const SHUTDOWN_SECONDS: u64 = 5;

/// Which of the two listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// The public API.
    Public,
    /// The operator's.
    Admin,
}

/// What can be said to a listener's actor.
pub enum HttpMessage {
    /// The server ended by itself.
    Ended(String),
}

impl Mail for HttpMessage {
    fn kind(&self) -> &'static str {
        "ended"
    }

    fn policy(&self) -> FullPolicy {
        FullPolicy::Wait
    }
}

/// What a listener's actor is made with.
#[derive(Clone)]
pub struct HttpArguments {
    /// What handlers use.
    pub services: Services,
    /// Which listener.
    pub server: Server,
    /// Where to listen; port 0 is any.
    pub address: SocketAddr,
    /// Where it really listens; a restart takes the same port again.
    pub bound: Arc<RwLock<Option<SocketAddr>>>,
}

/// A listener's actor.
pub struct HttpActor {
    handle: ServerHandle,
    /// Tells WebSockets, which do not end by themselves; also when this actor dies.
    closing: CancellationToken,
    _ended: DropGuard,
}

impl HttpActor {
    /// Binds and serves.
    ///
    /// # Errors
    /// If the address cannot be listened on; the message names it.
    #[expect(clippy::unused_async, reason = "the signature is every actor's")]
    pub async fn start(context: Context<HttpMessage>, arguments: HttpArguments) -> Result<Self, ActorError> {
        let HttpArguments { services, server, address, bound } = arguments;
        let wanted = bound.read().unwrap_or_else(PoisonError::into_inner).unwrap_or(address);
        let listener = TcpListener::bind(wanted).map_err(|error| {
            ActorError::new(format!("cannot listen on {wanted}: {error}; is another node running?"))
        })?;
        let actual = listener.local_addr()?;
        *bound.write().unwrap_or_else(PoisonError::into_inner) = Some(actual);
        let closing = CancellationToken::new();
        let running = match server {
            Server::Public => public(services, listener, closing.clone())?,
            Server::Admin => operator(services, listener)?,
        };
        let handle = running.handle();
        let myself = context.myself();
        context.spawn(async move {
            let why = match running.await {
                Ok(()) => "the HTTP server ended".to_owned(),
                Err(error) => format!("the HTTP server failed: {error}"),
            };
            let _over = myself.send(HttpMessage::Ended(why)).await;
        });
        tracing::info!(address = %actual, ?server, "The node serves HTTP.");
        Ok(Self { handle, _ended: closing.clone().drop_guard(), closing })
    }
}

fn public(
    services: Services,
    listener: TcpListener,
    closing: CancellationToken,
) -> Result<actix_web::dev::Server, ActorError> {
    let (services, closing) = (Data::new(services), Data::new(Closing(closing)));
    let server = HttpServer::new(move || {
        let guarded = {
            let services = services.clone();
            middleware::from_fn(move |request: actix_web::dev::ServiceRequest, next: middleware::Next<_>| {
                let services = services.clone();
                async move {
                    auth::check(request.request(), services.config.api.key.as_ref())?;
                    next.call(request).await
                }
            })
        };
        App::new()
            .app_data(services.clone())
            .app_data(JsonConfig::default().limit(BODY_BYTES_MAX).error_handler(|error, _| of_json(error)))
            .app_data(PayloadConfig::new(limits::API_BATCH_BYTES_MAX))
            .app_data(QueryConfig::default().error_handler(|error, _| Refusal::malformed(error.to_string()).into()))
            .app_data(PathConfig::default().error_handler(|error, _| Refusal::malformed(error.to_string()).into()))
            .app_data(closing.clone())
            .route("/health", web::get().to(info::health))
            .route("/ws", web::get().to(events::listen))
            .service(web::scope("/api/v1").wrap(guarded).configure(routes))
            .default_service(web::to(not_found))
    })
    .on_connect(connection::begin)
    .workers(WORKERS)
    .max_connections(limits::API_CONNECTIONS_MAX)
    .disable_signals()
    .shutdown_timeout(SHUTDOWN_SECONDS)
    .client_request_timeout(Duration::from_secs(5))
    .keep_alive(Duration::from_secs(75))
    .listen(listener)?;
    Ok(server.run())
}

fn routes(config: &mut web::ServiceConfig) {
    let resource = |path: &str| web::resource(path.to_owned()).default_service(web::to(wrong_method));
    config
        .service(resource("/tickets").route(web::get().to(tickets::list)).route(web::post().to(operations::issue)))
        .service(resource("/tickets/validate").route(web::post().to(operations::validate)))
        .service(resource("/tickets/consume").route(web::post().to(operations::consume)))
        .service(resource("/tickets/dispute").route(web::post().to(operations::dispute)))
        .service(resource("/tickets/seed").route(web::post().to(operations::seed)))
        .service(resource("/tickets/{id}").route(web::get().to(tickets::get)))
        .service(resource("/tickets/{id}/history").route(web::get().to(tickets::history)))
        .service(resource("/operations").route(web::post().to(operations::batch)))
        .service(resource("/operations/{key}").route(web::get().to(operations::status)))
        .service(resource("/ws-ticket").route(web::post().to(events::give_pass)))
        .service(resource("/status").route(web::get().to(info::status)))
        .service(resource("/stats").route(web::get().to(info::stats)))
        .service(resource("/peers").route(web::get().to(info::peers)))
        .service(resource("/config").route(web::get().to(info::config)))
        .service(resource("/consensus/logs").route(web::get().to(info::logs)))
        .service(resource("/blocks").route(web::get().to(info::blocks)))
        .service(resource("/blocks/{height}").route(web::get().to(info::block)))
        .service(resource("/validators").route(web::get().to(info::validators)))
        .service(resource("/genesis").route(web::get().to(info::genesis)))
        .service(resource("/node/crypto").route(web::get().to(info::crypto)))
        .service(resource("/storage/entries").route(web::get().to(info::storage)))
        .service(resource("/sequence").route(web::get().to(info::sequence)));
}

fn operator(services: Services, listener: TcpListener) -> Result<actix_web::dev::Server, ActorError> {
    let services = Data::new(services);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(services.clone())
            .route("/health/live", web::get().to(admin::live))
            .route("/health/ready", web::get().to(info::health))
            .route("/admin/actors", web::get().to(admin::actors))
            .route("/admin/actors/{name:.*}/restart", web::post().to(admin::restart))
            .route("/admin/actors/{name:.*}/crash", web::post().to(admin::crash))
            .route("/admin/actors/{name:.*}", web::get().to(admin::actor))
            .default_service(web::to(not_found))
    })
    .workers(1)
    .disable_signals()
    .shutdown_timeout(1)
    .listen(listener)?;
    Ok(server.run())
}

async fn not_found(request: HttpRequest) -> Result<&'static str, Refusal> {
    Err(Refusal::new(Reason::NotFound, format!("there is nothing at {}", request.path())))
}

async fn wrong_method(request: HttpRequest) -> Result<&'static str, Refusal> {
    let detail = format!("{} does not know the method {}", request.path(), request.method());
    Err(Refusal::new(Reason::MethodNotAllowed, detail))
}

impl Behaviour for HttpActor {
    type Message = HttpMessage;

    async fn handle(&mut self, _context: &Context<HttpMessage>, message: HttpMessage) -> Result<(), ActorError> {
        let HttpMessage::Ended(why) = message;
        Err(ActorError::new(why))
    }

    async fn stop(&mut self, _context: &Context<HttpMessage>, _reason: StopReason) -> Result<(), ActorError> {
        self.closing.cancel();
        self.handle.stop(true).await;
        Ok(())
    }
}
