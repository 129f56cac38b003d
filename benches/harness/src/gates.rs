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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Host;
    use crate::report::{Row, Run, Work};

    fn run(kind: RunKind, rows: &[(&str, u64)]) -> Run {
        let rows = rows.iter().map(|(id, median_ps)| Row {
            id: (*id).to_owned(),
            label: (*id).to_owned(),
            work: Work::Signature,
            median_ps: *median_ps,
            fastest_ps: *median_ps,
            slowest_ps: *median_ps,
        });
        Run {
            kind,
            rows: rows.collect(),
        }
    }

    fn judged(runs: Vec<Run>) -> Vec<GateResult> {
        let mut host = Host::detect();
        host.tier = "portable".to_owned();
        judge(&Report {
            host,
            runs,
            gates: Vec::new(),
        })
    }

    #[track_caller]
    fn check(gates: &[GateResult], name: &str, measured: Option<u64>, met: Option<bool>) {
        let gate = gates.iter().find(|gate| gate.name == name);
        let gate = gate.expect("a gate of this name");
        assert_eq!((gate.measured_percent, gate.is_met()), (measured, met));
    }

    #[test]
    fn a_bound_is_met_when_it_is_reached_and_not_before() {
        let rows = [
            ("libsecp256k1/recover", 38_500),
            ("own/portable/1", 7_000),
            ("own/portable/8", 2_567),
            ("own/channels/few", 1_000),
            ("own/channels/many", 1_260),
        ];
        let gates = judged(vec![run(RunKind::Libraries, &rows)]);
        check(
            &gates,
            "single / libsecp256k1 recover",
            Some(550),
            Some(true),
        );
        check(
            &gates,
            "batch 8 / libsecp256k1 recover",
            Some(1499),
            Some(false),
        );
        check(&gates, "batch 64 / libsecp256k1 recover", None, None);
        check(
            &gates,
            "many channels / 64 channels",
            Some(126),
            Some(false),
        );
    }

    #[test]
    fn another_process_is_judged_against_the_run_of_the_libraries() {
        let own = run(RunKind::Libraries, &[("own/portable/64", 2_000)]);
        let node = run(RunKind::Node, &[("mppx/v1", 2_400_000)]);
        check(
            &judged(vec![own, node]),
            "batch 64 / mppx",
            Some(120_000),
            Some(true),
        );
    }
}
