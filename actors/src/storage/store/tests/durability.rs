//! What a crash leaves: the state right after some block, and never less than was said to be durable.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::Instant;

use super::*;
use dtvn_ledger::LedgerImage;

/// A copy of a store's files as they are: what a loss of power leaves, since everything in files is synced while nothing
/// is being written.
pub(super) fn copy_directory(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_directory(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// The blocks of a busy chain, and the image after each; the first image is that of height 0.
fn busy_chain(blocks: usize) -> (Chain, Vec<AppliedBlock>, Vec<LedgerImage>) {
    let mut chain = Chain::new();
    let mut images = vec![chain.ledger.image()];
    let mut applied = Vec::new();
    for block in 0..blocks {
        let mut operations: Vec<_> = (0..10).map(|number| chain.issue(&format!("T-{block}-{number}"))).collect();
        operations.extend((0..10).map(|number| chain.validate(&format!("T-{}-{number}", block / 2))));
        operations.extend((0..10).map(|number| chain.consume(&format!("T-{}-{number}", block / 3))));
        applied.push(chain.block(operations));
        images.push(chain.ledger.image());
    }
    (chain, applied, images)
}

#[test]
fn a_crash_leaves_the_state_after_the_last_durable_block() {
    let (directory, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (chain, blocks, images) = busy_chain(9);
    let mut store = open(directory.path(), &chain);
    store.apply(&blocks[..3]).unwrap();
    assert_eq!(store.durable_height().unwrap(), Height(0), "nothing was flushed yet");
    assert_eq!(store.flush().unwrap(), Height(3));
    store.apply(&blocks[3..5]).unwrap();
    store.apply(&blocks[5..7]).unwrap();
    assert_eq!(store.durable_height().unwrap(), Height(3), "what is in memory only is not durable");
    copy_directory(directory.path(), &copy.path().join("crashed"));
    assert_eq!(store.flush().unwrap(), Height(7));

    let crashed = copy.path().join("crashed");
    let (mut store, opened) = reopen(&crashed, &chain).unwrap();
    assert_eq!((opened.applied.height, opened.durable), (Height(3), Height(3)));
    assert_eq!(store.load_image().unwrap(), images[3]);
    // The rest is applied again, as from the consensus log.
    store.apply(&blocks[3..]).unwrap();
    assert_eq!(store.load_image().unwrap(), images[9]);
    assert_eq!(close(store), Height(9));
    let (store, _) = reopen(&crashed, &chain).unwrap();
    assert_eq!(store.load_image().unwrap(), images[9]);
}

#[test]
fn blocks_become_durable_in_the_background() {
    let directory = tempfile::tempdir().unwrap();
    let (chain, blocks, _) = busy_chain(8);
    let options = StoreOptions { memory_blocks: 4, ..StoreOptions::default() };
    let (mut store, _) = Store::open(directory.path(), chain.identity(), options, IfMissing::Create).unwrap();
    for block in &blocks[..4] {
        store.apply(std::slice::from_ref(block)).unwrap();
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    while store.durable_height().unwrap() < Height(4) {
        assert!(Instant::now() < deadline, "a flush that was begun ends");
        std::thread::yield_now();
    }
    store.apply(&blocks[4..7]).unwrap();
    assert_eq!(store.durable_height().unwrap(), Height(4), "three more are not worth a flush");
}

#[test]
fn a_flush_with_nothing_new_writes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (chain, blocks, _) = busy_chain(2);
    let mut store = open(directory.path(), &chain);
    store.apply(&blocks).unwrap();
    store.flush().unwrap();
    let files = || {
        let mut files: Vec<_> = fs::read_dir(database_path(directory.path()))
            .unwrap()
            .chain(fs::read_dir(directory.path()).unwrap())
            .map(|entry| entry.unwrap())
            .map(|entry| {
                (entry.file_name(), entry.metadata().unwrap().len(), entry.metadata().unwrap().modified().unwrap())
            })
            .collect();
        files.sort();
        files
    };
    let before = files();
    for _ in 0..3 {
        assert_eq!(store.flush().unwrap(), Height(2));
        assert_eq!(store.durable_height().unwrap(), Height(2));
    }
    assert_eq!(files(), before);
}

const DIRECTORY: &str = "DTVN_TEST_KILLED_STORE";
const MEMORY: &str = "DTVN_TEST_KILLED_STORE_MEMORY";
/// More than are applied in all rounds.
const BLOCKS: usize = 400;

#[test]
fn whatever_moment_a_process_is_killed_at_height_and_effects_go_together() {
    let (chain, blocks, images) = busy_chain(BLOCKS);
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        write_until_killed(Path::new(&directory), &chain, &blocks);
    }
    let directory = tempfile::tempdir().unwrap();
    let name = module_path!().split_once("::").unwrap().1;
    let test = format!("{name}::whatever_moment_a_process_is_killed_at_height_and_effects_go_together");
    let mut highest = Height(0);
    for round in 1..=6u64 {
        // Every other time it is full memory that starts a flush, in the middle of whatever is being written.
        let memory = if round % 2 == 0 { "full" } else { "blocks" };
        let mut writer = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &test, "--nocapture"])
            .env(DIRECTORY, directory.path())
            .env(MEMORY, memory)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut durable = Height(0);
        for line in BufReader::new(writer.stdout.take().unwrap()).lines() {
            let Some(height) = line.unwrap().strip_prefix("durable ").map(|height| Height(height.parse().unwrap()))
            else {
                continue;
            };
            durable = height;
            if durable >= Height(highest.0 + 7 * round) || durable == Height(BLOCKS as u64) {
                break;
            }
        }
        writer.kill().unwrap();
        writer.wait().unwrap();
        let (store, opened) = reopen(directory.path(), &chain).unwrap();
        highest = opened.applied.height;
        assert!(highest >= durable && durable > Height(0), "{durable} was durable, {highest} is left");
        assert_eq!(store.load_image().unwrap(), images[usize::try_from(highest.0).unwrap()]);
        let log = store.reader().read(|view| view.log_root(opened.applied.log.size())).unwrap();
        assert_eq!(log, Some(images[usize::try_from(highest.0).unwrap()].log.root()));
        close(store);
    }
    assert!(highest >= Height(40), "it got somewhere: {highest}");
}

/// Applies and flushes without end, and tells what is durable.
fn write_until_killed(directory: &Path, chain: &Chain, blocks: &[AppliedBlock]) -> ! {
    let options = match std::env::var(MEMORY).as_deref() {
        Ok("full") => StoreOptions { memory_bytes: 1024 * 1024, memory_blocks: u64::MAX, ..StoreOptions::default() },
        _ => StoreOptions { memory_blocks: 2, ..StoreOptions::default() },
    };
    let (mut store, opened) = Store::open(directory, chain.identity(), options, IfMissing::Create).unwrap();
    let mut rest = &blocks[usize::try_from(opened.applied.height.0).unwrap()..];
    let mut told = Height(0);
    loop {
        let (now, later) = rest.split_at(rest.len().min(3));
        store.apply(now).unwrap();
        rest = later;
        let durable = match rest.is_empty() {
            true => store.flush().unwrap(),
            false => store.durable_height().unwrap(),
        };
        if durable > told {
            told = durable;
            println!("\ndurable {durable}");
            std::io::stdout().flush().unwrap();
        }
    }
}
