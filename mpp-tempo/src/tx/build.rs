//! One function per operation: arguments in, an unsigned transaction out.

use alloc::vec;
use alloc::vec::Vec;
use alloy_primitives::{Bytes, U256};
use mpp_core::Amount;
use tempo_primitives::transaction::Call;

use super::calls;
use super::{BuildError, TxContext, UnsignedTx};
use crate::channel::{ChannelTerms, SessionProtocol};
use crate::escrow::{IStreamChannel, ITIP20, ITIP20ChannelReserve, to_uint96};
use crate::voucher::SignedVoucher;

mod params;

pub use params::{OpenParams, Transfer};

/// Opens a channel: approve and open for v1, open alone for v2 (PROTOCOL 5.3).
///
/// # Errors
/// [`BuildError`] for amounts beyond the protocol's integers and an empty validity.
pub fn open(context: &TxContext, params: &OpenParams) -> Result<UnsignedTx, BuildError> {
    let calls = match params.protocol {
        SessionProtocol::V1 => calls::open_v1(params),
        SessionProtocol::V2 => calls::open_v2(params)?,
    };
    UnsignedTx::new(context, calls)
}

/// Adds to the deposit of a channel.
///
/// # Errors
/// [`BuildError`] as [`open`].
pub fn top_up(
    context: &TxContext,
    terms: &ChannelTerms,
    additional: Amount,
) -> Result<UnsignedTx, BuildError> {
    let calls = match terms.protocol {
        SessionProtocol::V1 => calls::top_up_v1(terms, additional),
        SessionProtocol::V2 => calls::top_up_v2(terms, additional)?,
    };
    UnsignedTx::new(context, calls)
}

/// Collects a voucher and leaves the channel open.
///
/// # Errors
/// [`BuildError`] also for a voucher of another channel.
pub fn settle(
    context: &TxContext,
    terms: &ChannelTerms,
    signed: &SignedVoucher,
) -> Result<UnsignedTx, BuildError> {
    UnsignedTx::new(context, vec![settle_call(terms, signed)?])
}

/// Collects several vouchers at once, all or none.
///
/// # Errors
/// [`BuildError`] also for vouchers of other channels and an empty list.
pub fn settle_all<'a>(
    context: &TxContext,
    channels: impl IntoIterator<Item = (&'a ChannelTerms, &'a SignedVoucher)>,
) -> Result<UnsignedTx, BuildError> {
    let calls: Result<Vec<_>, _> = channels
        .into_iter()
        .map(|(terms, signed)| settle_call(terms, signed))
        .collect();
    UnsignedTx::new(context, calls?)
}

/// Collects `capture` base units in total and refunds the rest.
///
/// v1 has no capture argument and pays the full voucher, so there both must be equal.
///
/// # Errors
/// [`BuildError`] also for a capture above the voucher and a voucher of another channel.
pub fn close(
    context: &TxContext,
    terms: &ChannelTerms,
    signed: &SignedVoucher,
    capture: Amount,
) -> Result<UnsignedTx, BuildError> {
    let call = close_call(terms, signed, capture)?;
    UnsignedTx::new(context, vec![call])
}

/// One way to collect from one channel, as a part of a larger transaction.
#[derive(Clone, Copy, Debug)]
pub enum Collection<'a> {
    /// Collects the voucher and leaves the channel open.
    Settle {
        /// The channel.
        terms: &'a ChannelTerms,
        /// Its voucher.
        signed: &'a SignedVoucher,
    },
    /// Collects `capture` base units in total and refunds the rest.
    Close {
        /// The channel.
        terms: &'a ChannelTerms,
        /// Its voucher.
        signed: &'a SignedVoucher,
        /// What the payee has got in total afterwards, in base units.
        capture: Amount,
    },
}

/// Collects from several channels at once, all or none.
///
/// # Errors
/// [`BuildError`] as [`settle_all`] and [`close`].
pub fn collect<'a>(
    context: &TxContext,
    collections: impl IntoIterator<Item = Collection<'a>>,
) -> Result<UnsignedTx, BuildError> {
    let calls = collections
        .into_iter()
        .map(|collection| match collection {
            Collection::Settle { terms, signed } => settle_call(terms, signed),
            Collection::Close {
                terms,
                signed,
                capture,
            } => close_call(terms, signed, capture),
        })
        .collect::<Result<Vec<_>, _>>()?;
    UnsignedTx::new(context, calls)
}

/// Closes without a voucher: the payee gets no more than `settled`, what it has already got.
///
/// # Errors
/// [`BuildError`] as [`open`].
pub fn close_at_settled(
    context: &TxContext,
    terms: &ChannelTerms,
    settled: Amount,
) -> Result<UnsignedTx, BuildError> {
    let call = close_with(terms, settled, settled, Bytes::new())?;
    UnsignedTx::new(context, vec![call])
}

