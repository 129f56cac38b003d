//! Close requests of payers run out: how much time is left, and who is told.

use std::time::Duration;

use mpp_core::{Amount, Timestamp};
use mpp_tempo::ChannelId;

use super::{
    desk::Settlement,
    standing::{Deadline, Stage, Standing},
};
use crate::event::{Events, ServerEvent};

/// With less time left than this, an operator should look.
pub(crate) const ALARM: Duration = Duration::from_secs(300);

/// A channel that must be collected from in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Watch {
    pub(super) deadline: Deadline,
    /// What is lost otherwise, in base units.
    pub(super) unsettled: Amount,
    told: Told,
}

impl Watch {
    /// What is left of the time.
    pub(super) fn left(self, now: Timestamp) -> Duration {
        self.deadline.left(now)
    }
}

/// The last thing that was told about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    Nothing,
    Noticed,
    Alarm,
    Missed,
}

/// What may be lost when payers' close requests run out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deadlines {
    /// So many channels have a close request, and something to collect.
    pub channels: usize,
    /// What is to be collected from them, in base units.
    pub unsettled: Amount,
    /// The time that is left for the first of them.
    pub least_left: Option<Duration>,
}

impl Settlement {
    /// Watches a channel for as long as it has to be collected from.
    pub(super) fn watch(&self, standing: &Standing) {
        let deadline = match standing.stage {
            Stage::Requested(deadline) => Some(deadline),
            Stage::Closing { deadline } => deadline,
            Stage::Open => None,
        };
        let mut desk = self.desk();
        match deadline.filter(|_| standing.has_something()) {
            Some(deadline) => {
                let watch = desk.deadlines.entry(standing.id).or_insert(Watch {
                    deadline,
                    unsettled: standing.unsettled,
                    told: Told::Nothing,
                });
                watch.deadline = deadline;
                watch.unsettled = standing.unsettled;
            }
            None => drop(desk.deadlines.remove(&standing.id)),
        }
    }

    /// The channel was collected from, or is over.
    pub(super) fn unwatch(&self, channel: ChannelId) -> Option<Watch> {
        self.desk().deadlines.remove(&channel)
    }

    /// Tells of deadlines that have come closer. Needs no chain.
    pub(super) fn tell_deadlines(&self, now: Timestamp, events: &Events) {
        for (&channel_id, watch) in &mut self.desk().deadlines {
            let left = watch.deadline.left(now);
            let due = if left.is_zero() {
                Told::Missed
            } else if left <= ALARM {
                Told::Alarm
            } else {
                Told::Noticed
            };
            if due <= watch.told {
                continue;
            }
            watch.told = due;
            let unsettled = watch.unsettled;
            events.send(match due {
                Told::Nothing | Told::Noticed => {
                    tracing::info!(%channel_id, left = left.as_secs(), "a deadline runs");
                    ServerEvent::DeadlineRuns { channel_id, left }
                }
                Told::Alarm => {
                    tracing::error!(
                        %channel_id,
                        left = left.as_secs(),
                        %unsettled,
                        "a payer can soon take back what was earned"
                    );
                    ServerEvent::DeadlineNear { channel_id, left }
                }
                Told::Missed => {
                    tracing::error!(%channel_id, %unsettled, "a deadline was missed");
                    ServerEvent::DeadlineMissed {
                        channel_id,
                        unsettled,
                    }
                }
            });
        }
    }

    /// What may be lost when payers' close requests run out.
    pub(crate) fn deadlines(&self, now: Timestamp) -> Deadlines {
        let desk = self.desk();
        let left = desk.deadlines.values();
        Deadlines {
            channels: desk.deadlines.len(),
            unsettled: desk.at_stake(),
            least_left: left.map(|watch| watch.deadline.left(now)).min(),
        }
    }
}
