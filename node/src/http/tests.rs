//! A listener: with few places, and at its end.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use dtvn_actors::supervision::{ChildSpec, NodeTree, Strategy, SupervisionObserver, SupervisorSpec, TreeOptions};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::*;
use crate::telemetry::tests::{PATIENCE, services};

async fn ask(line: &mut TcpStream) {
    line.write_all(b"HEAD /nothing HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
}

async fn answer(line: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let read = timeout(PATIENCE, line.read_buf(&mut head)).await.expect("no answer").unwrap();
        assert!(read > 0, "closed after {:?}", String::from_utf8_lossy(&head));
    }
    assert!(head.starts_with(b"HTTP/1.1 404"), "{:?}", String::from_utf8_lossy(&head));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_many_connections_are_served_at_a_time_and_a_further_one_waits() {
    const CONNECTIONS: usize = 3;
    for (role, server) in [(HTTP, Server::Public), (ADMIN, Server::Admin)] {
        let bound = Arc::<RwLock<Option<SocketAddr>>>::default();
        let listener = HttpArguments {
            services: services().0,
            server,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            bound: Arc::clone(&bound),
            connections: CONNECTIONS,
            connections_per_client: CONNECTIONS,
        };
        let child = ChildSpec::worker(role, move |context| HttpActor::start(context, listener.clone()));
        let tree = NodeTree::start(SupervisorSpec::new("root", Strategy::OneForOne).child(child)).await.unwrap();
        let address = bound.read().unwrap_or_else(PoisonError::into_inner).unwrap();
        let mut served = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut line = TcpStream::connect(address).await.unwrap();
            ask(&mut line).await;
            answer(&mut line).await;
            served.push(line);
        }
        let mut further = TcpStream::connect(address).await.unwrap();
        ask(&mut further).await;
        // What is asked behind it on the others is answered.
        for number in 0..300 {
            ask(&mut served[number % CONNECTIONS]).await;
            answer(&mut served[number % CONNECTIONS]).await;
        }
        let early = further.try_read(&mut [0]);
        assert!(early.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock), "{server:?}");
        drop(served.pop());
        answer(&mut further).await;
        drop((further, served));
        tree.shutdown(PATIENCE).await.unwrap();
    }
}

/// What is said to one who asks over a connection of its own, until it is closed.
async fn said_to_one_more(address: SocketAddr) -> Vec<u8> {
    let mut line = TcpStream::connect(address).await.unwrap();
    let mut said = Vec::new();
    // It may be closed before anything is asked or said.
    if line.write_all(b"HEAD /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.is_ok() {
        let _ended = timeout(PATIENCE, line.read_to_end(&mut said)).await.expect("it is not closed");
    }
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_client_holds_so_many_connections_and_a_further_one_is_closed() {
    const OF_ONE: usize = 3;
    let bound = Arc::<RwLock<Option<SocketAddr>>>::default();
    let listener = HttpArguments {
        services: services().0,
        server: Server::Public,
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        bound: Arc::clone(&bound),
        connections: 2 * OF_ONE,
        connections_per_client: OF_ONE,
    };
    let child = ChildSpec::worker(HTTP, move |context| HttpActor::start(context, listener.clone()));
    let tree = NodeTree::start(SupervisorSpec::new("root", Strategy::OneForOne).child(child)).await.unwrap();
    let address = bound.read().unwrap_or_else(PoisonError::into_inner).unwrap();
    let mut served = Vec::new();
    for _ in 0..OF_ONE {
        let mut line = TcpStream::connect(address).await.unwrap();
        ask(&mut line).await;
        answer(&mut line).await;
        served.push(line);
    }
    for _ in 0..10 * OF_ONE {
        let said = said_to_one_more(address).await;
        assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 503"), "{:?}", String::from_utf8_lossy(&said));
    }
    // Another client has places, and those who have theirs keep them.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 2], 0))).unwrap();
    let mut other = socket.connect(address).await.unwrap();
    for line in served.iter_mut().chain([&mut other]) {
        ask(line).await;
        answer(line).await;
    }
    drop(served.pop());
    let comes_free = async {
        while !said_to_one_more(address).await.starts_with(b"HTTP/1.1 404") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, comes_free).await.expect("a place that was left is not free again");
    drop((other, served));
    tree.shutdown(PATIENCE).await.unwrap();
}

/// Counts actors that had to be killed.
#[derive(Default)]
struct Kills(AtomicUsize);

impl SupervisionObserver for Kills {
    fn killed_after_timeout(&self, _path: &str) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_in_flight_is_no_reason_to_kill_a_listener() {
    for (role, server, in_flight) in [
        (HTTP, Server::Public, "POST /api/v1/tickets HTTP/1.1"),
        (ADMIN, Server::Admin, "PUT /admin/log-level HTTP/1.1"),
    ] {
        let bound = Arc::<RwLock<Option<SocketAddr>>>::default();
        let listener = HttpArguments {
            services: services().0,
            server,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            bound: Arc::clone(&bound),
            connections: 10,
            connections_per_client: 10,
        };
        let kills = Arc::<Kills>::default();
        let options =
            TreeOptions { observer: Arc::clone(&kills) as Arc<dyn SupervisionObserver>, ..Default::default() };
        let child = ChildSpec::worker(role, move |context| HttpActor::start(context, listener.clone()));
        let root = SupervisorSpec::new("root", Strategy::OneForOne).child(child);
        let tree = NodeTree::start_with(root, options).await.unwrap();
        let address = bound.read().unwrap_or_else(PoisonError::into_inner).unwrap();
        let mut asking = TcpStream::connect(address).await.unwrap();
        // Its body never comes.
        let head =
            [in_flight, "Host: x", "Content-Type: application/json", "Content-Length: 9", "Expect: 100-continue"];
        asking.write_all(format!("{}\r\n\r\n", head.join("\r\n")).as_bytes()).await.unwrap();
        let mut go_on = [0; 12];
        timeout(PATIENCE, asking.read_exact(&mut go_on)).await.expect("no answer").unwrap();
        assert_eq!(&go_on, b"HTTP/1.1 100");
        let begin = std::time::Instant::now();
        tree.shutdown(PATIENCE).await.unwrap();
        assert_eq!(kills.0.load(Ordering::Relaxed), 0, "{server:?}");
        assert!(begin.elapsed() >= Duration::from_secs(1), "{server:?}: the request had no time to end");
    }
}
