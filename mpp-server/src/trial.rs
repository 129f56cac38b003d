//! Transactions that nothing comes of cost their sender's quota.

use std::{net::IpAddr, sync::Arc};

use alloy_primitives::{Address, B256, keccak256};
use mpp_core::Amount;
use mpp_tempo::{
    chain::{ChainClient, DynChain},
    tx::SignedTx,
};

use crate::{
    clock::SharedClock,
    error::{Failure, Fault, Rejection},
    session::BadSignatures,
};

/// A transaction that somebody shows, and that may come to nothing.
///
/// Whoever shows many of those has to wait: each leaves a record, and costs
/// calls to the node (SECURITY-CASES A8). It counts for who has signed, since
/// anybody can name any account as a sender for which an access key signs.
///
/// Accounts are made for nothing, so those of one address count together. It may
/// be that of a proxy, with others behind it: who holds what is asked for waits
/// only for itself. That is not known of whom an access key acts for.
#[derive(Debug)]
pub(crate) struct Trial {
    limit: Arc<BadSignatures>,
    clock: SharedClock,
    signer: Address,
    /// Whose balance speaks for the signer.
    holder: Option<Address>,
    peer: Option<IpAddr>,
}

impl Trial {
    pub(crate) fn new(
        limit: &Arc<BadSignatures>,
        clock: &SharedClock,
        transaction: &SignedTx,
        peer: Option<IpAddr>,
    ) -> Self {
        let (signer, sender) = (transaction.signer(), transaction.sender());
        Self {
            limit: Arc::clone(limit),
            clock: clock.clone(),
            signer,
            holder: (signer == sender).then_some(sender),
            peer,
        }
    }

    /// Whether the transaction may be tried, which takes so much of a token.
    ///
    /// # Errors
    /// [`Rejection::TooManyProofs`], or a fault of the chain.
    ///
    /// # Cancel safety
    /// Reads only.
    pub(crate) async fn check(
        &self,
        chain: &DynChain,
        (token, amount): (Address, Amount),
    ) -> Result<(), Failure> {
        let now = self.clock.now();
        if !self.limit.admits(of(self.signer), self.peer, now) {
            return Err(Rejection::TooManyProofs.into());
        }
        if self.limit.admits(self.all(), self.peer, now) {
            return Ok(());
        }
        let Some(holder) = self.holder else {
            return Err(Rejection::TooManyProofs.into());
        };
        let held = chain.token_balance(token, holder).await;
        match held.map_err(Fault::from)? >= amount {
            true => Ok(()),
            false => Err(Rejection::TooManyProofs.into()),
        }
    }

    fn all(&self) -> B256 {
        match self.holder {
            Some(_) => ACCOUNTS,
            None => KEYS,
        }
    }

    /// Counts what has come to nothing, and so has cost its payer nothing; its
    /// end may not be known.
    pub(crate) fn counted<T>(&self, ended: Result<T, Failure>) -> Result<T, Failure> {
        if let Err(
            Failure::Rejected(Rejection::VerificationFailed(_))
            | Failure::Fault(Fault::OutcomeUnknown),
        ) = &ended
        {
            let now = self.clock.now();
            self.limit.failed(of(self.signer), self.peer, now);
            self.limit.failed(self.all(), self.peer, now);
        }
        ended
    }
}

/// Counts for all transactions from one address that accounts have signed.
const ACCOUNTS: B256 = B256::ZERO;

/// Counts for those that access keys have signed. No balance speaks for them, so
/// what accounts do is not to shut them out.
const KEYS: B256 = B256::repeat_byte(1);

/// Counts for the transactions of one signer. Bad proofs count for its word as
/// it is, and anybody can send those.
fn of(signer: Address) -> B256 {
    keccak256(signer)
}
