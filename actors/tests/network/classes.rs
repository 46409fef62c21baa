//! Frames: whole, in order, bounded, and no class in another one's way.

use bytes::Bytes;
use dtvn_actors::network::{Class, Kind, SendError};
use dtvn_messages::limits;

use tokio::task::JoinSet;

use crate::harness::{ONE, ZERO, pair, soon};

/// A frame that tells its number and is checkable in every byte.
fn frame(number: usize, length: usize) -> Bytes {
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.extend((0..length).map(|position| ((number * 31 + position * 7) % 251) as u8));
    Bytes::from(bytes)
}

/// Lengths that cross every boundary: empty, tiny, around the copy limit, above a write batch and a window.
fn length(number: usize) -> usize {
    match number % 50 {
        0 => 0,
        7 => limits::WRITE_COPY_BYTES_MAX - 8,
        8 => limits::WRITE_COPY_BYTES_MAX - 9,
        20 => limits::READ_CHUNK_BYTES_MAX * 3 + 1,
        30 => limits::STREAM_WINDOW_BYTES + 12_345,
        other => other * 11,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_class_delivers_in_order_and_whole_in_both_directions_at_once() {
    const FRAMES: usize = 500;
    let (first, second) = pair(0, 1).await;
    let (mut senders, mut receivers) = (JoinSet::new(), JoinSet::new());
    for (mut node, to) in [(first, ONE), (second, ZERO)] {
        for class in Class::ALL {
            let handle = node.handle.clone();
            senders.spawn(async move {
                for number in 0..FRAMES {
                    handle.send_when_room(to, class, &frame(number, length(number))).await.unwrap();
                }
            });
        }
        receivers.spawn(async move {
            for class in Class::ALL {
                for number in 0..FRAMES {
                    let received = node.receive(class).await;
                    assert_eq!(received.bytes, frame(number, length(number)), "{class:?} {number}");
                    assert_eq!((received.class, received.validator), (class, Some(to)));
                }
            }
            // Its tasks end with the node: not before the other side has everything.
            node
        });
    }
    while let Some(sent) = soon("everything to be sent", senders.join_next()).await {
        sent.unwrap();
    }
    assert_eq!(soon("everything to arrive", receivers.join_all()).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_longest_frame_of_each_class_arrives_whole_and_a_longer_one_is_refused_by_the_sender() {
    let (first, mut second) = pair(0, 1).await;
    for class in Class::ALL {
        let longest = frame(1, class.frame_bytes_max() - 8);
        first.handle.send(ONE, class, &longest, None).unwrap();
        assert!(second.receive(class).await.bytes == longest, "{class:?}");
        let longer = frame(1, class.frame_bytes_max() - 7);
        let refused = first.handle.send(ONE, class, &longer, None);
        assert!(matches!(refused, Err(SendError::TooLong { .. })), "{refused:?}");
    }
    assert_eq!(second.handle.metrics().sessions_started.get(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_receiver_slows_the_sender_and_no_bundle_is_lost() {
    const BYTES: usize = 50_000;
    let (first, mut second) = pair(0, 1).await;
    let mut sent = 0;
    let mut send_until_full = || loop {
        match first.handle.send(ONE, Class::Bundles, &frame(sent, BYTES), None) {
            Ok(()) => sent += 1,
            Err(error) => return (sent, error),
        }
    };
    // Nobody receives: the inbox, the window and the queue fill up, then the sender is told.
    assert_eq!(send_until_full().1, SendError::Full);
    let share = (limits::INBOUND_BUNDLE_BYTES_MAX / (BYTES + 8)) as u64;
    second.info_that(0, "a full inbox", |info| info.traffic.frames_in.get(Class::Bundles) == &share).await;
    let (sent, full) = send_until_full();
    assert_eq!(full, SendError::Full);
    let under_way = sent * BYTES;
    let room = limits::INBOUND_BUNDLE_BYTES_MAX + limits::OUTBOUND_BUNDLE_BYTES_MAX + 2 * limits::STREAM_WINDOW_BYTES;
    assert!(under_way < room, "{under_way} bytes are under way, there is room for {room}");
    let (handle, more) = (first.handle.clone(), 200);
    let waiting = tokio::spawn(async move {
        for number in sent..sent + more {
            handle.send_when_room(ONE, Class::Bundles, &frame(number, BYTES)).await.unwrap();
        }
    });
    for number in 0..sent + more {
        assert_eq!(second.receive(Class::Bundles).await.bytes, frame(number, BYTES), "{number} of {}", sent + more);
    }
    soon("the sender to finish", waiting).await.unwrap();
    assert!(first.handle.metrics().traffic.queue_full.get(Class::Bundles).get() > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stuck_sync_delays_no_vote() {
    let (first, mut second) = pair(0, 1).await;
    let chunk = Bytes::from(vec![1; 1_000_000]);
    while first.handle.send(ONE, Class::Sync, &chunk, None).is_ok() {}
    // The sync stream is full to the brim and nobody reads it.
    for number in 0..1_000 {
        first.handle.send(ONE, Class::Consensus, &frame(number, 200), None).unwrap();
        assert_eq!(second.receive(Class::Consensus).await.bytes, frame(number, 200));
    }
    for number in 0..10 {
        first.handle.send(ONE, Class::Bundles, &frame(number, 100_000), None).unwrap();
        assert_eq!(second.receive(Class::Bundles).await.bytes, frame(number, 100_000));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_a_consensus_queue_is_full_what_is_superseded_goes_first() {
    let (first, mut second) = pair(0, 1).await;
    let (vote, view_change) = (Bytes::from(vec![1; 60_000]), Bytes::from(vec![2; 60_000]));
    first.handle.send(ONE, Class::Consensus, &view_change, Some(Kind(9))).unwrap();
    // Nobody receives; fill everything on the way, then the queue with the same kind of frame twice.
    while first.handle.send(ONE, Class::Consensus, &vote, None).is_ok() {}
    assert_eq!(first.handle.send(ONE, Class::Consensus, &vote, None), Err(SendError::Full));
    let before = first.handle.metrics().clone();
    soon("a place for a view change", async {
        while first.handle.send(ONE, Class::Consensus, &view_change, Some(Kind(9))).is_err() {
            second.receive(Class::Consensus).await;
        }
    })
    .await;
    while first.handle.send(ONE, Class::Consensus, &vote, None).is_ok() {}
    let last = Bytes::from(vec![3; 60_000]);
    assert_eq!(
        first.handle.send(ONE, Class::Consensus, &last, Some(Kind(9))),
        Ok(()),
        "it takes the earlier one's place"
    );
    assert!(before.sessions_ended.get() == 0);
    let mut seen = Vec::new();
    while seen.last() != Some(&3) {
        seen.push(second.receive(Class::Consensus).await.bytes[0]);
    }
    assert!(seen.iter().filter(|byte| **byte == 2).count() <= 1, "the superseded one is gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_graceful_shutdown_writes_what_is_queued() {
    const FRAMES: usize = 900;
    let (first, mut second) = pair(0, 1).await;
    for number in 0..FRAMES {
        first.handle.send(ONE, Class::Bundles, &frame(number, 1_000), None).unwrap();
        first.handle.send(ONE, Class::Consensus, &frame(number, 200), None).unwrap();
    }
    let closing = tokio::spawn(async move {
        first.stop().await;
        first
    });
    for number in 0..FRAMES {
        assert_eq!(second.receive(Class::Bundles).await.bytes, frame(number, 1_000));
        assert_eq!(second.receive(Class::Consensus).await.bytes, frame(number, 200));
    }
    // Whether the end of the session or that of the connection is heard first is chance.
    let cause = second.disconnected_from(0).await;
    assert!(["the peer closed the session", "connection is closed"].contains(&cause.as_str()), "{cause}");
    let first = soon("the shutdown", closing).await.unwrap();
    assert_eq!(first.handle.send(ONE, Class::Bundles, &frame(0, 1), None), Err(SendError::Disconnected));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broadcast_reaches_everybody_and_counts_who_is_not_there() {
    let (first, mut second) = pair(0, 1).await;
    let outcome = first.handle.broadcast(Class::Consensus, &"to all".into(), None);
    assert_eq!((outcome.queued, outcome.full, outcome.disconnected), (1, 0, 0));
    assert_eq!(second.receive(Class::Consensus).await.bytes, "to all");
    second.stop().await;
    let mut first = first;
    first.disconnected_from(1).await;
    let outcome = first.handle.broadcast(Class::Consensus, &"to nobody".into(), None);
    assert_eq!((outcome.queued, outcome.disconnected), (0, 1));
    assert_eq!(first.handle.send(ZERO, Class::Consensus, &"to myself".into(), None), Err(SendError::UnknownPeer));
}
