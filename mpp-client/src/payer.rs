//! The side that pays, without a transport: key, policy, book, chain and clock in one place.
//!
//! A binding holds one [`Payer`] and asks it for credentials; see [`crate::session`] for what it
//! does with channels and [`crate::flow`] for what an answer means.

mod builder;
mod offers;

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex};

use alloy_primitives::Address;
use mpp_core::{Amount, Challenge, SessionReceipt, Timestamp};
use mpp_tempo::chain::{ChainClient as _, DynChain};
use mpp_tempo::voucher::sign_voucher;
use mpp_tempo::{ChannelId, ChannelTerms, DynSigner, SignedVoucher, Signer};

pub use self::builder::{BuildError, PayerBuilder};
use self::offers::Offers;
use crate::charge::Wallet;
use crate::clock::Clock;
use crate::error::ClientError;
use crate::event::{ClientEvent, Events, Subscription};
use crate::method::ClientMethod;
use crate::offer::Offer;
use crate::origin::{Origin, Site};
use crate::policy::{Policy, PolicyViolation, Ranks};
use crate::session::book::{self, ChannelBook, ChannelKey, ChannelSummary};
use crate::session::ledger::{Discrepancy, Totals};
use crate::sync::lock;

/// Everything that pays. Cheap to clone; clones are the same payer.
#[derive(Clone)]
pub struct Payer(Arc<Inner>);

struct Inner {
    signer: DynSigner,
    /// Pays charges, if there is one.
    wallet: Option<Arc<dyn Wallet>>,
    /// What the policy wants, as far as the account can do it.
    intents: Ranks,
    methods: Vec<Arc<dyn ClientMethod>>,
    accept: String,
    has_key: bool,
    chain: Option<DynChain>,
    policy: Policy,
    book: Arc<dyn ChannelBook>,
    clock: Arc<dyn Clock>,
    events: Events,
    offers: Offers,
    /// Keys for which the server was asked for a lost channel.
    asked: Mutex<HashSet<ChannelKey>>,
}

impl Payer {
    /// Begins to configure a payer.
    #[must_use]
    pub fn builder() -> PayerBuilder {
        PayerBuilder::default()
    }

    /// The account that pays.
    #[must_use]
    pub fn address(&self) -> Address {
        self.signer().address()
    }

    /// Begins to listen to what happens.
    #[must_use]
    pub fn events(&self) -> Subscription {
        self.0.events.subscribe()
    }

    /// All channels in the book, those that ended included.
    ///
    /// # Errors
    /// [`ClientError::Book`].
    pub fn channels(&self) -> Result<Vec<ChannelSummary>, ClientError> {
        let records = self.book().records()?;
        Ok(records.iter().map(ChannelSummary::from).collect())
    }

    /// One channel in the book.
    ///
    /// # Errors
    /// [`ClientError::Book`].
    pub fn channel(&self, id: &ChannelId) -> Result<ChannelSummary, ClientError> {
        Ok(ChannelSummary::from(&self.book().read(id)?))
    }

    /// A channel of an origin that requests use, if there is one on the chain that is connected.
    ///
    /// # Errors
    /// [`ClientError::Book`].
    pub fn usable_channel(&self, origin: &Origin) -> Result<Option<ChannelId>, ClientError> {
        let (origin, payer) = (origin.to_string(), self.address());
        let records = self.book().records()?;
        let ours = |record: &&book::ChannelRecord| {
            record.key.origin == origin
                && record.key.payer == payer
                && self.is_connected(record.terms.chain_id)
                && record.phase.is_usable()
        };
        Ok(records.iter().find(ours).map(|record| record.id))
    }

    /// The offer that a request to this site may answer before it is asked: learned from an
    /// earlier answer and good for a while yet.
    #[must_use]
    pub fn known_offer(&self, site: &Site) -> Option<Offer> {
        self.0.offers.get(site, self.now())
    }

    /// Keeps an offer for later requests to the site, if the policy allows it: one that it does not
    /// would keep them from seeing others.
    pub fn learn(&self, site: &Site, offer: &Offer) {
        self.emit(&ClientEvent::ChallengeReceived {
            origin: site.origin.to_string(),
            price: offer.price(),
        });
        if matches!(self.judge_offer(&site.origin, offer), Ok(Ok(()))) {
            self.0.offers.put(site, offer, self.now());
        }
    }

    /// What this payer pays with, as the value of `Accept-Payment`.
    #[must_use]
    pub fn accept_payment(&self) -> &str {
        &self.0.accept
    }

    /// Checks an offer against the policy, as is done before anything is signed for it.
    ///
    /// # Errors
    /// [`ClientError::Policy`], [`ClientError::Book`].
    pub fn check_offer(&self, site: &Site, offer: &Offer) -> Result<(), ClientError> {
        let checked = self.judge_offer(&site.origin, offer)?;
        checked.map_err(|violation| self.violated(violation))
    }

