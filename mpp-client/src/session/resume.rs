//! Getting a channel back from its server when the book has lost it (PROTOCOL 5.8).
//!
//! Before a channel is opened, the server is asked once whether it knows one of ours: with a proof
//! of who we are, which it answers with a snapshot. What the snapshot says is believed as far as we
//! signed it: the id follows from the terms, the terms are those of the offer, and the highest
//! voucher bears our own signature. The deposit is asked from the chain. Whatever does not fit is
//! refused, and nothing is opened beside it.

use mpp_core::{Challenge, IntentName, MethodName};
use mpp_tempo::charge::ProofTerms;
use mpp_tempo::wire::{ChargeRequest, SessionSnapshot, SnapshotError};
use mpp_tempo::{ChannelId, ChannelTerms, Existence, SessionProtocol, SignedVoucher, Signer};

use super::book::{BookError, ChannelKey, ChannelRecord, GateGuard, Phase};
use super::ledger::{Ledger, Totals};
use super::wire;
use crate::credential::CredentialField;
use crate::error::ClientError;
use crate::event::ClientEvent;
use crate::offer::{Offer, Unpayable, check_time};
use crate::origin::Site;
use crate::payer::Payer;
use crate::policy::{PolicyViolation, ResumePolicy};

/// A question to the server: which channel of ours does it know?
///
/// While it exists, nobody opens a channel for the same key.
#[derive(Debug)]
pub struct Resume {
    payer: Payer,
    key: ChannelKey,
    offer: Offer,
    _gate: GateGuard,
}

/// How a server's snapshot can not be ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotRefused {
    /// It does not follow the schema.
    #[error("the server's snapshot can not be read")]
    Unreadable,
    /// It contradicts itself, or its voucher is not ours.
    #[error(transparent)]
    Forged(#[from] SnapshotError),
    /// It carries no voucher, so that nothing shows that the channel was used by us.
    #[error("the server's snapshot carries no voucher")]
    NoVoucher,
    /// Its payer, payee, token, escrow or chain is another one.
    #[error("the server's snapshot is of a channel of other parties")]
    OtherParties,
}

impl Payer {
    /// Begins to ask for a channel that the book may have lost.
    ///
    /// `None` when there is nothing to ask: the book has a channel, the server was asked before, or
    /// the policy says so.
    ///
    /// # Errors
    /// [`ClientError::Policy`] for an offer that is not allowed, [`ClientError::Unpayable`] for one that
    /// has expired, [`ClientError::Book`].
    ///
    /// # Cancel safety
    /// Dropped, nothing has changed.
    pub async fn resume(&self, site: &Site, offer: &Offer) -> Result<Option<Resume>, ClientError> {
        self.check_offer(site, offer)?;
        offer.check_time(self.now())?;
        // Snapshots describe v2 channels (draft-tempo-session-00, Session Snapshot).
        let may_ask =
            self.policy().resumes() == ResumePolicy::Ask && offer.protocol() == SessionProtocol::V2;
        let key = self.key(&site.origin, offer);
        if !may_ask || !self.is_lost(&key)? {
            return Ok(None);
        }
        let gate = self.book().gate(&key).enter().await?;
        // Whoever had the gate before may have asked, or opened a channel.
        if !self.is_lost(&key)? {
            return Ok(None);
        }
        Ok(Some(Resume {
            payer: self.clone(),
            key,
            offer: offer.clone(),
            _gate: gate,
        }))
    }

    /// Whether the book knows no channel and the server was not asked for one.
    fn is_lost(&self, key: &ChannelKey) -> Result<bool, ClientError> {
        Ok(!self.was_asked(key) && self.book().usable(key)?.is_none())
    }
}

impl Resume {
    /// The proof that answers the server's charge of zero, if it made one.
    ///
    /// It is signed for the realm and the parties of the offer only: a proof that another server
    /// could use is not made.
    ///
    /// # Errors
    /// [`ClientError::Unpayable`] for a charge that has expired, or never does; the server may know a
    /// channel all the same. [`ClientError::Signer`], or [`ClientError::Payment`] when it can not be
    /// written.
    ///
    /// # Cancel safety
    /// Dropped, nothing was sent.
    pub async fn proof(
        &self,
        challenges: &[Challenge],
    ) -> Result<Option<CredentialField>, ClientError> {
        let Some(challenge) = challenges.iter().find(|challenge| self.is_ours(challenge)) else {
            return Ok(None);
        };
        let expires = challenge.expires_at().map_err(|_| Unpayable::Expiry)?;
        check_time(expires, self.payer.now())?;
        let terms = ProofTerms {
            account: self.key.payer,
            chain_id: self.key.chain_id,
            challenge_id: challenge.id.as_str(),
            realm: challenge.realm.as_str(),
        };
        let signature = terms
            .sign(self.payer.signer())
            .await
            .map_err(ClientError::Signer)?;
        wire::proof(challenge, &terms, signature).map(Some)
    }

