//! A standing session: one reader and one writer for each stream, and the one task that watches them.
//!
//! architecture.md section 6: "Persistent framed streams per peer and class". The writer gathers what is queued into as
//! few writes as possible and flushes when nothing is left, without a timer. The reader hands each frame to the
//! class's sink, and stops reading while the sink has no room for this peer, or the peer says more in a second than it may:
//! each frame costs work that others would wait for. Any failure ends the session; a stream
//! that the peer closes between two frames is a goodbye, after which the others are read to their end.

use std::sync::Arc;

use bytes::Bytes;
use dtvn_messages::limits;
use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use libp2p::swarm::ConnectionId;
use libp2p::{PeerId, Stream};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use super::class::{Class, PerClass};
use super::frame::{self, FrameReader};
use super::handshake::{GreetingError, Hello, greet};
use super::inbox::{FrameSink, FrameSinks, InboundFrame, OfferError};
use super::link::{Link, Taken};
use super::metrics::NetworkMetrics;
use super::pace::Pace;
use super::score::Offence;

/// What the tasks of links tell the peer manager.
#[derive(Debug)]
pub enum LinkNotice {
    /// Handshakes were exchanged on a stream and agree.
    Greeted {
        /// The peer.
        peer: PeerId,
        /// The stream's connection.
        connection: ConnectionId,
        /// The stream's class.
        class: Class,
        /// The stream.
        stream: Stream,
        /// What the peer said.
        hello: Box<Hello>,
    },
    /// The handshake on a stream failed.
    GreetingFailed {
        /// The peer.
        peer: PeerId,
        /// The stream's connection.
        connection: ConnectionId,
        /// How.
        error: GreetingError,
    },
    /// A session ended by itself.
    Ended {
        /// The peer.
        peer: PeerId,
        /// The session's connection.
        connection: ConnectionId,
        /// Why, in words.
        cause: String,
        /// What the peer did wrong, if it did.
        offence: Option<Offence>,
    },
}

impl LinkNotice {
    /// The peer that it is about.
    pub const fn peer(&self) -> PeerId {
        match self {
            Self::Greeted { peer, .. } | Self::GreetingFailed { peer, .. } | Self::Ended { peer, .. } => *peer,
        }
    }
}

/// Exchanges handshakes on a fresh stream, and tells how it went.
pub async fn greeting(
    peer: PeerId,
    connection: ConnectionId,
    class: Class,
    mut stream: Stream,
    ours: Hello,
    opened_by_us: bool,
    notices: mpsc::Sender<LinkNotice>,
) {
    let greeted = timeout(limits::SESSION_SETUP_TIMEOUT, greet(&mut stream, &ours, opened_by_us));
    let notice = match greeted.await.unwrap_or(Err(GreetingError::TimedOut)) {
        Ok(hello) => LinkNotice::Greeted { peer, connection, class, stream, hello: Box::new(hello) },
        Err(error) => LinkNotice::GreetingFailed { peer, connection, error },
    };
    // Without its owner there is nobody to tell, and the stream is dropped.
    let _ = notices.send(notice).await;
}

/// What a session's tasks share.
#[derive(Clone)]
pub struct SessionContext {
    /// The session's connection.
    pub connection: ConnectionId,
    /// The peer's link.
    pub link: Arc<Link>,
    /// The longest frame of each class may be shorter for a peer that is no validator.
    pub is_validator: bool,
    /// Where received frames go.
    pub sinks: FrameSinks,
    /// The node's counters.
    pub metrics: Arc<NetworkMetrics>,
    /// How fast each class is read.
    pub paces: Arc<PerClass<Pace>>,
}

impl SessionContext {
    /// The longest frame that is taken now: a stranger has nothing long to say, unless it answers.
    fn frame_bytes_max(&self, class: Class) -> usize {
        match self.is_validator || class == Class::Sync && self.link.is_asked() {
            true => class.frame_bytes_max(),
            false => class.frame_bytes_max().min(limits::STRANGER_FRAME_BYTES_MAX),
        }
    }
}

/// How one task of a session ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// The reader saw the peer's goodbye: everything in the class was read.
    PeerFinished(Class),
    /// The writer wrote all and said goodbye.
    WeFinished,
    /// Something failed, perhaps by the peer's fault.
    Failed(String, Option<Offence>),
}

/// Starts a session's tasks. Dropping the handle ends them at once.
pub fn spawn(
    context: SessionContext,
    streams: Vec<(Class, Stream)>,
    notices: mpsc::Sender<LinkNotice>,
) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        let peer = context.link.peer();
        let connection = context.connection;
        let (cause, offence) = run(context, streams).await;
        // As above.
        let _ = notices.send(LinkNotice::Ended { peer, connection, cause, offence }).await;
    }))
}

