//! What the fee payer has left for fees, remembered for a moment.
//!
//! A fee payer without money signs nothing that could be mined: its transactions
//! would be refused, and their payers blamed for it. So its balance is compared with
//! the most that a fee can be (draft-tempo-charge-00: servers reject new payment
//! requests when it is insufficient). That is no reservation: the node has the last
//! word, and takes nothing that can not be paid for.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use alloy_primitives::Address;
use mpp_core::{Amount, Timestamp};
use mpp_tempo::{
    chain::ChainClient,
    tx::{FeePayer, SignedTx},
};

use super::Sponsor;
use crate::{
    error::{Failure, Fault},
    event::ServerEvent,
    store::ChannelStore,
};

/// For so long a balance that was read is believed.
const FRESH: Duration = Duration::from_secs(5);

/// The balance that was read last, less what was signed since.
#[derive(Debug, Default)]
pub(crate) struct Float(Mutex<Option<Read>>);

#[derive(Clone, Copy, Debug)]
struct Read {
    token: Address,
    left: Amount,
    at: Timestamp,
}

impl Float {
    /// Takes a fee from what is left, if that is known and enough.
    fn take(&self, token: Address, fee: Amount, now: Timestamp) -> bool {
        let mut read = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_fresh = |read: &&mut Read| {
            read.token == token && now >= read.at && now.saturating_duration_since(read.at) < FRESH
        };
        let Some(read) = read.as_mut().filter(is_fresh) else {
            return false;
        };
        match read.left.checked_sub(fee) {
            Some(left) => {
                read.left = left;
                true
            }
            None => false,
        }
    }

    fn learn(&self, token: Address, left: Amount, at: Timestamp) {
        let mut read = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *read = Some(Read { token, left, at });
    }
}

impl<S: ChannelStore> Sponsor<S> {
    /// The fee payer must hold the most that the transaction can cost it. Of one
    /// whose account or token is not known, nothing is.
    ///
    /// # Errors
    /// [`Fault::SponsorDry`]: its payer has done nothing wrong.
    ///
    /// # Cancel safety
    /// Reads only.
    pub(super) async fn check_float(
        &self,
        transaction: &SignedTx,
        fee_token: Address,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let payer = &self.fee_payer;
        let (Some(account), Some(token)) = (payer.address(), payer.pays_in(fee_token)) else {
            return Ok(());
        };
        let most = transaction.max_fee_amount();
        if self.float.take(token, most, now) {
            return Ok(());
        }
        let balance = self.parts.chain.token_balance(token, account).await;
        let balance = balance.map_err(Fault::from)?;
        self.float.learn(token, balance, now);
        if self.float.take(token, most, now) {
            return Ok(());
        }
        tracing::warn!(%balance, %token, "the fee payer can not pay a fee");
        self.parts.events.send(ServerEvent::SponsorLow { balance });
        Err(Fault::SponsorDry.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_balance_is_believed_for_a_moment_less_what_was_taken() {
        let (float, token) = (Float::default(), Address::repeat_byte(1));
        let take = |token, units, second| {
            let now = Timestamp::from_secs(1_000_i64.saturating_add(second));
            float.take(token, Amount::new(units), now)
        };
        assert!(!take(token, 0, 0));
        float.learn(token, Amount::new(10), Timestamp::from_secs(1_000));
        assert!(!take(Address::repeat_byte(2), 1, 0));
        assert!(take(token, 4, 0));
        assert!(!take(token, 7, 4));
        assert!(take(token, 6, 4));
        assert!(!take(token, 1, 4));
        float.learn(token, Amount::new(10), Timestamp::from_secs(1_000));
        // Later, or by a clock that was set back.
        assert!(!take(token, 1, 5));
        assert!(!take(token, 1, -1));
        assert!(take(token, 10, 4));
    }
}
