//! What the chain has ever shown, also in blocks that are gone.

use std::collections::HashMap;

use mpp_devnet::{DevLog, Devnet, LogQuery};
use mpp_tempo::chain::ChainLog;
use mpp_tempo::escrow::EscrowEvent;
use mpp_tempo::network::PATH_USD;
use mpp_tempo::{ChannelId, SessionProtocol};

pub(crate) const BOTH: [SessionProtocol; 2] = [SessionProtocol::V1, SessionProtocol::V2];

pub(crate) fn escrow(protocol: SessionProtocol) -> alloy_primitives::Address {
    protocol.default_escrow(42_431).unwrap()
}

/// The most that was ever seen of a channel.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shown {
    pub(crate) deposit: u128,
    pub(crate) paid: u128,
    pub(crate) is_finalized: bool,
}

/// What was ever seen of the chain.
#[derive(Debug, Default)]
pub(crate) struct Books {
    channels: HashMap<ChannelId, Shown>,
    /// Blocks below were read.
    next_block: u64,
    pub(crate) reorgs: usize,
    /// So many blocks were replaced at once.
    pub(crate) deepest: u64,
}

impl Books {
    pub(crate) fn shown(&self, id: ChannelId) -> Shown {
        self.channels.get(&id).copied().unwrap_or_default()
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (ChannelId, Shown)> {
        self.channels.iter().map(|(id, shown)| (*id, *shown))
    }

    /// Reads what is new on the chain.
    pub(crate) fn look(&mut self, node: &Devnet) {
        let head = node.block_number();
        if head < self.next_block {
            return;
        }
        let query = LogQuery {
            from_block: Some(self.next_block),
            ..LogQuery::default()
        };
        for log in node.logs(&query) {
            if let Some(event) = event(&log) {
                self.note(&event);
            }
        }
        self.next_block = head + 1;
    }

    /// Blocks were replaced: their numbers will be used again.
    pub(crate) fn reorged(&mut self, depth: u64) {
        self.deepest = self.deepest.max(depth);
        self.next_block = 0;
        self.reorgs += 1;
    }

    fn note(&mut self, event: &EscrowEvent) {
        let shown = self.channels.entry(event.channel_id()).or_default();
        match event {
            EscrowEvent::Opened { deposit, .. } => {
                shown.deposit = shown.deposit.max(deposit.base_units());
            }
            EscrowEvent::TopUp { new_deposit, .. } => {
                shown.deposit = shown.deposit.max(new_deposit.base_units());
            }
            EscrowEvent::Settled { new_settled, .. } => {
                shown.paid = shown.paid.max(new_settled.base_units());
            }
            EscrowEvent::Closed {
                settled_to_payee, ..
            } => {
                shown.paid = shown.paid.max(settled_to_payee.base_units());
                shown.is_finalized = true;
            }
            _ => {}
        }
    }
}

fn event(log: &DevLog) -> Option<EscrowEvent> {
    let chain_log = ChainLog {
        address: log.log.address,
        topics: log.log.topics().to_vec(),
        data: log.log.data.data.clone(),
        ..ChainLog::default()
    };
    let mut of = BOTH
        .into_iter()
        .filter(|protocol| escrow(*protocol) == log.log.address);
    of.find_map(|protocol| EscrowEvent::decode(&chain_log, protocol))
}

/// The escrows hold what is deposited and not paid out, and no token was made
/// or lost.
pub(crate) fn check_conservation(node: &Devnet, channels: &[(SessionProtocol, ChannelId)]) {
    for protocol in BOTH {
        let of_protocol = channels.iter().filter(|(other, _)| *other == protocol);
        let left = of_protocol.filter_map(|(_, id)| node.channel(protocol, *id));
        let left: u128 = left
            .filter(|channel| !channel.finalized)
            .map(|channel| channel.deposit.base_units() - channel.settled.base_units())
            .sum();
        let held = node.balance(PATH_USD, escrow(protocol)).base_units();
        assert_eq!(
            held, left,
            "the escrow of {protocol} holds another sum than its channels"
        );
    }
    assert_eq!(node.sum_of_balances(PATH_USD), node.total_supply(PATH_USD));
}
