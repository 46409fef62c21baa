//! yamux with bounded memory.
//!
//! consensus.md section 9: "No peer can make a replica allocate more than a fixed amount." libp2p's own wrapper of
//! yamux does not expose the connection's receive window, whose default lets a peer that feigns a long round trip grow
//! it to 1 GiB. Here the window is exactly 256 KiB for each of `STREAMS_PER_CONNECTION_MAX` streams: it never grows, so
//! it also bounds what bundles and sync may have under way in front of a vote (`class.rs`). And closing has an end.

use std::collections::VecDeque;
use std::future::{Future as _, Ready, ready};
use std::io;
use std::iter;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready as ready_or_return};

use dtvn_messages::limits;
use futures::{AsyncRead, AsyncWrite};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo};
use tokio::time::{Sleep, sleep};

// The protocol's initial window is this, so a smaller one could not be kept.
const _: () = assert!(limits::STREAM_WINDOW_BYTES == yamux::DEFAULT_CREDIT as usize);

/// Negotiates yamux on a secured connection.
#[derive(Debug, Clone)]
pub struct BoundedYamux(yamux::Config);

impl Default for BoundedYamux {
    fn default() -> Self {
        let mut config = yamux::Config::default();
        config.set_max_num_streams(limits::STREAMS_PER_CONNECTION_MAX);
        config
            .set_max_connection_receive_window(Some(limits::STREAMS_PER_CONNECTION_MAX * limits::STREAM_WINDOW_BYTES));
        Self(config)
    }
}

impl UpgradeInfo for BoundedYamux {
    type Info = &'static str;
    type InfoIter = iter::Once<Self::Info>;

    fn protocol_info(&self) -> Self::InfoIter {
        iter::once("/yamux/1.0.0")
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> InboundConnectionUpgrade<C> for BoundedYamux {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = Ready<Result<Muxer<C>, io::Error>>;

    fn upgrade_inbound(self, io: C, _: Self::Info) -> Self::Future {
        ready(Ok(Muxer::new(io, self.0, yamux::Mode::Server)))
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> OutboundConnectionUpgrade<C> for BoundedYamux {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = Ready<Result<Muxer<C>, io::Error>>;

    fn upgrade_outbound(self, io: C, _: Self::Info) -> Self::Future {
        ready(Ok(Muxer::new(io, self.0, yamux::Mode::Client)))
    }
}

/// A yamux connection as libp2p wants it.
pub struct Muxer<C> {
    connection: yamux::Connection<C>,
    /// Streams that arrived while the connection was polled for other reasons. At most as many as there may be streams.
    arrived: VecDeque<yamux::Stream>,
    waiting: Option<Waker>,
    /// Runs from the moment when closing begins.
    closing: Option<Pin<Box<Sleep>>>,
}

impl<C: AsyncRead + AsyncWrite + Unpin> Muxer<C> {
    fn new(io: C, config: yamux::Config, mode: yamux::Mode) -> Self {
        Self {
            connection: yamux::Connection::new(io, config, mode),
            arrived: VecDeque::new(),
            waiting: None,
            closing: None,
        }
    }

    fn poll_arrival(&mut self, context: &mut Context<'_>) -> Poll<Result<yamux::Stream, io::Error>> {
        let arrival = ready_or_return!(self.connection.poll_next_inbound(context));
        Poll::Ready(arrival.unwrap_or(Err(yamux::ConnectionError::Closed)).map_err(into_io))
    }
}

fn into_io(error: yamux::ConnectionError) -> io::Error {
    match error {
        yamux::ConnectionError::Io(error) => error,
        error => io::Error::other(error),
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> StreamMuxer for Muxer<C> {
    type Substream = yamux::Stream;
    type Error = io::Error;

    fn poll_inbound(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<Self::Substream, Self::Error>> {
        if let Some(stream) = self.arrived.pop_front() {
            return Poll::Ready(Ok(stream));
        }
        let arrival = self.poll_arrival(context);
        if arrival.is_pending() {
            self.waiting = Some(context.waker().clone());
        }
        arrival
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        self.connection.poll_new_outbound(context).map_err(into_io)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // A peer without power never takes what is still to be sent, and the kernel would try for a quarter of an hour.
        let deadline = self.closing.get_or_insert_with(|| Box::pin(sleep(limits::NETWORK_FLUSH_TIMEOUT)));
        if deadline.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        self.connection.poll_close(context).map_err(into_io)
    }

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, Self::Error>> {
        // yamux makes progress on all streams only while it is asked for new ones.
        let stream = ready_or_return!(self.poll_arrival(context))?;
        // Dropping resets it. Unreachable while yamux itself limits the number of streams.
        if self.arrived.len() < limits::STREAMS_PER_CONNECTION_MAX {
            self.arrived.push_back(stream);
        }
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
        // Let others run, then come back for more.
        context.waker().wake_by_ref();
        Poll::Pending
    }
}
