//! Whose fees a server pays, and how much.

use std::sync::Arc;

use mpp_core::Amount;
use mpp_tempo::{
    Signer,
    tx::{DynFeePayer, FeePayer, SigningFeePayer, SponsorPolicy},
};

use super::{Builder, MIN_LEASE};
use crate::{
    error::Misuse,
    sponsor::{self, Float, Purse, Sponsor, SponsorBudget, SponsorParts, Unsettled},
    store::ChannelStore,
};

/// The balance below which a fee payer counts as running dry: one token.
const LOW_BALANCE: Amount = Amount::new(1_000_000);

/// What is configured about fees that the server pays.
#[derive(Debug)]
pub(super) struct Sponsoring {
    pub(super) fee_payer: Option<DynFeePayer>,
    pub(super) policy: SponsorPolicy,
    pub(super) budget: SponsorBudget,
    pub(super) low_balance: Amount,
}

impl Default for Sponsoring {
    fn default() -> Self {
        Self {
            fee_payer: None,
            policy: SponsorPolicy::default(),
            budget: SponsorBudget::default(),
            low_balance: LOW_BALANCE,
        }
    }
}

impl Sponsoring {
    /// The sponsor, if there is a fee payer. It looks after what it has signed.
    pub(super) fn sponsor<S: ChannelStore>(
        self,
        store: Arc<S>,
        parts: SponsorParts,
    ) -> Option<Arc<Sponsor<S>>> {
        let fee_payer = self.fee_payer?;
        let tasks = parts.tasks.clone();
        let sponsor = Arc::new(Sponsor {
            purse: Purse::new(store, self.budget),
            unsettled: Unsettled::default(),
            float: Float::default(),
            parts,
            fee_payer,
            policy: self.policy,
            low_balance: self.low_balance,
        });
        tasks.start(sponsor::run(Arc::clone(&sponsor)));
        Some(sponsor)
    }

    pub(super) fn check(&self) -> Result<(), Misuse> {
        if self.budget.window < MIN_LEASE {
            return Err(Misuse::Invalid(
                "the window of `sponsor_budget` must be at least a second",
            ));
        }
        Ok(())
    }
}

impl<S: ChannelStore + std::fmt::Debug> Builder<S> {
    /// Pays the fees of opens, top-ups and charges on routes that ask for it.
    pub fn fee_payer(self, signer: impl Signer + 'static) -> Self {
        self.fee_payer_service(SigningFeePayer::new(signer))
    }

    /// As [`fee_payer`](Self::fee_payer), with any fee payer, such as
    /// [`RemoteFeePayer`](https://docs.rs/mpp-tempo).
    pub fn fee_payer_service(mut self, fee_payer: impl FeePayer) -> Self {
        self.sponsoring.fee_payer = Some(DynFeePayer::new(fee_payer));
        self
    }

    /// How much the fee payer gives in a window of time. Default: see
    /// [`SponsorBudget`].
    pub fn sponsor_budget(mut self, budget: SponsorBudget) -> Self {
        self.sponsoring.budget = budget;
        self
    }

    /// Below this balance of the network's currency the fee payer counts as
    /// running dry. Default: one token.
    pub fn sponsor_low_balance(mut self, balance: Amount) -> Self {
        self.sponsoring.low_balance = balance;
        self
    }

    /// What the fee payer will sign. Default: PROTOCOL 4's limits, nothing that is
    /// valid for longer than chains take, and nothing that an access key has signed:
    /// see [`SponsorPolicy`].
    pub fn sponsor_policy(mut self, policy: SponsorPolicy) -> Self {
        self.sponsoring.policy = policy;
        self
    }
}
