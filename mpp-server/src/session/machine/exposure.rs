//! How much may be at risk while the picture of the chain is not firm.

use mpp_core::{Amount, Timestamp};

use super::apply;
use crate::{
    error::Rejection,
    session::{
        command::{Command, Step},
        record::ChannelRecord,
    },
};

/// Limits on what may be promised on a channel; none by default.
///
/// What is promised is what is spent or held for requests being served. A
/// command that promises nothing more is never refused for them, so what was
/// held can be charged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Promises beyond what was paid out, in base units, at most. Set while the
    /// chain is not seen: the payer may be closing the channel
    /// (SECURITY-CASES A12).
    pub unsettled: Option<Amount>,
    /// Promises in all, in base units, at most. Set while the open or a top-up
    /// may still be taken back (SECURITY-CASES A14).
    pub promised: Option<Amount>,
}

/// Applies a command to a channel within bounds.
///
/// # Errors
/// As [`apply`]; [`Rejection::ChainNotSeen`] and [`Rejection::NotFinal`] when
/// the command would promise more than the bounds allow.
pub fn apply_within(
    record: &ChannelRecord,
    command: Command,
    now: Timestamp,
    bounds: Bounds,
) -> Result<Step, Rejection> {
    let step = apply(record, command, now)?;
    let promised = step.next.promised(now);
    if promised <= record.promised(now) {
        return Ok(step);
    }
    let channel_id = record.id;
    let unsettled = promised.saturating_sub(step.next.settled);
    if bounds.unsettled.is_some_and(|most| unsettled > most) {
        return Err(Rejection::ChainNotSeen { channel_id });
    }
    if bounds.promised.is_some_and(|most| promised > most) {
        return Err(Rejection::NotFinal { channel_id });
    }
    Ok(step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        session::command::Charge,
        testing::{BOTH, amount, challenge_id, now, open_record},
    };

    fn charge(cost: u128) -> Command {
        Command::Charge(Charge {
            cost: amount(cost),
            units: 1,
            challenge_id: challenge_id(),
            stream: None,
        })
    }

    #[track_caller]
    fn check(bounds: Bounds, cost: u128, expected: Option<Rejection>) {
        for protocol in BOTH {
            let mut record = open_record(protocol, 100, 90, 40);
            record.settled = amount(30);
            let step = apply_within(&record, charge(cost), now(), bounds);
            let refused = expected.clone().map(|rejection| match rejection {
                Rejection::NotFinal { .. } => Rejection::NotFinal {
                    channel_id: record.id,
                },
                _ => Rejection::ChainNotSeen {
                    channel_id: record.id,
                },
            });
            assert_eq!(step.err(), refused);
        }
    }

    // SECURITY-CASES A12: what is exposed is what was spent and not settled.
    #[test]
    fn while_the_chain_is_not_seen_unsettled_value_is_capped() {
        let bounds = Bounds {
            unsettled: Some(amount(15)),
            promised: None,
        };
        let channel_id = alloy_primitives::B256::ZERO;
        check(bounds, 5, None);
        check(bounds, 6, Some(Rejection::ChainNotSeen { channel_id }));
        check(Bounds::default(), 50, None);
    }

    // SECURITY-CASES A14: an exposure cap until finality.
    #[test]
    fn before_finality_promises_are_capped() {
        let bounds = Bounds {
            unsettled: None,
            promised: Some(amount(45)),
        };
        let channel_id = alloy_primitives::B256::ZERO;
        check(bounds, 5, None);
        check(bounds, 6, Some(Rejection::NotFinal { channel_id }));
    }

    #[test]
    fn what_promises_nothing_more_is_not_bounded() {
        let bounds = Bounds {
            unsettled: Some(Amount::ZERO),
            promised: Some(Amount::ZERO),
        };
        let record = open_record(BOTH[1], 100, 90, 40);
        for command in [Command::Keep, Command::BeginStream] {
            assert!(apply_within(&record, command, now(), bounds).is_ok());
        }
    }
}
