//! From a credential somebody sent to one that answers our own challenge.

use std::{
    cell::RefCell,
    fmt,
    sync::{Arc, OnceLock},
};

use mpp_core::{
    Challenge, CredentialReader, IntentName, KnownChallenge, MethodName, Proof, Timestamp,
    challenge::ExpiryError, header::credential::sole_token, source::DidPkh,
};
use mpp_tempo::wire::{PayloadError, SessionPayload};
use serde_json::Value;

use super::{Gate, Late, Offer, Purpose, RequestBody, Route, attempt::Presented};
use crate::error::Rejection;

/// A credential whose challenge this server issued for this route, in time.
///
/// Only the gate makes these. `Debug` leaves the payload out, because whoever
/// reads a log could spend it.
pub struct BoundCredential {
    challenge: Echo,
    payload: Payload,
    source: Option<DidPkh>,
}

enum Echo {
    Read(Box<Challenge>),
    Known {
        known: Arc<KnownChallenge>,
        /// Whether its MAC was verified for this credential.
        fresh: bool,
    },
}

#[expect(
    clippy::large_enum_variant,
    reason = "vouchers are the rule, and a box would cost each of them an allocation"
)]
enum Payload {
    Json(Value),
    /// A voucher, read without a JSON value; that is made when asked for.
    Voucher(SessionPayload, OnceLock<Value>),
}

impl BoundCredential {
    /// The challenge, as issued.
    #[must_use]
    pub fn challenge(&self) -> &Challenge {
        match &self.challenge {
            Echo::Read(challenge) => challenge,
            Echo::Known { known, .. } => known.challenge(),
        }
    }

    /// The method's payload, not yet examined.
    ///
    /// Of a session voucher, the hex digits may be in another case than they
    /// were sent in.
    #[must_use]
    pub fn payload(&self) -> &Value {
        match &self.payload {
            Payload::Json(value) => value,
            Payload::Voucher(payload, value) => value.get_or_init(|| payload.to_value()),
        }
    }

    /// The payload of a session credential.
    pub(crate) fn session_payload(&self) -> Result<SessionPayload, PayloadError> {
        match &self.payload {
            Payload::Json(value) => SessionPayload::from_value(value),
            Payload::Voucher(payload, _) => Ok(payload.clone()),
        }
    }

    /// Who the payer claims to be.
    #[must_use]
    pub fn source(&self) -> Option<&DidPkh> {
        self.source.as_ref()
    }

    /// The challenge, if it should be remembered once the credential has paid.
    pub(super) fn fresh(&self) -> Option<Arc<KnownChallenge>> {
        match &self.challenge {
            Echo::Known { known, fresh: true } => Some(Arc::clone(known)),
            Echo::Known { fresh: false, .. } | Echo::Read(_) => None,
        }
    }
}

impl fmt::Debug for BoundCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundCredential")
            .field("challenge", self.challenge())
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

/// What a challenge must fit beside its route.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) purpose: Purpose,
    pub(super) body: RequestBody,
    pub(super) now: Timestamp,
}

/// Checks a credential's challenge: HMAC over every slot, realm, route, offer,
/// body, expiry (PROTOCOL 1.1 and 1.2; SECURITY-CASES A3, A26).
pub(super) fn bind<'r>(
    gate: &Gate,
    route: &'r Route,
    presented: Presented<'_>,
    asked: Asked,
) -> Result<(&'r Offer, BoundCredential), Rejection> {
    if let Presented::Value(value) = presented
        && let Some(bound) = bind_voucher(gate, route, value, asked)
    {
        return Ok(bound);
    }
    let credential = presented.read()?;
    let offer = find_offer(gate, route, &credential.challenge, asked)
        .map_err(|rejection| for_action(rejection, &credential.payload))?;
    let source = credential
        .source
        .as_deref()
        .map(str::parse)
        .transpose()
        .map_err(|_| Rejection::InvalidPayload(String::from("`source` is not a did:pkh")))?;
    let bound = BoundCredential {
        challenge: Echo::Read(Box::new(credential.challenge)),
        payload: Payload::Json(credential.payload),
        source,
    };
    Ok((offer, bound))
}

thread_local! {
    static READER: RefCell<CredentialReader> = RefCell::default();
}

