//! What a run found, as JSON.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::host::Host;

/// Everything that was measured together, and whether it is fast enough.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Where and how it was measured.
    pub host: Host,
    /// One entry per process.
    pub runs: Vec<Run>,
    /// The gates that these runs can judge.
    #[serde(default)]
    pub gates: Vec<GateResult>,
}

/// The rows of one process: their ratios mean something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Which process; see [`RunKind`].
    pub kind: RunKind,
    /// What stood against each other.
    pub rows: Vec<Row>,
}

/// The processes that are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunKind {
    /// This repository against signature libraries.
    Libraries,
    /// This repository against the crate `mpp` as it is built by default.
    Peers,
    /// The same with libsecp256k1 and assembly keccak below alloy.
    PeersWithC,
    /// The package `mppx` on Node.
    Node,
}

impl RunKind {
    /// A heading.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Libraries => "signature libraries",
            Self::Peers => "mpp 0.18.2, default features",
            Self::PeersWithC => "mpp 0.18.2, alloy on C and assembly",
            Self::Node => "mppx 0.11.0 on Node",
        }
    }
}

/// A candidate and its times per item, in picoseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Stable name.
    pub id: String,
    /// Name for people.
    pub label: String,
    /// What is done to each item.
    pub work: Work,
    /// The middle round.
    pub median_ps: u64,
    /// The fastest round.
    pub fastest_ps: u64,
    /// The slowest round.
    pub slowest_ps: u64,
}

/// What a row does; ratios are among rows of the same work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// Judges the signature of a voucher.
    #[default]
    Signature,
    /// The same with more threads or channels.
    Scale,
    /// Serves a request, from its header to the receipt.
    Request,
    /// Issues a challenge.
    Challenge,
    /// A part of a request.
    Stage,
}

/// A ratio that has to hold, and what was measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateResult {
    /// What is compared.
    pub name: String,
    /// The bound, in hundredths.
    pub bound_percent: u64,
    /// Whether the bound is a floor or a ceiling.
    pub bound: Bound,
    /// The measured ratio, in hundredths; absent when this report has not both sides.
    pub measured_percent: Option<u64>,
}

/// The direction of a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bound {
    /// The ratio has to reach it.
    AtLeast,
    /// The ratio may not exceed it.
    AtMost,
}

impl GateResult {
    /// Whether the bound holds; `None` when it was not measured.
    #[must_use]
    pub fn is_met(&self) -> Option<bool> {
        self.measured_percent.map(|measured| match self.bound {
            Bound::AtLeast => measured >= self.bound_percent,
            Bound::AtMost => measured <= self.bound_percent,
        })
    }
}

impl Run {
    /// Reads a run from a file.
    ///
    /// # Errors
    /// When the file can not be read or is no run.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read(path).with_context(|| format!("nothing at {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{} is no run", path.display()))
    }

    /// Writes the run to a file.
    ///
    /// # Errors
    /// When the file can not be written.
    pub fn save(&self, path: &Path) -> anyhow::Result<()> {
        save(self, path)
    }

    /// The median of a row, in picoseconds.
    #[must_use]
    pub fn median(&self, id: &str) -> Option<u64> {
        let row = self.rows.iter().find(|row| row.id == id)?;
        Some(row.median_ps)
    }
}

impl Report {
    /// Writes the report to a file.
    ///
    /// # Errors
    /// When the file can not be written.
    pub fn save(&self, path: &Path) -> anyhow::Result<()> {
        save(self, path)
    }

    /// The run of a kind.
    #[must_use]
    pub fn run(&self, kind: RunKind) -> Option<&Run> {
        self.runs.iter().find(|run| run.kind == kind)
    }
}

/// Writes a value as JSON for people and programs.
pub(crate) fn save(value: &impl Serialize, path: &Path) -> anyhow::Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    fs::write(path, text).with_context(|| format!("can not write {}", path.display()))
}
