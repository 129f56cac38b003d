//! From what is to be collected to a signed transaction.

use std::{sync::Arc, time::Duration};

use alloy_primitives::{Address, U256};
use mpp_core::Amount;
use mpp_tempo::{
    chain::{ChainClient, FeeQuote},
    tx::{FeeMode, TxContext, TxFees, build, gas},
};

use super::effect::{Attempt, Effect, Item};
use crate::{
    error::{Failure, Fault},
    random::random,
    session::{SessionContext, record::ChannelRecord},
    settle::schedule::{Collect, Fees},
    store::ChannelStore,
};

/// How long a transaction stays valid.
const VALIDITY: Duration = Duration::from_secs(25);

/// Attodollars in one base unit of a token with six decimals.
const ATTO_PER_UNIT: u128 = 1_000_000_000_000;

/// Gas that one transaction may use: well below the limit of a block.
const MAX_GAS: u64 = 12_000_000;

impl<S: ChannelStore> SessionContext<S> {
    /// Signs a transaction that collects the items. Each later attempt offers
    /// half as much again.
    ///
    /// # Cancel safety
    /// Nothing is sent.
    pub(crate) async fn sign(&self, items: &[Item], earlier: usize) -> Result<Attempt, Fault> {
        let mut records = Vec::with_capacity(items.len());
        for item in items {
            records.push(self.record_of(item).await?);
        }
        let token = records.first().map(|record| record.terms.descriptor.token);
        let token = token.ok_or(Fault::Inconsistent("an effect collects from no channel"))?;
        let context = self.tx_context(items, token, earlier).await?;
        let collections = items.iter().zip(&records).map(|(item, record)| {
            let (terms, signed) = (&record.terms, &item.voucher);
            match item.collect {
                Collect::Settle => build::Collection::Settle { terms, signed },
                Collect::Close => build::Collection::Close {
                    terms,
                    signed,
                    capture: item.amount,
                },
            }
        });
        let unsigned = build::collect(&context, collections)
            .map_err(|_| Fault::Inconsistent("a collecting transaction can not be built"))?;
        let signed = unsigned.sign(&self.account).await?;
        Ok(Attempt {
            hash: signed.hash(),
            valid_before: signed.valid_before().unwrap_or(u64::MAX),
            max_fee_per_gas: context.fees.max_fee_per_gas,
            raw: Some(signed.encode()),
        })
    }

    async fn tx_context(
        &self,
        items: &[Item],
        token: Address,
        earlier: usize,
    ) -> Result<TxContext, Fault> {
        let limits = &self.settlement.policy.fees;
        let quote = raised(self.chain.fees().await?, earlier, limits.max_fee_per_gas);
        Ok(TxContext {
            chain_id: self.chain.chain_id(),
            now: self.clock.now(),
            valid_for: VALIDITY,
            // A moment long past keeps two transactions with equal calls apart.
            valid_after: Some(u64::from(random::<u16>()).saturating_add(1)),
            fees: TxFees {
                max_fee_per_gas: quote.max_fee_per_gas,
                max_priority_fee_per_gas: quote.max_priority_fee_per_gas,
                gas_limit: gas_limit(items.iter().map(|item| item.collect)),
            },
            fee_mode: FeeMode::SelfPaid {
                fee_token: limits.token.unwrap_or(token),
            },
        })
    }

    async fn record_of(&self, item: &Item) -> Result<Arc<ChannelRecord>, Fault> {
        match self.driver.load(item.channel).await {
            Ok((record, _)) => Ok(record),
            Err(Failure::Fault(fault)) => Err(fault),
            Err(Failure::Rejected(_)) => Err(Fault::Inconsistent(
                "a channel that is collected from is not in the store",
            )),
        }
    }

    /// What a settlement and a close of one channel cost now.
    ///
    /// # Cancel safety
    /// Reads only.
    pub(in crate::settle) async fn fee_estimate(&self) -> Result<Fees, Fault> {
        let quote = self.chain.fees().await?;
        let limits = &self.settlement.policy.fees;
        let first = raised(quote, 0, limits.max_fee_per_gas).max_fee_per_gas;
        let cost = |gas: u64| fee(gas, quote.max_fee_per_gas);
        Ok(Fees {
            settle: cost(gas::SETTLE_USED),
            close: cost(gas::CLOSE_USED),
            settle_most: fee(gas::SETTLE, first),
            close_most: fee(gas::CLOSE, first),
        })
    }
}

