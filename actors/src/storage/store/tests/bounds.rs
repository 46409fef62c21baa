//! What one page, one record and the database itself may take.

use std::fs;

use super::chain::id;
use super::*;
use dtvn_messages::{EventId, TicketState, ValidatorIndex, limits};
use rocksdb::properties;

#[test]
fn a_page_ends_after_so_many_tickets_were_looked_at_even_if_it_is_empty() {
    let directory = tempfile::tempdir().unwrap();
    let mut chain = Chain::new();
    let mut store = open(directory.path(), &chain);
    // The last one in the order of the list is the only one that fits.
    let names: Vec<String> = (0..=limits::STORE_PAGE_VISITS_MAX).map(|number| format!("T-{number:05}")).collect();
    for names in names.chunks(limits::BLOCK_OPERATIONS_MAX) {
        let operations = names.iter().map(|name| chain.issue(name)).collect();
        store.apply(&[chain.block(operations)]).unwrap();
    }
    let last = names.last().unwrap();
    let operations = vec![chain.validate(last)];
    store.apply(&[chain.block(operations)]).unwrap();
    let filter = TicketFilter { event: None, state: Some(TicketState::Validated) };
    let reader = store.reader();
    let first = reader.read(|view| view.tickets(&filter, None, 10)).unwrap();
    assert!(first.items.is_empty() && first.next.is_some(), "it goes on behind the ones that were looked at");
    let second = reader.read(|view| view.tickets(&filter, first.next.as_deref(), 10)).unwrap();
    assert_eq!(second.items.iter().map(|ticket| ticket.id.clone()).collect::<Vec<_>>(), [id(last)]);
    assert_eq!(second.next, None);
}

#[test]
fn a_record_that_is_too_large_is_damage() {
    let directory = tempfile::tempdir().unwrap();
    let mut chain = Chain::new();
    let mut store = open(directory.path(), &chain);
    let operations = vec![chain.issue("T")];
    store.apply(&[chain.block(operations)]).unwrap();
    let height = Height(1);
    let stored = store.reader().read(|view| view.block(height)).unwrap().unwrap();
    let of = |validators: usize| {
        let mut large = stored.clone();
        large.local.prepared_by = vec![ValidatorIndex(7); validators];
        large.to_value()
    };
    let write = |value: &[u8]| {
        let database = &store.database;
        database.raw().put_cf_opt(
            database.handle(Column::Blocks),
            schema::number(height.0),
            value,
            &options::write_options(),
        )
    };
    let read = || store.reader().read(|view| view.block(height));
    let fits = limits::STORE_RECORD_BYTES_MAX / size_of::<ValidatorIndex>() - 1_000;
    write(&of(fits)).unwrap();
    assert_eq!(read().unwrap().unwrap().local.prepared_by.len(), fits);
    write(&of(fits + 2_000)).unwrap();
    let damaged = read().unwrap_err();
    assert!(matches!(damaged, StoreError::Damaged { .. }), "{damaged}");
}

#[test]
fn the_cache_drops_what_is_above_its_bound() {
    const CACHE_BYTES: usize = 1 << 20;
    let directory = tempfile::tempdir().unwrap();
    let mut chain = Chain::new();
    let options = StoreOptions { cache_bytes: CACHE_BYTES, ..StoreOptions::default() };
    let (mut store, _) = Store::open(directory.path(), chain.identity(), options, IfMissing::Create).unwrap();
    let names: Vec<String> = (0..20_000).map(|number| format!("T-{number:05}")).collect();
    for names in names.chunks(5_000) {
        let operations = names.iter().map(|name| chain.issue(name)).collect();
        store.apply(&[chain.block(operations)]).unwrap();
    }
    store.flush().unwrap();
    let written = store.reader().stats().unwrap().disk_bytes();
    assert!(written > 2 * CACHE_BYTES as u64, "{written} bytes on disk");
    let figure = |store: &Store, name| {
        let database = &store.database;
        database.raw().property_int_value_cf(database.handle(Column::Tickets), name).unwrap().unwrap()
    };
    let mut most = 0;
    store
        .reader()
        .read(|view| {
            for name in &names {
                assert!(view.ticket(&EventId::default_event(), &id(name))?.is_some());
                view.history(&EventId::default_event(), &id(name), None, 1)?;
                most = most.max(figure(&store, properties::BLOCK_CACHE_USAGE));
            }
            Ok(())
        })
        .unwrap();
    assert!(most > CACHE_BYTES as u64 / 2, "it was not filled: {most} bytes");
    assert!(most <= CACHE_BYTES as u64, "{most} bytes");
    close(store);
    // And with the options of a node it has the node's bound.
    let (store, _) = reopen(directory.path(), &chain).unwrap();
    assert_eq!(figure(&store, properties::BLOCK_CACHE_CAPACITY), limits::STORE_CACHE_BYTES as u64);
}

#[test]
fn the_database_knows_how_many_files_it_may_hold_open() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), &Chain::new());
    // What RocksDB runs with, as it has written it down.
    let written = fs::read_dir(database_path(directory.path())).unwrap().map(|entry| entry.unwrap().path());
    let mut written: Vec<_> =
        written.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("OPTIONS-")).collect();
    written.sort();
    let text = fs::read_to_string(written.last().unwrap()).unwrap();
    let open_files = text.lines().find_map(|line| line.trim().strip_prefix("max_open_files=")).unwrap();
    assert_eq!(open_files, limits::STORE_OPEN_FILES_MAX.to_string());
    close(store);
}
