//! Instruction counts under valgrind: a gate without noise.
//!
//! A workload runs in a child under callgrind, once with few and once with many repetitions. The
//! difference is what the repetitions cost; start-up and tables cancel out. Valgrind has no
//! AVX-512, so vouchers are verified on the portable tier.

use std::collections::BTreeMap;
use std::fmt;
use std::hint::black_box;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use mpp_core::encoding::base64url;
use mpp_core::{CredentialReader, header};
use mpp_tempo::SessionProtocol;
use mpp_tempo::voucher::{Tier, VerifierEngine};
use mpp_tempo::wire::SessionPayload;
use serde::{Deserialize, Serialize};

use crate::fixture::{self, Case};
use crate::host::Host;
use crate::own::Batches;
use crate::report;
use crate::request::{Scratch, Server};

/// Repetitions of the two runs.
const FEW: u64 = 20;
const MANY: u64 = 120;
/// How much a count may grow, in percent.
const TOLERANCE: u64 = 3;
/// The same for counts of another compiler or CPU: what is left is the gate for real regressions.
const TOLERANCE_ELSEWHERE: u64 = 25;

/// Counts that were accepted, and what they hold for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baseline {
    /// The compiler.
    pub rustc: String,
    /// CPU features that valgrind lets the program see.
    pub features: Vec<String>,
    /// Instructions of each workload.
    pub counts: BTreeMap<String, u64>,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Workload {
    /// Digest and signature of one voucher whose signer has a table.
    VerifyVoucher,
    /// 64 vouchers of 64 channels.
    VerifyBatch,
    /// A credential from the header's text to types.
    ParseCredential,
    /// The same without allocating.
    ReadCredential,
    /// base64url of a credential.
    DecodeBase64url,
    /// The MAC of an echoed challenge.
    CheckBinding,
    /// A typed voucher from the payload.
    ReadPayload,
    /// A receipt for the header.
    EncodeReceipt,
    /// A fresh challenge for the header.
    IssueChallenge,
    /// A whole request.
    ServeRequest,
    /// A whole request whose challenge was verified before.
    ServeKnown,
}

impl Workload {
    const ALL: [Self; 11] = [
        Self::VerifyVoucher,
        Self::VerifyBatch,
        Self::ParseCredential,
        Self::ReadCredential,
        Self::DecodeBase64url,
        Self::CheckBinding,
        Self::ReadPayload,
        Self::EncodeReceipt,
        Self::IssueChallenge,
        Self::ServeRequest,
        Self::ServeKnown,
    ];

    /// Runs the workload; the child under valgrind does nothing else.
    pub fn repeat(self, times: u64) {
        let channels = if self == Self::VerifyBatch { 64 } else { 1 };
        let cases = fixture::vouchers(SessionProtocol::V2, channels, channels);
        let mut work = self.prepare(&cases);
        // Learns keys and builds tables.
        for _ in 0..3 {
            work();
        }
        for _ in 0..times {
            work();
        }
    }

    fn prepare<'a>(self, cases: &'a [Case]) -> Box<dyn FnMut() + 'a> {
        let engine = VerifierEngine::with_tier(Tier::Portable, 4 << 20).expect("everywhere");
        let engine = Arc::new(engine);
        let header = fixture::headers(&cases[..1]).remove(0);
        let server = Server::with_engine(cases, SessionProtocol::V2, &engine);
        let server = server.having_served(std::slice::from_ref(&header));
        let token = header.strip_prefix("Payment ").expect("the scheme");
        let token = token.to_owned();
        let credential = header::credential::parse(&token).expect("well-formed");
        let mut reader = CredentialReader::default();
        let mut out = String::new();
        let mut scratch = Scratch::default();
        match self {
            Self::VerifyVoucher | Self::VerifyBatch => {
                let mut batches = Batches::new(cases, cases.len(), &engine, cases.len());
                Box::new(move || batches.verify())
            }
            Self::ParseCredential => Box::new(move || {
                black_box(header::credential::parse(black_box(&token)).expect("well-formed"));
            }),
            Self::ReadCredential => Box::new(move || {
                black_box(reader.read(black_box(&token)).expect("the common form"));
            }),
            Self::DecodeBase64url => Box::new(move || {
                black_box(base64url::decode(black_box(&token)).expect("well-formed"));
            }),
            Self::CheckBinding => {
                let keys = fixture::keys();
                Box::new(move || keys.verify(black_box(&credential.challenge)).expect("ours"))
            }
            Self::ReadPayload => Box::new(move || {
                let payload = SessionPayload::from_value(black_box(&credential.payload));
                black_box(payload.expect("well-formed"));
            }),
            Self::EncodeReceipt => {
                let verified = server.verify(&server.read(&header, &mut reader));
                let receipt = fixture::receipt(&verified);
                Box::new(move || {
                    black_box(header::receipt::encode(black_box(&receipt)));
                })
            }
            Self::IssueChallenge => Box::new(move || server.issue(black_box(&mut out))),
            Self::ServeRequest => Box::new(move || server.serve(black_box(&header), &mut scratch)),
            Self::ServeKnown => {
                let server = server.remembering(std::slice::from_ref(&header));
                Box::new(move || server.serve(black_box(&header), &mut scratch))
            }
        }
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = clap::ValueEnum::to_possible_value(self);
        f.write_str(value.as_ref().map_or("", |value| value.get_name()))
    }
}

