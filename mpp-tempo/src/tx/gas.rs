//! Gas limits that are enough for each operation on a Tempo chain.
//!
//! Only used gas is paid for. Nodes can not be asked: some ignore the calls of a 0x76 request
//! when they estimate (LOCALNODE). A new storage slot costs 250,000 gas, so first uses are dear.
//! All limits are within the default [`crate::tx::SponsorPolicy`]; those of many
//! [`transfers`] are once it was made [for them](crate::tx::SponsorPolicy::for_transfers).

use super::SignedTx;
use crate::channel::SessionProtocol;

/// Adding to a deposit.
pub const TOP_UP: u64 = 1_000_000;
/// Collecting a voucher; the payee may hold the token for the first time.
pub const SETTLE: u64 = 1_000_000;
/// Collecting and refunding.
pub const CLOSE: u64 = 1_500_000;
/// What collecting from several channels costs beside the channels; the payee may hold the token
/// for the first time.
pub const COLLECT: u64 = 400_000;
/// One more voucher in the same transaction: twice what was measured (LOCALNODE).
pub const SETTLE_MORE: u64 = 130_000;
/// One more close in the same transaction; its payer may have no balance left to add to.
pub const CLOSE_MORE: u64 = 450_000;
/// Used by collecting one voucher, all told, for estimates of what that costs.
pub const SETTLE_USED: u64 = 85_000;
/// Used by one close, all told.
pub const CLOSE_USED: u64 = 120_000;
/// Asking for the deposit back.
pub const REQUEST_CLOSE: u64 = 600_000;
/// Taking the deposit back after the grace period.
pub const WITHDRAW: u64 = 1_000_000;
/// One TIP-20 transfer, to an account that may be new.
pub const TRANSFER: u64 = 600_000;

/// Several TIP-20 transfers in one transaction, to accounts that may all be new.
#[must_use]
pub const fn transfers(count: usize) -> u64 {
    /// What each one after the first adds.
    const FURTHER: u64 = 320_000;
    // A list of transfers never comes near the end of the integers.
    let further = (count as u64).saturating_sub(1);
    TRANSFER.saturating_add(further.saturating_mul(FURTHER))
}

/// Opening a channel.
#[must_use]
pub const fn open(protocol: SessionProtocol) -> u64 {
    match protocol {
        // Approval, channel struct of several slots and the escrow's balance.
        SessionProtocol::V1 => 2_000_000,
        SessionProtocol::V2 => 1_500_000,
    }
}

/// What a sponsored transaction needs whose calls have used so much, each as a transaction of
/// its own.
///
/// Instead of what each of those has paid to begin, it pays once, and for its expiring nonce and
/// for both signatures beside. In one transaction a later call also finds slots that an earlier one
/// has touched, for less: an allowance for that is left out, so that whoever estimates well is not
/// refused.
#[must_use]
pub fn sponsored(transaction: &SignedTx, gas_used: u64) -> u64 {
    /// To begin a transaction.
    const BEGIN: u64 = 21_000;
    /// What a later call saves by an earlier one, at most: a written slot and some that are read.
    const TOUCHED: u64 = 20_000;
    const EXPIRING_NONCE: u64 = 13_000;
    const FEE_PAYER: u64 = 3_000;
    // A list of calls never comes near the end of the integers.
    let further = (transaction.calls().len() as u64).saturating_sub(1);
    gas_used
        .saturating_sub(further.saturating_mul(BEGIN.saturating_add(TOUCHED)))
        .saturating_add(EXPIRING_NONCE)
        .saturating_add(FEE_PAYER)
        .saturating_add(transaction.signature_gas())
}
