//! Whether a receipt shows that a charge was paid.

use alloc::vec;
use alloc::vec::Vec;
use alloy_primitives::{Address, B256, Log, LogData, U256};
use alloy_sol_types::SolEvent;
use mpp_core::Amount;

use super::{AttributionMemo, ChargeBinding, ChargeTransfer, Matched, TransferMismatch, Transfers};
use crate::chain::{ChainLog, LogFilter, TxReceipt};
use crate::escrow::ITIP20;

/// Why a mined transaction does not pay a charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChargeUnpaid {
    /// It was reverted (case A25).
    #[error("transaction was reverted")]
    Reverted,
    /// Its sender did not make the transfers that were asked for (case A4).
    #[error(transparent)]
    Transfers(#[from] TransferMismatch),
}

/// Checks that a receipt shows every transfer of a charge, made by its sender.
///
/// The logs of other tokens and of other accounts do not count, each log counts once, and what
/// else the transaction moved does not matter. That the receipt is of the right chain, and of a
/// transaction that was not used before, is the caller's to know.
///
/// # Errors
/// [`ChargeUnpaid`].
pub fn check_receipt(
    receipt: &TxReceipt,
    transfers: &Transfers,
    binding: ChargeBinding<'_>,
) -> Result<Matched, ChargeUnpaid> {
    if !receipt.success {
        return Err(ChargeUnpaid::Reverted);
    }
    let made = transfers_of(receipt, transfers.token());
    Ok(transfers.match_with(&made, binding)?)
}

/// The logs among which a payment is found whose transaction is not known: those of the primary
/// transfer with the memo that it carries, by this payer from this block on.
#[must_use]
pub fn payment_logs(
    transfers: &Transfers,
    binding: ChargeBinding<'_>,
    (payer, from_block): (Address, u64),
) -> LogFilter {
    let primary = transfers.primary();
    let memo = primary.memo.unwrap_or_else(|| {
        AttributionMemo::new(binding.realm, None, binding.challenge_id).to_word()
    });
    LogFilter {
        addresses: vec![transfers.token()],
        topics: vec![
            vec![ITIP20::TransferWithMemo::SIGNATURE_HASH],
            vec![payer.into_word()],
            vec![primary.to.into_word()],
            vec![memo],
        ],
        from_block,
        to_block: None,
    }
}

/// One log of a transfer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Entry {
    /// `Transfer`, which every movement emits.
    Plain(ChargeTransfer),
    /// `TransferWithMemo`, which a transfer with memo emits beside it.
    Memo(ChargeTransfer),
}

impl Entry {
    fn read(log: &ChainLog, token: Address, payer: Address) -> Option<Self> {
        if log.address != token {
            return None;
        }
        let log = Log {
            address: log.address,
            data: LogData::new(log.topics.clone(), log.data.clone())?,
        };
        // No token writes anything before an address or behind an amount; whoever does is not
        // believed.
        (log.data.data.len() == 32).then_some(())?;
        let is_address = |topic: &B256| Address::from_word(*topic).into_word() == *topic;
        let parties = log.topics().iter().skip(1).take(2);
        parties
            .copied()
            .all(|topic| is_address(&topic))
            .then_some(())?;
        let transfer = |to, amount: U256, memo| {
            let amount = Amount::new(u128::try_from(amount).ok()?);
            Some(ChargeTransfer { to, amount, memo })
        };
        if let Ok(event) = ITIP20::Transfer::decode_log_validate(&log) {
            (event.from == payer).then_some(())?;
            return transfer(event.to, event.amount, None).map(Self::Plain);
        }
        let event = ITIP20::TransferWithMemo::decode_log_validate(&log).ok()?;
        (event.from == payer).then_some(())?;
        transfer(event.to, event.amount, Some(event.memo)).map(Self::Memo)
    }

    /// The one transfer that both logs are about, if they are.
    fn join(self, next: Option<Self>) -> Option<ChargeTransfer> {
        let (plain, memo) = match (self, next?) {
            (Self::Plain(plain), Self::Memo(memo)) | (Self::Memo(memo), Self::Plain(plain)) => {
                (plain, memo)
            }
            _ => return None,
        };
        (plain.to == memo.to && plain.amount == memo.amount).then_some(memo)
    }

    const fn alone(self) -> ChargeTransfer {
        match self {
            Self::Plain(transfer) | Self::Memo(transfer) => transfer,
        }
    }
}

/// The sender's transfers of a token: adjacent `Transfer` and `TransferWithMemo` logs of the same
/// parties and amount are one (PROTOCOL 4).
fn transfers_of(receipt: &TxReceipt, token: Address) -> Vec<ChargeTransfer> {
    let mut entries = receipt
        .logs
        .iter()
        .map(|log| Entry::read(log, token, receipt.from))
        .peekable();
    let mut made = Vec::new();
    while let Some(entry) = entries.next() {
        let Some(entry) = entry else { continue };
        match entry.join(entries.peek().copied().flatten()) {
            Some(joined) => {
                entries.next();
                made.push(joined);
            }
            None => made.push(entry.alone()),
        }
    }
    made
}

#[cfg(test)]
mod tests;
