//! `/ws`: events over a WebSocket (api.md sections 3 and 4).
//!
//! The key comes as a header, as `?ticket=` from `POST /api/v1/ws-ticket`, or as the first message
//! `{"type":"auth","key":"..."}`. A client may say `{"type":"ping"}` and hears `{"type":"pong"}`. Every end that is not the
//! client's own carries a close code and says in its reason where to resume: 1012 the node restarts, 1013 the client was
//! too slow, 1008 it may not listen, or asked for something that is not there.

use std::cell::Cell;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use actix_web::{HttpRequest, HttpResponse, web};
use actix_ws::{AggregatedMessage, AggregatedMessageStream, CloseCode, CloseReason, ProtocolError, Session};
use dtvn_actors::session::Place;
use dtvn_actors::shared::wall;
use dtvn_client::api::{Event, EventKind, Time};
use dtvn_messages::{Reason, limits};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::feed::{Feed, FeedEnd};
use super::hub::Line;
use super::origin;
use super::position::Position;
use crate::http::problem::Refusal;
use crate::http::{Services, auth, connection};

/// Cancelled when the listener of the public API stops: WebSockets do not end by themselves.
#[derive(Clone)]
pub(in crate::http) struct Closing(pub(in crate::http) CancellationToken);

/// What `/ws` is asked for.
#[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ListenQuery {
    /// The `id` of the last event that was heard: all after it are told; `0.0` is the beginning.
    since: Option<String>,
    /// A key from `POST /api/v1/ws-ticket`.
    ticket: Option<String>,
}

/// What a client may say.
#[derive(Debug, serde::Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(in crate::http) enum Said {
    Auth { key: String },
    Ping,
}

/// Why a socket is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// The client has left.
    Left,
    /// Nothing was heard of it for long.
    Silent,
    /// It did not read fast enough.
    Slow,
    /// Its messages cannot be read.
    Garbled,
    /// Its message is too long.
    TooLong,
    /// It has not shown the key.
    Unauthenticated,
    /// It resumes where nothing is.
    BadCursor,
    /// It resumes before what this node has.
    Gone,
    /// This node, or a part of it, restarts.
    Restarting,
    /// This node has no room, or is behind.
    Overloaded,
}

impl Ending {
    fn of_refusal(refusal: &Refusal) -> Self {
        match refusal.0.reason {
            Reason::BadCursor => Self::BadCursor,
            Reason::Gone => Self::Gone,
            Reason::Restarting => Self::Restarting,
            _ => Self::Overloaded,
        }
    }

    fn close_reason(self, resume: Option<Position>) -> CloseReason {
        let (code, words) = match self {
            Self::Left => (CloseCode::Normal, "goodbye"),
            Self::Silent => (CloseCode::Away, "silent for too long"),
            Self::Slow => (CloseCode::Again, "too slow"),
            Self::Garbled => (CloseCode::Protocol, "not understood"),
            Self::TooLong => (CloseCode::Size, "message too long"),
            Self::Unauthenticated => {
                (CloseCode::Policy, "unauthenticated: send {\"type\":\"auth\",\"key\":\"...\"} first")
            }
            Self::BadCursor => (CloseCode::Policy, "bad_cursor: no event of this chain is there"),
            Self::Gone => {
                (CloseCode::Policy, "gone: this node has no events before a state that it took over, ask another")
            }
            Self::Restarting => (CloseCode::Restart, "restarting"),
            Self::Overloaded => (CloseCode::Again, "overloaded"),
        };
        let resume = resume.filter(|_| !matches!(self, Self::Left | Self::Unauthenticated | Self::BadCursor));
        let description =
            resume.map_or_else(|| words.to_owned(), |place| format!("{words}: resume with since={place}"));
        CloseReason { code, description: Some(description) }
    }
}

impl From<FeedEnd> for Ending {
    fn from(end: FeedEnd) -> Self {
        match end {
            FeedEnd::Slow => Self::Slow,
            FeedEnd::Restarting => Self::Restarting,
            FeedEnd::Behind => Self::Overloaded,
            FeedEnd::Gone => Self::Gone,
        }
    }
}

