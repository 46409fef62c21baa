//! RULES.md names rules, the files that implement them, and the tests that fail without them: all of these exist.

use std::collections::BTreeSet;
use std::path::Path;

const RULES: &str = include_str!("../RULES.md");

/// The rows of the table: their cells.
fn rows() -> Vec<Vec<String>> {
    // The second table says what was tried.
    let table = RULES.split("\n## ").next().unwrap();
    let lines = table.lines().filter(|line| line.starts_with("| `"));
    lines.map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

fn actors() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

#[test]
fn every_rule_has_an_id_of_its_own_and_a_file() {
    let rows = rows();
    assert!(rows.len() > 50, "{} rules", rows.len());
    let mut ids = BTreeSet::new();
    for row in &rows {
        assert_eq!(row.len(), 5, "{row:?}");
        let id = row[0].split('`').nth(1).unwrap();
        let is_kebab = id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        assert!(is_kebab && ids.insert(id.to_owned()), "{id}");
        assert!(actors().join(&row[3]).is_file(), "{id}: {}", row[3]);
    }
    for section in 2..=10 {
        let is_of = |row: &&Vec<String>| row[1].split([',', '.']).any(|part| part.trim() == section.to_string());
        // Section 8, evidence, is not a rule of the core: what it needs is checked where evidence is made.
        assert!(section == 8 || rows.iter().any(|row| is_of(&row)), "no rule of section {section}");
    }
}

#[test]
fn every_test_that_is_named_exists() {
    for row in rows() {
        for named in row[4].split(';').map(str::trim) {
            let (file, test) = named.split_once(": ").unwrap_or_else(|| panic!("{}: {named:?}", row[0]));
            let source = std::fs::read_to_string(actors().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
            let exists = if test == "*" {
                source.contains("#[test]")
            } else {
                source.contains(&format!("fn {test}(")) || source.contains(&format!("    {test}:"))
            };
            assert!(exists, "{}: there is no test {test} in {file}", row[0]);
        }
    }
}
