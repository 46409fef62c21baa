//! What a process has used, from `/proc`.

use std::path::Path;

use serde::{Deserialize, Serialize};

/// What a process has used so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Time on a processor, its own and the kernel's for it, in milliseconds.
    pub cpu_ms: u64,
    /// Bytes that it caused to be written to disk.
    pub written_bytes: u64,
    /// Memory that it occupies now.
    pub resident_bytes: u64,
}

impl Usage {
    /// What the process `pid` has used; none if there is no such process, or it is not ours to look at.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        let folder = Path::new("/proc").join(pid.to_string());
        let stat = std::fs::read_to_string(folder.join("stat")).ok()?;
        let io = std::fs::read_to_string(folder.join("io")).ok()?;
        let statm = std::fs::read_to_string(folder.join("statm")).ok()?;
        Some(Self {
            cpu_ms: cpu_ms(&stat, rustix::param::clock_ticks_per_second())?,
            written_bytes: io.lines().find_map(|line| line.strip_prefix("write_bytes: "))?.parse().ok()?,
            resident_bytes: statm.split(' ').nth(1)?.parse::<u64>().ok()? * rustix::param::page_size() as u64,
        })
    }

    /// What was used since `earlier`. The memory is that of now.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            cpu_ms: self.cpu_ms.saturating_sub(earlier.cpu_ms),
            written_bytes: self.written_bytes.saturating_sub(earlier.written_bytes),
            resident_bytes: self.resident_bytes,
        }
    }
}

/// Fields 14 and 15 of `/proc/<pid>/stat`: clock ticks in user and kernel mode. The name in field 2 may have blanks.
fn cpu_ms(stat: &str, ticks_per_second: u64) -> Option<u64> {
    let after_name = &stat[stat.rfind(')')? + 1..];
    let mut fields = after_name.split_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) * 1_000 / ticks_per_second.max(1))
}

/// When a process started, in clock ticks since the machine did: with its id this names a process for good. None if it has
/// ended, also if nobody has taken note yet.
pub(super) fn started_at(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat[stat.rfind(')')? + 1..].split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") { None } else { fields.nth(18)?.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_are_found_behind_a_name_with_blanks() {
        let stat = "42 (a b) c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 1 0 777 0 0";
        assert_eq!(cpu_ms(stat, 100), Some(3_000));
    }

    #[test]
    fn a_process_that_works_uses_time_and_memory() {
        let pid = std::process::id();
        let before = Usage::of(pid).unwrap();
        let begin = std::time::Instant::now();
        let mut number = 1_u64;
        while begin.elapsed().as_millis() < 200 || Usage::of(pid).unwrap().cpu_ms == before.cpu_ms {
            number = std::hint::black_box(number.wrapping_mul(31));
        }
        let used = Usage::of(pid).unwrap().since(before);
        assert!(used.cpu_ms >= 10 && used.resident_bytes > 100_000, "{used:?}");
    }

    #[test]
    fn what_is_no_process_has_no_usage() {
        assert_eq!(Usage::of(u32::MAX), None);
        assert_eq!(started_at(u32::MAX), None);
        assert!(started_at(std::process::id()).is_some());
    }
}
