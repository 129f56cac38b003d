//! What somebody takes on who depends on a crate of ours.

use std::{collections::BTreeSet, process::Command};

use serde::Deserialize;

use crate::tidy::root;

/// What a program of the toolchain says.
fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(root())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// Crates that are built for this machine, ours included.
fn crates(package: &str, options: &[&str]) -> BTreeSet<String> {
    let tree = ["tree", "--locked", "--offline", "--edges", "normal"];
    let format = ["--prefix", "none", "--format", "{p}", "--package", package];
    let lines = run("cargo", &[&tree[..], &format, options].concat());
    // Name and version; what follows is where it comes from.
    let named = lines
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" "));
    named.collect()
}

#[track_caller]
fn check(package: &str, options: &[&str], budget: usize) {
    let crates = crates(package, options);
    assert!(crates.len() > 5, "the tree is elsewhere: {crates:?}");
    assert!(
        crates.len() <= budget,
        "{package} takes {} crates, {budget} are allowed: {crates:?}",
        crates.len()
    );
}

#[test]
fn the_wire_types_bring_few_crates() {
    check("mpp-core", &[], 40);
}

#[test]
fn verifying_vouchers_brings_few_crates() {
    check("mpp-tempo", &[], 120);
    check("mpp-tempo", &["--features", "std,libsecp256k1"], 120);
}

/// The format of transactions is defined by Tempo's own crates, and most of
/// this is what they bring.
#[test]
fn transactions_bring_no_more_than_today() {
    check("mpp-tempo", &["--features", "std,tx"], 190);
}

#[test]
fn verifying_vouchers_brings_no_runtime_and_no_client() {
    let crates = crates("mpp-tempo", &["--features", "std"]);
    for unwanted in ["tokio ", "reqwest ", "alloy-provider ", "hyper "] {
        let found = crates.iter().find(|name| name.starts_with(unwanted));
        assert_eq!(found, None);
    }
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    source: Option<String>,
    rust_version: Option<String>,
}

/// As (major, minor); a patch level makes no difference here.
fn version(text: &str) -> (u32, u32) {
    let mut parts = text.split('.').map(|part| part.parse().unwrap());
    (parts.next().unwrap(), parts.next().unwrap_or_default())
}

/// The oldest Rust that the workspace promises to build with is enough for
/// everything it depends on, and the one that builds it is not older.
#[test]
fn no_dependency_needs_a_newer_rust() {
    let host = run("rustc", &["--print", "host-tuple"]);
    let whole = ["metadata", "--locked", "--offline", "--format-version", "1"];
    let here = ["--filter-platform", host.trim()];
    let metadata = run("cargo", &[&whole[..], &here].concat());
    let metadata: Metadata = serde_json::from_str(&metadata).unwrap();
    let ours: BTreeSet<_> = metadata
        .packages
        .iter()
        .filter(|package| package.source.is_none())
        .map(|package| version(package.rust_version.as_ref().unwrap()))
        .collect();
    assert_eq!(ours.len(), 1, "the workspace promises one version");
    let promised = *ours.first().unwrap();
    for package in &metadata.packages {
        if let Some(needed) = &package.rust_version {
            assert!(
                version(needed) <= promised,
                "{} needs Rust {needed}",
                package.name
            );
        }
    }
}
