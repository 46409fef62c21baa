//! What the derived store costs: applying blocks of 500 outcomes over 100,000 tickets, reading it all back, proofs.
//!
//! `cargo bench -p dtvn-actors --bench store_apply`. Before the benches it prints what 300,000 outcomes take on disk.
//! Applying is measured in processor time of the writing thread, which other work on the machine does not change.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench")]
#![allow(dead_code, reason = "the tests' chain can do more than is measured here")]

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group};
use dtvn_actors::storage::store::{AppliedBlock, IfMissing, LocalView, Store, StoreIdentity, StoreOptions};
use dtvn_messages::Operation;

#[path = "../src/storage/store/tests/chain.rs"]
mod chain;

use chain::Chain;

const TICKETS: usize = 100_000;
const BLOCK: usize = 500;
/// Coprime to the number of tickets: scans come in another order than tickets were issued.
const STRIDE: usize = 7_919;

/// An endless life: tickets are issued, validated, consumed, each round in another order, and then the next event's.
struct Life {
    chain: Chain,
    step: usize,
}

impl Life {
    fn new() -> Self {
        Self { chain: Chain::new(), step: 0 }
    }

    fn operation(&mut self) -> Operation {
        let (round, number) = (self.step / TICKETS, self.step % TICKETS);
        self.step += 1;
        let ticket = |number: usize| format!("TICKET-{}-{number:06}", round / 3);
        match round % 3 {
            0 => self.chain.issue(&ticket(number)),
            1 => self.chain.validate(&ticket(number * STRIDE % TICKETS)),
            _ => self.chain.consume(&ticket((number * STRIDE + 17) % TICKETS)),
        }
    }

    fn block(&mut self) -> AppliedBlock {
        let operations = (0..BLOCK).map(|_| self.operation()).collect();
        self.chain.block(operations)
    }
}

/// Processor time of this thread: what the store costs, whatever else the machine does.
fn thread_time() -> Duration {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(schedstat.split(' ').next().unwrap().parse().unwrap())
}

/// Processor time of the whole process, flushes and compactions included.
fn process_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let ticks: u64 =
        stat.rsplit(')').next().unwrap().split(' ').skip(12).take(2).map(|f| f.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

fn open(directory: &Path, life: &Life) -> Store {
    Store::open(directory, life.chain.identity(), StoreOptions::default(), IfMissing::Create).unwrap().0
}

/// Applies whole rounds, some blocks at a time; gives the time that the store took.
fn apply_rounds(store: &mut Store, life: &mut Life, rounds: usize, together: usize) -> Duration {
    let mut taken = Duration::ZERO;
    for _ in 0..rounds * TICKETS / BLOCK / together {
        let blocks: Vec<AppliedBlock> = (0..together).map(|_| life.block()).collect();
        let begun = thread_time();
        store.apply(&blocks).unwrap();
        taken += thread_time() - begun;
    }
    taken
}

/// What the three rounds of 100,000 tickets take: time and disk.
fn report() {
    let per_outcome = |taken: Duration, outcomes: usize| taken.as_secs_f64() * 1e6 / outcomes as f64;
    let directory = tempfile::tempdir().unwrap();
    let mut life = Life::new();
    let mut store = open(directory.path(), &life);
    for round in ["issue", "validate", "consume"] {
        let (all, own) = (process_time(), thread_time());
        let taken = apply_rounds(&mut store, &mut life, 1, 1);
        let background = (process_time() - all).saturating_sub(thread_time() - own);
        let (taken, background) = (per_outcome(taken, TICKETS), per_outcome(background, TICKETS));
        println!("{round}: {taken:.2} us an outcome of the writer, {background:.2} in the background");
    }
    let begun = Instant::now();
    store.flush().unwrap();
    println!("flush of the rest: {:?}", begun.elapsed());
    let stats = store.reader().stats().unwrap();
    for column in &stats.columns {
        let bytes = column.disk_bytes as f64 / (3 * TICKETS) as f64;
        println!("{:>12} {:>3} files {bytes:8.1} bytes an outcome", column.name, column.files);
    }
    println!("{:>12} {:>3} files {:8.1}", "all", stats.files(), stats.disk_bytes() as f64 / (3 * TICKETS) as f64);
    store.close(Duration::from_secs(60)).unwrap();
    let (begun, own) = (Instant::now(), thread_time());
    let store = open(directory.path(), &life);
    println!("open: {:?}, {:?} of processor", begun.elapsed(), thread_time() - own);
    let (begun, own) = (Instant::now(), thread_time());
    let image = store.load_image().unwrap();
    let (tickets, keys) = (image.tickets.len(), image.keys.len());
    println!("image of {tickets} tickets, {keys} keys: {:?}, {:?} of processor", begun.elapsed(), thread_time() - own);
}

fn apply(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("store/apply");
    group.sample_size(10);
    for together in [1, 8] {
        let directory = tempfile::tempdir().unwrap();
        let mut life = Life::new();
        let mut store = open(directory.path(), &life);
        apply_rounds(&mut store, &mut life, 1, together);
        group.throughput(Throughput::Elements((together * BLOCK) as u64));
        group.bench_function(format!("{together} of {BLOCK} outcomes"), |bencher| {
            bencher.iter_custom(|times| {
                (0..times)
                    .map(|_| {
                        let blocks: Vec<AppliedBlock> = (0..together).map(|_| life.block()).collect();
                        let begun = thread_time();
                        store.apply(&blocks).unwrap();
                        thread_time() - begun
                    })
                    .sum()
            });
        });
    }
    group.finish();
}

fn read(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().unwrap();
    let mut life = Life::new();
    let mut store = open(directory.path(), &life);
    apply_rounds(&mut store, &mut life, 1, 1);
    store.flush().unwrap();
    let reader = store.reader();
    let mut group = criterion.benchmark_group("store/read");
    group.sample_size(20);
    group.bench_function("image of 100,000 tickets and keys", |bencher| {
        bencher.iter(|| black_box(store.load_image().unwrap()));
    });
    let mut index = 0;
    group.bench_function("inclusion path in 100,000", |bencher| {
        bencher.iter(|| {
            index = (index + STRIDE as u64) % TICKETS as u64;
            reader.read(|view| view.inclusion_path(index, TICKETS as u64)).unwrap()
        });
    });
    let mut number = 0;
    group.bench_function("ticket", |bencher| {
        bencher.iter(|| {
            number = (number + STRIDE) % TICKETS;
            let ticket = chain::id(&format!("TICKET-0-{number:06}"));
            reader.read(|view| view.ticket(&dtvn_messages::EventId::default_event(), &ticket)).unwrap()
        });
    });
    group.finish();
}

criterion_group!(benches, apply, read);

fn main() {
    report();
    benches();
    Criterion::default().configure_from_args().final_summary();
}