    /// What policy and connected chain have against an offer.
    pub(crate) fn judge_offer(
        &self,
        origin: &Origin,
        offer: &Offer,
    ) -> Result<Result<(), PolicyViolation>, ClientError> {
        let pinned = self.book().payees_of(&origin.to_string())?;
        let allowed = self
            .policy()
            .check_offer(origin, offer, pinned.first().copied());
        Ok(allowed.and_then(|()| self.check_connected(offer.chain_id())))
    }

    /// Transactions are made for the chain that is connected. What the policy allows on another one
    /// says nothing of the tokens there.
    pub(crate) fn check_connected(&self, chain_id: u64) -> Result<(), PolicyViolation> {
        if self.is_connected(chain_id) {
            Ok(())
        } else {
            Err(PolicyViolation::ChainNotAllowed { chain_id })
        }
    }

    /// Whether no other chain is connected. Books may be shared by payers on several chains.
    pub(crate) fn is_connected(&self, chain_id: u64) -> bool {
        self.chain_client()
            .is_none_or(|chain| chain.chain_id() == chain_id)
    }

    /// Pins an origin to those that are about to be paid: the payee, then those who get splits.
    ///
    /// The offer was checked before that, and another request may have been the first meanwhile.
    pub(crate) fn pin(&self, origin: &str, payees: &[Address]) -> Result<(), ClientError> {
        let pinned = self.book().pin_payees(origin, payees)?;
        let checked = self.policy().check_payees(payees, &pinned);
        checked.map_err(|violation| self.violated(violation))
    }

    /// Tells listeners that the policy does not allow what a server asks for.
    pub(crate) fn violated(&self, violation: PolicyViolation) -> ClientError {
        self.emit(&ClientEvent::Rejected {
            channel_id: None,
            reason: violation.to_string(),
        });
        violation.into()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    pub(crate) fn signer(&self) -> &DynSigner {
        &self.0.signer
    }

    pub(crate) fn wallet(&self) -> Option<&dyn Wallet> {
        self.0.wallet.as_deref()
    }

    pub(crate) fn intents(&self) -> Ranks {
        self.0.intents
    }

    /// Whether there is a key, and not only a wallet or methods of one's own.
    pub(crate) fn can_sign(&self) -> bool {
        self.0.has_key
    }

    /// The method of one's own that a challenge is for.
    pub(crate) fn method_for(&self, challenge: &Challenge) -> Option<Arc<dyn ClientMethod>> {
        let fits = |method: &&Arc<dyn ClientMethod>| {
            *method.method() == challenge.method && *method.intent() == challenge.intent
        };
        self.0.methods.iter().find(fits).cloned()
    }

    pub(crate) fn chain_client(&self) -> Option<&DynChain> {
        self.0.chain.as_ref()
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.0.policy
    }

    pub(crate) fn book(&self) -> &dyn ChannelBook {
        &*self.0.book
    }

    pub(crate) fn was_asked(&self, key: &ChannelKey) -> bool {
        lock(&self.0.asked).contains(key)
    }

    /// A book is lost between two processes, never within one: nobody is asked twice.
    pub(crate) fn note_asked(&self, key: &ChannelKey) {
        lock(&self.0.asked).insert(key.clone());
    }

    pub(crate) fn emit(&self, event: &ClientEvent) {
        self.0.events.emit(event);
    }

    /// The voucher for an amount that the accounts hold as signed: the one in the book, or a new
    /// one.
    pub(crate) async fn voucher(
        &self,
        id: &ChannelId,
        terms: &ChannelTerms,
        cumulative: Amount,
    ) -> Result<SignedVoucher, ClientError> {
        let best = book::update(self.book(), id, |record| record.best.clone())?;
        if best.voucher.cumulative == cumulative {
            return Ok(best);
        }
        let signed = sign_voucher(self.signer(), terms, cumulative).await?;
        book::update(self.book(), id, |record| {
            if record.best.voucher.cumulative < cumulative {
                record.best = signed.clone();
            }
        })?;
        self.emit(&ClientEvent::VoucherSigned {
            channel_id: *id,
            cumulative,
        });
        Ok(signed)
    }

    /// The amounts of a receipt that is about this channel.
    pub(crate) fn totals(
        &self,
        id: ChannelId,
        receipt: &SessionReceipt,
    ) -> Result<Totals, ClientError> {
        if receipt.channel_id.parse() != Ok(id) {
            return Err(self.report(id, Discrepancy::OtherChannel));
        }
        Ok(Totals {
            accepted: receipt.accepted_cumulative,
            spent: receipt.spent,
        })
    }

    /// Tells listeners that a server's statement is wrong.
    pub(crate) fn report(&self, id: ChannelId, discrepancy: Discrepancy) -> ClientError {
        self.emit(&ClientEvent::Rejected {
            channel_id: Some(id),
            reason: discrepancy.to_string(),
        });
        discrepancy.into()
    }
}

impl fmt::Debug for Payer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Payer")
            .field("address", &self.address())
            .field("policy", self.policy())
            .finish_non_exhaustive()
    }
}
