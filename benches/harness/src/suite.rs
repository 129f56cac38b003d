//! The run of this repository against signature libraries.

use mpp_tempo::SessionProtocol;

use crate::fixture;
use crate::host;
use crate::libraries;
use crate::own;
use crate::report::{Run, RunKind};
use crate::request::{self, Server};
use crate::rounds::interleaved;
use crate::scale;

/// Channels that take turns.
pub const CHANNELS: usize = 64;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Rounds whose median counts.
    pub rounds: usize,
    /// Vouchers that every candidate goes over in a round.
    pub vouchers: usize,
    /// Vouchers per round while threads and channels are counted.
    pub scale_vouchers: usize,
    /// Channels of the many.
    pub many_channels: usize,
}

impl Effort {
    /// Figures to publish: minutes, and 4 GB of memory.
    pub const FULL: Self = Self {
        rounds: 15,
        vouchers: 512,
        scale_vouchers: 1 << 16,
        many_channels: 100_000,
    };
    /// A look: seconds, and a tenth of the channels.
    pub const QUICK: Self = Self {
        rounds: 5,
        vouchers: 256,
        scale_vouchers: 1 << 13,
        many_channels: 10_000,
    };
}

/// Measures the verifier of this repository and the libraries.
#[must_use]
pub fn libraries(effort: Effort) -> Run {
    // Before the main thread is pinned: threads inherit the pin of their parent.
    let mut scaled = scale::threads(effort.scale_vouchers, effort.rounds);
    host::pin(0);
    let cases = fixture::vouchers(SessionProtocol::V2, CHANNELS, effort.vouchers);
    let headers = fixture::headers(&cases);
    let server = Server::new(&cases, SessionProtocol::V2).having_served(&headers);
    let remembering = Server::new(&cases, SessionProtocol::V2)
        .having_served(&headers)
        .remembering(&headers);
    let mut candidates = libraries::candidates(&cases);
    candidates.extend(own::candidates(&cases, CHANNELS));
    candidates.extend(request::candidates(&server, &remembering, &headers));
    let mut rows = interleaved(candidates, effort.rounds);
    rows.append(&mut scaled);
    rows.extend(scale::channels(
        effort.many_channels,
        effort.scale_vouchers,
        effort.rounds,
    ));
    Run {
        kind: RunKind::Libraries,
        rows,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates;
    use crate::host::Host;
    use crate::report::Report;
    use crate::table;

    // A gate whose row is renamed would never be judged again.
    #[test]
    fn every_gate_of_the_run_finds_its_rows() {
        // Before the run pins this thread to one CPU.
        let host = Host::detect();
        let run = libraries(Effort {
            rounds: 1,
            vouchers: 64,
            scale_vouchers: 128,
            many_channels: 66,
        });
        assert!(run.rows.iter().all(|row| row.median_ps > 0));
        let mut report = Report {
            host,
            runs: vec![run],
            gates: Vec::new(),
        };
        report.gates = gates::judge(&report);
        let single_cpu = report.host.cpus < 2;
        for gate in &report.gates {
            let unmeasurable = single_cpu && gate.name.contains("threads");
            assert_eq!(
                gate.measured_percent.is_none(),
                unmeasurable,
                "{}",
                gate.name
            );
        }
        assert_eq!(report.gates.len(), 6);
        let text = table::render(&report);
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
    }
}
