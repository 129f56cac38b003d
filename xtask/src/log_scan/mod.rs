//! Keeps every log line of a run, and looks in them for what must not be there
//! (SECURITY-CASES A20).
//!
//! All crates log at TRACE, dependencies included, but for what a program has to
//! silence itself ([`MESSAGE_LOG`]). Secrets are registered where they are made,
//! credentials and challenge ids where they pass by.

mod capture;
mod secrets;
mod watched;

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead as _, BufReader},
    sync::atomic::Ordering,
};

use aho_corasick::AhoCorasick;
use alloy_primitives::B256;
use anyhow::ensure;
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use mpp_mcp::rmcp::MESSAGE_LOG;
use tracing_subscriber::{
    Layer as _,
    filter::{LevelFilter, Targets},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

pub(crate) use self::{
    secrets::{secret, secret_text},
    watched::{Watched, overhear, overhear_events},
};

use self::{capture::Capture, secrets::SECRETS};
use crate::shop::Scratch;

/// What the scan must find, to show that it finds anything.
const PLANTED: &str = "planted secret";

/// How often what is logged by whom.
type Leaks = BTreeMap<(&'static str, String), u64>;

/// The log of this process from some moment on.
#[derive(Debug)]
pub(crate) struct LogScan {
    capture: Capture,
    scratch: Scratch,
}

/// What a look at the log came to.
pub(crate) struct Scanned {
    pub(crate) lines: u64,
    pub(crate) leaks: anyhow::Result<()>,
    /// Whether the planted secrets were found.
    pub(crate) control: anyhow::Result<()>,
}

impl LogScan {
    /// Captures everything that is logged from now on.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let scratch = Scratch::new()?;
        let capture = Capture::to(&scratch.path().join("log"))?;
        // The one dependency that can not be kept from it; see there.
        let heard = Targets::new()
            .with_default(LevelFilter::TRACE)
            .with_target(MESSAGE_LOG, LevelFilter::OFF);
        tracing_subscriber::registry()
            .with(capture.clone().with_filter(heard))
            .try_init()?;
        SECRETS.begin();
        Ok(Self { capture, scratch })
    }

    /// Reads all that was logged, with all secrets that are known by now.
    pub(crate) fn finish(&self) -> anyhow::Result<Scanned> {
        let plants = plant();
        self.capture.flush()?;
        let (patterns, kinds) = SECRETS.patterns();
        let search = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .build(&patterns)?;
        let log = BufReader::new(File::open(self.scratch.path().join("log"))?);
        let (mut found, mut leaks) = (0_usize, BTreeMap::new());
        for line in log.split(b'\n') {
            let line = line?;
            for hit in search.find_iter(&line) {
                let kind = kinds.get(hit.pattern().as_usize()).copied();
                if kind == Some(PLANTED) {
                    found = found.saturating_add(1);
                    continue;
                }
                let place = (kind.unwrap_or_default(), source(&line));
                let count: &mut u64 = leaks.entry(place).or_default();
                *count = count.saturating_add(1);
            }
        }
        let lines = self.capture.lines.load(Ordering::SeqCst);
        Ok(Scanned {
            lines,
            leaks: check_leaks(&leaks, patterns.len()),
            control: check_control(found, plants),
        })
    }
}

/// Who wrote a line, without what is written.
fn source(line: &[u8]) -> String {
    let line = String::from_utf8_lossy(line);
    let mut words = line.split(' ');
    let (level, target) = (words.next(), words.next());
    // What comes from the crate `log` says itself who wrote it.
    let logged = words.find_map(|word| word.strip_prefix("log.target="));
    let target = logged.or(target);
    format!(
        "{} {}",
        level.unwrap_or_default(),
        target.unwrap_or_default()
    )
}

fn check_leaks(leaks: &Leaks, patterns: usize) -> anyhow::Result<()> {
    ensure!(patterns > 0, "no secrets were registered");
    let told = leaks
        .iter()
        .map(|((kind, source), count)| format!("\n    {kind}, {count} times: {source}"));
    ensure!(
        leaks.is_empty(),
        "secrets are logged{}",
        told.collect::<String>()
    );
    Ok(())
}

fn check_control(found: usize, plants: usize) -> anyhow::Result<()> {
    ensure!(found == plants, "{found} of {plants} were found");
    Ok(())
}

/// Logs a secret in every way that secrets get into logs. Returns the number.
fn plant() -> usize {
    let key = B256::random();
    secret(PLANTED, key.as_slice());
    tracing::trace!(target: "hyper::planted", "header: {key:x}");
    tracing::debug!(bytes = ?key.0, "bytes");
    let span = tracing::trace_span!("planted", key = STANDARD.encode(key));
    drop(span.entered());
    let late = tracing::trace_span!("late", key = tracing::field::Empty);
    late.record(
        "key",
        format!("0X{}", alloy_primitives::hex::encode_upper(key)),
    );
    let credential = format!("{{\"signature\":\"{key}\"}}");
    tracing::trace!(frame = URL_SAFE_NO_PAD.encode(credential));
    5
}