/// One of the clients that listen, counted until this is dropped.
struct Listener {
    count: Arc<AtomicU64>,
    _subscription: Option<Place>,
}

impl Listener {
    fn count(count: &Arc<AtomicU64>, subscription: Option<Place>, most: usize) -> Result<Self, Refusal> {
        let before = count.fetch_add(1, Ordering::Relaxed);
        let listener = Self { count: Arc::clone(count), _subscription: subscription };
        if before < most as u64 {
            return Ok(listener);
        }
        Err(Refusal::new(Reason::Overloaded, format!("{before} clients listen already, which is the limit")))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

#[utoipa::path(get, path = "/ws", tag = "live", params(ListenQuery),
    responses((status = 101, description = "A WebSocket of messages as `Event`")))]
/// Live events over a WebSocket.
pub(in crate::http) async fn listen(
    services: web::Data<Services>,
    closing: web::Data<Closing>,
    request: HttpRequest,
    query: web::Query<ListenQuery>,
    body: web::Payload,
) -> actix_web::Result<HttpResponse> {
    services.rates.check_address(request.peer_addr().map(|peer| peer.ip()))?;
    origin::check(&request, &services.config.api.ws_origins)?;
    let ListenQuery { since, ticket } = query.into_inner();
    let since = since.map(|since| since.parse::<Position>()).transpose();
    let since = since.map_err(|fault| Refusal::new(Reason::BadCursor, fault.to_string()))?;
    let key = services.config.api.key.as_ref();
    let is_known = match ticket {
        Some(ticket) if services.passes.take(&ticket) => true,
        Some(_) => {
            return Err(Refusal::new(Reason::Unauthenticated, "the ticket was used, is too old, or never was").into());
        }
        // Without a header the key may be the first message.
        None => auth::has_key(&request, key)?,
    };
    // Few at a time, so that those without a key take no place from those with one.
    let stranger = match is_known {
        true => None,
        false => Some(Listener::count(&services.strangers, None, limits::EVENT_STRANGERS_MAX)?),
    };
    let place = connection::subscribe(&services, &request).await?;
    let listener = Listener::count(&services.listeners, place, limits::EVENT_CLIENTS_MAX)?;
    let feed = if is_known { Some(Feed::open(Services::clone(&services), since).await?) } else { None };
    let (response, socket, messages) = actix_ws::handle(&request, body)
        .map_err(|fault| Refusal::malformed(format!("this is no WebSocket handshake: {fault}")))?;
    let messages = messages.max_frame_size(limits::WS_MESSAGE_BYTES_MAX).aggregate_continuations();
    let messages = messages.max_continuation_size(limits::WS_MESSAGE_BYTES_MAX);
    let (services, closing) = (Services::clone(&services), closing.0.clone());
    actix_web::rt::spawn(async move {
        converse(services, closing, socket, messages, (feed, since, stranger)).await;
        drop(listener);
    });
    Ok(response)
}

async fn converse(
    services: Services,
    closing: CancellationToken,
    socket: Session,
    mut messages: AggregatedMessageStream,
    (feed, since, stranger): (Option<Feed>, Option<Position>, Option<Listener>),
) {
    let opened = match feed {
        Some(feed) => Ok(feed),
        None => admit(services.clone(), &mut messages, since).await,
    };
    drop(stranger);
    let (ending, resume) = match opened {
        Err(ending) => (ending, since),
        Ok(mut feed) => {
            let (heard, told) = (Cell::new(Instant::now()), Cell::new(feed.last()));
            let ending = tokio::select! {
                ending = write_events(&services, &mut feed, socket.clone(), &told) => ending,
                ending = read_messages(&mut messages, socket.clone(), &heard) => ending,
                ending = ping(socket.clone(), &heard) => ending,
                () = closing.cancelled() => Ending::Restarting,
            };
            (ending, Some(told.get()))
        }
    };
    tracing::debug!(?ending, "A client listens no more.");
    // A client that does not read does not read this either.
    let _unread = timeout(limits::WS_CLOSE_TIMEOUT, socket.close(Some(ending.close_reason(resume)))).await;
}

