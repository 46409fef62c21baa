//! Evidence: it outlives a loss of power, there is one piece for each culprit, kind and slot, and it comes in pages.

use std::collections::BTreeMap;

use super::durability::copy_directory;
use super::paging::pages;
use super::*;
use dtvn_messages::evidence::EpochContext;
use dtvn_messages::{
    Digest, Ed25519, Epoch, Evidence, EvidenceKind, Head, KeyPair, Signed, Statement, ValidatorIndex, View as OfView,
    Vote, VoteKind,
};

const SEED: &str = "a store's chain";

/// A statement of this chain's only validator, who lies.
fn by_the_liar<T: Statement>(chain: &Chain, body: T) -> Signed<T> {
    Signed::new(body, chain.genesis.chain_id(), ValidatorIndex(0), &KeyPair::development(SEED, "node0"))
}

fn vote(chain: &Chain, kind: VoteKind, height: u64, digest: u8) -> Signed<Vote> {
    let (epoch, view, height) = (Epoch(0), OfView(0), Height(height));
    by_the_liar(chain, Vote { kind, epoch, view, height, digest: Digest([digest; 32]) })
}

fn two_votes(chain: &Chain, height: u64, [first, second]: [u8; 2]) -> Arc<Evidence> {
    let [first, second] = [first, second].map(|digest| vote(chain, VoteKind::Prepare, height, digest));
    Arc::new(Evidence::TwoVotes(first, second))
}

fn two_heads(chain: &Chain, height: u64) -> Arc<Evidence> {
    let head = |root: u8| Head {
        epoch: Epoch(0),
        height: Height(height),
        block: Digest([9; 32]),
        log_size: 7,
        log_root: Digest([root; 32]),
        time_seconds: 1_700_000_000,
    };
    Arc::new(Evidence::TwoHeads(by_the_liar(chain, head(1)), by_the_liar(chain, head(2))))
}

fn all(store: &Store) -> Vec<Evidence> {
    store.reader().read(|view| view.all_evidence()).unwrap()
}

/// These pieces as they are listed: by their names.
fn listed(pieces: &[Arc<Evidence>]) -> Vec<Evidence> {
    let by_name: BTreeMap<Digest, &Arc<Evidence>> = pieces.iter().map(|piece| (piece.name(), piece)).collect();
    by_name.into_values().map(|piece| Evidence::clone(piece)).collect()
}

fn holds(chain: &Chain, evidence: &Evidence) -> bool {
    let context = EpochContext {
        set: chain.genesis.validators(),
        base: (Height(0), chain.genesis.hash()),
        rotation_interval: chain.genesis.parameters().rotation_interval,
    };
    evidence.verify(chain.genesis.chain_id(), |epoch| (epoch == Epoch(0)).then_some(context), &Ed25519).is_ok()
}

