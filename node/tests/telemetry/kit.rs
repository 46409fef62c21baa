//! A node in this process, a few words of HTTP, and what the process logs.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use dtvn::config::{Identity, LogFormat, ValidatorConfig};
use dtvn::telemetry::logs;
use dtvn::validator::Node;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Far more than anything takes; a test that needs it has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running network of one.
pub struct Alone {
    node: Node,
    _directory: TempDir,
    pub api: SocketAddr,
    pub admin: SocketAddr,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Alone {
    pub async fn start(change: impl FnOnce(&mut ValidatorConfig)) -> Self {
        log();
        let directory = tempfile::tempdir().unwrap();
        let mut config = ValidatorConfig::default();
        config.node.total_nodes = 1;
        config.node.data_dir = directory.path().to_owned();
        (config.p2p.port, config.api.port) = (0, 0);
        config.development.fault_injection = true;
        change(&mut config);
        let identity = Identity::load(&config).unwrap();
        let started = Node::start(Arc::new(config), &identity, false);
        let node = tokio::time::timeout(PATIENCE, Box::pin(started)).await.unwrap().unwrap();
        let ready = node.ready();
        let (api, admin) = (ready.api.parse().unwrap(), ready.admin.parse().unwrap());
        Self { node, _directory: directory, api, admin }
    }

    /// Waits until `/health/ready` says so.
    pub async fn until_ready(&self) {
        until("ready", async || get(self.admin, "/health/ready").await.status == 200).await;
    }

    pub async fn stop(self) {
        self.node.shutdown(PATIENCE).await.unwrap();
    }

    /// Issues a ticket and validates it twice: one issue, one validation, one refusal.
    pub async fn scan_twice(&self, ticket: &str) {
        let body = format!("{{\"ticket_id\":\"{ticket}\"}}");
        for (path, status) in [("", 200), ("/validate", 200), ("/validate", 409)] {
            let answer = post(self.api, &format!("/api/v1/tickets{path}"), &body).await;
            assert_eq!(answer.status, status, "{path}: {answer:?}");
        }
    }

    pub async fn metrics(&self) -> String {
        let answer = get(self.admin, "/metrics").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    }
}

/// Asks again and again until the answer is yes.
pub async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let asked = async {
        while !is_so().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| panic!("waited in vain: {what}"));
}

pub async fn get(to: SocketAddr, path: &str) -> Answer {
    ask(to, "GET", path, &[], "").await
}

pub async fn post(to: SocketAddr, path: &str, body: &str) -> Answer {
    ask(to, "POST", path, &[("Content-Type", "application/json")], body).await
}

pub async fn ask(to: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    let asked = async {
        let mut stream = TcpStream::connect(to).await.unwrap_or_else(|error| panic!("{error}: {}", logged()));
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let answer = tokio::time::timeout(PATIENCE, asked).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_lowercase(), body: body.to_owned() }
}

/// The value of a sample, e.g. `name{label="value"}`; none if there is no such series.
pub fn sample(metrics: &str, series: &str) -> Option<f64> {
    let value = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    Some(value.parse().unwrap())
}

/// What this process has logged so far, from all its nodes.
pub fn logged() -> String {
    String::from_utf8(log().lock().unwrap().clone()).unwrap()
}

fn log() -> &'static Arc<Mutex<Vec<u8>>> {
    static LOG: OnceLock<Arc<Mutex<Vec<u8>>>> = OnceLock::new();
    LOG.get_or_init(|| {
        let log = Arc::<Mutex<Vec<u8>>>::default();
        let mut config = ValidatorConfig::default();
        config.log.format = LogFormat::Json;
        config.traces.endpoint = Some(format!("http://{}", crate::traces::collector()));
        // Only what a test asks for: others ask thousands of times whether something is so.
        config.traces.one_in = u64::MAX;
        let written = Arc::clone(&log);
        // Each test has a runtime that ends with it; what exports spans must not.
        let runtime = Box::leak(Box::new(tokio::runtime::Runtime::new().unwrap()));
        let _within = runtime.enter();
        logs::start_with(&config, move || Lines(Arc::clone(&written)), false).unwrap();
        log
    })
}

struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
