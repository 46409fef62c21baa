//! Files that are not what was written: found and said, never served, and never taken for an empty store.

use std::fs;
use std::path::PathBuf;

use super::durability::copy_directory;
use super::*;

/// A store whose last blocks were made durable one after the other, as a running node's are.
fn store_to_damage(directory: &Path) -> (Chain, Contents) {
    let mut chain = Chain::new();
    let mut store = open(directory, &chain);
    for block in eventful(&mut chain) {
        store.apply(&[block]).unwrap();
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
    const PLACES: u64 = 9;
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
    assert!(tried > 200, "{tried} flips");
    assert!(found * 10 > tried * 8, "most are found, as most bytes matter: {found} of {tried}");
}

#[test]
fn no_cut_and_no_missing_file_is_passed_over() {
    let (directory, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (chain, whole) = store_to_damage(directory.path());
    for file in files(&database_path(directory.path())) {
        let length = fs::metadata(&file).unwrap().len();
        let kind = kind(&file);
        let matters = kind == ".sst" || kind.starts_with("MANIFEST") || kind == "CURRENT";
        for cut in [None, Some(0), Some(length / 2), Some(length.saturating_sub(1))] {
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