async fn run(context: SessionContext, streams: Vec<(Class, Stream)>) -> (String, Option<Offence>) {
    let link = Arc::clone(&context.link);
    let mut tasks = JoinSet::new();
    for (class, stream) in streams {
        let (read_half, write_half) = stream.split();
        tasks.spawn(read_frames(read_half, class, context.clone()));
        tasks.spawn(write_frames(write_half, class, context.clone()));
    }
    let mut cause = "closed in an orderly way";
    let mut deadline = None;
    loop {
        let ended = match deadline {
            None => Ok(tasks.join_next().await),
            Some(deadline) => timeout_at(deadline, tasks.join_next()).await,
        };
        match ended {
            Err(_) => return ("the peer did not read to the end in time".to_owned(), None),
            Ok(None) => return (cause.to_owned(), None),
            Ok(Some(end)) => match flatten(end) {
                End::WeFinished => {}
                End::PeerFinished(class) => {
                    // Having read all of the class, we answer its goodbye with ours: what waits is written, then our
                    // half is closed as well. So who said goodbye first knows that everything was read.
                    link.drain(class);
                    cause = "the peer closed the session";
                }
                End::Failed(cause, offence) => return (cause, offence),
            },
        }
        deadline.get_or_insert_with(|| Instant::now() + limits::NETWORK_FLUSH_TIMEOUT);
    }
}

fn flatten(end: Result<End, JoinError>) -> End {
    // A panic in a task is a broken invariant of ours; the session is the smallest thing to start over.
    end.unwrap_or_else(|error| End::Failed(format!("a task of the session failed: {error}"), None))
}

async fn write_frames<W: AsyncWrite + Unpin>(stream: W, class: Class, context: SessionContext) -> End {
    match try_write_frames(stream, class, &context).await {
        Ok(end) => end,
        Err(error) => End::Failed(format!("the {} stream broke while writing: {error}", class.name()), None),
    }
}

async fn try_write_frames<W: AsyncWrite + Unpin>(
    mut stream: W,
    class: Class,
    context: &SessionContext,
) -> std::io::Result<End> {
    let mut batch: Vec<Bytes> = Vec::new();
    let mut buffer = Vec::with_capacity(limits::WRITE_BATCH_BYTES_MAX);
    loop {
        match context.link.take(class, &mut batch) {
            Taken::Frames => {
                let (frames, bytes) = (batch.len(), batch.iter().map(|frame| frame.len() + frame::HEADER_BYTES).sum());
                let written = write_batch(&mut stream, &mut batch, &mut buffer);
                if context.is_validator {
                    written.await?;
                } else if let Ok(done) = tokio::time::timeout(limits::STRANGER_UNREAD_TIMEOUT, written).await {
                    done?;
                } else {
                    return Ok(End::Failed(format!("nothing of what it was sent on {} was read", class.name()), None));
                }
                count_written(context, class, frames, bytes);
            }
            Taken::Nothing => {
                stream.flush().await?;
                context.link.work(class).await;
            }
            Taken::Finished => {
                stream.flush().await?;
                stream.close().await?;
                return Ok(End::WeFinished);
            }
            Taken::Closed => return Ok(End::Failed("the session was closed".to_owned(), None)),
        }
    }
}

fn count_written(context: &SessionContext, class: Class, frames: usize, bytes: usize) {
    context.link.count(|traffic| {
        traffic.frames_out.get(class).add(frames as u64);
        traffic.bytes_out.get(class).add(bytes as u64);
    });
}

/// Writes a batch: short frames together from one buffer, long ones from their own bytes.
async fn write_batch<W: AsyncWrite + Unpin>(
    stream: &mut W,
    batch: &mut Vec<Bytes>,
    buffer: &mut Vec<u8>,
) -> std::io::Result<()> {
    buffer.clear();
    for frame in batch.drain(..) {
        buffer.extend_from_slice(&frame::header(frame.len()));
        if frame.len() < limits::WRITE_COPY_BYTES_MAX {
            buffer.extend_from_slice(&frame);
            continue;
        }
        stream.write_all(buffer).await?;
        buffer.clear();
        stream.write_all(&frame).await?;
    }
    stream.write_all(buffer).await
}

