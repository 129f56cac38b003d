//! A report as text of at most 80 columns.

use std::fmt::Write as _;

use crate::report::{Bound, GateResult, Report, Row, Run, RunKind, Work};

/// The reference of the last column.
const LIBSECP256K1: &str = "libsecp256k1/recover";

/// Writes a report for people.
#[must_use]
pub fn render(report: &Report) -> String {
    let mut out = String::new();
    let host = &report.host;
    let _ = writeln!(out, "{}, {} CPUs", host.cpu, host.cpus);
    let _ = writeln!(out, "{}; {}", host.rustc, host.features.join(" "));
    for run in &report.runs {
        out.push('\n');
        render_run(&mut out, run);
    }
    if !report.gates.is_empty() {
        render_gates(&mut out, report);
    }
    out
}

fn render_run(out: &mut String, run: &Run) {
    let kit = match run.kind {
        RunKind::Libraries => "x k256 0.13",
        RunKind::Peers | RunKind::PeersWithC => "x mpp",
        RunKind::Node => "",
    };
    let libsecp256k1 = if run.kind == RunKind::Node {
        ""
    } else {
        "x libsecp"
    };
    let title = run.kind.title();
    line(out, [title, "ns each", kit, libsecp256k1]);
    for row in &run.rows {
        let kit = ratio(run, row, kit_row(run.kind, row.work));
        let is_signature = matches!(row.work, Work::Signature | Work::Scale);
        let libsecp256k1 = ratio(run, row, is_signature.then_some(LIBSECP256K1));
        let time = hundredths(row.median_ps / 10);
        line(out, [&row.label, &time, &kit, &libsecp256k1]);
    }
}

/// The row of the established kit that does the same work.
const fn kit_row(run: RunKind, work: Work) -> Option<&'static str> {
    match (run, work) {
        (RunKind::Libraries, Work::Signature | Work::Scale) => Some("k256-0.13/recover"),
        (RunKind::Peers | RunKind::PeersWithC, Work::Signature) => Some("mpp/verify_voucher"),
        (RunKind::Peers | RunKind::PeersWithC, Work::Request) => Some("mpp/request"),
        (RunKind::Peers | RunKind::PeersWithC, Work::Challenge) => Some("mpp/challenge"),
        _ => None,
    }
}

/// How many times faster the row is than `base`; empty without a base.
fn ratio(run: &Run, row: &Row, base: Option<&str>) -> String {
    let ratio = base
        .and_then(|base| run.median(base))
        .and_then(|base| base.saturating_mul(100).checked_div(row.median_ps));
    ratio.map(hundredths).unwrap_or_default()
}

fn line(out: &mut String, [name, columns @ ..]: [&str; 4]) {
    let [first, second, third] = columns;
    let line = format!("{name:<44}{first:>11}{second:>12}{third:>12}");
    let _ = writeln!(out, "{}", line.trim_end());
}

fn render_gates(out: &mut String, report: &Report) {
    out.push('\n');
    line(out, ["gates", "bound", "measured", ""]);
    for gate in &report.gates {
        let sign = match gate.bound {
            Bound::AtLeast => ">=",
            Bound::AtMost => "<=",
        };
        let bound = format!("{sign} {}", hundredths(gate.bound_percent));
        let measured = gate.measured_percent.map_or("-".to_owned(), hundredths);
        line(out, [&gate.name, &bound, &measured, verdict(gate)]);
    }
    if report.host.tier != "avx512" {
        let _ = writeln!(
            out,
            "This CPU has no AVX-512 IFMA; single and batch gates are meant for one that has."
        );
    }
}

fn verdict(gate: &GateResult) -> &'static str {
    match gate.is_met() {
        Some(true) => "met",
        Some(false) => "MISSED",
        None => "not built",
    }
}

/// 1234 as 12.34, and 123456 as 1234.5: four digits are more than the noise allows.
fn hundredths(value: u64) -> String {
    match value {
        0..10_000 => format!("{}.{:02}", value / 100, value % 100),
        10_000..1_000_000 => format!("{}.{}", value / 100, value / 10 % 10),
        _ => (value / 100).to_string(),
    }
}
