//! Lists in pages.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use super::chain::id;
use super::*;
use dtvn_messages::{EventId, Ticket, TicketState, limits};

fn filter(state: TicketState) -> TicketFilter {
    TicketFilter { event: None, state: Some(state) }
}

/// All pages of a list, and how many there were.
pub(super) fn pages<T>(mut page: impl FnMut(Option<&str>) -> Page<T>) -> (Vec<T>, usize) {
    let (mut items, mut count, mut next) = (Vec::new(), 0, None);
    loop {
        let page: Page<T> = page(next.as_deref());
        items.extend(page.items);
        count += 1;
        next = page.next;
        if next.is_none() {
            return (items, count);
        }
    }
}

#[test]
fn pages_of_any_size_add_up_to_the_list_in_its_order() {
    let directory = tempfile::tempdir().unwrap();
    let mut chain = Chain::new();
    let blocks = eventful(&mut chain);
    let mut store = open(directory.path(), &chain);
    store.apply(&blocks).unwrap();
    let reader = store.reader();
    let image = chain.ledger.image();
    let filters = [TicketFilter::default(), TicketFilter { event: Some(EventId::default_event()), state: None }]
        .into_iter()
        .chain(TicketState::ALL.map(filter))
        .chain([TicketFilter { event: Some(EventId::default_event()), state: Some(TicketState::Validated) }]);
    for filter in filters {
        let fits = |ticket: &&Ticket| filter.state.is_none_or(|state| ticket.state == state);
        let expected: Vec<Ticket> = image.tickets.iter().map(|ticket| &**ticket).filter(fits).cloned().collect();
        for limit in [1, 7, 500, 541, 10_000] {
            let page = |after: Option<&str>| reader.read(|view| view.tickets(&filter, after, limit)).unwrap();
            let (tickets, count) = pages(page);
            assert_eq!(tickets, expected, "{filter:?} by {limit}");
            assert_eq!(count, expected.len().div_ceil(limit).max(1), "no page is empty but the only one");
        }
    }
    let none = TicketFilter { event: Some(EventId::new("elsewhere").unwrap()), state: None };
    assert_eq!(reader.read(|view| view.tickets(&none, None, 10)).unwrap(), Page { items: Vec::new(), next: None });
    let (heights, _) = pages(|after| reader.read(|view| view.blocks(after, 2)).unwrap());
    let heights: Vec<u64> = heights.iter().map(|block| block.height().0).collect();
    assert_eq!(heights, [6, 5, 4, 3, 2, 1]);
    let event = EventId::default_event();
    let whole = reader.read(|view| view.history(&event, &id("T-5"), None, 100)).unwrap().items;
    let (history, count) = pages(|after| reader.read(|view| view.history(&event, &id("T-5"), after, 1)).unwrap());
    assert_eq!((history, count), (whole, 4));
}

#[test]
fn a_page_has_bounds_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let mut chain = Chain::new();
    let mut store = open(directory.path(), &chain);
    let large = |chain: &mut Chain, number: usize| {
        let mut operation = chain.issue(&format!("T-{number:05}"));
        if let dtvn_messages::Action::Issue { data, .. } = &mut operation.action {
            *data = Some("x".repeat(limits::TICKET_DATA_BYTES_MAX).into());
        }
        operation
    };
    for block in 0..6 {
        let operations = (0..250).map(|number| large(&mut chain, block * 250 + number)).collect();
        store.apply(&[chain.block(operations)]).unwrap();
    }
    let reader = store.reader();
    let first = reader.read(|view| view.tickets(&TicketFilter::default(), None, usize::MAX)).unwrap();
    let ended_by_bytes = first.items.len();
    assert!((900..=1_000).contains(&ended_by_bytes), "about 4 MiB of tickets of 4.3 kB: {ended_by_bytes}");
    let list = |after: Option<&str>| reader.read(|view| view.tickets(&TicketFilter::default(), after, 0)).unwrap();
    assert_eq!(list(None).items.len(), 1, "a limit of 0 is none that leads anywhere");
    let all = |after: Option<&str>| reader.read(|view| view.tickets(&TicketFilter::default(), after, 2_000)).unwrap();
    assert_eq!(pages(all).0.len(), 1_500);
}

