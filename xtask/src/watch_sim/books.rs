//! What the chain says at the end: who was paid, when, and that nothing is
//! missing.

use std::collections::HashMap;

use anyhow::{Context as _, ensure};
use mpp_core::Amount;
use mpp_devnet::{DevLog, Devnet, LogQuery};
use mpp_tempo::{
    ChannelId, SessionProtocol,
    chain::ChainLog,
    escrow::EscrowEvent,
    network::{CLOSE_GRACE_SECS, PATH_USD},
};

/// The story of one channel, as its events tell it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Story {
    pub(crate) deposit: u128,
    /// What the payee got, and when, in Unix seconds.
    payments: Vec<(u64, u128)>,
    refunded: Option<u128>,
    /// When the payer may withdraw.
    pub(crate) grace_end: Option<u64>,
}

impl Story {
    /// What the payee got in total.
    pub(crate) fn paid(&self) -> u128 {
        self.payments.last().map_or(0, |(_, total)| *total)
    }

    /// Seconds that were left when `due` was paid out: `None` if that was too
    /// late, or never.
    pub(crate) fn left(&self, due: u128) -> Option<u64> {
        let end = self.grace_end?;
        let paid = self.payments.iter().find(|(_, total)| *total >= due)?;
        end.checked_sub(paid.0).filter(|left| *left > 0)
    }
}

/// All channels of a chain, by id.
pub(crate) fn read(node: &Devnet) -> HashMap<ChannelId, Story> {
    let mut stories: HashMap<ChannelId, Story> = HashMap::new();
    let logs = node.logs(&LogQuery::default());
    let events = logs
        .iter()
        .filter_map(|log| Some((log.timestamp, event(log)?)));
    for (at, event) in events {
        let story = stories.entry(event.channel_id()).or_default();
        match event {
            EscrowEvent::Opened { deposit, .. } => story.deposit = deposit.base_units(),
            EscrowEvent::TopUp { new_deposit, .. } => story.deposit = new_deposit.base_units(),
            EscrowEvent::Settled { new_settled, .. } => {
                story.payments.push((at, new_settled.base_units()));
            }
            EscrowEvent::CloseRequested { grace_end, .. } => story.grace_end = Some(grace_end),
            EscrowEvent::CloseRequestCancelled { .. } => story.grace_end = None,
            EscrowEvent::Closed {
                settled_to_payee,
                refunded_to_payer,
                ..
            } => {
                story.payments.push((at, settled_to_payee.base_units()));
                story.refunded = Some(refunded_to_payer.base_units());
            }
            _ => {}
        }
    }
    stories
}

fn event(log: &DevLog) -> Option<EscrowEvent> {
    let chain_log = ChainLog {
        address: log.log.address,
        topics: log.log.topics().to_vec(),
        data: log.log.data.data.clone(),
        ..ChainLog::default()
    };
    [SessionProtocol::V1, SessionProtocol::V2]
        .into_iter()
        .filter(|protocol| protocol.default_escrow(42_431) == Some(log.log.address))
        .find_map(|protocol| EscrowEvent::decode(&chain_log, protocol))
}

/// Payer refunds + payee receipts + remaining deposits = deposits, and what
/// the escrow holds is what remains.
pub(crate) fn balance(
    node: &Devnet,
    protocol: SessionProtocol,
    stories: &HashMap<ChannelId, Story>,
) -> anyhow::Result<()> {
    let (mut deposits, mut paid, mut refunds, mut remaining) = (0_u128, 0_u128, 0_u128, 0_u128);
    for story in stories.values() {
        deposits = add(deposits, story.deposit)?;
        paid = add(paid, story.paid())?;
        match story.refunded {
            Some(refunded) => refunds = add(refunds, refunded)?,
            None => remaining = add(remaining, story.deposit.saturating_sub(story.paid()))?,
        }
    }
    let accounted = add(add(paid, refunds)?, remaining)?;
    ensure!(
        accounted == deposits,
        "{deposits} deposited, {accounted} accounted for"
    );
    let escrow = protocol.default_escrow(42_431).context("no escrow")?;
    let held = node.balance(PATH_USD, escrow);
    ensure!(
        held == Amount::new(remaining),
        "the escrow holds {held}, and {remaining} should remain"
    );
    ensure!(
        node.sum_of_balances(PATH_USD) == node.total_supply(PATH_USD),
        "money was made or lost"
    );
    Ok(())
}

/// The end of the grace period of a request that was made at `at`.
pub(crate) fn end_of(at: u64) -> u64 {
    at.saturating_add(CLOSE_GRACE_SECS)
}

fn add(one: u128, other: u128) -> anyhow::Result<u128> {
    one.checked_add(other).context("a sum is too large")
}
