//! The TIP-20 transfers that a charge asks for, and their matching with those that were made.

use alloc::vec;
use alloc::vec::Vec;
use alloy_primitives::{Address, B256};
use mpp_core::Amount;

use super::AttributionMemo;
use crate::wire::ChargeRequest;

/// The most recipients beside the primary one (PROTOCOL 4).
pub const MAX_SPLITS: usize = 10;

/// One transfer of a charge, asked for or made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChargeTransfer {
    /// Who receives it.
    pub to: Address,
    /// Amount in base units.
    pub amount: Amount,
    /// The memo it must carry, or carries.
    pub memo: Option<B256>,
}

/// The transfers that a charge asks for; their sum is the charge's amount.
///
/// Checked when made: there is something to pay, there are 1 to 10 splits if any, each above
/// zero, and they leave something for the primary recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfers {
    chain_id: u64,
    token: Address,
    primary: ChargeTransfer,
    splits: Vec<ChargeTransfer>,
}

/// The challenge that a payment must be bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChargeBinding<'a> {
    /// Realm of the challenge.
    pub realm: &'a str,
    /// Id of the challenge.
    pub challenge_id: &'a str,
}

/// Transfers that make up a charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matched {
    /// The memo that tells the payment: the primary transfer's pinned one, or the attribution
    /// memo.
    pub memo: B256,
    /// How many transfers were made beside those that were asked for.
    pub surplus: usize,
}

/// Why a charge request does not say what is to be transferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidCharge {
    /// The amount is zero: such a charge is answered with a proof.
    #[error("charge of zero asks for no transfer")]
    NothingToPay,
    /// There are no splits in the list, or too many.
    #[error("charge has {0} splits, not 1 to {MAX_SPLITS}")]
    SplitCount(usize),
    /// A split transfers nothing.
    #[error("charge has a split of zero")]
    EmptySplit,
    /// The splits leave nothing for the primary recipient.
    #[error("splits are not below the amount of the charge")]
    SplitSum,
}

/// How the transfers that were made differ from those that were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransferMismatch {
    /// A transfer with this recipient, amount and memo is missing.
    #[error("a transfer of {amount} to {to} is missing or has another memo")]
    Missing {
        /// Its recipient.
        to: Address,
        /// Its amount in base units.
        amount: Amount,
    },
    /// No transfer carries the attribution memo of the challenge.
    #[error("no transfer carries the attribution memo of this challenge")]
    Unattributed,
}

impl TryFrom<&ChargeRequest> for Transfers {
    type Error = InvalidCharge;

    fn try_from(request: &ChargeRequest) -> Result<Self, InvalidCharge> {
        if request.amount.is_zero() {
            return Err(InvalidCharge::NothingToPay);
        }
        let details = &request.method_details;
        let splits = match &details.splits {
            None => &[][..],
            Some(splits) if (1..=MAX_SPLITS).contains(&splits.len()) => splits,
            Some(splits) => return Err(InvalidCharge::SplitCount(splits.len())),
        };
        let mut rest = request.amount;
        for split in splits {
            if split.amount.is_zero() {
                return Err(InvalidCharge::EmptySplit);
            }
            rest = rest
                .checked_sub(split.amount)
                .filter(|rest| !rest.is_zero())
                .ok_or(InvalidCharge::SplitSum)?;
        }
        let part = |split: &crate::wire::Split| ChargeTransfer {
            to: split.recipient,
            amount: split.amount,
            memo: split.memo,
        };
        Ok(Self {
            chain_id: details.chain_id,
            token: request.currency,
            primary: ChargeTransfer {
                to: request.recipient,
                amount: rest,
                memo: details.memo,
            },
            splits: splits.iter().map(part).collect(),
        })
    }
}

impl Transfers {
    /// EIP-155 id of the chain they are made on.
    #[must_use]
    pub const fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// The TIP-20 token.
    #[must_use]
    pub const fn token(&self) -> Address {
        self.token
    }

    /// The transfer to the primary recipient: what the splits leave.
    #[must_use]
    pub const fn primary(&self) -> &ChargeTransfer {
        &self.primary
    }

    /// How many there are.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.splits.len().saturating_add(1)
    }

    /// The transfers as asked for: primary first, then the splits in their order.
    pub fn iter(&self) -> impl Iterator<Item = &ChargeTransfer> {
        core::iter::once(&self.primary).chain(&self.splits)
    }

    /// Whether a payment can be told to belong to its challenge by an attribution memo.
    ///
    /// A request that pins the memo of the primary transfer leaves no room for it: the server
    /// knows such a payment by its transaction alone.
    #[must_use]
    pub const fn is_attributed(&self) -> bool {
        self.primary.memo.is_none()
    }

    /// The transfers as a client makes them: the primary one carries the attribution memo unless
    /// the request pins another.
    #[must_use]
    pub fn with_attribution(&self, memo: AttributionMemo) -> Vec<ChargeTransfer> {
        let mut made: Vec<_> = self.iter().copied().collect();
        if let Some(primary) = made.first_mut() {
            primary.memo.get_or_insert_with(|| memo.to_word());
        }
        made
    }

    /// Finds a transfer of its own among those made for each that is asked for, in any order,
    /// and counts those that are left over.
    ///
    /// A pinned memo must be met exactly. Other transfers carry no memo or the challenge's
    /// attribution memo, and at least one carries the latter (PROTOCOL 4).
    ///
    /// # Errors
    /// [`TransferMismatch`].
    pub fn match_with(
        &self,
        made: &[ChargeTransfer],
        binding: ChargeBinding<'_>,
    ) -> Result<Matched, TransferMismatch> {
        let ours = |memo: &B256| {
            AttributionMemo::parse(memo)
                .is_some_and(|memo| memo.check(binding.realm, binding.challenge_id).is_ok())
        };
        let mut used = vec![false; made.len()];
        let mut take = |asked: &ChargeTransfer, fits: &dyn Fn(Option<&B256>) -> bool| {
            let free = made.iter().zip(used.iter_mut()).find(|(made, used)| {
                !**used
                    && made.to == asked.to
                    && made.amount == asked.amount
                    && fits(made.memo.as_ref())
            });
            free.map(|(made, used)| {
                *used = true;
                made.memo
            })
        };
        let mut binds = self.primary.memo;
        // A pinned memo is never an attribution memo of a challenge that was issued later, so
        // no transfer fits both kinds and taking the first that fits finds every matching.
        for asked in self.iter() {
            let found = match &asked.memo {
                Some(pinned) => take(asked, &|memo| memo == Some(pinned)),
                None => take(asked, &|memo| memo.is_some_and(ours))
                    .or_else(|| take(asked, &|memo| memo.is_none())),
            };
            let memo = found.ok_or(TransferMismatch::Missing {
                to: asked.to,
                amount: asked.amount,
            })?;
            if asked.memo.is_none() {
                binds = binds.or(memo);
            }
        }
        let memo = binds.ok_or(TransferMismatch::Unattributed)?;
        Ok(Matched {
            memo,
            surplus: made.len().saturating_sub(self.count()),
        })
    }
}

#[cfg(test)]
mod tests;
