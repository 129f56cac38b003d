//! Configuring a payer.

use std::fmt;
use std::sync::{Arc, Mutex};

use alloy_primitives::{Address, B256};
use mpp_tempo::chain::{ChainClient, DynChain};
use mpp_tempo::{DynSigner, Signature65, Signer, SignerError};

use super::offers::Offers;
use super::{Inner, Payer};
use crate::charge::Wallet;
use crate::clock::{Clock, SystemClock};
use crate::event::Events;
use crate::method::ClientMethod;
use crate::policy::{IntentPolicy, Policy, Ranks};
use crate::session::book::{BookError, ChannelBook, MemoryBook};

/// Collects what a [`Payer`] needs: a signer and a policy, and a chain client to open channels and
/// pay charges.
#[derive(Default)]
pub struct PayerBuilder {
    signer: Option<DynSigner>,
    wallet: Option<Arc<dyn Wallet>>,
    methods: Vec<Arc<dyn ClientMethod>>,
    chain: Option<DynChain>,
    policy: Option<Policy>,
    book: Option<Arc<dyn ChannelBook>>,
    clock: Option<Arc<dyn Clock>>,
}

/// Why a payer or client can not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// There is nothing to pay with.
    #[error("a signer, a wallet or a payment method is required")]
    Signer,
    /// There is no limit to what may be paid.
    #[error("a policy is required")]
    Policy,
    /// The channel book could not be opened.
    #[error("the channel book could not be opened")]
    Book(#[from] BookError),
    /// The HTTP client could not be set up.
    #[error("the HTTP client could not be set up")]
    Http(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl PayerBuilder {
    /// The key that pays and signs vouchers.
    #[must_use]
    pub fn signer(mut self, signer: impl Signer + 'static) -> Self {
        self.signer = Some(DynSigner::new(signer));
        self
    }

    /// An account that sends payments itself. It pays all charges, by push. Without a signer beside
    /// it there are no sessions and no proofs of identity.
    #[must_use]
    pub fn wallet(mut self, wallet: impl Wallet) -> Self {
        self.wallet = Some(Arc::new(wallet));
        self
    }

    /// A payment method of one's own, which needs no signer. It is preferred to sessions and charges, and to methods that
    /// are added later.
    #[must_use]
    pub fn method(mut self, method: impl ClientMethod) -> Self {
        self.methods.push(Arc::new(method));
        self
    }

    /// The chain. Needed to open, refill and leave channels and to pay charges, never for a voucher.
    #[must_use]
    pub fn chain(mut self, chain: impl ChainClient) -> Self {
        self.chain = Some(DynChain::new(chain));
        self
    }

    /// What may be paid.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = Some(policy);
        self
    }

    /// Where channels and charges are recorded; by default in memory, for as long as the payer
    /// lasts.
    #[must_use]
    pub fn book(mut self, book: Arc<dyn ChannelBook>) -> Self {
        self.book = Some(book);
        self
    }

    /// The clock; by default that of the machine.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Builds the payer.
    ///
    /// # Errors
    /// [`BuildError::Signer`], [`BuildError::Policy`].
    pub fn build(self) -> Result<Payer, BuildError> {
        let mut policy = self.policy.ok_or(BuildError::Policy)?;
        let has_key = self.signer.is_some();
        let (signer, intents) = match (self.signer, &self.wallet) {
            (Some(signer), _) => (signer, policy.preferred_intents().ranks()),
            (None, Some(wallet)) => {
                let keyless = DynSigner::new(Keyless(wallet.address()));
                (keyless, IntentPolicy::ChargeOnly.ranks())
            }
            (None, None) if self.methods.is_empty() => return Err(BuildError::Signer),
            (None, None) => (DynSigner::new(Keyless(Address::ZERO)), Ranks::default()),
        };
        if let Some(chain) = &self.chain {
            policy = policy.or_chain(chain.chain_id());
        }
        let names = self.methods.iter();
        let names = names.map(|method| (method.method().clone(), method.intent().clone()));
        let accept = intents.accept(names.collect());
        Ok(Payer(Arc::new(Inner {
            accept,
            has_key,
            signer,
            wallet: self.wallet,
            intents,
            methods: self.methods,
            chain: self.chain,
            policy,
            book: self.book.unwrap_or_else(|| Arc::new(MemoryBook::default())),
            clock: self.clock.unwrap_or_else(|| Arc::new(SystemClock)),
            events: Events::default(),
            offers: Offers::default(),
            asked: Mutex::default(),
        })))
    }
}

impl fmt::Debug for PayerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PayerBuilder")
            .field("signer", &self.signer)
            .field("chain", &self.chain)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

/// An account whose key is not here.
struct Keyless(Address);

impl Signer for Keyless {
    fn address(&self) -> Address {
        self.0
    }

    async fn sign_digest(&self, _: &B256) -> Result<Signature65, SignerError> {
        Err(SignerError::Refused(String::from(
            "there is no key that signs",
        )))
    }
}
