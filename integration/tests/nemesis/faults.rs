//! FAULTS-process.md names faults and the tests that show them: all of these exist.

use std::collections::BTreeSet;
use std::path::Path;

const FAULTS: &str = include_str!("../../FAULTS-process.md");

#[test]
fn every_fault_has_an_id_of_its_own_and_tests_that_exist() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut ids = BTreeSet::new();
    for row in FAULTS.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert!(ids.insert(cells[0]), "{} twice", cells[0]);
        for named in cells[2].split(';').map(str::trim) {
            let (file, test) = named.split_once(": ").unwrap();
            let source = std::fs::read_to_string(folder.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
            let exists = if test == "*" { source.contains("::test") } else { source.contains(&format!("fn {test}(")) };
            assert!(exists, "{}: there is no test {test} in {file}", cells[0]);
        }
    }
    assert!(ids.len() > 15, "{} faults", ids.len());
}
