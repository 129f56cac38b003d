//! Paying the fees of transactions that others have signed.
//!
//! The order is fixed (PROTOCOL 4, Sponsorship; SECURITY-CASES A15): the caller
//! has compared the calls with its offer, then the policy, a simulation, the
//! budget, and only then the fee payer's signature.

mod budget;
mod health;

use std::{net::IpAddr, sync::Arc};

use alloy_primitives::{Address, U256};
use mpp_core::{Amount, Timestamp};
use mpp_tempo::{
    chain::{ChainClient, DynChain, Simulated, Simulation, TxReceipt},
    tx::{CosignError, DynFeePayer, FeePayer, SignedTx, SponsorPolicy},
};

pub(crate) use self::budget::Reservation;
pub use self::{budget::SponsorBudget, health::SponsorHealth};
use crate::{
    clock::SharedClock,
    error::{Failure, Fault, Rejection},
    event::{Events, ServerEvent},
    store::ChannelStore,
    tasks::Tasks,
};

/// A fee payer with its limits.
#[derive(Debug)]
pub(crate) struct Sponsor<S> {
    pub(crate) parts: SponsorParts<S>,
    pub(crate) fee_payer: DynFeePayer,
    pub(crate) policy: SponsorPolicy,
    pub(crate) budget: SponsorBudget,
    /// Below this the fee payer is about to run dry, in base units.
    pub(crate) low_balance: Amount,
}

/// What a [`Sponsor`] shares with the rest of the server.
#[derive(Debug)]
pub(crate) struct SponsorParts<S> {
    pub(crate) store: Arc<S>,
    pub(crate) chain: DynChain,
    pub(crate) clock: SharedClock,
    pub(crate) events: Events,
    pub(crate) tasks: Tasks,
    /// The token whose balance is looked at.
    pub(crate) fee_token: Address,
}

impl<S: ChannelStore> Sponsor<S> {
    /// Everything about a transaction but its calls.
    pub(crate) fn check_policy(
        &self,
        transaction: &SignedTx,
        now: Timestamp,
    ) -> Result<(), Rejection> {
        self.policy
            .check(transaction, now)
            .map_err(|violation| Rejection::VerificationFailed(violation.to_string()))
    }

    /// Has the fee payer sign, within policy and budget.
    ///
    /// The caller has checked the calls. What was reserved must be settled
    /// when the transaction has ended.
    ///
    /// # Cancel safety
    /// Dropped, a part of the budget may stay reserved until its window ends.
    pub(crate) async fn sign(
        self: &Arc<Self>,
        transaction: SignedTx,
        token: Address,
        peer: Option<IpAddr>,
    ) -> Result<(SignedTx, Reservation), Failure> {
        let now = self.parts.clock.now();
        self.check_policy(&transaction, now)?;
        self.try_calls(&transaction).await?;
        let (payer, fee) = (transaction.sender(), transaction.max_total_fee());
        let reservation = self.reserve(payer, peer, fee, now).await?;
        match self.fee_payer.cosign(transaction, token).await {
            Ok(cosigned) => {
                tracing::debug!(fee_payer = ?self.fee_payer, "a transaction was sponsored");
                Ok((cosigned, reservation))
            }
            Err(error) => {
                self.settle(reservation, None).await;
                Err(match error {
                    CosignError::Signer(error) => Failure::Fault(error.into()),
                    CosignError::Altered => Failure::Fault(Fault::Inconsistent(
                        "the fee payer answered with another transaction",
                    )),
                    error => Rejection::VerificationFailed(error.to_string()).into(),
                })
            }
        }
    }

    /// A transaction that would revert costs its sender nothing, and us the fee.
    async fn try_calls(&self, transaction: &SignedTx) -> Result<(), Failure> {
        let calls = transaction
            .calls()
            .filter_map(|call| Some((call.to?, call.input)))
            .collect();
        let simulation = Simulation {
            from: transaction.sender(),
            calls,
        };
        match self
            .parts
            .chain
            .simulate(simulation)
            .await
            .map_err(Fault::from)?
        {
            Simulated::Succeeded => Ok(()),
            Simulated::Reverted { reason } => {
                tracing::debug!(%reason, "a transaction would revert and is not sponsored");
                let why = String::from("the transaction would revert; its fees are not sponsored");
                Err(Rejection::VerificationFailed(why).into())
            }
        }
    }

    /// Gives back what the fee did not need, and looks at what the fee payer
    /// has left.
    pub(crate) async fn settle(
        self: &Arc<Self>,
        reserved: Reservation,
        receipt: Option<&TxReceipt>,
    ) {
        let fee = match receipt {
            None => U256::ZERO,
            // A node that does not say is taken to have charged the most.
            Some(receipt) => receipt.fee().unwrap_or(reserved.fee).min(reserved.fee),
        };
        self.give_back(&reserved, fee).await;
        if receipt.is_some() {
            let sponsor = Arc::clone(self);
            self.parts
                .tasks
                .detach(async move { sponsor.watch_balance().await });
        }
    }

    /// Tells subscribers when the fee payer is about to run dry.
    async fn watch_balance(&self) {
        let Ok(health) = self.health().await else {
            return;
        };
        if let (Some(balance), true) = (health.balance, health.is_low()) {
            tracing::warn!(%balance, "the fee payer is running dry");
            self.parts.events.send(ServerEvent::SponsorLow { balance });
        }
    }
}
