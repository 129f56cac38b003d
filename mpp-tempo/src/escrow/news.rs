//! What several events of one channel say together.

use alloy_primitives::B256;
use mpp_core::Amount;

use super::EscrowEvent;
use crate::channel::ChannelDescriptor;
use crate::network::CLOSE_GRACE_SECS;

/// The newest of each kind of event of one channel, added in chain order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChannelNews {
    /// What the channel was opened with.
    pub opened: Option<ChannelDescriptor>,
    /// What it holds after an open or a top-up, in base units.
    pub deposit: Option<Amount>,
    /// What was paid out so far, in base units.
    pub settled: Option<Amount>,
    /// Whether its payer wants it closed.
    pub close: Option<CloseNews>,
    /// How it ended.
    pub end: Option<ChannelEnd>,
}

/// What became of a payer's close request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseNews {
    /// It was made at this Unix time, in seconds.
    Requested {
        /// When.
        at: u64,
    },
    /// A top-up has cancelled it.
    Cancelled,
}

/// How a channel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelEnd {
    /// The transaction that ended it, as far as the node says.
    pub transaction: Option<B256>,
    /// What the payee got in total, in base units.
    pub settled: Amount,
    /// What the payer got back, in base units.
    pub refunded: Amount,
}

impl ChannelNews {
    /// Takes in the next event of the channel.
    pub fn add(&mut self, event: &EscrowEvent, transaction: Option<B256>) {
        match *event {
            EscrowEvent::Opened {
                descriptor,
                deposit,
                ..
            } => {
                self.opened = Some(descriptor);
                self.deposit = Some(deposit);
            }
            EscrowEvent::TopUp { new_deposit, .. } => {
                self.deposit = Some(new_deposit);
                // PROTOCOL 5.3: a top-up cancels a close request.
                self.close = Some(CloseNews::Cancelled);
            }
            EscrowEvent::Settled { new_settled, .. } => self.settled = Some(new_settled),
            EscrowEvent::CloseRequested { grace_end, .. } => {
                let at = grace_end.saturating_sub(CLOSE_GRACE_SECS);
                self.close = Some(CloseNews::Requested { at });
            }
            EscrowEvent::CloseRequestCancelled { .. } => self.close = Some(CloseNews::Cancelled),
            EscrowEvent::Closed {
                settled_to_payee,
                refunded_to_payer,
                ..
            } => {
                self.end = Some(ChannelEnd {
                    transaction,
                    settled: settled_to_payee,
                    refunded: refunded_to_payer,
                });
            }
        }
    }
}
