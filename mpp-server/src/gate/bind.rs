//! From a credential somebody sent to one that answers our own challenge.

use std::fmt;

use mpp_core::{Challenge, Timestamp, source::DidPkh};
use mpp_tempo::wire::SessionPayload;

use super::{Gate, Offer, Purpose, Route, attempt::Presented};
use crate::error::Rejection;

/// A credential whose challenge this server issued for this route, in time.
///
/// Only the gate makes these. `Debug` leaves the payload out, because whoever
/// reads a log could spend it.
pub struct BoundCredential {
    challenge: Challenge,
    payload: serde_json::Value,
    source: Option<DidPkh>,
}

impl BoundCredential {
    /// The challenge, as issued.
    #[must_use]
    pub fn challenge(&self) -> &Challenge {
        &self.challenge
    }

    /// The method's payload, not yet examined.
    #[must_use]
    pub fn payload(&self) -> &serde_json::Value {
        &self.payload
    }

    /// Who the payer claims to be.
    #[must_use]
    pub fn source(&self) -> Option<&DidPkh> {
        self.source.as_ref()
    }
}

impl fmt::Debug for BoundCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundCredential")
            .field("challenge", &self.challenge)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

/// Checks a credential's challenge: HMAC over every slot, realm, route, offer,
/// expiry (PROTOCOL 1.1 and 1.2; SECURITY-CASES A3, A26).
pub(super) fn bind<'r>(
    gate: &Gate,
    route: &'r Route,
    presented: Presented<'_>,
    purpose: Purpose,
    now: Timestamp,
) -> Result<(&'r Offer, BoundCredential), Rejection> {
    let credential = presented.read()?;
    let offer = find_offer(gate, route, &credential.challenge, purpose, now)
        .map_err(|rejection| for_action(rejection, &credential.payload))?;
    let source = credential
        .source
        .as_deref()
        .map(str::parse)
        .transpose()
        .map_err(|_| Rejection::InvalidPayload(String::from("`source` is not a did:pkh")))?;
    let bound = BoundCredential {
        challenge: credential.challenge,
        payload: credential.payload,
        source,
    };
    Ok((offer, bound))
}

fn find_offer<'r>(
    gate: &Gate,
    route: &'r Route,
    echoed: &Challenge,
    purpose: Purpose,
    now: Timestamp,
) -> Result<&'r Offer, Rejection> {
    let proofs = match purpose {
        Purpose::Content => &[],
        Purpose::Management => route.proofs(),
    };
    let mut of_method = route
        .offers()
        .iter()
        .chain(proofs)
        .filter(|offer| *offer.method() == echoed.method && *offer.intent() == echoed.intent)
        .peekable();
    if of_method.peek().is_none() {
        return Err(Rejection::MethodUnsupported);
    }
    gate.keys
        .verify(echoed)
        .map_err(|_| Rejection::InvalidChallenge("this server did not issue the challenge"))?;
    if echoed.realm != gate.realm {
        return Err(Rejection::InvalidChallenge(
            "the challenge is for another realm",
        ));
    }
    if !route.has_issued(echoed) {
        return Err(Rejection::InvalidChallenge(
            "the challenge is for another route",
        ));
    }
    match echoed.expires_at() {
        Ok(expires) if now < expires => {}
        // Missing or malformed fails closed; equal to now has expired.
        Ok(_) | Err(_) => return Err(Rejection::ChallengeExpired),
    }
    // The HMAC has shown that this text is ours, so equal text is equal
    // price, currency, recipient, chain, unit and protocol.
    of_method
        .find(|offer| *offer.request() == echoed.request)
        .ok_or(Rejection::InvalidChallenge(
            "the terms of this route have changed",
        ))
}

/// The session draft has a problem of its own for a top-up whose challenge is
/// unknown or has expired (draft-tempo-session-00, Rejection and Error
/// Responses).
fn for_action(rejection: Rejection, payload: &serde_json::Value) -> Rejection {
    match (&rejection, SessionPayload::from_value(payload)) {
        (
            Rejection::InvalidChallenge(_) | Rejection::ChallengeExpired,
            Ok(SessionPayload::TopUp { channel_id, .. }),
        ) => Rejection::TopUpChallenge { channel_id },
        _ => rejection,
    }
}
