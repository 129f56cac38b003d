//! Rules for the sources themselves.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Lines that a file outside of tests may have.
const MAX_LINES: usize = 600;

/// The workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_path_buf()
}

/// A source file, with its path from the workspace's root.
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// All Rust sources of the workspace.
pub(crate) fn sources() -> Vec<Source> {
    let root = root();
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let relative = path.strip_prefix(&root).unwrap().to_string_lossy();
                found.push(Source {
                    path: relative.into_owned(),
                    text: fs::read_to_string(&path).unwrap(),
                });
            }
        }
    }
    assert!(found.len() > 100, "the sources are elsewhere");
    found
}

fn is_test(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs") || path.starts_with("tests/")
}

fn offenders(is_bad: impl Fn(&Source) -> bool) -> Vec<String> {
    let sources = sources().into_iter();
    let bad = sources.filter(|source| is_bad(source));
    bad.map(|source| source.path).collect()
}

#[test]
fn files_are_read_in_one_sitting() {
    let long =
        offenders(|source| !is_test(&source.path) && source.text.lines().count() > MAX_LINES);
    assert!(long.is_empty(), "{long:?}");
}

#[test]
fn files_say_first_what_they_are_for() {
    let silent = offenders(|source| !is_test(&source.path) && !source.text.starts_with("//!"));
    assert!(silent.is_empty(), "{silent:?}");
}

#[test]
fn there_are_no_banners_and_no_promises() {
    // Spelled so that this file does not accuse itself.
    let words = [
        concat!("// ==", "==="),
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
    ];
    let bad = offenders(|source| words.iter().any(|word| source.text.contains(word)));
    assert!(bad.is_empty(), "{bad:?}");
}

#[test]
fn no_crate_has_unsafe_code() {
    let mut crates = 0;
    let bad = offenders(|source| {
        source.path.ends_with("src/lib.rs")
            && !source.text.contains("#![forbid(unsafe_code)]")
            // The one crate that may hold SIMD.
            && !(source.path == "mpp-tempo/src/lib.rs"
                && source.text.contains("#![deny(unsafe_code)]"))
    });
    for source in sources() {
        crates += usize::from(source.path.ends_with("src/lib.rs"));
    }
    assert!(crates >= 7, "{crates} crates");
    assert!(bad.is_empty(), "{bad:?}");
}

// DESIGN 1: server and client never see each other; the core sees nobody.
#[test]
fn data_flows_one_way() {
    let forbidden: [(&str, &[&str]); 7] = [
        (
            "mpp-core",
            &[
                "mpp_tempo",
                "mpp_server",
                "mpp_client",
                "mpp_http",
                "tokio",
                "alloy",
            ],
        ),
        (
            "mpp-tempo",
            &["mpp_server", "mpp_client", "mpp_http", "mpp_mcp"],
        ),
        (
            "mpp-server",
            &["mpp_client", "mpp_http", "mpp_mcp", "axum", "reqwest"],
        ),
        (
            "mpp-client",
            &["mpp_server", "mpp_http", "mpp_mcp", "axum", "reqwest"],
        ),
        ("mpp-http", &["mpp_mcp", "rmcp"]),
        ("mpp-mcp", &["mpp_http", "axum", "reqwest"]),
        (
            "mpp-devnet",
            &["mpp_server", "mpp_client", "mpp_http", "mpp_mcp"],
        ),
    ];
    for (name, others) in forbidden {
        let manifest = fs::read_to_string(root().join(name).join("Cargo.toml")).unwrap();
        let manifest: toml::Table = manifest.parse().unwrap();
        let dependencies = manifest["dependencies"].as_table().unwrap();
        for other in others {
            let package = other.replace('_', "-");
            let is_it = |key: &&String| **key == package || key.starts_with(&format!("{package}-"));
            let found = dependencies.keys().find(is_it);
            assert_eq!(found, None, "{name}");
        }
    }
}

/// Paths of files and folders that a text names in backquotes or in a table.
fn named_paths(text: &str) -> Vec<String> {
    let separators = |character: char| {
        character.is_whitespace() || matches!(character, '`' | ',' | '(' | ')' | '[' | ']' | '|')
    };
    let words = text.split(separators);
    let named = words.filter(|word| {
        let is_source = word.ends_with(".rs") || word.contains("/src");
        is_source && word.contains('/') && !word.contains("::")
    });
    let mut named: Vec<_> = named.map(str::to_owned).collect();
    named.sort();
    named.dedup();
    named
}

/// Whether a path is there, from the root or within some crate's `src`.
fn exists(path: &str) -> bool {
    let root = root();
    let crates = fs::read_dir(&root)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    root.join(path).exists()
        || crates.into_iter().any(|folder| {
            let source = folder.join("src");
            source.join(path).exists()
                || source.join("session").join(path).exists()
                || folder.join(path).exists()
        })
}

#[test]
fn the_readme_and_the_architecture_name_what_exists() {
    let mut count = 0;
    for document in ["README.md", "ARCHITECTURE.md"] {
        let text = fs::read_to_string(root().join(document)).unwrap();
        for path in named_paths(&text) {
            count += 1;
            assert!(exists(&path), "{document} names {path}");
        }
        for (_, rest) in text.match_indices("mpp-").map(|(at, _)| text.split_at(at)) {
            let is_name = |character: char| character.is_ascii_lowercase() || character == '-';
            let end = rest
                .find(|character| !is_name(character))
                .unwrap_or(rest.len());
            let name = rest[..end].trim_end_matches('-');
            assert!(root().join(name).is_dir(), "{document} names {name}");
        }
    }
    assert!(count >= 10, "{count} paths found");
}
