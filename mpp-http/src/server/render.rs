//! Decisions as responses (PROTOCOL 1).

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use mpp_core::{
    ForeignProblem, Problem, ProblemKind,
    header::{names, receipt, session::encode_snapshot},
    receipt::Receipt,
};
use mpp_server::{
    bootstrap::Recognized,
    gate::{Refusal, Replay},
};

use super::{PaymentBody, body, idempotency};

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const PRIVATE: HeaderValue = HeaderValue::from_static("private");
const PRIVATE_AND_CHECKED: HeaderValue = HeaderValue::from_static("private, no-cache");
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");
const VARY_ON: HeaderValue = HeaderValue::from_static("Authorization, Payment-Authorization");
const SOON: HeaderValue = HeaderValue::from_static("1");
const FALSE: HeaderValue = HeaderValue::from_static("false");
const TRUE: HeaderValue = HeaderValue::from_static("true");

/// `402` and its relatives: a problem body and fresh challenges.
pub(super) fn refusal<B>(refusal: &Refusal) -> Response<PaymentBody<B>> {
    let status =
        StatusCode::from_u16(refusal.problem.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = Response::new(body::text(refusal.problem.to_json()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for issued in &refusal.challenges {
        if let Ok(value) = HeaderValue::try_from(issued.header_value()) {
            headers.append(header::WWW_AUTHENTICATE, value);
        }
    }
    headers.insert(header::CONTENT_TYPE, PROBLEM_JSON);
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    headers.append(header::VARY, VARY_ON);
    if matches!(
        status,
        StatusCode::CONFLICT | StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    ) {
        headers.insert(header::RETRY_AFTER, SOON);
    }
    // Whoever lost an answer may pay anew.
    if refusal.never_charged {
        headers.insert(HeaderName::from_static(names::IDEMPOTENT_REPLAYED), FALSE);
    }
    response
}

/// A refusal after the handler has run. A request that is not known again would
/// have it run twice, so nobody is told when to send it again.
pub(super) fn after_handler<B>(mut refusal: Response<B>) -> Response<B> {
    refusal.headers_mut().remove(header::RETRY_AFTER);
    refusal
}

/// `204` with a receipt: a management request was carried out.
pub(super) fn managed<B>(receipt: &Receipt) -> Response<PaymentBody<B>> {
    let mut response = Response::new(body::text(Vec::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    add_receipt(response.headers_mut(), receipt);
    response
}

/// `204` for a payer who has proven its identity, with its channel if there is
/// one (PROTOCOL 5.8). Nobody may keep it: it is told once, to one account.
pub(super) fn recognized<B>(payer: &Recognized) -> Response<PaymentBody<B>> {
    let mut response = managed(&payer.receipt);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    if let Some(snapshot) = &payer.snapshot {
        let id = snapshot.channel_id.to_string();
        let json = serde_json::to_value(snapshot).unwrap_or_default();
        let texts = [
            (names::PAYMENT_SESSION, id),
            (names::PAYMENT_SESSION_SNAPSHOT, encode_snapshot(&json)),
        ];
        for (name, text) in texts {
            if let Some(value) = secret_value(&text) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
    }
    response
}

/// The handler's response, with its receipt.
pub(super) fn served<B>(
    mut response: Response<PaymentBody<B>>,
    receipt: &Receipt,
) -> Response<PaymentBody<B>> {
    add_receipt(response.headers_mut(), receipt);
    response
}

/// The handler's answer that delivers nothing, and was not charged.
///
/// A receipt that the handler brought along, as one that passes on another
/// server's answer may, is not ours. Neither is a `402` that asks for nothing:
/// to the payer the handler is a server behind this one, which has failed.
pub(super) fn failed<B>(response: Response<B>) -> Response<PaymentBody<B>> {
    let asks = response.headers().contains_key(header::WWW_AUTHENTICATE);
    let mut response = if response.status() == StatusCode::PAYMENT_REQUIRED && !asks {
        unpayable(
            StatusCode::BAD_GATEWAY,
            "what is behind this server asks for a payment, and not for which",
        )
    } else {
        response.map(PaymentBody::Left)
    };
    let headers = response.headers_mut();
    headers.remove(names::PAYMENT_RECEIPT);
    keep_private(headers);
    response
}

/// The answer that an equal request was given before, with its receipt. One
/// that was not kept is `204`: it was delivered already.
pub(super) fn replayed<B>(outcome: Replay) -> Response<PaymentBody<B>> {
    let restored = outcome.response.and_then(idempotency::restore);
    let mut response = restored.unwrap_or_else(delivered);
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static(names::IDEMPOTENT_REPLAYED), TRUE);
    add_receipt(headers, &outcome.receipt);
    response
}

fn delivered<B>() -> Response<PaymentBody<B>> {
    let mut response = Response::new(body::text(Vec::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, NO_STORE);
    response
}

/// A failure that has nothing to do with a payment: a problem without a type
/// of its own (RFC 9457, 4.2.1), with a sentence for people.
pub(super) fn unpayable<B>(status: StatusCode, detail: &'static str) -> Response<PaymentBody<B>> {
    let title = status.canonical_reason().map(String::from);
    let problem = Problem {
        foreign: Some(ForeignProblem {
            type_uri: "about:blank".into(),
            title,
            status: Some(status.as_u16()),
        }),
        ..Problem::new(ProblemKind::Unknown, detail)
    };
    let mut response = Response::new(body::text(problem.to_json()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, PROBLEM_JSON);
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    response
}

fn add_receipt(headers: &mut HeaderMap, paid: &Receipt) {
    if let Some(value) = secret_value(&receipt::encode(paid)) {
        headers.insert(HeaderName::from_static(names::PAYMENT_RECEIPT), value);
    }
    keep_private(headers);
}

/// What was paid for must not be served to others from a shared cache, errors
/// included (SECURITY-CASES A17). A stricter policy of the handler stays.
fn keep_private(headers: &mut HeaderMap) {
    let policy = match strictness(headers) {
        Some(Strictness::Unstored) => None,
        Some(Strictness::Checked) => Some(PRIVATE_AND_CHECKED),
        None => Some(PRIVATE),
    };
    if let Some(policy) = policy {
        headers.insert(header::CACHE_CONTROL, policy);
    }
    headers.append(header::VARY, VARY_ON);
}

/// How much stricter than `private` a handler is with caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Strictness {
    /// What they keep they have to ask for again before each use.
    Checked,
    /// They must not keep anything.
    Unstored,
}

/// What the handler's `Cache-Control` asks for (RFC 9111, 5.2).
fn strictness(headers: &HeaderMap) -> Option<Strictness> {
    let values = headers.get_all(header::CACHE_CONTROL).iter();
    let texts = values.filter_map(|value| value.to_str().ok());
    let directives = texts.flat_map(|text| text.split(','));
    directives.filter_map(directive).max()
}

fn directive(text: &str) -> Option<Strictness> {
    let (name, argument) = text.split_once('=').unwrap_or((text, ""));
    let is = |expected| name.trim().eq_ignore_ascii_case(expected);
    let is_zero = argument.trim().trim_matches('"') == "0";
    if is("no-store") {
        Some(Strictness::Unstored)
    } else if is("no-cache") || (is("max-age") && is_zero) {
        Some(Strictness::Checked)
    } else {
        None
    }
}

/// A value that says who paid what, or that holds a signature: it is not for
/// logs, nor for the tables of header compression.
///
/// The encoders write visible ASCII only, so this does not fail.
fn secret_value(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}
