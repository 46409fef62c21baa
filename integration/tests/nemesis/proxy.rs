//! The links between nodes, in our hands: a TCP proxy for each ordered pair, whose two directions can be cut.
//!
//! A cut direction loses nothing that TCP would not bring later: bytes wait, and so does the end of a connection, as behind
//! a router that drops packets. Whoever dials across a cut gets no answer. Nodes announce an address at which nobody is, so
//! the proxies are the only way; a test asserts that.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// One direction of a link: who speaks to whom.
type Direction = (usize, usize);

/// What happens to bytes in one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Weather {
    /// Nothing passes.
    pub is_cut: bool,
    /// Each piece waits this long.
    pub delay: Duration,
}

/// All links of a network.
pub struct Links {
    weather: BTreeMap<Direction, watch::Sender<Weather>>,
    /// Where a node finds another.
    doors: BTreeMap<Direction, SocketAddr>,
    /// How many bytes have passed.
    bytes: BTreeMap<Direction, Arc<AtomicU64>>,
    _proxies: JoinSet<()>,
}

impl Links {
    /// Doors between nodes that listen at these ports on loopback.
    pub async fn open(ports: &[u16]) -> Self {
        let nodes = ports.len();
        let pairs = || (0..nodes).flat_map(|from| (0..nodes).map(move |to| (from, to))).filter(|(from, to)| from != to);
        let weather: BTreeMap<_, _> = pairs().map(|pair| (pair, watch::Sender::new(Weather::default()))).collect();
        let (mut doors, mut proxies) = (BTreeMap::new(), JoinSet::new());
        let bytes: BTreeMap<Direction, Arc<AtomicU64>> = pairs().map(|pair| (pair, Arc::default())).collect();
        for (from, to) in pairs() {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            doors.insert((from, to), listener.local_addr().unwrap());
            let way = |way: Direction| Way { weather: weather[&way].subscribe(), bytes: Arc::clone(&bytes[&way]) };
            proxies.spawn(serve(listener, ports[to], way((from, to)), way((to, from))));
        }
        Self { weather, doors, bytes, _proxies: proxies }
    }

    /// Where `from` finds `to`.
    pub fn door(&self, from: usize, to: usize) -> SocketAddr {
        self.doors[&(from, to)]
    }

    /// How many bytes have passed.
    pub fn passed(&self) -> u64 {
        self.bytes.values().map(|bytes| bytes.load(Ordering::Relaxed)).sum()
    }

    /// How many bytes have passed from one to another.
    pub fn passed_from(&self, from: usize, to: usize) -> u64 {
        self.bytes[&(from, to)].load(Ordering::Relaxed)
    }

    /// Cuts what is said from one to another.
    pub fn cut(&self, from: usize, to: usize) {
        self.weather[&(from, to)].send_modify(|weather| weather.is_cut = true);
    }

    /// Cuts both directions.
    pub fn cut_pair(&self, one: usize, other: usize) {
        self.cut(one, other);
        self.cut(other, one);
    }

    /// Cuts all links between the nodes for which `side` is true and the others.
    pub fn split(&self, side: impl Fn(usize) -> bool) {
        for (from, to) in self.weather.keys().filter(|(from, to)| side(*from) != side(*to)) {
            self.cut(*from, *to);
        }
    }

    /// Each piece waits this long, everywhere.
    pub fn delay_all(&self, delay: Duration) {
        self.weather.values().for_each(|way| way.send_modify(|weather| weather.delay = delay));
    }

    /// In how many directions the weather is so.
    pub fn count(&self, is_so: impl Fn(&Weather) -> bool) -> usize {
        self.weather.values().filter(|way| is_so(&way.borrow())).count()
    }

    /// Everything passes at once again.
    pub fn heal(&self) {
        self.weather.values().for_each(|way| {
            way.send_replace(Weather::default());
        });
    }
}

/// One direction of one connection.
#[derive(Clone)]
struct Way {
    weather: watch::Receiver<Weather>,
    bytes: Arc<AtomicU64>,
}

impl Way {
    /// Waits until it is not cut; how long each piece waits.
    async fn open(&mut self) -> Duration {
        // An error means that the links are being dropped.
        self.weather.wait_for(|weather| !weather.is_cut).await.map_or(Duration::ZERO, |weather| weather.delay)
    }
}

async fn serve(listener: TcpListener, port: u16, there: Way, back: Way) {
    let mut connections = JoinSet::new();
    loop {
        // Where nothing arrives, nothing is accepted.
        let Ok((near, _)) = listener.accept().await else { return };
        connections.spawn(carry(near, port, there.clone(), back.clone()));
        while connections.try_join_next().is_some() {}
    }
}

async fn carry(near: TcpStream, port: u16, mut there: Way, mut back: Way) {
    there.open().await;
    back.open().await;
    // Nobody there: the dialer sees its connection end, as it would see it refused.
    let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
    tokio::join!(pump(near_read, far_write, there), pump(far_read, near_write, back));
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut way: Way) {
    let mut piece = vec![0; 64 * 1024];
    loop {
        way.open().await;
        let Ok(length) = from.read(&mut piece).await else { break };
        // What was under way when the cut came waits too.
        let delay = way.open().await;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if length == 0 || to.write_all(&piece[..length]).await.is_err() {
            break;
        }
        way.bytes.fetch_add(length as u64, Ordering::Relaxed);
    }
    let _closed = to.shutdown().await;
}
