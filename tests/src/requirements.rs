//! Every rule of the protocol has a test that proves it (`musts.toml`).

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::OnceLock,
};

use crate::tidy::{root, sources};

/// Sections of PROTOCOL.md whose rules are in the table.
const SECTIONS: [&str; 17] = [
    "1", "1.1", "1.2", "1.3", "2", "3", "4", "5.1", "5.2", "5.3", "5.4", "5.5", "5.6", "5.7",
    "5.8", "6", "A",
];

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Must {
    /// Section of PROTOCOL.md, or `A` for a case of SECURITY-CASES.md.
    section: String,
    /// What has to hold.
    rule: String,
    /// `crate::path::test_name`, at least one.
    tests: Vec<String>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    must: Vec<Must>,
}

fn table() -> Vec<Must> {
    let text = fs::read_to_string(root().join("tests/musts.toml")).unwrap();
    toml::from_str::<Table>(&text).unwrap().must
}

/// Test functions of each package, by name, with the files they are in.
fn tests() -> BTreeMap<String, BTreeSet<String>> {
    let mut tests: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources() {
        let mut after_attribute = false;
        for line in source.text.lines().map(str::trim) {
            let is_attribute = line.starts_with("#[test") || line.starts_with("#[tokio::test");
            let signature = line.strip_prefix("async ").unwrap_or(line);
            if let Some(rest) = signature.strip_prefix("fn ")
                && after_attribute
            {
                let end = rest.find(['(', '<']).unwrap_or(rest.len());
                let files = tests.entry(rest[..end].to_owned()).or_default();
                files.insert(source.path.clone());
            }
            let keeps = line.starts_with("#[") || line.starts_with("//");
            after_attribute = is_attribute || (after_attribute && keeps);
        }
    }
    tests
}

/// Whether a file is where `crate::path` says.
fn is_at(file: &str, package: &str, path: &[&str]) -> bool {
    let in_package = file.starts_with(&format!("{package}/"));
    in_package
        && path
            .iter()
            .all(|part| *part == "tests" || file.contains(part))
}

/// Whether `crate::path::name` is a test.
pub(crate) fn names_a_test(test: &str) -> bool {
    static TESTS: OnceLock<BTreeMap<String, BTreeSet<String>>> = OnceLock::new();
    let tests = TESTS.get_or_init(tests);
    assert!(tests.len() > 200, "{} tests found", tests.len());
    let parts: Vec<_> = test.split("::").collect();
    let [package, path @ .., name] = parts.as_slice() else {
        return false;
    };
    let package = match *package {
        "mpp_tests" => String::from("tests"),
        other => other.replace('_', "-"),
    };
    let files = tests.get(*name);
    files.is_some_and(|files| files.iter().any(|file| is_at(file, &package, path)))
}

#[test]
fn every_rule_names_tests_that_exist() {
    let mut missing = Vec::new();
    for must in table() {
        assert!(!must.tests.is_empty(), "no test for: {}", must.rule);
        let unknown = must.tests.into_iter().filter(|test| !names_a_test(test));
        missing.extend(unknown);
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn every_rule_is_named_once_and_belongs_to_a_section() {
    let mut rules = BTreeSet::new();
    let mut sections = BTreeSet::new();
    for must in table() {
        assert!(
            SECTIONS.contains(&must.section.as_str()),
            "{}",
            must.section
        );
        assert!(rules.insert(must.rule.clone()), "twice: {}", must.rule);
        sections.insert(must.section);
    }
    let missing: Vec<_> = SECTIONS[..15]
        .iter()
        .filter(|section| !sections.contains(**section))
        .collect();
    assert!(missing.is_empty(), "no rule of {missing:?}");
}