#[test]
fn it_is_there_after_a_loss_of_power_and_proves_what_it_proved() {
    let (directory, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut chain = Chain::new();
    let mut store = open(directory.path(), &chain);
    assert_eq!(all(&store), []);
    // No block comes with it: it is a reason of its own to flush.
    let pieces = [two_votes(&chain, 1, [1, 2]), two_heads(&chain, 1), two_votes(&chain, 2, [1, 2])];
    store.put_evidence(&pieces).unwrap();
    assert_eq!(all(&store), listed(&pieces));
    let crashed = copy.path().join("crashed");
    copy_directory(directory.path(), &crashed);
    let (mut store, _) = reopen(&crashed, &chain).unwrap();
    assert_eq!(all(&store), listed(&pieces));
    assert!(all(&store).iter().all(|piece| holds(&chain, piece)));
    // It stays when blocks come and go, and the process ends in good order.
    let blocks = eventful(&mut chain);
    store.apply(&blocks).unwrap();
    assert_eq!(store.collect(Height(5)).unwrap(), Height(5));
    close(store);
    let (store, _) = reopen(&crashed, &chain).unwrap();
    assert_eq!(all(&store), listed(&pieces));
    close(store);
}

#[test]
fn there_is_one_piece_for_each_culprit_kind_and_slot() {
    let directory = tempfile::tempdir().unwrap();
    let chain = Chain::new();
    let mut store = open(directory.path(), &chain);
    let first = two_votes(&chain, 1, [1, 2]);
    store.put_evidence(&[]).unwrap();
    store.put_evidence(&[Arc::clone(&first), Arc::clone(&first)]).unwrap();
    store.put_evidence(std::slice::from_ref(&first)).unwrap();
    assert_eq!(all(&store), listed(std::slice::from_ref(&first)));
    // The same lie told the other way round, and a further one in the same slot.
    for again in [[2, 1], [1, 3], [4, 5]] {
        store.put_evidence(&[two_votes(&chain, 1, again)]).unwrap();
        let kept = all(&store);
        assert_eq!(kept.len(), 1, "{again:?}: {kept:?}");
        assert!(holds(&chain, &kept[0]));
    }
    let by_another = {
        let Evidence::TwoVotes(first, second) = Evidence::clone(&first) else { panic!("it is two votes") };
        let by_another = |vote: Signed<Vote>| Signed { signer: ValidatorIndex(1), ..vote };
        Arc::new(Evidence::TwoVotes(by_another(first), by_another(second)))
    };
    store.put_evidence(&[two_votes(&chain, 2, [1, 2]), two_heads(&chain, 1), by_another]).unwrap();
    let about = |piece: &Evidence| (piece.culprit().0, piece.kind(), piece.slot().height.0);
    let mut kept: Vec<_> = all(&store).iter().map(about).collect();
    kept.sort_unstable();
    let (votes, heads) = (EvidenceKind::TwoVotes, EvidenceKind::TwoHeads);
    assert_eq!(kept, [(0, votes, 1), (0, votes, 2), (0, heads, 1), (1, votes, 1)]);
}

#[test]
fn pages_of_any_size_add_up_to_all_of_it_in_the_order_of_its_names() {
    let directory = tempfile::tempdir().unwrap();
    let mut chain = Chain::new();
    let mut store = open(directory.path(), &chain);
    let blocks = eventful(&mut chain);
    store.apply(&blocks).unwrap();
    let reader = store.reader();
    let nothing = reader.read(|view| view.evidence(None, 10)).unwrap();
    assert_eq!(nothing, Page { items: Vec::new(), next: None });
    let pieces: Vec<_> = (1..=9).map(|height| two_votes(&chain, height, [1, 2])).collect();
    store.put_evidence(&pieces).unwrap();
    for limit in [1, 2, 4, 9, 100] {
        let page = |after: Option<&str>| reader.read(|view| view.evidence(after, limit)).unwrap();
        let (found, count) = pages(page);
        assert_eq!((found, count), (listed(&pieces), pieces.len().div_ceil(limit)), "by {limit}");
    }
    // What comes while somebody pages through it pushes nothing out of the list.
    let first = reader.read(|view| view.evidence(None, 3)).unwrap();
    let later: Vec<_> = (10..=20).map(|height| two_votes(&chain, height, [1, 2])).collect();
    store.put_evidence(&later).unwrap();
    let rest = reader.read(|view| view.evidence(first.next.as_deref(), 100)).unwrap().items;
    let seen: Vec<Evidence> = first.items.iter().chain(&rest).cloned().collect();
    assert!(listed(&pieces).iter().all(|piece| seen.iter().filter(|known| *known == piece).count() == 1));
    let cursor = first.next.unwrap();
    let blocks = reader.read(|view| view.blocks(Some(&cursor), 1));
    assert!(matches!(blocks, Err(StoreError::BadCursor)), "it leads nowhere in another list");
    let of_blocks = reader.read(|view| view.blocks(None, 1)).unwrap().next.unwrap();
    let refused = reader.read(|view| view.evidence(Some(&of_blocks), 1));
    assert!(matches!(refused, Err(StoreError::BadCursor)));
}

#[test]
fn what_is_no_evidence_is_damage_and_is_not_served() {
    let directory = tempfile::tempdir().unwrap();
    let chain = Chain::new();
    let mut store = open(directory.path(), &chain);
    let piece = two_votes(&chain, 1, [1, 2]);
    store.put_evidence(std::slice::from_ref(&piece)).unwrap();
    let mut bytes = piece.to_bytes();
    bytes.push(0);
    let (database, name) = (&store.database, piece.name());
    let column = database.handle(Column::Evidence);
    database.raw().put_cf_opt(column, schema::digest(&name), bytes, &options::write_options()).unwrap();
    let listed = store.reader().read(|view| view.evidence(None, 10));
    assert!(matches!(listed, Err(StoreError::Damaged { .. })), "{listed:?}");
    let all = store.reader().read(|view| view.all_evidence());
    assert!(matches!(all, Err(StoreError::Damaged { .. })), "{all:?}");
}
