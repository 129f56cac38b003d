//! A challenge that this client can answer, read once.

use std::sync::Arc;

use alloy_primitives::{Address, hex};
use mpp_core::{Amount, BodyDigest, Challenge, ExpiryError, IntentName, MethodName, Timestamp};
use mpp_tempo::SessionProtocol;
use mpp_tempo::charge::InvalidCharge;
use mpp_tempo::wire::SessionRequest;

/// A session challenge of the method `tempo` with its request decoded. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer(Arc<Terms>);

#[derive(Debug, PartialEq, Eq)]
struct Terms {
    challenge: Challenge,
    request: SessionRequest,
    expires: Timestamp,
}

/// Why a challenge can not be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unpayable {
    /// The answer carries no payment challenge that can be read.
    #[error("the server asks for payment without a readable challenge")]
    NoChallenge,
    /// Every challenge is of a method or intent that is not supported here.
    #[error("the server offers nothing that this client pays with")]
    NotOffered,
    /// The request does not follow the schema (PROTOCOL 4 and 5.1).
    #[error("the challenge's request is malformed")]
    Request,
    /// The price of a unit is zero, or does not fit the protocol version.
    #[error("the challenge's price is out of range")]
    Price,
    /// The charge does not say what is to be paid.
    #[error("the challenge's charge makes no sense: {0}")]
    Charge(#[from] InvalidCharge),
    /// The charge is to be paid in a way that the account can not pay in.
    #[error("the server takes the charge in no mode that this account can pay in")]
    Mode,
    /// The challenge has expired, by the clock of this client. Another one may be asked for.
    #[error("the challenge has expired")]
    Expired,
    /// The challenge expires before a transaction can be mined.
    #[error("the challenge expires too soon to be paid")]
    Late,
    /// The challenge never expires, or says so in no readable way.
    #[error("the challenge has no readable expiry")]
    Expiry,
    /// The challenge is for another request body.
    #[error("the challenge is bound to another request body")]
    Digest,
    /// The challenge is for one body, and the request's is streamed: neither is it known, nor can
    /// it be sent again.
    #[error("the server binds payments to the body, and a streamed body can be sent only once")]
    StreamedBody,
}

impl Offer {
    /// Reads a challenge.
    ///
    /// # Errors
    /// [`Unpayable`]; an expired challenge is read, and not answered.
    pub fn read(challenge: Challenge) -> Result<Self, Unpayable> {
        if challenge.method != MethodName::tempo() || challenge.intent != IntentName::session() {
            return Err(Unpayable::NotOffered);
        }
        // SECURITY-CASES A26: fail closed.
        let expires = match challenge.expires_at() {
            Ok(expires) => expires,
            Err(ExpiryError::Missing | ExpiryError::Malformed | ExpiryError::Expired) => {
                return Err(Unpayable::Expiry);
            }
        };
        let request: SessionRequest = challenge.request.decode().map_err(|_| Unpayable::Request)?;
        let widest = request.method_details.protocol().max_amount();
        if request.amount.is_zero() || request.amount > widest {
            return Err(Unpayable::Price);
        }
        Ok(Self(Arc::new(Terms {
            challenge,
            request,
            expires,
        })))
    }

