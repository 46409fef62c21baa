//! FAULTS.md and the code say the same.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use dtvn_simulation::{Behaviour, Coverage, Group};

struct Row {
    id: String,
    /// How the swarm has it.
    swarm: String,
    tests: Vec<String>,
}

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The pieces between backquotes.
fn quoted(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn table() -> String {
    std::fs::read_to_string(top().join("actors/simulation/FAULTS.md")).unwrap()
}

fn rows() -> Vec<Row> {
    let table = table();
    let lines = table.lines().filter(|line| line.starts_with("| `"));
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').collect();
        assert_eq!(cells.len(), 4, "{line}");
        Row { id: quoted(cells[0]).remove(0), swarm: cells[2].trim().to_owned(), tests: quoted(cells[3]) }
    };
    lines.map(row).collect()
}

/// The file of a test, and its name.
fn place(test: &str) -> (PathBuf, String) {
    let (path, name) = test.rsplit_once("::").unwrap_or_else(|| panic!("{test} names no file"));
    let path = match path.strip_prefix("stories::") {
        Some(module) => format!("actors/simulation/tests/stories/{module}.rs"),
        None => path.to_owned(),
    };
    (top().join(path), name.to_owned())
}

#[test]
fn every_named_test_exists() {
    for row in rows() {
        assert!(!row.tests.is_empty(), "{} has no test", row.id);
        for test in row.tests {
            let (path, name) = place(&test);
            let source = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{test}: {error}"));
            // Written out, or a line of the table of lies.
            let is_there = source.contains(&format!("fn {name}(")) || source.contains(&format!("    {name}: "));
            assert!(is_there, "{}: there is no test {test}", row.id);
        }
    }
}

#[test]
fn every_behaviour_and_every_counted_fault_stands_in_the_table() {
    let ids: Vec<String> = rows().into_iter().map(|row| row.id).collect();
    let distinct: BTreeSet<&String> = ids.iter().collect();
    assert_eq!(distinct.len(), ids.len(), "an id stands twice");
    let behaviours = Behaviour::ALL.map(Behaviour::name).into_iter();
    let counted = Coverage::default().all().into_iter().filter(|counter| counter.group == Group::Faults);
    // The sums of several kinds.
    let sums = ["partitions", "pauses"];
    for id in behaviours.chain(counted.map(|counter| counter.name)).filter(|id| !sums.contains(id)) {
        assert!(ids.iter().any(|known| known == id), "{id} is not in FAULTS.md");
    }
}

/// What is said to be counted is: else a batch could miss it, and nobody would know.
#[test]
fn what_the_table_calls_counted_is_counted() {
    let counters = Coverage::default().all();
    for row in rows() {
        let is_lie = match row.swarm.as_str() {
            "counter" => false,
            "lie" => true,
            "workload" | "" => continue,
            other => panic!("{}: {other}?", row.id),
        };
        let mut counters = counters.iter().filter(|counter| (counter.group == Group::Lies) == is_lie);
        assert!(counters.any(|counter| counter.name == row.id), "{} stands as a {} and is none", row.id, row.swarm);
    }
}

/// What the table says cannot be met has a reason, and is not shown by a test as well.
#[test]
fn what_does_not_apply_has_a_reason() {
    let table = table();
    let (_, section) = table.split_once("\n## What does not apply\n").unwrap();
    let reasons: Vec<(&str, &str)> = section.split("\n- `").skip(1).map(|it| it.split_once("`: ").unwrap()).collect();
    assert!(!reasons.is_empty());
    let ids: Vec<String> = rows().into_iter().map(|row| row.id).collect();
    for (id, reason) in reasons {
        assert!(reason.len() > 80, "{id}: {reason}");
        assert!(!ids.iter().any(|known| known == id), "{id} stands in a table");
    }
}

/// The sources of a folder, with those of the folders in it.
fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => sources(&path, into),
            false if path.extension().is_some_and(|extension| extension == "rs") => into.push(path),
            false => {}
        }
    }
}

/// Else what a client calls a ticket could be a formula in somebody's spreadsheet.
#[test]
fn nothing_writes_a_file_for_spreadsheets() {
    let mut all = Vec::new();
    ["node/src", "node/client/src", "actors/src", "messages/src"]
        .iter()
        .for_each(|it| sources(&top().join(it), &mut all));
    assert!(all.len() > 100, "{} sources", all.len());
    for path in all {
        let text = std::fs::read_to_string(&path).unwrap().to_lowercase();
        let found = ["csv", "tab-separated", ".tsv", "spreadsheet"].into_iter().find(|word| text.contains(word));
        assert_eq!(found, None, "{}: see `client-csv-formula` in FAULTS.md", path.display());
    }
}
