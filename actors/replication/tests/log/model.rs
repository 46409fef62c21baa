//! Random lives of a log against the plainest model of one: a list of records, and how many of them are durable.

use std::collections::BTreeMap;

use dtvn_replication::log::{Log, MemoryDisk, RecordNumber, RecordPosition};
use proptest::prelude::*;

use crate::{Record, create, open};

#[derive(Debug, Clone)]
enum Step {
    Append(u8, usize),
    Commit,
    WriteUnsynced,
    Read(prop::sample::Index),
    DropBefore(prop::sample::Index),
    /// The process is killed.
    Kill,
    /// The machine loses its power; for each unsynced thing how much of it is kept, cyclically.
    Crash(Vec<u64>),
    /// The power fails after so many changes; the next step but one that fails is followed by a crash.
    PowerFailsAfter(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let kept = prop_oneof![3 => Just(0), 4 => Just(512), 1 => 1_u64..512];
    prop_oneof![
        12 => (any::<u8>(), prop_oneof![3 => 0_usize..60, 1 => 60_usize..=1426]).prop_map(|(kind, size)| Step::Append(kind, size)),
        6 => Just(Step::Commit),
        4 => Just(Step::WriteUnsynced),
        3 => any::<prop::sample::Index>().prop_map(Step::Read),
        1 => any::<prop::sample::Index>().prop_map(Step::DropBefore),
        1 => Just(Step::Kill),
        1 => prop::collection::vec(kept, 1..9).prop_map(Step::Crash),
        1 => (0_u64..12).prop_map(Step::PowerFailsAfter),
    ]
}

struct Model {
    log: Option<Log<MemoryDisk>>,
    /// All records ever appended and not lost, the first is number 1.
    records: Vec<Record>,
    durable: usize,
    positions: BTreeMap<u64, RecordPosition>,
    dropped_before: u64,
}

impl Model {
    fn log(&mut self) -> &mut Log<MemoryDisk> {
        self.log.as_mut().unwrap()
    }

    /// Returns false once the power has failed.
    fn step(&mut self, step: &Step) -> bool {
        match step {
            Step::Append(kind, size) => {
                let record = (*kind, vec![kind.wrapping_add(*size as u8); *size]);
                // If the power fails in the middle, the record may be the one thing that it is not: written.
                match self.log().append(record.0, &record.1) {
                    Ok(position) => {
                        self.records.push(record);
                        assert_eq!(position.number.0, self.records.len() as u64);
                        self.positions.insert(position.number.0, position);
                    }
                    Err(_) => return false,
                }
            }
            Step::Commit => match self.log().commit() {
                Ok(durable) => {
                    assert_eq!(durable.0, self.records.len() as u64);
                    self.durable = self.records.len();
                }
                Err(_) => return false,
            },
            Step::WriteUnsynced => return self.log().write_unsynced().is_ok(),
            Step::Read(index) if !self.records.is_empty() => {
                let number = index.index(self.records.len()) + 1;
                let (position, expected) = (self.positions[&(number as u64)], self.records[number - 1].clone());
                let first = self.log().segments().next().unwrap().first.0;
                assert_eq!(self.log().read(position).ok(), (number as u64 >= first).then_some(expected));
            }
            Step::DropBefore(index) if self.durable > 0 => {
                let keep = index.index(self.durable) as u64 + 1;
                self.dropped_before = self.dropped_before.max(keep);
                return self.log().drop_segments_before(RecordNumber(keep)).is_ok();
            }
            Step::Kill => self.reopen(MemoryDisk::restart),
            Step::Crash(kept) => self.crash(kept),
            Step::PowerFailsAfter(changes) => self.log().disk_mut().fail_power_after(*changes),
            Step::Read(_) | Step::DropBefore(_) => (),
        }
        self.durable = self.durable.max(self.log().durable().0 as usize);
        true
    }

    fn crash(&mut self, kept: &[u64]) {
        let mut kept = kept.iter().cycle();
        self.reopen(|disk| disk.crash(|_| *kept.next().unwrap()));
    }

    fn reopen(&mut self, fault: impl FnOnce(&mut MemoryDisk)) {
        let mut disk = self.log.take().unwrap().into_disk();
        fault(&mut disk);
        // If the power fails in the repair, it is repaired after that.
        let found = open(disk.clone()).unwrap_or_else(|error| {
            assert!(!error.is_damage(), "{error}");
            disk.crash(|_| 512);
            open(disk).unwrap()
        });
        let (first, last) = (found.opened.first.0 as usize, found.opened.last.0 as usize);
        assert!(last >= self.durable, "{} records were durable, {last} are left", self.durable);
        assert!(first == 1 || first as u64 <= self.dropped_before, "the first record left is {first}");
        assert_eq!(found.records, self.records[first - 1..last]);
        self.records.truncate(last);
        self.durable = last;
        self.positions.retain(|number, _| *number <= last as u64);
        self.log = Some(found.log);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_life_of_a_log_agrees_with_a_list(steps in prop::collection::vec(step(), 1..120)) {
        let mut model = Model {
            log: Some(create()),
            records: Vec::new(),
            durable: 0,
            positions: BTreeMap::new(),
            dropped_before: 0,
        };
        for (index, step) in steps.iter().enumerate() {
            if !model.step(step) {
                model.crash(&[512, 0, 512, 512, 0, index as u64 % 512]);
            }
        }
        model.crash(&[0]);
    }
}