/// Asks for the deposit back; the payee has the grace period to collect.
///
/// # Errors
/// [`BuildError`] for an empty validity.
pub fn request_close(context: &TxContext, terms: &ChannelTerms) -> Result<UnsignedTx, BuildError> {
    let call = match terms.protocol {
        SessionProtocol::V1 => calls::call(
            terms.escrow,
            &IStreamChannel::requestCloseCall {
                channelId: terms.id(),
            },
        ),
        SessionProtocol::V2 => calls::call(
            terms.escrow,
            &ITIP20ChannelReserve::requestCloseCall {
                descriptor: (&terms.descriptor).into(),
            },
        ),
    };
    UnsignedTx::new(context, vec![call])
}

/// Takes the deposit back after the grace period.
///
/// # Errors
/// [`BuildError`] for an empty validity.
pub fn withdraw(context: &TxContext, terms: &ChannelTerms) -> Result<UnsignedTx, BuildError> {
    let call = match terms.protocol {
        SessionProtocol::V1 => calls::call(
            terms.escrow,
            &IStreamChannel::withdrawCall {
                channelId: terms.id(),
            },
        ),
        SessionProtocol::V2 => calls::call(
            terms.escrow,
            &ITIP20ChannelReserve::withdrawCall {
                descriptor: (&terms.descriptor).into(),
            },
        ),
    };
    UnsignedTx::new(context, vec![call])
}

/// Transfers tokens, all or none.
///
/// # Errors
/// [`BuildError`] for an empty list and an empty validity.
pub fn transfer(context: &TxContext, transfers: &[Transfer]) -> Result<UnsignedTx, BuildError> {
    UnsignedTx::new(context, transfers.iter().map(transfer_call).collect())
}

pub(crate) fn transfer_call(transfer: &Transfer) -> Call {
    let (to, amount) = (transfer.to, U256::from(transfer.amount.base_units()));
    match transfer.memo {
        None => calls::call(transfer.token, &ITIP20::transferCall { to, amount }),
        Some(memo) => calls::call(
            transfer.token,
            &ITIP20::transferWithMemoCall { to, amount, memo },
        ),
    }
}

fn settle_call(terms: &ChannelTerms, signed: &SignedVoucher) -> Result<Call, BuildError> {
    let cumulative = voucher_amount(terms, signed)?;
    let signature: Bytes = signed.signature.to_bytes().into();
    Ok(match terms.protocol {
        SessionProtocol::V1 => calls::call(
            terms.escrow,
            &IStreamChannel::settleCall {
                channelId: signed.voucher.channel_id,
                cumulativeAmount: cumulative.base_units(),
                signature,
            },
        ),
        SessionProtocol::V2 => calls::call(
            terms.escrow,
            &ITIP20ChannelReserve::settleCall {
                descriptor: (&terms.descriptor).into(),
                cumulativeAmount: to_uint96(cumulative)?,
                signature,
            },
        ),
    })
}

fn close_call(
    terms: &ChannelTerms,
    signed: &SignedVoucher,
    capture: Amount,
) -> Result<Call, BuildError> {
    let cumulative = voucher_amount(terms, signed)?;
    if capture > cumulative || (terms.protocol == SessionProtocol::V1 && capture != cumulative) {
        return Err(BuildError::Capture);
    }
    let signature = signed.signature.to_bytes().into();
    close_with(terms, cumulative, capture, signature)
}

fn close_with(
    terms: &ChannelTerms,
    cumulative: Amount,
    capture: Amount,
    signature: Bytes,
) -> Result<Call, BuildError> {
    Ok(match terms.protocol {
        SessionProtocol::V1 => calls::call(
            terms.escrow,
            &IStreamChannel::closeCall {
                channelId: terms.id(),
                cumulativeAmount: capture.base_units(),
                signature,
            },
        ),
        SessionProtocol::V2 => calls::call(
            terms.escrow,
            &ITIP20ChannelReserve::closeCall {
                descriptor: (&terms.descriptor).into(),
                cumulativeAmount: to_uint96(cumulative)?,
                captureAmount: to_uint96(capture)?,
                signature,
            },
        ),
    })
}

/// The amount of a voucher that belongs to the channel.
fn voucher_amount(terms: &ChannelTerms, signed: &SignedVoucher) -> Result<Amount, BuildError> {
    if signed.voucher.channel_id == terms.id() {
        Ok(signed.voucher.cumulative)
    } else {
        Err(BuildError::WrongChannel)
    }
}
