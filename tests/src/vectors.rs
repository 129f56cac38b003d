//! Test data that any implementation can use (`vectors`), as this one reads it.

mod messages;
mod security;
mod vouchers;

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::tidy::{Source, root, sources};

/// What is in a file below `vectors`.
pub(crate) fn load(path: &str) -> Value {
    let text = fs::read_to_string(root().join("vectors").join(path)).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The cases of a file; never none.
pub(crate) fn cases(path: &str) -> Vec<Value> {
    let cases = load(path)["cases"].as_array().unwrap().clone();
    assert!(!cases.is_empty(), "{path}");
    cases
}

/// A member that is a text.
#[track_caller]
pub(crate) fn text<'a>(case: &'a Value, member: &str) -> &'a str {
    case[member].as_str().unwrap()
}

/// A member that is a list of texts.
#[track_caller]
pub(crate) fn texts<'a>(case: &'a Value, member: &str) -> Vec<&'a str> {
    let list = case[member].as_array().unwrap().iter();
    list.map(|text| text.as_str().unwrap()).collect()
}

/// All files, by their paths below `vectors`.
fn files() -> Vec<String> {
    let top = root().join("vectors");
    let folders = fs::read_dir(&top)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let inside = folders.filter(|path| path.is_dir()).flat_map(|folder| {
        let entries = fs::read_dir(folder).unwrap();
        entries
            .map(|entry| entry.unwrap().path())
            .collect::<Vec<PathBuf>>()
    });
    let is_data = |path: &PathBuf| path.extension().is_some_and(|kind| kind == "json");
    let relative = |path: &Path| {
        path.strip_prefix(&top)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned()
    };
    inside.filter(is_data).map(|path| relative(&path)).collect()
}

/// Whether a source is of tests and reads this file.
fn reads(source: &Source, file: &str) -> bool {
    let is_test = source.path.contains("test") && !source.path.starts_with("tests/src/vectors.rs");
    let named = format!("vectors/{file}");
    let loaded = format!("(\"{file}\")");
    // The core reads its own by their names.
    let stem = file
        .strip_prefix("core/")
        .and_then(|name| name.strip_suffix(".json"));
    let of_core = stem.is_some_and(|stem| {
        source.path.starts_with("mpp-core/") && source.text.contains(&format!("(\"{stem}\")"))
    });
    is_test && (source.text.contains(&named) || source.text.contains(&loaded) || of_core)
}

#[test]
fn every_file_is_read_by_a_test_and_described() {
    let (files, sources) = (files(), sources());
    assert!(files.len() > 20, "{files:?}");
    let readme = fs::read_to_string(root().join("vectors/README.md")).unwrap();
    for file in files {
        assert!(
            sources.iter().any(|source| reads(source, &file)),
            "nobody reads {file}"
        );
        assert!(
            readme.contains(&format!("`{file}`")),
            "the README says nothing of {file}"
        );
    }
}

#[test]
fn every_file_says_where_it_comes_from() {
    // Those of Wycheproof say it in a README of their own.
    for file in files()
        .iter()
        .filter(|file| !file.starts_with("wycheproof/"))
    {
        let value = load(file);
        let provenance = value["provenance"].as_str().unwrap_or_default();
        assert!(provenance.len() > 20, "{file}");
    }
}
