//! Disks that fail. An honest node whose disk fails ends, as a process does (consensus.md section 4: "a storage error is
//! fatal"), and tries again until the disk works. Damage is another matter: what a log has lost it never gets back.
//!
//! What a disk is told to refuse is counted when it has refused it.

use dtvn_replication::execution::Stored;
use dtvn_replication::log::{Disk as _, MemoryDisk};
use dtvn_replication::node::{Media, MemoryStore};

use super::Act;
use crate::coverage::Coverage;
use crate::stage::{Broken, Harm};
use crate::world::{Event, World};

/// How long a process takes to come back after its disk failed.
const AGAIN_US: u64 = 300_000;
/// The kind of harm that leaves the log alone.
const LOSE_STORE: u64 = Harm::StoreLost as u64;

impl World {
    /// The disk of a host, whether its process runs or not.
    fn disk_mut(&mut self, host: usize) -> Option<&mut MemoryDisk> {
        let at = &mut self.hosts[host];
        match (&mut at.node, &mut at.media) {
            (Some(node), _) => node.disk_mut(),
            (None, media) => media.as_mut().map(|media| &mut media.disk),
        }
    }

    /// The database of a host, whether its process runs or not.
    fn store_mut(&mut self, host: usize) -> Option<&mut MemoryStore> {
        let at = &mut self.hosts[host];
        match (&mut at.node, &mut at.media) {
            (Some(node), _) => Some(node.store_mut()),
            (None, media) => media.as_mut().map(|media| &mut media.store),
        }
    }

    pub(super) fn slow_disk(&mut self, host: usize) {
        let at = &mut self.hosts[host];
        at.slow_disk = !at.slow_disk;
    }

    pub(super) fn break_disk(&mut self, host: usize) {
        let how = self.randoms.disk.pick(&[Broken::Full, Broken::ReadOnly, Broken::NextSync]);
        let for_us = self.randoms.disk.around(1_000_000);
        self.break_disk_so(host, how);
        self.schedule(for_us, Event::Act(Act::Mend(host)));
    }

    pub(crate) fn break_disk_so(&mut self, host: usize, how: Broken) {
        let Some(disk) = self.disk_mut(host) else { return };
        match how {
            Broken::Full | Broken::NoSegment => disk.no_space_after(0),
            Broken::ReadOnly => disk.make_read_only(),
            Broken::NextSync => disk.fail_next_sync(),
        }
        self.hosts[host].is_disk_broken = true;
        if let Some(store) = self.store_mut(host).filter(|_| how == Broken::Full) {
            store.set_full(true);
        }
    }

    pub(crate) fn mend_disk(&mut self, host: usize) {
        if let Some(disk) = self.disk_mut(host) {
            disk.mend();
        }
        if let Some(store) = self.store_mut(host) {
            store.set_full(false);
        }
        self.hosts[host].is_disk_broken = false;
    }

    /// A node said that it cannot go on: its process ends, and another is started.
    pub(crate) fn on_failed(&mut self, host: usize) {
        self.coverage.disk_failures += 1;
        self.crash(host, false);
        self.schedule(AGAIN_US, Event::Act(Act::Start(host)));
    }

    /// Counts what the disk of a host that is down has refused, or lost.
    pub(crate) fn count_struck(&mut self, host: usize) {
        if let Some(media) = self.hosts[host].media.as_mut() {
            count(&mut self.coverage, media);
        }
    }

    /// A host that is down gets a new machine: its key, and nothing else. Not for one that ever voted.
    pub(crate) fn replace(&mut self, host: usize) {
        if self.hosts[host].media.is_some() {
            self.hosts[host].media = Some(Media::new(MemoryDisk::new(), Stored::genesis(&self.genesis)));
            self.hosts[host].first_segment = 1;
            self.hosts[host].promises.began_anew();
            self.hosts[host].heights.lost_all();
        }
    }

    /// Harms the log of a host, if that many may be lost for good, or loses its derived state.
    pub(super) fn damage(&mut self, host: usize) {
        let at = &self.hosts[host];
        let may_be = self.scenario.spare_faults > 0 && at.is_honest && !at.is_damaged && self.may_lose(host);
        if !may_be || self.randoms.faults.permille(500) {
            return;
        }
        let kind = self.randoms.disk.below(5);
        if self.harm(host, kind) {
            self.scenario.spare_faults -= 1;
        }
        self.schedule(500_000, Event::Act(Act::Start(host)));
    }

    /// Harms the log of a host in one of four ways, anywhere in it, while its machine is without power, or takes its
    /// derived state away. Says whether it did.
    pub(crate) fn harm(&mut self, host: usize, kind: u64) -> bool {
        self.crash(host, true);
        let place = self.place_in_log(host);
        self.harm_at(host, kind, place)
    }

    /// The same where it is surely noticed: in the header and the first batch, which are never torn.
    pub(crate) fn harm_beginning(&mut self, host: usize, kind: u64) -> bool {
        self.crash(host, true);
        let name = format!("{:0>16}.segment", self.hosts[host].first_segment);
        let bit = self.randoms.disk.below(8 * 1_024);
        self.harm_at(host, kind, Some((name, bit)))
    }

    /// A bit of the log of a host, and the file that it is in: mostly of what was written, but what was not can be harmed
    /// too, also in the file that was made for what comes next.
    fn place_in_log(&mut self, host: usize) -> Option<(String, u64)> {
        let disk = &mut self.hosts[host].media.as_mut()?.disk;
        let random = &mut self.randoms.disk;
        let names = disk.list().ok()?;
        let name = names.get(random.below(names.len() as u64) as usize)?;
        let contents = disk.contents(name);
        let written = contents.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let bytes = if random.permille(900) { written } else { contents.len() };
        Some((name.clone(), random.below(8 * bytes as u64)))
    }

    fn harm_at(&mut self, host: usize, kind: u64, place: Option<(String, u64)>) -> bool {
        // Without a log there is no file of that name.
        let (name, bit) = place.unwrap_or_default();
        let Some(media) = self.hosts[host].media.as_mut() else { return false };
        let (is_done, count) = match kind {
            0 => (media.disk.flip_bit(&name, bit), &mut self.coverage.bits_flipped),
            1 => (media.disk.truncate(&name, bit / 8), &mut self.coverage.logs_truncated),
            2 => (media.disk.lose(&name), &mut self.coverage.segments_lost),
            // Its log is whole: it knows what it signed.
            LOSE_STORE => {
                media.store = MemoryStore::new(&self.genesis);
                (true, &mut self.coverage.stores_lost)
            }
            _ => {
                media.disk = MemoryDisk::new();
                (true, &mut self.coverage.disks_emptied)
            }
        };
        *count += u64::from(is_done);
        if kind == LOSE_STORE {
            self.hosts[host].heights.lost_all();
        }
        self.hosts[host].may_forget |= is_done && kind != LOSE_STORE;
        is_done
    }
}

/// Counts what a disk has refused, or lost.
pub(super) fn count(coverage: &mut Coverage, media: &mut Media<MemoryDisk>) {
    let struck = media.disk.take_struck();
    coverage.full_disks += struck.no_space + media.store.take_refused();
    coverage.read_only_disks += struck.read_only;
    coverage.failed_syncs += struck.failed_syncs;
    coverage.tails_lost += struck.lossy_crashes;
}