#[test]
fn only_our_own_cursors_are_taken() {
    let (directory, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut chain = Chain::new();
    let blocks = eventful(&mut chain);
    let mut store = open(directory.path(), &chain);
    store.apply(&blocks).unwrap();
    let mut other_chain = Chain::seeded("another chain");
    let blocks = eventful(&mut other_chain);
    let mut other = open(elsewhere.path(), &other_chain);
    other.apply(&blocks).unwrap();
    let all = TicketFilter::default();
    let take = |store: &Store, filter: &TicketFilter, cursor: &str| {
        store.reader().read(|view| view.tickets(filter, Some(cursor), 10)).map(|page| page.items.len())
    };
    let cursor = store.reader().read(|view| view.tickets(&all, None, 3)).unwrap().next.unwrap();
    assert_eq!(take(&store, &all, &cursor).unwrap(), 10);
    let refused = |result| matches!(result, Err(StoreError::BadCursor));
    assert!(refused(take(&other, &all, &cursor)), "a cursor of another network");
    assert!(refused(take(&store, &filter(TicketState::Issued), &cursor)), "a cursor of another filter");
    assert!(refused(store.reader().read(|view| view.blocks(Some(&cursor), 1)).map(|page| page.items.len())));
    let history = |cursor: &str, ticket: &str| {
        let (event, ticket) = (EventId::default_event(), id(ticket));
        store.reader().read(|view| view.history(&event, &ticket, Some(cursor), 1)).map(|page| page.items.len())
    };
    let event = EventId::default_event();
    let of_5 = store.reader().read(|view| view.history(&event, &id("T-5"), None, 1)).unwrap().next.unwrap();
    assert_eq!(history(&of_5, "T-5").unwrap(), 1);
    assert!(refused(history(&of_5, "T-6")), "a cursor of another ticket's history");
    for text in ["", "A", "=", "AQ", "hello there", &"A".repeat(100_000), &cursor[1..], &format!("{cursor}A")] {
        assert!(refused(take(&store, &all, text)), "{text:.20}");
    }
    for position in 0..cursor.len() {
        let mut changed = cursor.clone().into_bytes();
        changed[position] = if changed[position] == b'B' { b'C' } else { b'B' };
        let changed = String::from_utf8(changed).unwrap();
        assert!(refused(take(&store, &all, &changed)), "changed at {position}");
    }
}

#[test]
fn pages_miss_nothing_and_repeat_nothing_while_blocks_are_applied() {
    const STAYING: usize = 300;
    let directory = tempfile::tempdir().unwrap();
    let mut chain = Chain::new();
    let mut store = open(directory.path(), &chain);
    let staying = (0..STAYING).map(|number| chain.issue(&format!("{number:04}-stays"))).collect();
    store.apply(&[chain.block(staying)]).unwrap();
    let reader = store.reader();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2).map(|_| scope.spawn(|| read_until(&reader, &done, STAYING))).collect();
        // Tickets between those that stay come, move to another state, and so leave the list.
        for round in 0..60 {
            let names: Vec<String> = (0..20).map(|number| format!("{:04}-goes-{round}", number * 15)).collect();
            let issued = names.iter().map(|name| chain.issue(name)).collect();
            store.apply(&[chain.block(issued)]).unwrap();
            let moved = names.iter().map(|name| chain.validate(name)).collect();
            store.apply(&[chain.block(moved)]).unwrap();
        }
        done.store(true, Ordering::Release);
        let rounds: usize = readers.into_iter().map(|reader| reader.join().unwrap()).sum();
        assert!(rounds >= 2);
    });
}

/// Reads the issued tickets over and over; gives how often.
fn read_until(reader: &StoreReader, done: &AtomicBool, staying: usize) -> usize {
    let mut rounds = 0;
    let mut last_height = Height(0);
    loop {
        let was_done = done.load(Ordering::Acquire);
        let (tickets, _) = pages(|after| {
            let page = |view: &View<'_>| {
                assert!(view.applied().height >= last_height, "time goes forward");
                last_height = view.applied().height;
                let page = view.tickets(&filter(TicketState::Issued), after, 23)?;
                assert!(page.items.iter().all(|ticket| ticket.state == TicketState::Issued));
                Ok(page)
            };
            reader.read(page).unwrap()
        });
        let names: BTreeSet<&str> = tickets.iter().map(|ticket| ticket.id.as_str()).collect();
        assert_eq!(names.len(), tickets.len(), "none comes twice");
        assert!(tickets.is_sorted_by(|low, high| low.id < high.id));
        assert_eq!(names.iter().filter(|name| name.ends_with("stays")).count(), staying, "none is missed");
        rounds += 1;
        if was_done {
            return rounds;
        }
    }
}
