//! A charge challenge that this client can answer, read once.

use std::sync::Arc;

use alloy_primitives::Address;
use mpp_core::{Amount, Challenge, IntentName, MethodName, Timestamp};
use mpp_tempo::charge::{AttributionMemo, ChargeBinding, ChargeTransfer, Transfers};
use mpp_tempo::wire::{ChargeMode, ChargeRequest};

use crate::offer::{self, Unpayable};

/// A charge challenge of the method `tempo` with its request decoded. Cheap to clone.
///
/// A charge of zero asks for a proof of identity, any other for transfers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChargeOffer(Arc<Terms>);

#[derive(Debug, PartialEq, Eq)]
struct Terms {
    challenge: Challenge,
    request: ChargeRequest,
    transfers: Option<Transfers>,
    expires: Timestamp,
}

impl ChargeOffer {
    /// Reads a challenge. The splits are checked: 1 to 10, above zero, in sum below the amount.
    ///
    /// # Errors
    /// [`Unpayable`]; an expired challenge is read, and not answered.
    pub fn read(challenge: Challenge) -> Result<Self, Unpayable> {
        if challenge.method != MethodName::tempo() || challenge.intent != IntentName::charge() {
            return Err(Unpayable::NotOffered);
        }
        // SECURITY-CASES A26: fail closed.
        let expires = challenge.expires_at().map_err(|_| Unpayable::Expiry)?;
        let request: ChargeRequest = challenge.request.decode().map_err(|_| Unpayable::Request)?;
        let transfers = if request.amount.is_zero() {
            None
        } else {
            Some(Transfers::try_from(&request)?)
        };
        Ok(Self(Arc::new(Terms {
            challenge,
            request,
            transfers,
            expires,
        })))
    }

    /// The challenge as it came, to be echoed.
    #[must_use]
    pub fn challenge(&self) -> &Challenge {
        &self.0.challenge
    }

    /// When the challenge expires.
    #[must_use]
    pub fn expires(&self) -> Timestamp {
        self.0.expires
    }

    /// The price, in base units; zero asks for a proof of identity.
    #[must_use]
    pub fn amount(&self) -> Amount {
        self.0.request.amount
    }

    /// What is to be transferred; `None` for a proof.
    #[must_use]
    pub fn transfers(&self) -> Option<&Transfers> {
        self.0.transfers.as_ref()
    }

    /// The chain.
    #[must_use]
    pub fn chain_id(&self) -> u64 {
        self.0.request.method_details.chain_id
    }

    /// The token.
    #[must_use]
    pub fn currency(&self) -> Address {
        self.0.request.currency
    }

    /// Who gets what the splits leave.
    #[must_use]
    pub fn recipient(&self) -> Address {
        self.0.request.recipient
    }

    /// Everybody who gets something: the recipient, then those of the splits.
    pub(crate) fn payees(&self) -> Vec<Address> {
        let mut payees = vec![self.recipient()];
        for transfer in self.0.transfers.iter().flat_map(Transfers::iter) {
            if !payees.contains(&transfer.to) {
                payees.push(transfer.to);
            }
        }
        payees
    }

    /// The server's own reference.
    #[must_use]
    pub fn external_id(&self) -> Option<&str> {
        self.0.request.external_id.as_deref()
    }

    /// Whether the server pays the fees.
    #[must_use]
    pub fn is_sponsored(&self) -> bool {
        self.0.request.method_details.fee_payer == Some(true)
    }

    /// Whether it may be paid in this way. The server can not pay the fees of a transaction that
    /// it does not send (PROTOCOL 4).
    #[must_use]
    pub fn takes(&self, mode: ChargeMode) -> bool {
        if mode == ChargeMode::Push && self.is_sponsored() {
            return false;
        }
        let modes = &self.0.request.method_details.supported_modes;
        modes.as_ref().is_none_or(|modes| modes.contains(&mode))
    }

    /// Checks that the challenge is not bound to another body (PROTOCOL 1.1).
    ///
    /// # Errors
    /// [`Unpayable::Digest`], or [`Unpayable::StreamedBody`] when the body is not known.
    pub fn check_body(&self, body: Option<&[u8]>) -> Result<(), Unpayable> {
        offer::check_body(&self.0.challenge, body)
    }

    /// What a payment must be bound to.
    #[must_use]
    pub fn binding(&self) -> ChargeBinding<'_> {
        ChargeBinding {
            realm: self.0.challenge.realm.as_str(),
            challenge_id: self.0.challenge.id.as_str(),
        }
    }

    /// The transfers as they are made: the primary one carries the attribution memo of the
    /// challenge, unless the request pins another.
    pub(crate) fn made(&self) -> Vec<ChargeTransfer> {
        let binding = self.binding();
        let memo = AttributionMemo::new(binding.realm, None, binding.challenge_id);
        let transfers = self.0.transfers.as_ref();
        transfers.map_or_else(Vec::new, |transfers| transfers.with_attribution(memo))
    }
}
