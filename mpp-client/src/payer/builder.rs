//! Configuring a payer.

use std::fmt;
use std::sync::{Arc, Mutex};

use mpp_tempo::chain::{ChainClient, DynChain};
use mpp_tempo::{DynSigner, Signer};

use super::offers::Offers;
use super::{Inner, Payer};
use crate::clock::{Clock, SystemClock};
use crate::event::Events;
use crate::policy::Policy;
use crate::session::book::{BookError, ChannelBook, MemoryBook};

/// Collects what a [`Payer`] needs: a signer and a policy, and a chain client to open channels.
#[derive(Default)]
pub struct PayerBuilder {
    signer: Option<DynSigner>,
    chain: Option<DynChain>,
    policy: Option<Policy>,
    book: Option<Arc<dyn ChannelBook>>,
    clock: Option<Arc<dyn Clock>>,
}

/// Why a payer or client can not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// There is no key to pay with.
    #[error("a signer is required")]
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

    /// The chain. Needed to open, refill and leave channels, never for a voucher.
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

    /// Where channels are recorded; by default in memory, for as long as the payer lasts.
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
        let signer = self.signer.ok_or(BuildError::Signer)?;
        let mut policy = self.policy.ok_or(BuildError::Policy)?;
        if let Some(chain) = &self.chain {
            policy = policy.or_chain(chain.chain_id());
        }
        Ok(Payer(Arc::new(Inner {
            signer,
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
