//! Figures of the process, from Linux' `/proc/self`; elsewhere there are none.

use std::fs;
use std::sync::{Arc, RwLock};

use dtvn_actors::instruments::table;
use opentelemetry::metrics::Meter;
use rustix::process::{Resource, getrlimit};

use super::observed::observe;
use super::sources::Reading;

/// Figures of the process.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(super) struct Process {
    cpu_seconds: Option<f64>,
    threads: Option<u64>,
    resident_bytes: Option<u64>,
    open_files: Option<u64>,
    open_files_max: Option<u64>,
}

impl Process {
    /// Reads them.
    pub(super) fn read() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let (cpu_ticks, threads) = cpu_ticks_and_threads(&stat).unzip();
        let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let resident_pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
        Self {
            cpu_seconds: cpu_ticks.map(|ticks| ticks as f64 / rustix::param::clock_ticks_per_second() as f64),
            threads,
            resident_bytes: resident_pages.map(|pages| pages * rustix::param::page_size() as u64),
            // The directory that is being read is among them.
            open_files: fs::read_dir("/proc/self/fd").ok().map(|files| (files.count() as u64).saturating_sub(1)),
            open_files_max: getrlimit(Resource::Nofile).current,
        }
    }
}

/// User and system time in ticks, and threads: fields 14, 15 and 20 of `/proc/self/stat`. The name of the program, which
/// is field 2, may hold spaces and parentheses; nothing after it does.
fn cpu_ticks_and_threads(stat: &str) -> Option<(u64, u64)> {
    let (_, after_name) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = after_name.split(' ').collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some((field(14)? + field(15)?, field(20)?))
}

/// Registers all metrics of this file.
pub(super) fn register(meter: &Meter, reading: &Arc<RwLock<Reading>>) {
    type Figure = fn(&Process) -> Option<f64>;
    let figures: [(table::Metric, Figure); 5] = [
        (table::PROCESS_CPU, |process| process.cpu_seconds),
        (table::PROCESS_THREADS, |process| process.threads.map(|count| count as f64)),
        (table::PROCESS_MEMORY, |process| process.resident_bytes.map(|bytes| bytes as f64)),
        (table::PROCESS_FILES, |process| process.open_files.map(|count| count as f64)),
        (table::PROCESS_FILES_MAX, |process| process.open_files_max.map(|count| count as f64)),
    ];
    for (metric, figure) in figures {
        observe(meter, &metric, reading, move |reading, sink| {
            if let Some(value) = figure(&reading.process) {
                sink(value, &[]);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_with_an_odd_name_is_read_right() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 7 0 12345 1000 200 1844";
        assert_eq!(cpu_ticks_and_threads(stat), Some((300, 7)));
        assert_eq!(cpu_ticks_and_threads(""), None);
    }

    #[test]
    fn this_process_has_all_figures_and_they_move() {
        let before = Process::read();
        let held: Vec<fs::File> = (0..10).map(|_| fs::File::open("/proc/self/stat").unwrap()).collect();
        let after = Process::read();
        assert!(before.cpu_seconds.is_some() && before.threads >= Some(1));
        assert!(before.resident_bytes > Some(1024 * 1024) && before.open_files_max >= before.open_files);
        // Other tests open and close files meanwhile, but not this many.
        assert!(after.open_files.unwrap() + 5 > before.open_files.unwrap() + held.len() as u64 - 5);
    }
}