/// Counts every workload.
///
/// # Errors
/// When valgrind is missing or fails.
pub fn count_all() -> anyhow::Result<Baseline> {
    let host: Host = serde_json::from_slice(&valgrind("none", &["host"])?.0)?;
    let mut counts = BTreeMap::new();
    for workload in Workload::ALL {
        let name = workload.to_string();
        let run = |times: u64| {
            let (_, log) = valgrind("callgrind", &["repeat", &name, &times.to_string()])?;
            collected(&log).context("callgrind printed no count")
        };
        let difference = run(MANY)?.saturating_sub(run(FEW)?);
        counts.insert(name, difference / (MANY - FEW));
    }
    Ok(Baseline {
        rustc: host.rustc,
        features: host.features,
        counts,
    })
}

/// Runs this program under a tool; returns its output and the tool's log.
fn valgrind(tool: &str, arguments: &[&str]) -> anyhow::Result<(Vec<u8>, String)> {
    let output = Command::new("valgrind")
        .args([format!("--tool={tool}")])
        .args((tool == "callgrind").then_some("--callgrind-out-file=/dev/null"))
        .arg(std::env::current_exe()?)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .context("valgrind can not be run; install it, for example with apt-get")?;
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "valgrind failed:\n{log}");
    Ok((output.stdout, log))
}

/// The number in `==1234== Collected : 5678`.
fn collected(log: &str) -> Option<u64> {
    let (_, rest) = log.split_once("Collected :")?;
    rest.split_whitespace().next()?.parse().ok()
}

impl Baseline {
    /// Reads a baseline.
    ///
    /// # Errors
    /// When there is none.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read(path)
            .with_context(|| format!("no counts at {}; `--bless` writes them", path.display()))?;
        Ok(serde_json::from_slice(&text)?)
    }

    /// Writes a baseline.
    ///
    /// # Errors
    /// When the file can not be written.
    pub fn save(&self, path: &Path) -> anyhow::Result<()> {
        report::save(self, path)
    }

    /// Compares new counts with these, and prints what it finds.
    ///
    /// # Errors
    /// When a count has grown beyond the tolerance, or the workloads are not the same.
    #[expect(clippy::print_stdout, reason = "the comparison is for people")]
    pub fn compare(&self, now: &Self) -> anyhow::Result<()> {
        ensure!(
            self.counts.keys().eq(now.counts.keys()),
            "the workloads have changed; look at them and `--bless`"
        );
        let same = self.rustc == now.rustc && self.features == now.features;
        let tolerance = if same { TOLERANCE } else { TOLERANCE_ELSEWHERE };
        if !same {
            println!("WARNING: counts of another compiler or CPU, so +{tolerance} % is tolerated.");
            println!("  then {}; {}", self.rustc, self.features.join(" "));
            println!("  now  {}; {}", now.rustc, now.features.join(" "));
            println!("  `cargo xtask bench --instructions --bless` makes the gate sharp again.");
        }
        let mut grown = Vec::new();
        println!(
            "{:<24}{:>14}{:>14}{:>10}",
            "instructions", "baseline", "now", "%"
        );
        for ((name, then), now) in self.counts.iter().zip(now.counts.values()) {
            let percent = (now * 1000).checked_div(*then).unwrap_or(u64::MAX);
            println!(
                "{name:<24}{then:>14}{now:>14}{:>8}.{}",
                percent / 10,
                percent % 10
            );
            if percent > 1000 + tolerance * 10 {
                grown.push(name.as_str());
            }
        }
        if !grown.is_empty() {
            bail!(
                "more than {tolerance} % more instructions: {}. If that is the price of something \
                 better, `cargo xtask bench --instructions --bless`",
                grown.join(", ")
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn baseline(rustc: &str, count: u64) -> Baseline {
        Baseline {
            rustc: rustc.to_owned(),
            features: Vec::new(),
            counts: BTreeMap::from([("verify-voucher".to_owned(), count)]),
        }
    }

    #[track_caller]
    fn check(now: &Baseline, passes: bool) {
        let outcome = baseline("1.95", 10_000).compare(now);
        assert_eq!(outcome.is_ok(), passes, "{outcome:?}");
    }

    #[test]
    fn growth_beyond_the_tolerance_fails() {
        check(&baseline("1.95", 10_000), true);
        check(&baseline("1.95", 5_000), true);
        check(&baseline("1.95", 10_300), true);
        check(&baseline("1.95", 10_310), false);
    }

    #[test]
    fn another_compiler_widens_the_tolerance_but_still_fails() {
        check(&baseline("1.96", 12_500), true);
        check(&baseline("1.96", 12_600), false);
    }

    #[test]
    fn a_workload_that_vanished_fails() {
        let mut now = baseline("1.95", 10_000);
        now.counts.clear();
        check(&now, false);
    }

    #[test]
    fn the_count_is_read_from_the_log_of_callgrind() {
        let log = "==7== Events    : Ir\n==7== Collected : 9876543\n==7==\n";
        assert_eq!(collected(log), Some(9_876_543));
        assert_eq!(collected("==7== Refs: 3"), None);
    }
}
