//! A listener with few places.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};

use dtvn_actors::supervision::{ChildSpec, NodeTree, Strategy, SupervisorSpec};
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
