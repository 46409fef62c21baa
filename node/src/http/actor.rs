//! The actors that own the listeners: `http` for the public API, `admin` for the operator, so that the tree can be looked
//! at while the public one restarts.

use std::any::Any;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, PoisonError, RwLock};

use actix_web::dev::{Extensions, ServerHandle};
use actix_web::web::{self, Data, PathConfig, QueryConfig};
use actix_web::{App, HttpRequest, HttpServer, middleware};
use dtvn_actors::directory::Role;
use dtvn_actors::mailbox::{FullPolicy, Mail};
use dtvn_actors::supervision::{ActorError, Behaviour, Context, StopReason};
use dtvn_messages::limits;
use percent_encoding::percent_decode_str;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::events::{Closing, origin};
use super::places::Places;
use super::problem::Refusal;
use super::{Services, admin, auth, connection, info, measure, metrics, routes};

/// The role of the public API.
pub const HTTP: Role<HttpMessage> = Role::new("http");
/// The role of the admin listener.
pub const ADMIN: Role<HttpMessage> = Role::new("admin");

/// Threads of a server: requests wait for consensus, not for the processor.
const WORKERS: usize = 1;
/// How long requests in flight may hold up a stop, in seconds: shorter than the stop of an actor may take, or each such
/// stop would end in a kill. What waits for consensus has its outcome by then, or there is no quorum, and the client
/// asks again with the same key.
const SHUTDOWN_SECONDS: u64 = 3;
// The server looks once a second whether the time is over.
const _: () = assert!(SHUTDOWN_SECONDS + 1 < limits::ACTOR_STOP_TIMEOUT.as_secs());

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
    /// Connections at a time: further ones wait in the backlog of the listener.
    pub connections: usize,
    /// Those of one client to the public API: further ones are closed.
    pub connections_per_client: usize,
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
        let HttpArguments { services, server, address, bound, connections, connections_per_client } = arguments;
        let wanted = bound.read().unwrap_or_else(PoisonError::into_inner).unwrap_or(address);
        let listener = TcpListener::bind(wanted).map_err(|error| {
            ActorError::new(format!("cannot listen on {wanted}: {error}; is another node running?"))
        })?;
        let actual = listener.local_addr()?;
        *bound.write().unwrap_or_else(PoisonError::into_inner) = Some(actual);
        let closing = CancellationToken::new();
        let running = match server {
            Server::Public => {
                let places = Places::new(connections_per_client);
                public(services, listener, (connections, places), closing.clone())?
            }
            Server::Admin => operator(services, listener, connections)?,
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
    (connections, places): (usize, Arc<Places>),
    closing: CancellationToken,
) -> Result<actix_web::dev::Server, ActorError> {
    let (services, closing) = (Data::new(services), Data::new(Closing(closing)));
    let server = HttpServer::new(move || {
        let admitted = {
            let services = services.clone();
            middleware::from_fn(move |request: actix_web::dev::ServiceRequest, next: middleware::Next<_>| {
                let services = services.clone();
                async move {
                    admit(&services, request.request())?;
                    next.call(request).await
                }
            })
        };
        App::new()
            .wrap(middleware::from_fn(connection::refuse_surplus))
            .wrap(middleware::from_fn(measure::public))
            .app_data(services.clone())
            .app_data(closing.clone())
            .app_data(QueryConfig::default().error_handler(|error, _| Refusal::malformed(error.to_string()).into()))
            .app_data(PathConfig::default().error_handler(|error, _| Refusal::malformed(error.to_string()).into()))
            .configure(|config| _ = routes::open(config))
            .service(web::scope(routes::API).wrap(admitted).configure(|config| _ = routes::api(config)))
            .default_service(web::to(routes::not_found))
    })
    .on_connect(move |socket: &dyn Any, data: &mut Extensions| connection::begin(&places, socket, data))
    .workers(WORKERS)
    .max_connections(connections)
    .disable_signals()
    .shutdown_timeout(SHUTDOWN_SECONDS)
    .client_request_timeout(limits::API_HEAD_TIMEOUT)
    .keep_alive(limits::API_IDLE_TIMEOUT)
    .listen(listener)?;
    Ok(server.run())
}

/// Who may ask, how often, and for what can be a name.
fn admit(services: &Services, request: &HttpRequest) -> Result<(), actix_web::Error> {
    services.rates.check_address(request.peer_addr().map(|peer| peer.ip()))?;
    auth::check(request, services.config.api.key.as_ref())?;
    services.rates.check_key(auth::key_of(request))?;
    origin::check_change(request, &services.config.api.ws_origins)?;
    let path = request.uri().path();
    if path.contains('%') && percent_decode_str(path).decode_utf8().is_err() {
        // The router would put a replacement character there: the name of another ticket.
        return Err(Refusal::malformed("the path is not UTF-8").into());
    }
    Ok(())
}

fn operator(
    services: Services,
    listener: TcpListener,
    connections: usize,
) -> Result<actix_web::dev::Server, ActorError> {
    let services = Data::new(services);
    let server = HttpServer::new(move || {
        let own_pages = {
            let services = services.clone();
            middleware::from_fn(move |request: actix_web::dev::ServiceRequest, next: middleware::Next<_>| {
                let services = services.clone();
                async move {
                    origin::check_change(request.request(), &services.config.api.ws_origins)?;
                    next.call(request).await
                }
            })
        };
        App::new()
            .wrap(own_pages)
            .wrap(middleware::from_fn(measure::admin))
            .app_data(services.clone())
            .route("/metrics", web::get().to(metrics::admin))
            .route("/admin/log-level", web::get().to(admin::log_level))
            .route("/admin/log-level", web::put().to(admin::set_log_level))
            .route("/health/live", web::get().to(admin::live))
            .route("/health/ready", web::get().to(info::health))
            .route("/admin/actors", web::get().to(admin::actors))
            .route("/admin/actors/{name:.*}/restart", web::post().to(admin::restart))
            .route("/admin/actors/{name:.*}/crash", web::post().to(admin::crash))
            .route("/admin/actors/{name:.*}", web::get().to(admin::actor))
            .default_service(web::to(routes::not_found))
    })
    .workers(WORKERS)
    .max_connections(connections)
    .disable_signals()
    .shutdown_timeout(1)
    .listen(listener)?;
    Ok(server.run())
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
