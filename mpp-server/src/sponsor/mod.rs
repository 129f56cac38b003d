//! Paying the fees of transactions that others have signed.
//!
//! The order is fixed (PROTOCOL 4, Sponsorship; SECURITY-CASES A15): the caller
//! has compared the calls with its offer, then the policy, what the fee payer holds,
//! a simulation, the budget, and only then the fee payer's signature.

mod budget;
mod float;
mod health;
mod unsettled;

use std::{net::IpAddr, sync::Arc};

use alloy_primitives::{Address, B256};
use mpp_core::{Amount, Timestamp};
use mpp_tempo::{
    chain::{ChainClient, DynChain, Simulated, Simulation, TxReceipt},
    tx::{CosignError, DynFeePayer, FeePayer, PolicyViolation, SignedTx, SponsorPolicy},
};

pub use self::{budget::SponsorBudget, health::SponsorHealth};
pub(crate) use self::{
    budget::{Purse, has_ended},
    float::Float,
    unsettled::{Unsettled, run},
};

use self::budget::{Fee, Sponsored};
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
    pub(crate) parts: SponsorParts,
    pub(crate) fee_payer: DynFeePayer,
    pub(crate) policy: SponsorPolicy,
    pub(crate) purse: Purse<S>,
    /// What this process has had signed, and nobody has settled.
    pub(crate) unsettled: Unsettled,
    /// What the fee payer has left, as far as that was read lately.
    pub(crate) float: Float,
    /// Below this the fee payer is about to run dry, in base units.
    pub(crate) low_balance: Amount,
}

/// What a [`Sponsor`] shares with the rest of the server.
#[derive(Debug)]
pub(crate) struct SponsorParts {
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
        self.policy.check(transaction, now).map_err(violated)
    }

    /// Has the fee payer sign, within policy and budget.
    ///
    /// The caller has checked the calls, and tells [`settle`](Self::settle) what
    /// became of the transaction. When it never learns that, [`run`] finds out.
    ///
    /// # Cancel safety
    /// Dropped, a part of the budget may stay set aside until its window ends.
    pub(crate) async fn sign(
        self: &Arc<Self>,
        transaction: SignedTx,
        token: Address,
        peer: Option<IpAddr>,
    ) -> Result<SignedTx, Failure> {
        let policy = self.policy;
        self.sign_within(&policy, transaction, token, peer).await
    }

    /// As [`sign`](Self::sign), within another policy than the usual one.
    ///
    /// # Cancel safety
    /// As [`sign`](Self::sign).
    pub(crate) async fn sign_within(
        self: &Arc<Self>,
        policy: &SponsorPolicy,
        transaction: SignedTx,
        token: Address,
        peer: Option<IpAddr>,
    ) -> Result<SignedTx, Failure> {
        let now = self.parts.clock.now();
        policy.check(&transaction, now).map_err(violated)?;
        self.check_float(&transaction, token, now).await?;
        self.try_calls(&transaction).await?;
        let asked = Sponsored {
            id: transaction.replay_id(),
            valid_before: transaction.valid_before().unwrap_or(u64::MAX),
        };
        let (most, who) = (transaction.max_total_fee(), (transaction.signer(), peer));
        let reserved = self.purse.reserve(asked, who, most, now).await?;
        match self.fee_payer.cosign(transaction, token).await {
            Ok(cosigned) => {
                tracing::debug!(fee_payer = ?self.fee_payer, "a transaction was sponsored");
                self.unsettled.add(asked, cosigned.hash(), &reserved);
                Ok(cosigned)
            }
            Err(error) => {
                told(self.purse.release(reserved).await);
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

    /// A transaction that would revert or run out of gas costs its sender nothing,
    /// and us the fee.
    ///
    /// What is tried is not the transaction itself: its gas limit and its fees are
    /// compared with what the node says, and the policy knows of access keys.
    async fn try_calls(&self, transaction: &SignedTx) -> Result<(), Failure> {
        let calls = transaction
            .calls()
            .filter_map(|call| Some((call.to?, call.input)))
            .collect();
        let simulation = Simulation {
            from: transaction.sender(),
            calls,
        };
        let chain = &self.parts.chain;
        let asked = tokio::try_join!(chain.simulate(simulation), chain.fees());
        let (simulated, fees) = asked.map_err(Fault::from)?;
        match simulated {
            Simulated::Succeeded { gas_used } => {
                let base_fee = fees.base_fee_per_gas;
                let judged = SponsorPolicy::check_tried(transaction, base_fee, gas_used);
                Ok(judged.map_err(violated)?)
            }
            Simulated::Reverted { reason } => {
                tracing::debug!(%reason, "a transaction would revert and is not sponsored");
                let why = String::from("the transaction would revert; its fees are not sponsored");
                Err(Rejection::VerificationFailed(why).into())
            }
        }
    }

    /// Books what a transaction of this replay id has really cost, by its
    /// receipt; `None`: it was not mined and can not be any more. Then looks at
    /// what the fee payer has left. A transaction that was not sponsored here
    /// is none of its business.
    ///
    /// # Cancel safety
    /// Dropped, the most that it could cost may count until the window ends.
    pub(crate) async fn settle(self: &Arc<Self>, transaction: B256, receipt: Option<&TxReceipt>) {
        let paid = receipt.map(|receipt| receipt.fee().map_or(Fee::Unknown, Fee::Of));
        let settled = self.purse.settle(transaction, paid).await;
        if settled.is_ok() {
            self.unsettled.forget(transaction);
        }
        told(settled);
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

/// A transaction that the policy does not allow.
pub(crate) fn violated(violation: PolicyViolation) -> Rejection {
    Rejection::VerificationFailed(violation.to_string())
}

/// What could not be booked counts in full until the window ends.
fn told(booked: Result<(), Fault>) {
    if let Err(fault) = booked {
        tracing::warn!(
            error = &fault as &dyn std::error::Error,
            "a part of the sponsor's budget could not be given back"
        );
    }
}
