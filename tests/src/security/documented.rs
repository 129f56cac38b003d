//! Every case of `docs/security-cases.md` names tests that exist.

use std::{collections::BTreeSet, fs};

use crate::{requirements::names_a_test, tidy::root};

/// A line of one of the two tables.
struct Row {
    id: String,
    tests: Vec<String>,
}

/// The lines whose first column is a case (`A1`) or an accident (`B1`).
fn rows() -> Vec<Row> {
    let text = fs::read_to_string(root().join("docs/security-cases.md")).unwrap();
    let rows = text.lines().filter_map(|line| {
        let mut columns = line.strip_prefix('|')?.split('|').map(str::trim);
        let id = columns.next()?;
        let number = id.strip_prefix(['A', 'B'])?;
        number.parse::<u8>().ok()?;
        let (_case, tests) = (columns.next()?, columns.next()?);
        let tests = tests.split('`').filter(|word| word.contains("::"));
        Some(Row {
            id: id.to_owned(),
            tests: tests.map(str::to_owned).collect(),
        })
    });
    rows.collect()
}

/// The tests that have noticed a broken rule.
fn noticing() -> Vec<String> {
    let text = fs::read_to_string(root().join("docs/security-cases.md")).unwrap();
    let (_, broken) = text.split_once("\n## What was broken").unwrap();
    let lines = broken.lines().filter(|line| line.starts_with('|'));
    let words = lines.flat_map(|line| line.split('`'));
    let tests = words.filter(|word| word.contains("::"));
    tests.map(str::to_owned).collect()
}

#[test]
fn every_broken_rule_names_a_test_that_exists() {
    let tests = noticing();
    assert!(tests.len() > 100, "{} tests", tests.len());
    let missing: Vec<_> = tests.iter().filter(|test| !names_a_test(test)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn every_case_is_in_the_table_once() {
    let ids: Vec<_> = rows().into_iter().map(|row| row.id).collect();
    let cases = (1..=35).map(|number| format!("A{number}"));
    let accidents = (1..=10).map(|number| format!("B{number}"));
    let expected: Vec<_> = cases.chain(accidents).collect();
    assert_eq!(ids, expected);
}

#[test]
fn every_case_names_tests_that_exist() {
    let mut missing = BTreeSet::new();
    for row in rows() {
        assert!(!row.tests.is_empty(), "{} has no test", row.id);
        for test in row.tests {
            if !names_a_test(&test) {
                missing.insert(format!("{}: {test}", row.id));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}