/// What the newest transaction of an effect may cost at most, in base units.
pub(super) fn most(effect: &Effect) -> Amount {
    let collects = effect.items.iter().map(|item| item.collect);
    let newest = effect.newest();
    fee(
        gas_limit(collects),
        newest.map_or(0, |attempt| attempt.max_fee_per_gas),
    )
}

/// Attodollars in base units, rounded up.
pub(super) fn base_units(atto: U256) -> Option<Amount> {
    let units = atto.div_ceil(U256::from(ATTO_PER_UNIT));
    u128::try_from(units).ok().map(Amount::new)
}

/// So much gas costs at most so much, in base units, rounded up.
fn fee(gas: u64, per_gas: u128) -> Amount {
    Amount::new(
        u128::from(gas)
            .saturating_mul(per_gas)
            .div_ceil(ATTO_PER_UNIT),
    )
}

/// The most that these may use.
fn gas_limit(collects: impl ExactSizeIterator<Item = Collect>) -> u64 {
    let alone = collects.len() == 1;
    collects.fold(if alone { 0 } else { gas::COLLECT }, |sum, collect| {
        sum.saturating_add(match (alone, collect) {
            (true, Collect::Settle) => gas::SETTLE,
            (true, Collect::Close) => gas::CLOSE,
            (false, Collect::Settle) => gas::SETTLE_MORE,
            (false, Collect::Close) => gas::CLOSE_MORE,
        })
    })
}

/// Splits what is to be collected into transactions of at most `count`
/// channels that a block has room for.
pub(in crate::settle) fn batches<T>(
    all: Vec<T>,
    count: usize,
    collect: impl Fn(&T) -> Collect,
) -> Vec<Vec<T>> {
    let mut batches: Vec<Vec<T>> = Vec::new();
    for one in all {
        let fits = |batch: &Vec<T>| {
            let collects: Vec<_> = batch.iter().chain([&one]).map(&collect).collect();
            batch.len() < count && gas_limit(collects.into_iter()) <= MAX_GAS
        };
        match batches.last_mut().filter(|batch| fits(batch)) {
            Some(batch) => batch.push(one),
            None => batches.push(vec![one]),
        }
    }
    batches
}

fn raised(quote: FeeQuote, earlier: usize, cap: u128) -> FeeQuote {
    let halves = u128::try_from(earlier)
        .unwrap_or(u128::MAX)
        .saturating_add(2);
    let raise = |fee: u128| fee.saturating_mul(halves).div_ceil(2);
    let max_fee_per_gas = raise(quote.max_fee_per_gas).min(cap);
    FeeQuote {
        max_fee_per_gas,
        max_priority_fee_per_gas: raise(quote.max_priority_fee_per_gas).min(max_fee_per_gas),
        ..quote
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_attempt_offers_more_up_to_the_limit() {
        let quote = FeeQuote {
            base_fee_per_gas: 80,
            max_fee_per_gas: 100,
            max_priority_fee_per_gas: 11,
        };
        let offered = |earlier| {
            let quote = raised(quote, earlier, 250);
            (quote.max_fee_per_gas, quote.max_priority_fee_per_gas)
        };
        assert_eq!(offered(0), (100, 11));
        assert_eq!(offered(1), (150, 17));
        assert_eq!(offered(2), (200, 22));
        assert_eq!(offered(9), (250, 61));
        assert_eq!(offered(usize::MAX), (250, 250));
    }

    #[test]
    fn a_fee_is_rounded_up() {
        assert_eq!(fee(85_000, 1_000_000_000), Amount::new(85));
        assert_eq!(fee(1, 1), Amount::new(1));
        assert_eq!(fee(0, u128::MAX), Amount::ZERO);
    }

    #[test]
    fn a_block_has_room_for_full_batches_of_settlements() {
        let batches = batches(vec![Collect::Settle; 1_000], 64, |collect| *collect);
        assert!(batches.len() <= 20, "{}", batches.len());
        assert_eq!(batches.iter().map(Vec::len).sum::<usize>(), 1_000);
        for batch in batches {
            assert!(gas_limit(batch.into_iter()) <= MAX_GAS);
        }
    }

    #[test]
    fn closes_take_more_room() {
        let batches = batches(vec![Collect::Close; 100], 64, |collect| *collect);
        assert!(
            batches
                .iter()
                .all(|batch| batch.len() <= 25 && batch.len() >= 3)
        );
        assert_eq!(batches.iter().map(Vec::len).sum::<usize>(), 100);
    }
}