/// The short way for what sessions consist of: vouchers in the common form.
///
/// It never refuses: `None` leaves the decision to the long way, which would
/// accept whatever is accepted here. Nothing is allocated for a challenge that
/// is known; the MAC of another one is verified, and the challenge kept.
fn bind_voucher<'r>(
    gate: &Gate,
    route: &'r Route,
    value: &str,
    asked: Asked,
) -> Option<(&'r Offer, BoundCredential)> {
    let token = sole_token(value)?;
    let found = gate.issuer.known().find(token);
    let fresh = found.is_none();
    let (known, (payload, source)) = READER.with_borrow_mut(|reader| match found {
        Some(known) => {
            let voucher = read_voucher(&reader.read_known(&known, token)?)?;
            Some((known, voucher))
        }
        None => {
            let text = reader.read(token)?;
            let voucher = read_voucher(&text.proof)?;
            let known = gate.issuer.keys().recognize(&text)?;
            Some((Arc::new(known), voucher))
        }
    })?;
    let challenge = known.challenge();
    let is_session =
        challenge.method == MethodName::tempo() && challenge.intent == IntentName::session();
    if !is_session {
        return None;
    }
    let offer = check_echo(gate, route, challenge, known.expires_at(), asked).ok()?;
    let bound = BoundCredential {
        challenge: Echo::Known { known, fresh },
        payload: Payload::Voucher(payload, OnceLock::new()),
        source,
    };
    Some((offer, bound))
}

fn read_voucher(proof: &Proof<'_>) -> Option<(SessionPayload, Option<DidPkh>)> {
    let source = match proof.source {
        Some(text) => Some(text.as_str().parse().ok()?),
        None => None,
    };
    Some((SessionPayload::from_flat(proof.payload)?, source))
}

fn find_offer<'r>(
    gate: &Gate,
    route: &'r Route,
    echoed: &Challenge,
    asked: Asked,
) -> Result<&'r Offer, Rejection> {
    if offers_of_method(route, echoed, asked.purpose)
        .next()
        .is_none()
    {
        return Err(Rejection::MethodUnsupported);
    }
    gate.issuer
        .keys()
        .verify(echoed)
        .map_err(|_| Rejection::InvalidChallenge("this server did not issue the challenge"))?;
    check_echo(gate, route, echoed, echoed.expires_at(), asked)
}

/// Everything about a challenge but its MAC, which has been verified.
///
/// None of this is ever remembered: it is compared for each credential.
fn check_echo<'r>(
    gate: &Gate,
    route: &'r Route,
    echoed: &Challenge,
    expires: Result<Timestamp, ExpiryError>,
    asked: Asked,
) -> Result<&'r Offer, Rejection> {
    if echoed.realm != *gate.issuer.realm() {
        return Err(Rejection::InvalidChallenge(
            "the challenge is for another realm",
        ));
    }
    if !route.has_issued(echoed) {
        return Err(Rejection::InvalidChallenge(
            "the challenge is for another route",
        ));
    }
    let digest = echoed.digest.as_deref();
    route.body_binding().check(digest, asked.body)?;
    // The HMAC has shown that this text is ours, so equal text is equal
    // price, currency, recipient, chain, unit and protocol.
    let offer = offers_of_method(route, echoed, asked.purpose)
        .find(|offer| *offer.request() == echoed.request);
    match (offer, expires) {
        (Some(offer), Ok(expires)) if asked.now < expires || offer.late() == Late::Shown => {
            Ok(offer)
        }
        (None, Ok(expires)) if asked.now < expires => Err(Rejection::InvalidChallenge(
            "the terms of this route have changed",
        )),
        // Missing or malformed fails closed; equal to now has expired.
        (_, Ok(_) | Err(_)) => Err(Rejection::ChallengeExpired),
    }
}

/// The offers that a credential of this method and intent can be for. Proofs
/// buy nothing, so they are taken where nothing is bought.
fn offers_of_method<'r>(
    route: &'r Route,
    echoed: &Challenge,
    purpose: Purpose,
) -> impl Iterator<Item = &'r Offer> {
    let proofs = match purpose {
        Purpose::Content => &[],
        Purpose::Management => route.proofs(),
    };
    route
        .offers()
        .iter()
        .chain(proofs)
        .filter(|offer| *offer.method() == echoed.method && *offer.intent() == echoed.intent)
}

/// The session draft has a problem of its own for a top-up whose challenge is
/// unknown or has expired (draft-tempo-session-00, Rejection and Error
/// Responses).
fn for_action(rejection: Rejection, payload: &Value) -> Rejection {
    match (&rejection, SessionPayload::from_value(payload)) {
        (
            Rejection::InvalidChallenge(_) | Rejection::ChallengeExpired,
            Ok(SessionPayload::TopUp { channel_id, .. }),
        ) => Rejection::TopUpChallenge { channel_id },
        _ => rejection,
    }
}

#[cfg(test)]
mod tests;
