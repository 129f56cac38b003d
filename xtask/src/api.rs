//! `cargo xtask api`: the public interface of each library, as text.
//!
//! The files under `docs/api` show in a review what a change does to those who
//! depend on it.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};

/// What others depend on.
const LIBRARIES: [&str; 6] = [
    "mpp-client",
    "mpp-core",
    "mpp-http",
    "mpp-mcp",
    "mpp-server",
    "mpp-tempo",
];
/// The features that only tests of this repository turn on are left out by
/// naming all others.
const FEATURES: &str = "mpp-client/durable-book,mpp-client/rpc-wallet,mpp-core/std,mpp-http/ws,\
    mpp-mcp/rmcp,mpp-server/postgres,mpp-server/redis,mpp-tempo/rpc";

/// The format of rustdoc's JSON that is read here.
const FORMAT: u64 = 57;

/// Compares the interfaces with their files, or writes the files.
pub(crate) fn run(bless: bool) -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("the workspace")?;
    let target = describe(root)?;
    let format = format(&target.join("mpp_core.json"))?;
    if format != FORMAT {
        println!("NOT CHECKED: this rustdoc writes format {format}, {FORMAT} can be read");
        return Ok(());
    }
    let folder = root.join("docs/api");
    fs::create_dir_all(&folder)?;
    let mut changed = Vec::new();
    for library in LIBRARIES {
        let name = format!("{}.json", library.replace('-', "_"));
        let api = public_api::Builder::from_rustdoc_json(target.join(name))
            .omit_blanket_impls(true)
            .omit_auto_trait_impls(true)
            .omit_auto_derived_impls(true)
            .build()?;
        let text = format!("{api}");
        ensure!(text.lines().count() > 50, "{library} is empty");
        let file = folder.join(format!("{library}.txt"));
        let known = fs::read_to_string(&file).unwrap_or_default();
        if text != known {
            changed.push(library);
            print_difference(library, &known, &text);
        }
        if bless {
            fs::write(&file, text)?;
        }
    }
    ensure!(
        bless || changed.is_empty(),
        "the interface of {} has changed; if that is meant, `cargo xtask api --bless`",
        changed.join(", ")
    );
    println!("{} interfaces, {} changed", LIBRARIES.len(), changed.len());
    Ok(())
}

/// Has rustdoc describe the libraries as JSON, and says where.
fn describe(root: &Path) -> anyhow::Result<PathBuf> {
    let target = root.join("target/api");
    fs::create_dir_all(&target)?;
    // Only rustdoc is to offer what is not stable yet: if the compiler did too,
    // everything would be built again.
    let rustdoc = target.join("rustdoc");
    fs::write(
        &rustdoc,
        "#!/bin/sh\nRUSTC_BOOTSTRAP=1 exec rustdoc \"$@\"\n",
    )?;
    fs::set_permissions(&rustdoc, fs::Permissions::from_mode(0o755))?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut doc = Command::new(cargo);
    doc.args([
        "doc",
        "--quiet",
        "--no-deps",
        "--lib",
        "--features",
        FEATURES,
    ]);
    for library in LIBRARIES {
        doc.args(["--package", library]);
    }
    let status = doc
        .current_dir(root)
        .env("RUSTDOC", &rustdoc)
        .env("RUSTDOCFLAGS", "-Z unstable-options --output-format json")
        .status()?;
    ensure!(status.success(), "rustdoc has failed");
    let built = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
    Ok(built.join("doc"))
}

/// Which format a description has.
fn format(file: &Path) -> anyhow::Result<u64> {
    #[derive(serde::Deserialize)]
    struct Head {
        format_version: u64,
    }
    let head: Head = serde_json::from_slice(&fs::read(file)?)?;
    Ok(head.format_version)
}

/// Lines that came and went; the order says where.
fn print_difference(library: &str, known: &str, new: &str) {
    println!("{library}:");
    for line in known
        .lines()
        .filter(|line| !new.lines().any(|other| other == *line))
    {
        println!("- {line}");
    }
    for line in new
        .lines()
        .filter(|line| !known.lines().any(|other| other == *line))
    {
        println!("+ {line}");
    }
}
