//! `dtvn devnet`, interrupted.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::{DTVN, dtvn};

/// Whether a process has this path in its command line.
fn somebody_names(path: &Path) -> bool {
    let path = path.to_str().unwrap();
    let lines =
        std::fs::read_dir("/proc").unwrap().filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok());
    lines.into_iter().any(|line| String::from_utf8_lossy(&line).contains(path))
}

#[test]
fn a_network_that_is_interrupted_while_it_starts_does_not_run_and_says_so() {
    for (flag, signal) in [("--demo", Signal::INT), ("--detach", Signal::TERM)] {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().join("net");
        let mut command = Command::new(DTVN);
        command.args(["devnet", "-n", "1", "--base-port", "0", flag, "--data-dir"]).arg(&data_dir);
        let mut devnet = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut notes = BufReader::new(devnet.stderr.take().unwrap());
        let mut first = String::new();
        notes.read_line(&mut first).unwrap();
        assert_eq!(first, "starting 1 nodes\n");
        kill_process(Pid::from_raw(devnet.id().try_into().unwrap()).unwrap(), signal).unwrap();
        assert_eq!(devnet.wait().unwrap().code(), Some(1), "{flag}");
        let begin = Instant::now();
        while somebody_names(&data_dir) {
            assert!(begin.elapsed() < Duration::from_secs(30), "{flag}: a node is left running");
            std::thread::yield_now();
        }
        // Only now: a node that is left running would hold the other end.
        let mut rest = String::new();
        notes.read_to_string(&mut rest).unwrap();
        assert!(rest.contains("interrupted before "), "{flag}: {rest}");
        assert!(!data_dir.join("devnet.json").exists());
        assert_eq!(dtvn(&format!("devnet status --data-dir {}", data_dir.display())).status.code(), Some(1));
    }
}
