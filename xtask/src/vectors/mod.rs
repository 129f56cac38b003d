//! `cargo xtask vectors`: the test data that is computed, with fixed keys.
//!
//! Signatures are deterministic (RFC 6979), so the same code writes the same
//! bytes. What other implementations or people have written is not made here.

mod sponsored;
mod vouchers;

use std::{fs, path::Path};

use anyhow::{Context as _, ensure};
use clap::Args;
use serde_json::Value;

/// What to do with the computed files.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Compare with what is there, and write nothing.
    #[arg(long)]
    check: bool,
}

/// A computed file: its path below `vectors`, and what is in it.
struct Computed {
    path: &'static str,
    content: Value,
}

/// Writes the computed files, or compares them.
pub(crate) async fn run(options: &Options) -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vectors");
    let mut files = vouchers::compute()?;
    files.push(sponsored::compute().await?);
    for Computed { path, content } in &files {
        let text = serde_json::to_string_pretty(content)? + "\n";
        let file = root.join(path);
        if options.check {
            let found = fs::read_to_string(&file).with_context(|| format!("vectors/{path}"))?;
            ensure!(found == text, "vectors/{path} is not what is computed");
        } else {
            fs::write(&file, text).with_context(|| format!("vectors/{path}"))?;
        }
        println!("vectors/{path}");
    }
    Ok(())
}

/// Who made the computed files.
fn provenance(what: &str) -> String {
    format!(
        "Computed by this project (cargo xtask vectors) with well-known development keys. {what}"
    )
}