/// Waits for the key as first message, and opens the feed.
async fn admit(
    services: Services,
    messages: &mut AggregatedMessageStream,
    since: Option<Position>,
) -> Result<Feed, Ending> {
    let first = timeout(limits::WS_AUTH_TIMEOUT, messages.recv()).await.map_err(|_| Ending::Unauthenticated)?;
    let said = match first {
        Some(Ok(AggregatedMessage::Text(text))) => serde_json::from_str(&text),
        _ => return Err(Ending::Unauthenticated),
    };
    match said {
        Ok(Said::Auth { key }) if auth::is_key(&key, services.config.api.key.as_ref()) => {
            Feed::open(services, since).await.map_err(|refusal| Ending::of_refusal(&refusal))
        }
        _ => Err(Ending::Unauthenticated),
    }
}

/// Writes until the feed ends or the client takes nothing any more; `told` is the last event that was written.
async fn write_events(services: &Services, feed: &mut Feed, mut socket: Session, told: &Cell<Position>) -> Ending {
    let identity = &services.board.identity;
    let hello = Event::local(EventKind::Connected, identity.name.clone(), feed.last().height, Time(wall()));
    let hello = Line::local(&Event { id: Some(feed.last().to_string()), ..hello });
    let mut lines = vec![hello];
    loop {
        let slow = feed.slow().unwrap_or_default();
        for line in lines {
            let written = tokio::select! {
                biased;
                () = slow.cancelled() => return Ending::Slow,
                written = timeout(limits::EVENT_WRITE_TIMEOUT, socket.text(line.text)) => written,
            };
            match written {
                Ok(Ok(())) => told.set(line.position.unwrap_or(told.get())),
                Ok(Err(_closed)) => return Ending::Left,
                Err(_late) => return Ending::Slow,
            }
        }
        lines = match feed.next().await {
            Ok(lines) => lines,
            Err(end) => return end.into(),
        };
    }
}

async fn read_messages(messages: &mut AggregatedMessageStream, mut socket: Session, heard: &Cell<Instant>) -> Ending {
    loop {
        let message = messages.recv().await;
        heard.set(Instant::now());
        let answered = match message {
            None | Some(Ok(AggregatedMessage::Close(_))) => return Ending::Left,
            Some(Err(ProtocolError::Overflow)) => return Ending::TooLong,
            // What the library says of one that is too long in pieces; or the connection broke, and nobody hears it.
            Some(Err(ProtocolError::Io(fault))) if fault.kind() == ErrorKind::Other => return Ending::TooLong,
            Some(Err(_)) => return Ending::Garbled,
            Some(Ok(AggregatedMessage::Ping(bytes))) => socket.pong(&bytes).await,
            Some(Ok(AggregatedMessage::Text(text))) => match serde_json::from_str(&text) {
                Ok(Said::Ping) => socket.text("{\"type\":\"pong\"}").await,
                // The key once more, or words of a later version.
                Ok(Said::Auth { .. }) | Err(_) => Ok(()),
            },
            Some(Ok(AggregatedMessage::Pong(_) | AggregatedMessage::Binary(_))) => Ok(()),
        };
        if answered.is_err() {
            return Ending::Left;
        }
    }
}

/// Pings until nothing was heard for too long.
async fn ping(mut socket: Session, heard: &Cell<Instant>) -> Ending {
    let mut ticks = tokio::time::interval(limits::WS_PING_INTERVAL);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        if heard.get().elapsed() > limits::WS_PING_INTERVAL * 3 {
            return Ending::Silent;
        }
        if socket.ping(b"").await.is_err() {
            return Ending::Left;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_clients_listen_and_a_further_one_is_refused_until_one_leaves() {
        let count = Arc::default();
        let one = || Listener::count(&count, None, 100);
        let mut listeners: Vec<_> = (0..100).map(|_| one().ok().unwrap()).collect();
        for _ in 0..3 {
            let refused = one().err().map(|refusal| refusal.0.reason);
            assert_eq!(refused, Some(Reason::Overloaded), "who is refused is not counted");
        }
        drop(listeners.pop());
        listeners.push(one().ok().unwrap());
        assert!(one().is_err());
        drop(listeners);
        assert_eq!(count.load(Ordering::Relaxed), 0);
    }
}
