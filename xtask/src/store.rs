//! `cargo xtask store`: looks at a store's file.

use std::{
    io::{self, BufWriter},
    path::{Path, PathBuf},
};

use anyhow::bail;
use clap::{Subcommand, ValueEnum};
use mpp_server::store::{embedded::StoreReader, export::Format};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Name what is damaged or does not add up. Never changes the file.
    Fsck {
        /// The store's file; no server may have it open.
        file: PathBuf,
    },
    /// Write the ledger, or the charges and refunds, to the standard output.
    Export {
        /// The store's file; no server may have it open.
        file: PathBuf,
        /// In which form.
        #[arg(long, value_enum, default_value_t = Form::Jsonl)]
        format: Form,
        /// Of what.
        #[arg(long, value_enum, default_value_t = Books::Sessions)]
        of: Books,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Books {
    /// The ledger of the channels.
    Sessions,
    /// Charges and refunds.
    Charges,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Form {
    /// One JSON object a line.
    Jsonl,
    /// Comma-separated values with a heading.
    Csv,
}

pub(crate) fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Fsck { file } => fsck(&file),
        Command::Export { file, format, of } => export(&file, format, of),
    }
}

fn fsck(file: &Path) -> anyhow::Result<()> {
    let report = StoreReader::open(file)?.check()?;
    for finding in &report.findings {
        println!("{finding}");
    }
    println!(
        "{} channels, {} ledger entries, {} outcomes, {} findings",
        report.channels,
        report.entries,
        report.outcomes,
        report.findings.len()
    );
    if !report.findings.is_empty() {
        bail!("the store does not hold together");
    }
    Ok(())
}

fn export(file: &Path, format: Form, of: Books) -> anyhow::Result<()> {
    let format = match format {
        Form::Jsonl => Format::JsonLines,
        Form::Csv => Format::Csv,
    };
    let out = BufWriter::new(io::stdout().lock());
    let reader = StoreReader::open(file)?;
    match of {
        Books::Sessions => reader.export(format, out)?,
        Books::Charges => reader.export_charges(format, out)?,
    };
    Ok(())
}
