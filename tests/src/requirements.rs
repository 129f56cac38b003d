//! Every rule has a test that proves it: those of the drafts (`requirements.toml`) and those of the
//! protocol as it is deployed (`musts.toml`).

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::OnceLock,
};

use crate::tidy::{root, sources};

/// Sections of PROTOCOL.md whose rules are in the table.
const SECTIONS: [&str; 16] = [
    "1", "1.1", "1.2", "1.3", "2", "3", "4", "5.1", "5.2", "5.3", "5.4", "5.5", "5.6", "5.7",
    "5.8", "6",
];

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Must {
    /// Section of PROTOCOL.md.
    section: String,
    /// What has to hold.
    rule: String,
    /// `crate::path::test_name`, at least one.
    tests: Vec<String>,
}

/// What a draft requires.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Requirement {
    draft: String,
    section: String,
    keyword: String,
    /// What is required, in our words.
    rule: String,
    /// `crate::path::test_name`; none only with a reason.
    #[serde(default)]
    tests: Vec<String>,
    /// Why it concerns somebody else.
    not_ours: Option<String>,
    /// Where we do otherwise, and why.
    deviation: Option<String>,
}

/// The drafts that are implemented, and the least number of requirements in
/// each.
const DRAFTS: [(&str, usize); 5] = [
    ("draft-httpauth-payment-00", 86),
    ("draft-payment-intent-charge-00", 18),
    ("draft-tempo-charge-00", 50),
    ("draft-tempo-session-00", 116),
    ("draft-payment-transport-mcp-00", 46),
];

const KEYWORDS: [&str; 6] = [
    "MUST",
    "MUST NOT",
    "REQUIRED",
    "RECOMMENDED",
    "SHOULD",
    "SHOULD NOT",
];

fn requirements() -> Vec<Requirement> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Table {
        requirement: Vec<Requirement>,
    }
    let text = fs::read_to_string(root().join("tests/requirements.toml")).unwrap();
    toml::from_str::<Table>(&text).unwrap().requirement
}

#[test]
fn every_requirement_is_placed_and_tested_or_explained() {
    let mut places = BTreeSet::new();
    let mut missing = BTreeSet::new();
    for requirement in requirements() {
        let Requirement {
            draft,
            section,
            keyword,
            rule,
            tests,
            not_ours,
            deviation,
        } = requirement;
        assert!(DRAFTS.iter().any(|(name, _)| *name == draft), "{draft}");
        assert!(!section.is_empty() && !rule.is_empty(), "{draft}: {rule}");
        assert!(KEYWORDS.contains(&keyword.as_str()), "{keyword}: {rule}");
        assert!(
            places.insert((draft.clone(), section.clone(), rule.clone())),
            "twice: {draft}, {section}: {rule}"
        );
        let reason = not_ours.as_deref().is_some_and(|reason| !reason.is_empty());
        assert!(
            tests.is_empty() == reason,
            "{draft}, {section}: either tests or a reason: {rule}"
        );
        assert!(deviation.is_none_or(|reason| !reason.is_empty()), "{rule}");
        missing.extend(tests.into_iter().filter(|test| !names_a_test(test)));
    }
    assert!(missing.is_empty(), "{missing:#?}");
    for (draft, least) in DRAFTS {
        let count = places.iter().filter(|(name, ..)| name == draft).count();
        assert!(count >= least, "{draft} has only {count}");
    }
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
    let missing: Vec<_> = SECTIONS
        .iter()
        .filter(|section| !sections.contains(**section))
        .collect();
    assert!(missing.is_empty(), "no rule of {missing:?}");
}
