//! One HTTP request to one node, over connections that are kept.

use std::time::Duration;

use bytes::Bytes;
use dtvn_messages::limits;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::http::uri::PathAndQuery;
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::Instant;

use super::node::Node;
use crate::api::X_API_KEY;

/// What is asked for.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) method: Method,
    pub(super) path: PathAndQuery,
    /// The media type of the body, and of the answer that is wanted.
    pub(super) media: HeaderValue,
    pub(super) body: Bytes,
}

/// What was answered.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Bytes,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum NoReply {
    /// The request never left.
    NotSent(String),
    /// The request may have arrived.
    Lost(String),
}

/// The connections to all nodes of a client.
#[derive(Debug, Clone)]
pub(super) struct Transport {
    http: Client<HttpConnector, Full<Bytes>>,
    api_key: Option<HeaderValue>,
}

impl Transport {
    pub(super) fn new(api_key: Option<HeaderValue>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(limits::CLIENT_CONNECT_TIMEOUT));
        let http = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(limits::CLIENT_IDLE_TIMEOUT)
            .build(connector);
        Self { http, api_key }
    }

    /// Asks `node`, and waits for the whole answer until `deadline`.
    pub(super) async fn ask(&self, node: &Node, ask: &Ask, deadline: Instant) -> Result<Reply, NoReply> {
        let mut request = Request::new(Full::new(ask.body.clone()));
        *request.method_mut() = ask.method.clone();
        *request.uri_mut() = node.uri(&ask.path);
        let headers = request.headers_mut();
        if !ask.body.is_empty() {
            headers.insert(CONTENT_TYPE, ask.media.clone());
        }
        headers.insert(ACCEPT, ask.media.clone());
        if let Some(key) = &self.api_key {
            headers.insert(HeaderName::from_static(X_API_KEY), key.clone());
        }
        match tokio::time::timeout_at(deadline, self.exchange(request)).await {
            Ok(result) => result,
            Err(_) => Err(NoReply::Lost("it did not answer in time".to_owned())),
        }
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Reply, NoReply> {
        let response = self.http.request(request).await.map_err(|error| {
            let text = with_causes(&error);
            if error.is_connect() { NoReply::NotSent(text) } else { NoReply::Lost(text) }
        })?;
        let (head, body) = response.into_parts();
        let retry_after = head.headers.get(RETRY_AFTER).and_then(seconds);
        let body = Limited::new(body, limits::CLIENT_ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| NoReply::Lost(format!("its answer broke off: {error}")))?.to_bytes();
        Ok(Reply { status: head.status, retry_after, body })
    }
}

fn seconds(value: &HeaderValue) -> Option<Duration> {
    value.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// An error with its causes, as hyper's own text only says that something failed.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
