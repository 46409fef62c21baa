//! How many streams a peer may open on one connection, and how many it may leave unnamed.

use std::io;

use dtvn_messages::limits;
use futures::{AsyncReadExt as _, AsyncWriteExt as _, FutureExt as _};
use libp2p::core::muxing::SubstreamBox;

use crate::harness::{Node, config, key, soon, validators};
use crate::raw::RawConnection;

/// What both sides of a stream say first.
const GREETING: &[u8] = b"\x13/multistream/1.0.0\n";

/// A stream that begins to be negotiated, and goes no further.
async fn greet(raw: &RawConnection) -> Option<SubstreamBox> {
    let mut stream = raw.open().await?;
    stream.write_all(GREETING).await.ok()?;
    stream.flush().await.ok()?;
    Some(stream)
}

async fn hear(stream: &mut SubstreamBox, expected: &[u8]) -> io::Result<()> {
    let mut heard = vec![0; expected.len()];
    stream.read_exact(&mut heard).await?;
    assert_eq!(heard, expected);
    Ok(())
}

/// Asks on a greeted stream for something that is not there, and hears that it is not.
async fn ask_in_vain(stream: &mut SubstreamBox) -> io::Result<()> {
    stream.write_all(b"\x09/unknown\n").await?;
    stream.flush().await?;
    hear(stream, b"\x03na\n").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_many_streams_are_negotiated_at_a_time_and_a_further_one_waits() {
    let node = Node::start(config(0, validators(&[0, 1]))).await;
    let raw = soon("a connection", RawConnection::connect(&key(1), node.addresses[0].clone())).await;
    let mut negotiating = Vec::new();
    for _ in 0..limits::STREAMS_NEGOTIATING_MAX {
        let mut stream = greet(&raw).await.unwrap();
        soon("a greeting", hear(&mut stream, GREETING)).await.unwrap();
        negotiating.push(stream);
    }
    let mut further = greet(&raw).await.unwrap();
    // What is asked behind it on the others is answered.
    for number in 0..100 {
        soon("an answer", ask_in_vain(&mut negotiating[number % limits::STREAMS_NEGOTIATING_MAX])).await.unwrap();
    }
    assert!(further.read(&mut [0]).now_or_never().is_none(), "it is not looked at");
    drop(negotiating.pop());
    soon("its turn", hear(&mut further, GREETING)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_opens_too_many_streams_is_disconnected() {
    let node = Node::start(config(0, validators(&[0, 1]))).await;
    let raw = soon("a connection", RawConnection::connect(&key(1), node.addresses[0].clone())).await;
    let mut streams = vec![greet(&raw).await.unwrap()];
    soon("a greeting", hear(&mut streams[0], GREETING)).await.unwrap();
    // The node has some streams of its own on this connection.
    while streams.len() < limits::STREAMS_PER_CONNECTION_MAX * 3 / 4 {
        streams.push(greet(&raw).await.unwrap());
    }
    soon("an answer", ask_in_vain(&mut streams[0])).await.expect("so many streams are no reason to hang up");
    while streams.len() <= limits::STREAMS_PER_CONNECTION_MAX {
        match soon("a stream, or the end", greet(&raw)).await {
            Some(stream) => streams.push(stream),
            None => break,
        }
    }
    let end = soon("the end", ask_in_vain(&mut streams[0])).await;
    assert!(end.is_err(), "the connection still stands with {} streams", streams.len());
}
