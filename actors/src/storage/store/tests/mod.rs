//! The store on real files, fed by a real ledger.

mod bounds;
mod building;
pub(in crate::storage) mod chain;
mod collecting;
mod damage;
mod durability;
mod evidence;
mod opening;
mod paging;
mod proofs;
mod round_trip;

use std::collections::BTreeMap;

use super::database::{GO_ON, Order, Range};
use super::*;
use chain::Chain;
use dtvn_messages::{Operation, Timestamp};
use rocksdb::WaitForCompactOptions;

/// Opens a store that may be new.
fn open(directory: &Path, chain: &Chain) -> Store {
    let options = StoreOptions::default();
    Store::open(directory, chain.identity(), options, IfMissing::Create).unwrap().0
}

/// Opens a store that must be there.
fn reopen(directory: &Path, chain: &Chain) -> Result<(Store, Opened), StoreError> {
    Store::open(directory, chain.identity(), StoreOptions::default(), IfMissing::Refuse)
}

fn close(store: Store) -> Height {
    store.close(Duration::from_secs(60)).unwrap()
}

impl Store {
    /// Lets RocksDB do now what it does on its own when a view is dropped: it rewrites files that lie below all others,
    /// without their sequence numbers, and deletes the old ones.
    pub(in super::super) fn settle(&self) {
        self.reader().read(|_| Ok(())).unwrap();
        self.database.raw().wait_for_compact(&WaitForCompactOptions::default()).unwrap();
    }
}

/// Everything that a store holds, key by key.
type Contents = BTreeMap<(&'static str, Vec<u8>), Vec<u8>>;

fn contents(store: &Store) -> Result<Contents, StoreError> {
    let mut contents = Contents::new();
    store.reader().read(|view| {
        for column in Column::ALL {
            view.scan(column, Range::all(), Order::Ascending, |key, value| {
                contents.insert((column.name(), key.to_vec()), value.to_vec());
                GO_ON
            })?;
        }
        Ok(())
    })?;
    Ok(contents)
}

/// A few blocks with everything in them: seeding, all transitions, refusals, repeats, a key used anew after its time.
fn eventful(chain: &mut Chain) -> Vec<AppliedBlock> {
    let mut blocks = Vec::new();
    let issued = (0..40).map(|number| chain.issue(&format!("T-{number}"))).collect();
    blocks.push(chain.block(issued));
    let validated: Vec<_> = (0..30).map(|number| chain.validate(&format!("T-{number}"))).collect();
    let repeated = validated[3].clone();
    blocks.push(chain.block(validated));
    let mut mixed: Vec<_> = (0..20).map(|number| chain.consume(&format!("T-{number}"))).collect();
    mixed.push(repeated.clone());
    mixed.push(Operation { gate: None, ..repeated.clone() });
    mixed.push(chain.consume("T-5"));
    mixed.push(chain.consume("nobody's"));
    mixed.extend((20..25).map(|number| chain.dispute(&format!("T-{number}"))));
    blocks.push(chain.block(mixed));
    // One block that issues, validates and consumes the same ticket, seeds, and uses a seeded ticket.
    let several = vec![
        chain.issue("TICKET-007"),
        chain.validate("TICKET-007"),
        chain.seed(),
        chain.consume("TICKET-007"),
        chain.validate("TICKET-008"),
        chain.validate("made at the gate"),
        chain.seed(),
    ];
    blocks.push(chain.block(several));
    blocks.push(chain.block(Vec::new()));
    chain.pass_hours(25);
    let late = chain.consume("T-29");
    let anew = Operation { valid_until: late.valid_until, ..repeated };
    blocks.push(chain.block(vec![anew, late]));
    blocks
}
