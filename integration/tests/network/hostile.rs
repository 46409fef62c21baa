//! Strangers at the peer port: what they send is not decoded, costs them the connection, and disturbs nobody.

use std::net::SocketAddr;

use dtvn_client::api::Kind;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::kit::{Network, accepted, seed_ticket, until};

/// What strangers say first: nothing, HTTP, TLS, noise of all lengths, the multistream greeting and then junk.
fn junk() -> Vec<Vec<u8>> {
    let noise = |length: usize| {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ length as u64;
        let next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as u8
        };
        std::iter::repeat_with(next).take(length).collect::<Vec<u8>>()
    };
    let mut greeting = b"\x13/multistream/1.0.0\n\x07/noise\n".to_vec();
    greeting.extend(noise(4_096));
    let mut endless = b"\x13/multistream/1.0.0\n".to_vec();
    endless.extend([0xff; 64]);
    vec![
        Vec::new(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        noise(1),
        noise(100),
        noise(1_000_000),
        greeting,
        endless,
        vec![0; 70_000],
    ]
}

async fn pester(address: SocketAddr, bytes: Vec<u8>) {
    // A refused connection, a reset in the middle: all of that is the answer that junk may get.
    let Ok(mut stream) = TcpStream::connect(address).await else { return };
    let _cut = stream.write_all(&bytes).await;
    let mut answer = [0; 1024];
    let wait = tokio::time::timeout(std::time::Duration::from_secs(2), async {
        while stream.read(&mut answer).await.is_ok_and(|length| length > 0) {}
    });
    let _idle = wait.await;
}

#[tokio::test(flavor = "multi_thread")]
async fn junk_at_the_peer_port_disturbs_nobody() {
    let mut network = Network::start(&[]).await;
    network.seed().await;
    let address = network.cluster.nodes()[0].ready().p2p.iter().find(|address| address.contains("/tcp/")).unwrap();
    let port: u16 = address.split('/').nth(4).unwrap().parse().unwrap();
    let target = SocketAddr::from(([127, 0, 0, 1], port));
    let pests: Vec<_> = (0..12).flat_map(|_| junk()).map(|bytes| tokio::spawn(pester(target, bytes))).collect();
    for number in 1..=40 {
        accepted(&network.at(number % 4), Kind::Validate, &seed_ticket(number)).await;
    }
    for pest in pests {
        pest.await.unwrap();
    }
    accepted(&network.at(0), Kind::Consume, &seed_ticket(1)).await;
    // A link to a real one may have been lost and not be back yet.
    let client = network.at(0);
    until("the real peers are there", async || client.stats().await.is_ok_and(|stats| stats.peer_count == 3)).await;
    network.assert_equal_histories().await;
    // Restarted in the midst of it, it finds its peers again.
    network.cluster.kill(0).await;
    network.cluster.restart(0).await.unwrap();
    network.until_healthy(0).await;
    network.stop().await;
}
