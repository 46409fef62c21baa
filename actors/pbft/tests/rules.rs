//! RULES.md names rules, the files that implement them, the tests that fail without them, and canaries that drop them: all
//! of these exist.

use std::collections::BTreeSet;
use std::path::Path;

use dtvn_messages::EvidenceKind;
use dtvn_messages::canary::Canary;

const RULES: &str = include_str!("../RULES.md");

/// The rows of one of its tables: their cells.
fn rows_of(table: usize) -> Vec<Vec<String>> {
    let table = RULES.split("\n## ").nth(table).unwrap();
    let lines = table.lines().filter_map(|line| line.strip_prefix('|')?.strip_suffix('|'));
    let rows = lines.filter(|line| line.starts_with(" `"));
    rows.map(|line| line.split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

/// The rules.
fn rows() -> Vec<Vec<String>> {
    rows_of(0)
}

/// Those that were removed, to see.
fn removed() -> Vec<Vec<String>> {
    rows_of(1)
}

fn quoted(cell: &str) -> Option<&str> {
    cell.split('`').nth(1)
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
        let id = quoted(&row[0]).unwrap();
        let is_kebab = id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        assert!(is_kebab && ids.insert(id.to_owned()), "{id}");
        assert!(actors().join(&row[3]).is_file(), "{id}: {}", row[3]);
    }
    for section in 2..=10 {
        let is_of = |row: &&Vec<String>| row[1].split([',', '.']).any(|part| part.trim() == section.to_string());
        assert!(rows.iter().any(|row| is_of(&row)), "no rule of section {section}");
    }
    for kind in EvidenceKind::ALL {
        let id = format!("evidence-{}", kind.name().replace('_', "-"));
        assert!(ids.contains(&id), "no rule says what becomes of {kind}: {id}");
    }
}

#[test]
fn every_test_that_is_named_exists() {
    let cells = rows().into_iter().map(|mut row| [row.remove(0), row.remove(3)]);
    for row in cells.chain(removed().into_iter().map(|mut row| [row.remove(0), row.remove(1)])) {
        for named in row[1].split(';').map(str::trim) {
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

/// A mark says that the rule was removed to see a test fail: the list says how, and names nothing else.
#[test]
fn a_rule_is_marked_if_and_only_if_it_stands_in_the_list_of_those_that_were_removed() {
    let is_marked = |row: &&Vec<String>| row[0].contains('†');
    let id = |row: &Vec<String>| quoted(&row[0]).unwrap().to_owned();
    let marked: BTreeSet<String> = rows().iter().filter(is_marked).map(id).collect();
    let listed: BTreeSet<String> = removed().iter().map(id).collect();
    assert_eq!(marked, listed);
}

#[test]
fn every_rule_that_was_removed_is_one_and_every_canary_that_is_named_exists() {
    let ids: BTreeSet<String> = rows().iter().filter_map(|row| quoted(&row[0]).map(str::to_owned)).collect();
    let removed = removed();
    assert!(removed.len() > 10, "{} rules were removed", removed.len());
    let mut named = BTreeSet::new();
    for row in &removed {
        assert_eq!(row.len(), 4, "{row:?}");
        assert!(ids.contains(quoted(&row[0]).unwrap()), "{} is no rule", row[0]);
        named.extend(quoted(&row[3]));
    }
    let canaries = Canary::ALL.map(|canary| format!("{canary:?}"));
    for canary in &named {
        assert!(canaries.iter().any(|known| known == canary), "there is no canary {canary}");
    }
    assert!(named.len() > 5, "{named:?}");
}
