//! What commands write, on a disk with little room.

use std::path::Path;
use std::process::Command;

use dtvn_messages::KeyPair;

use crate::{DTVN, json, said};

/// A command that may write so little into one file that a genesis of twenty validators does not fit: as on a full
/// disk, it fails in the middle.
fn without_room(arguments: &[String]) -> std::process::Output {
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; ulimit -f 1; exec \"$0\" \"$@\"", DTVN]).args(arguments);
    command.output().unwrap()
}

fn genesis_line(out: &Path) -> Vec<String> {
    let mut arguments: Vec<String> = ["genesis", "new", "--chain-id=arena"].map(str::to_owned).to_vec();
    for number in 0..20 {
        let name = format!("gate-{number}");
        let key = KeyPair::development("room", &name).public();
        arguments.push(format!("--validator={name}={key}@/ip4/127.0.0.1/tcp/4001"));
    }
    arguments.push(format!("--out={}", out.display()));
    arguments
}

fn files(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

#[test]
fn a_genesis_that_does_not_fit_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("genesis.json");
    let output = without_room(&genesis_line(&path));
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains(&format!("cannot make {}", path.display())), "{}", said(&output));
    assert_eq!(files(folder.path()), 0, "neither a part of it nor what it was written to");
    let output = Command::new(DTVN).args(genesis_line(&path)).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let shown = json(&format!("genesis show {} --json", path.display()), 0);
    assert_eq!(shown["genesis"]["validators"].as_array().unwrap().len(), 20);
    let output = Command::new(DTVN).args(genesis_line(&path)).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "it is not overwritten");
    assert_eq!(json(&format!("genesis show {} --json", path.display()), 0), shown);
    assert_eq!(files(folder.path()), 1);
}
