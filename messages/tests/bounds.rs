//! BOUNDS.md names every constant of the limits, with its value, what happens there, and the tests that reach it: all of
//! that is compared with the sources.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const BOUNDS: &str = include_str!("../BOUNDS.md");

/// A row of one of the tables.
struct Row {
    id: String,
    constant: String,
    value: String,
    what: String,
    tests: Vec<String>,
}

fn rows() -> Vec<Row> {
    let lines = BOUNDS.lines().filter(|line| line.starts_with("| `bound:"));
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [id, constant, value, what, tests] = cells[..] else { panic!("five cells: {line}") };
        let plain = |cell: &str| cell.trim_matches('`').to_owned();
        let tests = tests.split("; ").map(str::to_owned).collect();
        Row { id: plain(id), constant: plain(constant), value: value.to_owned(), what: what.to_owned(), tests }
    };
    lines.map(row).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn source(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The constants of the limits: name, and what they are set to.
fn constants() -> BTreeMap<String, String> {
    let folder = std::fs::read_dir(root().join("messages/src/limits")).unwrap();
    let mut constants = BTreeMap::new();
    for file in folder {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        for definition in text.split("\npub const ").skip(1) {
            let (name, rest) = definition.split_once(':').unwrap();
            let (_, value) = rest.split_once('=').unwrap();
            let value = value.split_once(';').unwrap().0.trim().to_owned();
            assert!(constants.insert(name.to_owned(), value).is_none(), "{name} is there twice");
        }
    }
    constants
}

/// The value of an expression of numbers, names, `+`, `*`, `<<` and conversions.
fn value_of(expression: &str, constants: &BTreeMap<String, String>) -> u64 {
    if let Some((left, right)) = expression.split_once("<<") {
        return value_of(left, constants) << value_of(right, constants);
    }
    if let Some((left, right)) = expression.split_once('+') {
        return value_of(left, constants) + value_of(right, constants);
    }
    if let Some((left, right)) = expression.split_once('*') {
        return value_of(left, constants) * value_of(right, constants);
    }
    let plain = expression.trim().split(' ').next().unwrap();
    match constants.get(plain) {
        Some(named) => value_of(named, constants),
        None => plain.replace('_', "").parse().unwrap_or_else(|_| panic!("no number: {expression:?}")),
    }
}

#[test]
fn every_constant_is_in_the_table_or_among_the_times_and_is_there_once() {
    let (_, times) = BOUNDS.split_once("\n## Times and paces\n").unwrap();
    let times: Vec<String> = times.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    let mut named: Vec<String> = rows().into_iter().map(|row| row.constant).chain(times).collect();
    named.sort();
    let constants: Vec<String> = constants().into_keys().collect();
    assert_eq!(named, constants);
}

#[test]
fn what_is_a_size_or_a_number_is_no_time() {
    let (_, times) = BOUNDS.split_once("\n## Times and paces\n").unwrap();
    // A size of a step, and a number of threads: nothing waits in them.
    let allowed = ["WRITE_COPY_BYTES_MAX"];
    for name in times.split('`').skip(1).step_by(2).filter(|name| !allowed.contains(name)) {
        let is_size = ["_BYTES", "_BYTES_MAX", "_FRAMES_MAX", "_OPERATIONS_MAX", "_BUNDLES_MAX", "_PER_SENDER_MAX"];
        assert!(!is_size.iter().any(|end| name.ends_with(end)), "{name} bounds something: it belongs into the table");
    }
}

#[test]
fn every_bound_has_an_id_its_value_and_says_what_happens() {
    let constants = constants();
    let mut ids = BTreeSet::new();
    for row in rows() {
        let id = row.id.strip_prefix("bound:").unwrap();
        let is_kebab = id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        assert!(is_kebab && ids.insert(id.to_owned()), "{id}");
        let (value, unit) = row.value.split_once(' ').unwrap();
        let value: u64 = value.replace(',', "").parse().unwrap();
        assert_eq!(value, value_of(&constants[&row.constant], &constants), "{}", row.constant);
        assert!(!unit.is_empty() && row.what.len() > 5, "{id}");
    }
    assert!(ids.len() > 150, "{} bounds", ids.len());
}

#[test]
fn every_bound_has_a_test_that_exists() {
    for row in rows() {
        for named in &row.tests {
            let (file, test) = named.split_once(": ").unwrap_or_else(|| panic!("{}: {named:?}", row.id));
            assert!(has_test(file, test), "{}: there is no test {test} in {file}", row.id);
        }
    }
}

/// Also a property, which stands inside of a macro.
fn has_test(file: &str, test: &str) -> bool {
    source(file).contains(&format!("fn {test}("))
}

#[test]
fn every_test_that_is_named_beside_the_tables_exists() {
    let (_, text) = BOUNDS.split_once("\n## Bounded by something else\n").unwrap();
    let (text, _) = text.split_once("\n## ").unwrap();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let named: Vec<_> = text.split('`').skip(1).step_by(2).filter_map(|quoted| quoted.split_once(".rs: ")).collect();
    assert!(named.len() >= 4, "{named:?}");
    for (file, test) in named {
        assert!(has_test(&format!("{file}.rs"), test), "there is no test {test} in {file}.rs");
    }
}

#[test]
fn every_constant_is_used_outside_of_the_limits() {
    let mut sources = String::new();
    for folder in ["messages/src", "actors", "node"] {
        read_all(&root().join(folder), &mut sources);
    }
    let words: BTreeSet<&str> =
        sources.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').collect();
    let unused: Vec<String> = constants().into_keys().filter(|name| !words.contains(name.as_str())).collect();
    assert_eq!(unused, Vec::<String>::new());
}

fn read_all(folder: &Path, into: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("limits") && !path.ends_with("target") {
            read_all(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
}