async fn read_frames<R: AsyncRead + Unpin>(mut stream: R, class: Class, context: SessionContext) -> End {
    let sink = context.sinks.of(class);
    let mut frames = FrameReader::new(context.frame_bytes_max(class));
    let mut buffer = vec![0; limits::READ_CHUNK_BYTES_MAX];
    loop {
        let length = match stream.read(&mut buffer).await {
            Ok(0) if frames.is_between_frames() => return End::PeerFinished(class),
            Ok(0) => return End::Failed(format!("the {} stream ended inside a frame", class.name()), None),
            Ok(length) => length,
            Err(error) => {
                return End::Failed(format!("the {} stream broke while reading: {error}", class.name()), None);
            }
        };
        context.link.count(|traffic| traffic.bytes_in.get(class).add(length as u64));
        frames.set_limit(context.frame_bytes_max(class));
        let mut chunk = &buffer[..length];
        while !chunk.is_empty() {
            match frames.next(&mut chunk) {
                Ok(None) => {}
                Ok(Some(bytes)) => {
                    context.paces.get(class).pay(cost(class, bytes.len())).await;
                    if let Err(end) = deliver(bytes, class, &context, &*sink).await {
                        return end;
                    }
                }
                Err(error) => {
                    context.metrics.frames_too_long.add(1);
                    return End::Failed(error.to_string(), Some(Offence::FrameTooLong));
                }
            }
        }
        // A stream that always has more, into a sink that always has room, must still let others run.
        tokio::task::consume_budget().await;
    }
}

/// What reading a frame costs its sender.
fn cost(class: Class, bytes: usize) -> u32 {
    let counted = match class {
        Class::Consensus | Class::Bundles => limits::READ_BYTES_COUNTED,
        Class::Sync => limits::READ_SYNC_BYTES_COUNTED,
    };
    u32::try_from(1 + bytes / counted).unwrap_or(u32::MAX)
}

/// Hands a frame over; waits while the sink has no room for this peer.
async fn deliver(bytes: Bytes, class: Class, context: &SessionContext, sink: &dyn FrameSink) -> Result<(), End> {
    let peer = context.link.peer();
    let mut frame = InboundFrame { peer, validator: context.link.index(), class, bytes };
    loop {
        match sink.offer(frame) {
            Ok(()) => break,
            Err(OfferError::Full(returned)) => {
                frame = returned;
                sink.room(peer).await;
            }
            Err(OfferError::Closed) => {
                return Err(End::Failed(format!("nobody receives {} frames any more", class.name()), None));
            }
        }
    }
    context.link.count(|traffic| traffic.frames_in.get(class).add(1));
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use futures::FutureExt as _;
    use tokio::io::DuplexStream;
    use tokio_util::compat::TokioAsyncWriteCompatExt as _;

    use super::*;
    use crate::network::shared::tests::shared_of_two;
    use crate::supervision::tests::soon;

    /// Writes a frame to a peer; nothing of it is read, as long as the other end is held.
    fn writing(is_validator: bool) -> (impl Future<Output = End>, DuplexStream) {
        let shared = shared_of_two("/ip4/10.0.0.1/tcp/1".parse().unwrap());
        let link = Arc::new(Link::new(PeerId::random(), Arc::clone(&shared.metrics)));
        link.open(Class::Sync);
        link.push(Class::Sync, &Bytes::from(vec![0; 100]), None).unwrap();
        let context = SessionContext {
            connection: ConnectionId::new_unchecked(1),
            link,
            is_validator,
            sinks: shared.sinks.clone(),
            metrics: Arc::clone(&shared.metrics),
            paces: Arc::new(PerClass::build(|_| Pace::new(NonZeroU32::MAX))),
        };
        let (ours, theirs) = tokio::io::duplex(16);
        (write_frames(ours.compat_write(), Class::Sync, context), theirs)
    }

    #[tokio::test]
    async fn a_stranger_that_reads_nothing_of_what_it_is_sent_is_let_go_and_a_validator_is_waited_for() {
        let ((to_validator, _held), (to_stranger, _held_too)) = (writing(true), writing(false));
        let mut to_validator = Box::pin(to_validator);
        assert_eq!(to_validator.as_mut().now_or_never(), None);
        let end = soon("the end of the stranger", to_stranger).await;
        assert_eq!(end, End::Failed("nothing of what it was sent on sync was read".to_owned(), None));
        assert_eq!(to_validator.as_mut().now_or_never(), None);
    }

    #[test]
    fn a_long_frame_counts_by_its_length() {
        assert_eq!(cost(Class::Consensus, 200), 1);
        assert_eq!(cost(Class::Bundles, limits::READ_BYTES_COUNTED), 2);
        assert_eq!(cost(Class::Bundles, 10 * limits::READ_BYTES_COUNTED + 1), 11);
        assert_eq!(cost(Class::Sync, 10 * limits::READ_SYNC_BYTES_COUNTED), 11);
    }
}
