//! The ratios that have to hold.

use crate::report::{Bound, GateResult, Report, RunKind};

/// A ratio of two rows of one run.
struct Gate {
    name: &'static str,
    run: RunKind,
    /// The row that takes longer.
    slower: &'static str,
    /// The row that takes less, in [`Gate::of`] or in the same run.
    faster: &'static str,
    of: Option<RunKind>,
    bound: Bound,
    percent: u64,
}

impl Gate {
    const fn at_least(
        name: &'static str,
        run: RunKind,
        (slower, faster): (&'static str, &'static str),
        percent: u64,
    ) -> Self {
        Self {
            name,
            run,
            slower,
            faster,
            of: None,
            bound: Bound::AtLeast,
            percent,
        }
    }
}

const LIBSECP256K1: &str = "libsecp256k1/recover";
const MPP: &str = "mpp/verify_voucher";
const MPP_REQUEST: &str = "mpp/request";

/// `best` in the id of a row stands for the tier that the machine chooses.
const GATES: [Gate; 15] = {
    use RunKind::{Libraries, Node, Peers};
    let node = Gate::at_least("batch 64 / mppx", Node, ("mppx/v1", "own/best/64"), 100_000);
    let channels = ("own/channels/many", "own/channels/few");
    let channels = Gate::at_least("many channels / 64 channels", Libraries, channels, 125);
    [
        Gate::at_least(
            "single / libsecp256k1 recover",
            Libraries,
            (LIBSECP256K1, "own/best/1"),
            550,
        ),
        Gate::at_least(
            "batch 8 / libsecp256k1 recover",
            Libraries,
            (LIBSECP256K1, "own/best/8"),
            1500,
        ),
        Gate::at_least(
            "batch 64 / libsecp256k1 recover",
            Libraries,
            (LIBSECP256K1, "own/best/64"),
            1900,
        ),
        Gate::at_least(
            "scalar single / libsecp256k1 recover",
            Libraries,
            (LIBSECP256K1, "own/portable/1"),
            300,
        ),
        Gate::at_least(
            "two threads / one",
            Libraries,
            ("own/threads/1", "own/threads/2"),
            170,
        ),
        Gate {
            bound: Bound::AtMost,
            ..channels
        },
        Gate::at_least("single / mpp", Peers, (MPP, "own/best/1"), 2500),
        Gate::at_least("batch 8 / mpp", Peers, (MPP, "own/best/8"), 7000),
        Gate::at_least("batch 64 / mpp", Peers, (MPP, "own/best/64"), 9000),
        Gate::at_least("scalar single / mpp", Peers, (MPP, "own/portable/1"), 1400),
        Gate::at_least(
            "request, single / mpp",
            Peers,
            (MPP_REQUEST, "own/request/1"),
            2400,
        ),
        Gate::at_least(
            "request, batch 64 with HMAC / mpp",
            Peers,
            (MPP_REQUEST, "own/request/64"),
            6500,
        ),
        Gate::at_least(
            "request, batch 64 with memo / mpp",
            Peers,
            (MPP_REQUEST, "own/request-memo/64"),
            8500,
        ),
        Gate::at_least(
            "challenge / mpp",
            Peers,
            ("mpp/challenge", "own/challenge"),
            2000,
        ),
        // Another process, the same hour.
        Gate {
            of: Some(Libraries),
            ..node
        },
    ]
};

/// Judges a report. Gates of runs that it has not are left out.
#[must_use]
pub fn judge(report: &Report) -> Vec<GateResult> {
    let present = GATES.iter().filter(|gate| report.run(gate.run).is_some());
    present
        .map(|gate| GateResult {
            name: gate.name.to_owned(),
            bound_percent: gate.percent,
            bound: gate.bound,
            measured_percent: measured(report, gate),
        })
        .collect()
}

fn measured(report: &Report, gate: &Gate) -> Option<u64> {
    let tier = &report.host.tier;
    let slower = report.run(gate.run)?.median(gate.slower)?;
    let faster = gate.faster.replace("best", tier);
    let faster = report.run(gate.of.unwrap_or(gate.run))?.median(&faster)?;
    slower.saturating_mul(100).checked_div(faster)
}
