//! What goes wrong, and when.

use mpp_devnet::{Devnet, Outage, Reorged, Times};
use rand::{RngExt as _, rngs::StdRng};

use super::Tally;

/// The longest outage, in seconds.
const MAX_OUTAGE: u64 = 600;
/// After an outage the node works for so long at least, in seconds.
const MIN_UPTIME: u64 = 150;

/// Outages, reorganizations and lost transactions.
#[derive(Debug)]
pub(crate) struct Chaos {
    rng: StdRng,
    /// The outage ends then.
    out_until: Option<u64>,
    /// No outage before.
    calm_until: u64,
    /// As deep as that, reorganizations happen.
    depth: u64,
}

impl Chaos {
    pub(crate) fn new(rng: StdRng, now: u64, depth: u64) -> Self {
        Self {
            rng,
            out_until: None,
            calm_until: now,
            depth,
        }
    }

    /// Lets things go wrong for one step.
    pub(crate) fn strike(&mut self, node: &Devnet, now: u64, tally: &mut Tally) {
        self.outage(node, now, tally);
        if self.rng.random_ratio(1, 60) {
            let fate = if self.rng.random() {
                Reorged::Remined
            } else {
                Reorged::Lost
            };
            node.faults()
                .reorg(self.rng.random_range(1..=self.depth), fate);
            tally.reorgs = tally.reorgs.saturating_add(1);
        }
        if self.rng.random_ratio(1, 20) {
            node.faults().lose_responses(Times::Once);
        }
        if self.rng.random_ratio(1, 20) {
            node.faults().drop_transactions(Times::Once);
        }
    }

    fn outage(&mut self, node: &Devnet, now: u64, tally: &mut Tally) {
        match self.out_until {
            Some(until) if now >= until => {
                node.faults().set_outage(Outage::None);
                self.out_until = None;
                self.calm_until = now.saturating_add(MIN_UPTIME);
            }
            Some(_) => {}
            None if now >= self.calm_until && self.rng.random_ratio(1, 30) => {
                let length = self.rng.random_range(5..=MAX_OUTAGE);
                node.faults().set_outage(Outage::Refusing);
                self.out_until = Some(now.saturating_add(length));
                tally.outages = tally.outages.saturating_add(1);
                tally.out_secs = tally.out_secs.saturating_add(length);
            }
            None => {}
        }
    }

    /// After how many half calls to the chain the server dies, if it does.
    pub(crate) fn death(&mut self) -> Option<u8> {
        let dies = self.rng.random_ratio(1, 40);
        dies.then(|| self.rng.random_range(0..24))
    }

    /// How long it stays dead, in seconds.
    pub(crate) fn downtime(&mut self) -> u64 {
        self.rng.random_range(1..=60)
    }
}
