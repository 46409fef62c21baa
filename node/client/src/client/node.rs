//! One node as a client sees it: its address, and until when it is better left alone.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use dtvn_messages::limits;
use hyper::Uri;
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use tokio::time::Instant;

use super::ClientError;

/// A node's address and how it has been doing. Shared by all requests of a client.
#[derive(Debug)]
pub(super) struct Node {
    url: String,
    authority: Authority,
    /// Microseconds after `born` before which it is better left alone; 0 if it may be asked.
    not_before_us: AtomicU64,
    /// Connections that failed since the last that did not.
    failures: AtomicU32,
    born: Instant,
}

impl Node {
    /// A node at `http://host:port`.
    pub(super) fn new(url: &str) -> Result<Self, ClientError> {
        let refused = |why: &str| ClientError::Usage(format!("{url:?} is no node's URL: {why}"));
        let text = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        let uri: Uri = text.trim_end_matches('/').parse().map_err(|error| refused(&format!("{error}")))?;
        if uri.scheme() != Some(&Scheme::HTTP) {
            return Err(refused("it must begin with http://"));
        }
        if uri.path_and_query().is_some_and(|path| path.as_str() != "/") {
            return Err(refused("it must end after the port"));
        }
        let authority = uri.authority().cloned().ok_or_else(|| refused("it names no host"))?;
        let url = format!("http://{authority}");
        let born = Instant::now();
        Ok(Self { url, authority, not_before_us: AtomicU64::new(0), failures: AtomicU32::new(0), born })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// The URI of a path at this node.
    pub(super) fn uri(&self, path: &PathAndQuery) -> Uri {
        let mut parts = hyper::http::uri::Parts::default();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(path.clone());
        #[expect(clippy::expect_used, reason = "scheme, authority and path together are always a URI")]
        Uri::from_parts(parts).expect("scheme, authority and path make a URI")
    }

    /// How long it is better left alone.
    pub(super) fn rest(&self) -> Duration {
        let until = self.not_before_us.load(Ordering::Relaxed);
        Duration::from_micros(until.saturating_sub(self.age_us()))
    }

    /// It answered.
    pub(super) fn answered(&self) {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
            self.not_before_us.store(0, Ordering::Relaxed);
        }
    }

    /// It asked to be left alone for some time.
    pub(super) fn leave_alone(&self, time: Duration) {
        let until = self.age_us().saturating_add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
        self.not_before_us.fetch_max(until, Ordering::Relaxed);
    }

    /// It could not be reached, or did not answer: left alone for a time that doubles.
    pub(super) fn failed(&self) {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).min(16);
        let time = limits::CLIENT_BACKOFF_MIN.saturating_mul(1 << failures).min(limits::CLIENT_BACKOFF_MAX);
        self.leave_alone(time);
    }

    fn age_us(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_named_with_or_without_scheme() {
        for url in ["http://127.0.0.1:8081", "http://127.0.0.1:8081/", "127.0.0.1:8081", "http://gate.example"] {
            let node = Node::new(url).unwrap();
            let uri = node.uri(&PathAndQuery::from_static("/api/v1/stats?x=1"));
            assert_eq!(uri.to_string(), format!("{}/api/v1/stats?x=1", node.url()));
        }
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for url in ["", "https://gate.example", "http://gate.example/api", "http://", "ftp://x", "http://a b"] {
            assert!(matches!(Node::new(url), Err(ClientError::Usage(_))), "{url:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_failing_node_is_left_alone_for_longer_and_longer() {
        let node = Node::new("http://127.0.0.1:1").unwrap();
        assert_eq!(node.rest(), Duration::ZERO);
        node.failed();
        let first = node.rest();
        assert_eq!(first, limits::CLIENT_BACKOFF_MIN);
        tokio::time::advance(first).await;
        assert_eq!(node.rest(), Duration::ZERO);
        for _ in 0..40 {
            node.failed();
        }
        assert_eq!(node.rest(), limits::CLIENT_BACKOFF_MAX);
        node.answered();
        assert_eq!(node.rest(), Duration::ZERO);
    }
}
