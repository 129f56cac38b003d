//! From a credential somebody sent to one that answers our own challenge.

use std::{
    cell::RefCell,
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use mpp_core::{
    Challenge, ChallengeForm, CredentialReader, IntentName, KnownChallenge, KnownText, MethodName,
    Proof, Timestamp, challenge::ExpiryError, header::credential::sole_token, source::DidPkh,
};
use mpp_tempo::wire::{PayloadError, SessionPayload, VoucherForm};
use serde_json::Value;

use super::{Gate, Late, Offer, Purpose, RequestBody, Route, attempt::Presented, issuer::Model};
use crate::error::Rejection;

/// How far the clock that a challenge was issued by may have been ahead.
///
/// Servers that share a secret disagree by less; a clock that was set back by
/// more would otherwise keep its challenges alive for as long.
const SKEW: Duration = Duration::from_secs(60);

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
    /// Verified before.
    Known(Arc<KnownChallenge>),
    /// Verified for this credential.
    Fresh(Box<Fresh>),
}

/// What may be remembered once a credential has paid.
pub(super) struct Fresh {
    known: Arc<KnownChallenge>,
    /// How the credential writes its challenge, when that is new.
    form: Option<ChallengeForm>,
    /// How it writes its voucher, when that is new.
    voucher: Option<Arc<VoucherForm>>,
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
            Echo::Known(known) => known.challenge(),
            Echo::Fresh(fresh) => fresh.known.challenge(),
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

    /// What should be remembered once the credential has paid.
    pub(super) fn take_fresh(&mut self) -> Option<Fresh> {
        let Echo::Fresh(fresh) = &mut self.challenge else {
            return None;
        };
        Some(Fresh {
            known: Arc::clone(&fresh.known),
            form: fresh.form.take(),
            voucher: fresh.voucher.take(),
        })
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
    let (echo, (payload, source)) =
        READER.with_borrow_mut(|reader| match gate.issuer.known().challenge(token) {
            Some(known) => {
                let (voucher, _) = read_behind(gate, reader.open_known(&known, token)?)?;
                Some((Echo::Known(known), voucher))
            }
            None => {
                let (fresh, voucher) = read_fresh(gate, route, reader, token)?;
                Some((Echo::Fresh(Box::new(fresh)), voucher))
            }
        })?;
    let bound = BoundCredential {
        challenge: echo,
        payload: Payload::Voucher(payload, OnceLock::new()),
        source,
    };
    let challenge = bound.challenge();
    let is_session =
        challenge.method == MethodName::tempo() && challenge.intent == IntentName::session();
    if !is_session {
        return None;
    }
    let expires = match &bound.challenge {
        Echo::Known(known) => known.expires_at(),
        Echo::Fresh(fresh) => fresh.known.expires_at(),
        Echo::Read(challenge) => challenge.expires_at(),
    };
    let offer = check_echo(gate, route, challenge, expires, asked).ok()?;
    Some((offer, bound))
}

/// A voucher and who claims to send it.
type Voucher = (SessionPayload, Option<DidPkh>);

/// Reads the voucher behind a challenge. When its form is new, also that.
fn read_behind(gate: &Gate, text: KnownText<'_>) -> Option<(Voucher, Option<Arc<VoucherForm>>)> {
    let rest = text.rest();
    let formed = gate.issuer.known().voucher(rest);
    if let Some(voucher) = formed.and_then(|form| form.read(rest)) {
        return Some((voucher, None));
    }
    let proof = text.proof()?;
    let form = VoucherForm::learn(rest, &proof).map(Arc::new);
    Some((read_voucher(&proof)?, form))
}

/// Reads a credential and verifies the MAC of its challenge.
fn read_fresh(
    gate: &Gate,
    route: &Route,
    reader: &mut CredentialReader,
    token: &str,
) -> Option<(Fresh, Voucher)> {
    let models = route.models(&gate.issuer);
    for form in models.iter().flat_map(|model| model.forms()) {
        let Some(text) = reader.read_formed(form, token) else {
            continue;
        };
        // Of another offer that is written alike, or of the secret before.
        let Some(known) = form.recognize(&text) else {
            continue;
        };
        let (read, voucher) = read_behind(gate, text.behind)?;
        let fresh = Fresh {
            known: Arc::new(known),
            form: None,
            voucher,
        };
        return Some((fresh, read));
    }
    let text = reader.read(token)?;
    let read = read_voucher(&text.proof)?;
    let mut templates = models.iter().map(|model| model.template());
    let own = templates.find_map(|template| Some((template.recognize(&text)?, template)));
    let (known, form) = match own {
        Some((known, template)) => (known, template.learn(&text)),
        // Of the secret before, or of another route: the rest tells.
        None => (gate.issuer.keys().recognize(&text)?, None),
    };
    let voucher = VoucherForm::learn(text.rest()?, &text.proof).map(Arc::new);
    let fresh = Fresh {
        known: Arc::new(known),
        form,
        voucher,
    };
    Some((fresh, read))
}

impl Fresh {
    /// Remembers what was verified, for the credentials that follow.
    pub(super) fn remember(self, gate: &Gate, route: &Route) {
        let known = gate.issuer.known();
        if let Some(form) = self.form {
            let models = route.models(&gate.issuer);
            let is_of = |model: &&Model| model.template().is(form.template());
            if let Some(model) = models.iter().find(is_of) {
                model.keep(form);
            }
        }
        if let Some(voucher) = self.voucher {
            known.keep_voucher(voucher);
        }
        known.keep_challenge(self.known);
    }
}

fn read_voucher(proof: &Proof<'_>) -> Option<Voucher> {
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
    // A payment that was made is looked for whenever its challenge was issued.
    let is_late = offer.is_some_and(|offer| offer.late() == Late::Shown);
    if let Ok(expires) = expires
        && !is_late
        && is_from_the_future(gate, expires, asked.now)
    {
        return Err(Rejection::InvalidChallenge(
            "the challenge is from the future",
        ));
    }
    match (offer, expires) {
        (Some(offer), Ok(expires)) if asked.now < expires || is_late => Ok(offer),
        (None, Ok(expires)) if asked.now < expires => Err(Rejection::InvalidChallenge(
            "the terms of this route have changed",
        )),
        // Missing or malformed fails closed; equal to now has expired.
        (_, Ok(_) | Err(_)) => Err(Rejection::ChallengeExpired),
    }
}

/// Whether a challenge expires later than one that is issued now could
/// (SECURITY-CASES A26).
fn is_from_the_future(gate: &Gate, expires: Timestamp, now: Timestamp) -> bool {
    let latest = now
        .checked_add(gate.challenge_lifetime)
        .and_then(|latest| latest.checked_add(SKEW));
    latest.is_some_and(|latest| expires > latest)
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