    /// Whether a challenge asks for a proof, and for nothing else, on the offer's own terms.
    fn is_ours(&self, challenge: &Challenge) -> bool {
        let is_charge =
            challenge.method == MethodName::tempo() && challenge.intent == IntentName::charge();
        is_charge
            && challenge.realm == self.offer.challenge().realm
            && challenge
                .request
                .decode::<ChargeRequest>()
                .is_ok_and(|request| {
                    request.amount.is_zero()
                        && request.currency == self.key.token
                        && request.recipient == self.key.payee
                        && request.method_details.chain_id == self.key.chain_id
                })
    }

    /// The server knows no channel: one may be opened.
    pub fn none(self) {
        self.payer.note_asked(&self.key);
    }

    /// Takes over the channel of a snapshot.
    ///
    /// `None` for a channel that is closed or closing on chain, or that the book knows to have
    /// ended: then one may be opened.
    ///
    /// # Errors
    /// [`ClientError::Snapshot`] for one that is not ours, [`ClientError::Policy`] for one that
    /// holds more than is allowed; [`ClientError::Chain`] and [`ClientError::Book`].
    ///
    /// # Cancel safety
    /// Dropped, the channel is in the book or not; asking again finds out.
    pub async fn adopt(
        self,
        snapshot: &serde_json::Value,
    ) -> Result<Option<ChannelId>, ClientError> {
        let adopted = self.take_over(snapshot).await;
        match &adopted {
            Ok(_) => self.payer.note_asked(&self.key),
            Err(error) => self.payer.emit(&ClientEvent::Rejected {
                channel_id: None,
                reason: error.to_string(),
            }),
        }
        adopted
    }

    async fn take_over(
        &self,
        snapshot: &serde_json::Value,
    ) -> Result<Option<ChannelId>, ClientError> {
        let (snapshot, terms, best) = self.verify(snapshot)?;
        let id = snapshot.channel_id;
        let mut deposit = snapshot.deposit;
        if snapshot.close_requested_at.is_some() {
            return Ok(None);
        }
        if self.payer.chain_client().is_some() {
            let view = self.payer.view(&terms, id).await?;
            if view.existence != Existence::Open || view.close_requested_at.is_some() {
                return Ok(None);
            }
            deposit = view.deposit;
        }
        let limit = self.payer.policy().deposit_limit();
        if deposit > limit {
            let required = deposit;
            return Err(PolicyViolation::DepositTooLarge { required, limit }.into());
        }
        if snapshot.accepted_cumulative > deposit {
            return Err(SnapshotRefused::Forged(SnapshotError::Amounts).into());
        }
        let totals = Totals {
            accepted: snapshot.accepted_cumulative,
            spent: snapshot.spent,
        };
        let record = ChannelRecord {
            id,
            key: self.key.clone(),
            terms,
            phase: Phase::Open,
            ledger: Ledger::resumed(deposit, totals),
            open: None,
            best,
            top_up: None,
            grows_until: 0,
        };
        self.payer.pin(&self.key.origin, &[self.key.payee])?;
        match self.payer.book().insert(record) {
            // The book knows more than the server does: it ended, or is used elsewhere.
            Err(BookError::Exists) => return Ok(None),
            inserted => inserted?,
        }
        self.payer.emit(&ClientEvent::ChannelResumed {
            channel_id: id,
            deposit,
            spent: totals.spent,
        });
        Ok(Some(id))
    }

    /// Checks everything that the snapshot alone can show (SECURITY-CASES A27).
    fn verify(
        &self,
        snapshot: &serde_json::Value,
    ) -> Result<(SessionSnapshot, ChannelTerms, SignedVoucher), SnapshotRefused> {
        let snapshot: SessionSnapshot =
            serde_json::from_value(snapshot.clone()).map_err(|_| SnapshotRefused::Unreadable)?;
        let claimed = snapshot.claimed_terms();
        let (parties, key) = (&claimed.descriptor, &self.key);
        let is_ours = parties.payer == key.payer
            && claimed.signer() == self.payer.signer().address()
            && parties.payee == key.payee
            && parties.operator == key.operator
            && parties.token == key.token
            && claimed.escrow == key.escrow
            && claimed.chain_id == key.chain_id
            && claimed.protocol == key.protocol;
        if !is_ours {
            return Err(SnapshotRefused::OtherParties);
        }
        let terms = snapshot.verify()?;
        let best = snapshot
            .highest_voucher
            .as_ref()
            .ok_or(SnapshotRefused::NoVoucher)?
            .to_signed();
        Ok((snapshot, terms, best))
    }
}