    /// The first challenge that can be answered; servers list them in order of preference.
    ///
    /// # Errors
    /// The reason of the first session challenge, or [`Unpayable::NotOffered`] or
    /// [`Unpayable::NoChallenge`] when there is none.
    pub fn choose(challenges: impl IntoIterator<Item = Challenge>) -> Result<Self, Unpayable> {
        let mut reason = Unpayable::NoChallenge;
        for challenge in challenges {
            match Self::read(challenge) {
                Ok(offer) => return Ok(offer),
                Err(Unpayable::NotOffered) if reason != Unpayable::NoChallenge => {}
                Err(other) if matches!(reason, Unpayable::NoChallenge | Unpayable::NotOffered) => {
                    reason = other;
                }
                Err(_) => {}
            }
        }
        Err(reason)
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

    /// Checks that the challenge has not expired at this moment.
    pub(crate) fn check_time(&self, now: Timestamp) -> Result<(), Unpayable> {
        check_time(self.0.expires, now)
    }

    /// The price of one unit, in base units; never zero.
    #[must_use]
    pub fn price(&self) -> Amount {
        self.0.request.amount
    }

    /// The protocol version; answers use no other.
    #[must_use]
    pub fn protocol(&self) -> SessionProtocol {
        self.0.request.method_details.protocol()
    }

    /// The chain.
    #[must_use]
    pub fn chain_id(&self) -> u64 {
        self.0.request.method_details.chain_id
    }

    /// The escrow.
    #[must_use]
    pub fn escrow(&self) -> Address {
        self.0.request.method_details.escrow_contract
    }

    /// The token.
    #[must_use]
    pub fn currency(&self) -> Address {
        self.0.request.currency
    }

    /// The payee.
    #[must_use]
    pub fn recipient(&self) -> Address {
        self.0.request.recipient
    }

    /// Who may settle beside the payee; zero if nobody.
    #[must_use]
    pub fn operator(&self) -> Address {
        self.0
            .request
            .method_details
            .operator
            .unwrap_or(Address::ZERO)
    }

    /// The deposit that the server proposes, in base units.
    #[must_use]
    pub fn suggested_deposit(&self) -> Option<Amount> {
        self.0.request.suggested_deposit
    }

    /// The smallest increase between two vouchers, in base units.
    #[must_use]
    pub fn min_delta(&self) -> Amount {
        self.0
            .request
            .method_details
            .min_voucher_delta
            .unwrap_or(Amount::ZERO)
    }

    /// Whether the server pays the fees of open and top-up.
    #[must_use]
    pub fn is_sponsored(&self) -> bool {
        self.0.request.method_details.is_sponsored()
    }

    /// Whether a payment under this offer can go on under the other one.
    pub(crate) fn has_terms_of(&self, other: &Self) -> bool {
        let terms = |offer: &Self| {
            (
                offer.price(),
                offer.protocol(),
                offer.chain_id(),
                offer.escrow(),
                offer.recipient(),
                offer.currency(),
                offer.operator(),
                offer.is_sponsored(),
            )
        };
        terms(self) == terms(other)
    }

    /// Whether the challenge is good for any request to its path, not for one body only.
    #[must_use]
    pub fn is_reusable(&self) -> bool {
        self.0.challenge.digest.is_none()
    }

    /// Checks that the challenge is not bound to another body (PROTOCOL 1.1).
    ///
    /// # Errors
    /// [`Unpayable::Digest`], or [`Unpayable::StreamedBody`] when the body is not known.
    pub fn check_body(&self, body: Option<&[u8]>) -> Result<(), Unpayable> {
        check_body(&self.0.challenge, body)
    }
}

/// Clients must not answer an expired challenge (draft-httpauth-payment-00); at its end it has
/// expired (PROTOCOL 1.1).
pub(crate) fn check_time(expires: Timestamp, now: Timestamp) -> Result<(), Unpayable> {
    if expires <= now {
        return Err(Unpayable::Expired);
    }
    Ok(())
}

/// Checks that a challenge is not bound to another body than this; `None` is one not known.
pub(crate) fn check_body(challenge: &Challenge, body: Option<&[u8]>) -> Result<(), Unpayable> {
    let Some(digest) = &challenge.digest else {
        return Ok(());
    };
    let digest: BodyDigest = digest.parse().map_err(|_| Unpayable::Digest)?;
    let body = body.ok_or(Unpayable::StreamedBody)?;
    digest.matches(body).map_err(|_| Unpayable::Digest)
}

/// An address in lower-case hex, as this client writes it everywhere (PROTOCOL 2).
pub(crate) fn lower_hex(address: &Address) -> String {
    hex::encode_prefixed(address)
}

#[cfg(test)]
mod tests;
