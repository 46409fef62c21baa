//! What one commit of the consensus log costs, on a real disk and without one:
//! `cargo bench -p dtvn-actors --bench storage_commit --profile dev`.
//!
//! The log lies in cargo's target directory, or in the directory that `DTVN_BENCH_DIRECTORY` names.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "benchmarks")]

use std::hint::black_box;
use std::path::PathBuf;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use dtvn_actors::storage::disk::FileDisk;
use dtvn_replication::log::{Disk, DiskError, Log, LogError, LogIdentity, LogLimits};

const IDENTITY: LogIdentity = LogIdentity([1; 32]);

/// Keeps nothing: what is left is the cost of the format.
#[derive(Debug)]
struct NoDisk;

impl Disk for NoDisk {
    fn list(&mut self) -> Result<Vec<String>, DiskError> {
        Ok(Vec::new())
    }
    fn length(&mut self, _: &str) -> Result<u64, DiskError> {
        Ok(0)
    }
    fn read_at(&mut self, name: &str, _: u64, _: &mut [u8]) -> Result<(), DiskError> {
        Err(DiskError::NotFound { name: name.to_owned() })
    }
    fn create(&mut self, _: &str, _: u64) -> Result<(), DiskError> {
        Ok(())
    }
    fn write_at(&mut self, _: &str, _: u64, bytes: &[u8]) -> Result<(), DiskError> {
        black_box(bytes);
        Ok(())
    }
    fn sync(&mut self, _: &str) -> Result<(), DiskError> {
        Ok(())
    }
    fn sync_directory(&mut self) -> Result<(), DiskError> {
        Ok(())
    }
    fn remove(&mut self, _: &str) -> Result<(), DiskError> {
        Ok(())
    }
}

fn directory() -> tempfile::TempDir {
    let parent = std::env::var_os("DTVN_BENCH_DIRECTORY")
        .map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    tempfile::tempdir_in(parent).unwrap()
}

/// Appends 32 records that fill the given length together, commits them, and keeps the log from growing.
fn commit<D: Disk>(log: &mut Log<D>, payload: &[u8]) {
    for _ in 0..32 {
        log.append(1, payload).unwrap();
    }
    let durable = log.commit().unwrap();
    log.drop_segments_before(durable).unwrap();
}

fn commits(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("commit");
    for bytes in [4096, 65_536, 262_144] {
        let payload = vec![7; bytes / 32];
        group.throughput(Throughput::Bytes(bytes as u64));
        let directory = directory();
        let disk = FileDisk::open(&directory.path().join("log")).unwrap();
        let mut log = Log::create(disk, IDENTITY, LogLimits::default()).unwrap();
        group.bench_function(BenchmarkId::new("disk", bytes), |bencher| bencher.iter(|| commit(&mut log, &payload)));
        let mut log = Log::create(NoDisk, IDENTITY, LogLimits::default()).unwrap();
        group.bench_function(BenchmarkId::new("no disk", bytes), |bencher| bencher.iter(|| commit(&mut log, &payload)));
    }
    group.finish();
}

fn opening(criterion: &mut Criterion) {
    let directory = directory();
    let path = directory.path().join("log");
    let mut log = Log::create(FileDisk::open(&path).unwrap(), IDENTITY, LogLimits::default()).unwrap();
    for _ in 0..16 * 1024 {
        log.append(1, &[7; 2048]).unwrap();
    }
    log.commit().unwrap();
    drop(log);
    let mut group = criterion.benchmark_group("open");
    group.sample_size(10);
    group.throughput(Throughput::Bytes(32 * 1024 * 1024));
    group.bench_function("32 MiB", |bencher| {
        bencher.iter(|| {
            let disk = FileDisk::open(&path).unwrap();
            Log::open(disk, IDENTITY, LogLimits::default(), |_, kind, payload| {
                black_box((kind, payload));
                Ok::<(), LogError>(())
            })
            .unwrap()
            .1
        });
    });
    group.finish();
}

criterion_group!(benches, commits, opening);
criterion_main!(benches);
