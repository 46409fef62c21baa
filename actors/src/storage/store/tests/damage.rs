//! Files that are not what was written: found and said, never served, and never taken for an empty store.

use std::fs;
use std::path::PathBuf;

use super::durability::copy_directory;
use super::*;

/// A store whose blocks were made durable in several steps, as a running node's are.
fn store_to_damage(directory: &Path) -> (Chain, Contents) {
    let mut chain = Chain::new();
    let mut store = open(directory, &chain);
    let many = (0..300).map(|number| chain.issue(&format!("one of many {number}"))).collect();
    store.apply(&[chain.block(many)]).unwrap();
    for blocks in eventful(&mut chain).chunks(3) {
        store.apply(blocks).unwrap();
        store.flush().unwrap();
    }
    let contents = contents(&store).unwrap();
    close(store);
    (chain, contents)
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn kind(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().chars().filter(|character| !character.is_ascii_digit()).collect()
}

/// What becomes of a damaged store: everything that it holds, or why not.
fn outcome(directory: &Path, chain: &Chain) -> Result<Contents, StoreError> {
    let (store, _) = reopen(directory, chain)?;
    store.load_image()?;
    contents(&store)
}

/// Whether damage was found; if it was not, then it was to nothing that matters.
fn is_found(directory: &Path, chain: &Chain, whole: &Contents, what: &str) -> bool {
    match outcome(directory, chain) {
        Err(StoreError::Damaged { .. }) => true,
        Ok(contents) => {
            assert!(contents == *whole, "{what}: something else is served");
            false
        }
        Err(other) => panic!("{what}: {other}"),
    }
}

#[test]
fn no_flipped_bit_changes_what_is_served() {
    const PLACES: u64 = 5;
    let (directory, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (chain, whole) = store_to_damage(directory.path());
    let (mut tried, mut found) = (0, 0);
    for file in files(&database_path(directory.path())) {
        let bytes = fs::read(&file).unwrap();
        let kind = kind(&file);
        if bytes.is_empty() || kind.starts_with("LOG") || kind.starts_with("OPTIONS") {
            continue;
        }
        for place in 0..PLACES {
            let bit = (bytes.len() as u64 * 8 - 1) * place / (PLACES - 1);
            let copy = copies.path().join("copy");
            copy_directory(directory.path(), &copy);
            let mut flipped = bytes.clone();
            flipped[usize::try_from(bit / 8).unwrap()] ^= 1 << (bit % 8);
            fs::write(database_path(&copy).join(file.file_name().unwrap()), flipped).unwrap();
            tried += 1;
            found += usize::from(is_found(&copy, &chain, &whole, &format!("bit {bit} of {kind}")));
            fs::remove_dir_all(&copy).unwrap();
        }
    }
    assert!(tried > 80, "{tried} flips");
    assert!(found * 10 > tried * 8, "most are found, as most bytes matter: {found} of {tried}");
}

#[test]
fn no_cut_and_no_missing_file_is_passed_over() {
    let (directory, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (chain, whole) = store_to_damage(directory.path());
    for file in files(&database_path(directory.path())) {
        let length = fs::metadata(&file).unwrap().len();
        let kind = kind(&file);
        for cut in [None, Some(0), Some(length / 2), Some(length.saturating_sub(1))] {
            // The last record of a manifest may tell of a compaction: without it the same is in other files.
            let is_end = cut == Some(length.saturating_sub(1));
            let matters = kind == ".sst" || kind == "CURRENT" || kind.starts_with("MANIFEST") && !is_end;
            let copy = copies.path().join("copy");
            copy_directory(directory.path(), &copy);
            let target = database_path(&copy).join(file.file_name().unwrap());
            match cut {
                None => fs::remove_file(target).unwrap(),
                Some(length) => fs::OpenOptions::new().write(true).open(target).unwrap().set_len(length).unwrap(),
            }
            let found = is_found(&copy, &chain, &whole, &format!("{kind} cut to {cut:?}"));
            assert!(found || !matters, "{kind} cut to {cut:?} of {length} is not found");
            fs::remove_dir_all(&copy).unwrap();
        }
    }
}

#[test]
fn a_manifest_that_lost_its_end_is_found_wherever_it_ends() {
    let (directory, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (chain, whole) = store_to_damage(directory.path());
    let manifest = files(&database_path(directory.path())).into_iter().find(|file| kind(file).starts_with("MANIFEST"));
    let manifest = manifest.unwrap();
    let length = fs::metadata(&manifest).unwrap().len();
    let (mut tried, mut found) = (0, 0);
    for cut in (0..length).step_by(61) {
        let copy = copies.path().join("copy");
        copy_directory(directory.path(), &copy);
        let target = database_path(&copy).join(manifest.file_name().unwrap());
        fs::OpenOptions::new().write(true).open(target).unwrap().set_len(cut).unwrap();
        tried += 1;
        found += usize::from(is_found(&copy, &chain, &whole, &format!("MANIFEST cut to {cut} of {length}")));
        fs::remove_dir_all(&copy).unwrap();
    }
    // What compactions wrote last may go: before them the same was in other files.
    assert!(tried > 10 && found * 2 > tried, "{found} of {tried}");
}

#[test]
fn a_manifest_that_is_put_back_finds_its_files() {
    let directory = tempfile::tempdir().unwrap();
    let (chain, whole) = store_to_damage(directory.path());
    let manifest = files(&database_path(directory.path())).into_iter().find(|file| kind(file).starts_with("MANIFEST"));
    let manifest = manifest.unwrap();
    let bytes = fs::read(&manifest).unwrap();
    for cut in (0..bytes.len()).step_by(bytes.len() / 7) {
        fs::write(&manifest, &bytes[..cut]).unwrap();
        assert!(matches!(reopen(directory.path(), &chain), Err(StoreError::Damaged { .. })), "cut at {cut}");
        fs::write(&manifest, &bytes).unwrap();
    }
    assert!(outcome(directory.path(), &chain).unwrap() == whole);
}

#[test]
fn an_older_database_under_the_same_seal_is_found() {
    let (directory, older) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut chain = Chain::new();
    let blocks = eventful(&mut chain);
    let mut store = open(directory.path(), &chain);
    store.apply(&blocks[..3]).unwrap();
    close(store);
    copy_directory(&database_path(directory.path()), &older.path().join("database"));
    let (mut store, _) = reopen(directory.path(), &chain).unwrap();
    store.apply(&blocks[3..]).unwrap();
    close(store);
    fs::remove_dir_all(database_path(directory.path())).unwrap();
    fs::rename(older.path().join("database"), database_path(directory.path())).unwrap();
    match reopen(directory.path(), &chain).map(|(_, opened)| opened) {
        Err(StoreError::Damaged { what }) => assert!(what.contains("ends at block 3"), "{what}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn content_that_contradicts_itself_is_found() {
    let directory = tempfile::tempdir().unwrap();
    let (chain, whole) = store_to_damage(directory.path());
    let spoil = |column: Column, key: &[u8], value: Option<&[u8]>| {
        let copy = tempfile::tempdir().unwrap();
        copy_directory(directory.path(), copy.path());
        let (store, _) = reopen(copy.path(), &chain).unwrap();
        let mut batch = WriteBatch::default();
        match value {
            Some(value) => batch.put_cf(&store.database.handle(column), key, value),
            None => batch.delete_cf(&store.database.handle(column), key),
        }
        store.database.write(batch).unwrap();
        store.database.flush(true).unwrap();
        drop(store);
        let result = outcome(copy.path(), &chain);
        assert!(matches!(result, Err(StoreError::Damaged { .. })), "{column:?} {key:?} {:?}", result.err());
    };
    let first = |column: Column| {
        whole.iter().find(|((name, _), _)| *name == column.name()).map(|((_, key), value)| (key, value)).unwrap()
    };
    for column in [Column::Tickets, Column::Flagged, Column::Keys] {
        spoil(column, first(column).0, None);
        spoil(column, first(column).0, Some(b"nonsense"));
    }
    let (applied, _) = first(Column::Meta);
    assert_eq!(applied, meta::APPLIED);
    for key in [meta::APPLIED, meta::IDENTITY, meta::SCHEMA, meta::LOWEST_BLOCK] {
        spoil(Column::Meta, key, None);
        spoil(Column::Meta, key, Some(b"nonsense"));
    }
    let (ticket, other) = (first(Column::Tickets), whole.iter().rfind(|((name, _), _)| *name == "tickets").unwrap());
    spoil(Column::Tickets, ticket.0, Some(other.1));
    for value in [None, Some(b"nonsense".as_slice())] {
        spoil(Column::Tiles, &schema::tile(1, 0), value);
    }
    let last_block = schema::number(chain.ledger.committed().0);
    spoil(Column::Blocks, &last_block, None);
    spoil(Column::Blocks, &last_block, Some(first(Column::Blocks).1));
    let log_size = whole.keys().filter(|(name, _)| *name == "outcomes").count() as u64;
    spoil(Column::Outcomes, &schema::number(log_size - 1), None);
    spoil(Column::Outcomes, &schema::number(log_size - 1), Some(first(Column::Outcomes).1));
    spoil(Column::Outcomes, &schema::number(log_size), Some(first(Column::Outcomes).1));
}

#[test]
fn what_is_not_read_at_the_start_is_found_when_it_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let (chain, _) = store_to_damage(directory.path());
    let (store, _) = reopen(directory.path(), &chain).unwrap();
    let mut batch = WriteBatch::default();
    batch.delete_cf(&store.database.handle(Column::Tiles), schema::tile(0, 0));
    batch.delete_cf(&store.database.handle(Column::Outcomes), schema::number(7));
    batch.delete_range_cf(
        &store.database.handle(Column::Bodies),
        schema::body(Height(2), 0),
        schema::body(Height(3), 0),
    );
    batch.delete_cf(&store.database.handle(Column::Blocks), schema::number(3));
    store.database.write(batch).unwrap();
    close(store);
    let (store, opened) = reopen(directory.path(), &chain).unwrap();
    let size = opened.applied.log.size();
    let (event, first) = (dtvn_messages::EventId::default_event(), super::chain::id("one of many 7"));
    let fails = |read: &dyn Fn(&View<'_>) -> Result<(), StoreError>| {
        assert!(matches!(store.reader().read(read), Err(StoreError::Damaged { .. })));
    };
    fails(&|view| view.inclusion_path(3, size).map(drop));
    fails(&|view| view.tile(0, 0, 256).map(drop));
    fails(&|view| view.leaf(7).map(drop));
    fails(&|view| view.outcomes(0, 100).map(drop));
    fails(&|view| view.outcomes(7, 100).map(drop));
    fails(&|view| view.history(&event, &first, None, 10).map(drop));
    fails(&|view| view.committed_block(Height(2)).map(drop));
    fails(&|view| view.block(Height(3)).map(drop));
    assert!(store.reader().read(|view| view.outcome(8)).unwrap().is_some(), "the rest is served");
}
