//! A client's TCP connection, and its session: started at the first operation, ended with the connection.

use std::any::Any;
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::{Extensions, ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::rt::net::TcpStream;
use actix_web::{Error, HttpRequest};
use dtvn_actors::intake::{self, Answered};
use dtvn_actors::mailbox::Address;
use dtvn_actors::session::{self, Load, Place, Session, SessionArguments, SessionMessage};
use dtvn_actors::supervision::{ChildSpec, CommandError, Restart};
use dtvn_messages::{Operation, Reason, limits};
use dtvn_replication::intake::Answer;
use tokio::sync::Mutex;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Services;
use super::places::{Place as Room, Places};
use super::problem::Refusal;

/// Where sessions live in the tree.
const EDGE: &str = "edge";
/// How long a session may take to answer.
const SESSION_WAIT: Duration = Duration::from_secs(5);

/// The numbers of sessions: one process counts them together.
static SESSIONS: AtomicU64 = AtomicU64::new(1);

/// A client's connection, as long as it stands.
pub(super) struct Connection {
    load: Load,
    session: Mutex<Option<Address<SessionMessage>>>,
    ended: CancellationToken,
    _guard: DropGuard,
    _room: Option<Room>,
}

/// A connection that is one too many of its client.
struct Surplus;

/// Notes a new connection: what the server calls for each. One that is too many of its client is read no further, so it
/// is closed at once, or after the answer to a request that has come already.
pub(super) fn begin(places: &Arc<Places>, socket: &dyn Any, data: &mut Extensions) {
    let mut room = None;
    if let Some(stream) = socket.downcast_ref::<TcpStream>() {
        let socket = socket2::SockRef::from(stream);
        // A client that takes none of what it is sent is dropped, rather than held for as long as it answers probes.
        if let Err(error) = socket.set_tcp_user_timeout(Some(limits::API_UNREAD_TIMEOUT)) {
            tracing::debug!(%error, "A connection has no limit for unread data.");
        }
        if let Ok(peer) = stream.peer_addr() {
            room = places.take(peer.ip());
            if room.is_none() {
                tracing::debug!(%peer, "A client has more connections than it may have: one is closed.");
                data.insert(Surplus);
                // An error means that it is closed already.
                let _closed = socket.shutdown(Shutdown::Read);
            }
        }
    }
    let ended = CancellationToken::new();
    let _guard = ended.clone().drop_guard();
    data.insert(Connection { load: Load::default(), session: Mutex::new(None), ended, _guard, _room: room });
}

/// Refuses what came over a connection that is one too many.
pub(super) async fn refuse_surplus(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    if request.conn_data::<Surplus>().is_some() {
        let detail = "this client has as many connections to this node as it may have: use those, or another node";
        return Err(Refusal::new(Reason::Overloaded, detail).into());
    }
    next.call(request).await
}

impl Connection {
    /// The connection's session, started now if there is none.
    async fn session(&self, services: &Services) -> Result<Address<SessionMessage>, Reason> {
        let mut known = self.session.lock().await;
        if let Some(session) = known.as_ref().filter(|session| session.is_up()) {
            return Ok(session.clone());
        }
        let tree = services.tree.get().ok_or(Reason::Restarting)?;
        let role = session::role(SESSIONS.fetch_add(1, Ordering::Relaxed));
        let session = tree.directory().address(&role);
        let arguments = SessionArguments { load: self.load.clone(), connection: self.ended.clone() };
        let child = ChildSpec::worker(role, move |context| Session::start(context, arguments.clone()))
            .restart(Restart::Temporary)
            .mailbox(limits::SESSION_MAILBOX_MAX);
        tree.add(EDGE, child).await.map_err(|error| match error {
            CommandError::TooMany(_) => Reason::Overloaded,
            _ => Reason::Restarting,
        })?;
        *known = Some(session.clone());
        Ok(session)
    }
}

/// Submits operations through the session of the request's connection.
pub(super) async fn submit(
    services: &Services,
    request: &HttpRequest,
    operations: Vec<Operation>,
    wait: Duration,
) -> Vec<Answered> {
    let Some(connection) = request.conn_data::<Connection>() else {
        // Only a test without a server has no connection.
        return intake::submit(&services.intake, operations, wait).await;
    };
    let _in_flight = connection.load.operations(operations.len());
    match connection.session(services).await {
        Ok(session) => session::submit(&session, operations, wait).await,
        Err(reason) => Answered::all(operations.len(), Answer::Refused { reason, detail: None }),
    }
}

/// Takes the connection's place for a subscription.
pub(super) async fn subscribe(services: &Services, request: &HttpRequest) -> Result<Option<Place>, Refusal> {
    let Some(connection) = request.conn_data::<Connection>() else { return Ok(None) };
    let place = connection.load.subscription();
    let refused = |reason| Refusal::new(reason, "this connection cannot have a session now");
    let session = connection.session(services).await.map_err(refused)?;
    match session.call(SESSION_WAIT, SessionMessage::Subscribe).await {
        Ok(true) => Ok(Some(place)),
        Ok(false) => Err(Refusal::new(Reason::Overloaded, "this connection listens already")),
        Err(_) => Err(refused(Reason::Restarting)),
    }
}
