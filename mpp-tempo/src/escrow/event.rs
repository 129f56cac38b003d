//! The events of both escrows in one type.

use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::SolEvent;
use mpp_core::Amount;

use super::convert::from_uint96;
use super::{IStreamChannel, ITIP20ChannelReserve};
use crate::chain::ChainLog;
use crate::channel::{ChannelDescriptor, ChannelId, SessionProtocol};

/// Something that happened to a channel on chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EscrowEvent {
    /// A channel was opened and funded.
    Opened {
        /// The channel.
        channel_id: ChannelId,
        /// What it was opened with; operator and hash are zero for v1.
        descriptor: ChannelDescriptor,
        /// Deposit in base units.
        deposit: Amount,
    },
    /// The deposit grew.
    TopUp {
        /// The channel.
        channel_id: ChannelId,
        /// Added amount in base units.
        additional: Amount,
        /// Deposit afterwards, in base units.
        new_deposit: Amount,
    },
    /// The payee collected a voucher.
    Settled {
        /// The channel.
        channel_id: ChannelId,
        /// Amount of the voucher, in base units.
        cumulative: Amount,
        /// What was paid now, in base units.
        delta: Amount,
        /// Total paid so far, in base units.
        new_settled: Amount,
    },
    /// The payer wants its deposit back.
    CloseRequested {
        /// The channel.
        channel_id: ChannelId,
        /// When the payer may withdraw, in Unix seconds.
        grace_end: u64,
    },
    /// A top-up took the close request back.
    CloseRequestCancelled {
        /// The channel.
        channel_id: ChannelId,
    },
    /// The channel is final.
    Closed {
        /// The channel.
        channel_id: ChannelId,
        /// Total that the payee got, in base units.
        settled_to_payee: Amount,
        /// What the payer got back, in base units.
        refunded_to_payer: Amount,
    },
}

impl EscrowEvent {
    /// Reads a log of an escrow of `protocol`; `None` for logs of other events.
    ///
    /// The log's address is not looked at: compare it with the escrow of the channel first,
    /// because any contract can emit the same event.
    #[must_use]
    pub fn decode(log: &ChainLog, protocol: SessionProtocol) -> Option<Self> {
        match protocol {
            SessionProtocol::V1 => decode_v1(log),
            SessionProtocol::V2 => decode_v2(log),
        }
    }

    /// The channel that the event is about.
    #[must_use]
    pub const fn channel_id(&self) -> ChannelId {
        match self {
            Self::Opened { channel_id, .. }
            | Self::TopUp { channel_id, .. }
            | Self::Settled { channel_id, .. }
            | Self::CloseRequested { channel_id, .. }
            | Self::CloseRequestCancelled { channel_id }
            | Self::Closed { channel_id, .. } => *channel_id,
        }
    }

    /// First topics of the events of a protocol version, for log filters.
    #[must_use]
    pub const fn topics(protocol: SessionProtocol) -> [B256; 6] {
        match protocol {
            SessionProtocol::V1 => [
                IStreamChannel::ChannelOpened::SIGNATURE_HASH,
                IStreamChannel::TopUp::SIGNATURE_HASH,
                IStreamChannel::Settled::SIGNATURE_HASH,
                IStreamChannel::CloseRequested::SIGNATURE_HASH,
                IStreamChannel::CloseRequestCancelled::SIGNATURE_HASH,
                IStreamChannel::ChannelClosed::SIGNATURE_HASH,
            ],
            SessionProtocol::V2 => [
                ITIP20ChannelReserve::ChannelOpened::SIGNATURE_HASH,
                ITIP20ChannelReserve::TopUp::SIGNATURE_HASH,
                ITIP20ChannelReserve::Settled::SIGNATURE_HASH,
                ITIP20ChannelReserve::CloseRequested::SIGNATURE_HASH,
                ITIP20ChannelReserve::CloseRequestCancelled::SIGNATURE_HASH,
                ITIP20ChannelReserve::ChannelClosed::SIGNATURE_HASH,
            ],
        }
    }
}

