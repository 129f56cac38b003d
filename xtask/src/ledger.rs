//! What a store's file says, read while no server has it open.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    sync::Arc,
};

use anyhow::{Context as _, ensure};
use mpp_core::Amount;
use mpp_server::{
    session::record::ChannelRecord,
    store::{embedded::StoreReader, export::Format},
};
use serde::Deserialize;

/// The records of a file that was checked and holds together.
#[derive(Debug)]
pub(crate) struct Contents {
    /// The records, by channel id.
    pub(crate) channels: HashMap<String, Arc<ChannelRecord>>,
}

/// An exported ledger entry.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    pub(crate) channel_id: String,
    pub(crate) idempotency: Option<String>,
    pub(crate) cost: Amount,
    pub(crate) accepted: Amount,
    pub(crate) spent: Amount,
}

impl Contents {
    /// Reads the file and checks it as `cargo xtask store fsck` does: every
    /// ledger sums up to its record, `spent <= accepted <= deposit`, and the
    /// vouchers verify.
    pub(crate) fn read(file: &Path) -> anyhow::Result<Self> {
        let reader = StoreReader::open(file)?;
        if let Some(finding) = reader.check()?.findings.first() {
            anyhow::bail!("the store does not hold together: {finding}");
        }
        let records = reader.channels()?.into_iter();
        let channels = records.map(|found| (found.record.id.to_string(), found.record));
        Ok(Self {
            channels: channels.collect(),
        })
    }

    /// The record of a channel.
    pub(crate) fn channel(&self, id: &str) -> anyhow::Result<&ChannelRecord> {
        let record = self.channels.get(id).map(|record| &**record);
        record.with_context(|| format!("channel {id} is lost"))
    }
}

/// Reads the whole ledger of a file.
pub(crate) fn read(file: &Path) -> anyhow::Result<Vec<Entry>> {
    let mut lines = Vec::new();
    StoreReader::open(file)?.export(Format::JsonLines, &mut lines)?;
    parse(&lines)
}

/// Reads an export in JSON Lines.
pub(crate) fn parse(lines: &[u8]) -> anyhow::Result<Vec<Entry>> {
    let entries = serde_json::Deserializer::from_slice(lines).into_iter();
    Ok(entries.collect::<Result<_, _>>()?)
}

/// Expects that no key was charged twice; returns the number of charges.
pub(crate) fn no_double_charge(entries: &[Entry]) -> anyhow::Result<usize> {
    let mut seen = HashSet::new();
    for entry in entries.iter().filter(|entry| !entry.cost.is_zero()) {
        let key = entry.idempotency.as_deref();
        let key = key.context("a charge without a key")?;
        ensure!(seen.insert(key), "double charge under the key {key}");
    }
    Ok(seen.len())
}