fn decode_v1(log: &ChainLog) -> Option<EscrowEvent> {
    use IStreamChannel as abi;

    if let Some(e) = read::<abi::ChannelOpened>(log) {
        let descriptor = ChannelDescriptor {
            payer: e.payer,
            payee: e.payee,
            operator: Address::ZERO,
            token: e.token,
            salt: e.salt,
            authorized_signer: e.authorizedSigner,
            expiring_nonce_hash: B256::ZERO,
        };
        let (channel_id, deposit) = (e.channelId, amount(e.deposit)?);
        return Some(EscrowEvent::Opened {
            channel_id,
            descriptor,
            deposit,
        });
    }
    if let Some(e) = read::<abi::TopUp>(log) {
        return Some(EscrowEvent::TopUp {
            channel_id: e.channelId,
            additional: amount(e.additionalDeposit)?,
            new_deposit: amount(e.newDeposit)?,
        });
    }
    if let Some(e) = read::<abi::Settled>(log) {
        return Some(EscrowEvent::Settled {
            channel_id: e.channelId,
            cumulative: amount(e.cumulativeAmount)?,
            delta: amount(e.deltaPaid)?,
            new_settled: amount(e.newSettled)?,
        });
    }
    if let Some(e) = read::<abi::CloseRequested>(log) {
        let grace_end = e.closeGraceEnd.try_into().ok()?;
        return Some(EscrowEvent::CloseRequested {
            channel_id: e.channelId,
            grace_end,
        });
    }
    if let Some(e) = read::<abi::CloseRequestCancelled>(log) {
        return Some(EscrowEvent::CloseRequestCancelled {
            channel_id: e.channelId,
        });
    }
    let e = read::<abi::ChannelClosed>(log)?;
    Some(EscrowEvent::Closed {
        channel_id: e.channelId,
        settled_to_payee: amount(e.settledToPayee)?,
        refunded_to_payer: amount(e.refundedToPayer)?,
    })
}

fn decode_v2(log: &ChainLog) -> Option<EscrowEvent> {
    use ITIP20ChannelReserve as abi;

    if let Some(e) = read::<abi::ChannelOpened>(log) {
        let descriptor = ChannelDescriptor {
            payer: e.payer,
            payee: e.payee,
            operator: e.operator,
            token: e.token,
            salt: e.salt,
            authorized_signer: e.authorizedSigner,
            expiring_nonce_hash: e.expiringNonceHash,
        };
        let (channel_id, deposit) = (e.channelId, from_uint96(e.deposit));
        return Some(EscrowEvent::Opened {
            channel_id,
            descriptor,
            deposit,
        });
    }
    if let Some(e) = read::<abi::TopUp>(log) {
        return Some(EscrowEvent::TopUp {
            channel_id: e.channelId,
            additional: from_uint96(e.additionalDeposit),
            new_deposit: from_uint96(e.newDeposit),
        });
    }
    if let Some(e) = read::<abi::Settled>(log) {
        return Some(EscrowEvent::Settled {
            channel_id: e.channelId,
            cumulative: from_uint96(e.cumulativeAmount),
            delta: from_uint96(e.deltaPaid),
            new_settled: from_uint96(e.newSettled),
        });
    }
    if let Some(e) = read::<abi::CloseRequested>(log) {
        let grace_end = e.closeGraceEnd.try_into().ok()?;
        return Some(EscrowEvent::CloseRequested {
            channel_id: e.channelId,
            grace_end,
        });
    }
    if let Some(e) = read::<abi::CloseRequestCancelled>(log) {
        return Some(EscrowEvent::CloseRequestCancelled {
            channel_id: e.channelId,
        });
    }
    let e = read::<abi::ChannelClosed>(log)?;
    Some(EscrowEvent::Closed {
        channel_id: e.channelId,
        settled_to_payee: from_uint96(e.settledToPayee),
        refunded_to_payer: from_uint96(e.refundedToPayer),
    })
}

/// Reads a log as event `E`, refusing data that is not its exact encoding.
fn read<E: SolEvent>(log: &ChainLog) -> Option<E> {
    E::decode_raw_log_validate(log.topics.iter().copied(), &log.data).ok()
}

/// The contract emits `uint256`; an amount beyond 128 bits is no event of a real escrow.
fn amount(value: U256) -> Option<Amount> {
    u128::try_from(value).ok().map(Amount::new)
}
