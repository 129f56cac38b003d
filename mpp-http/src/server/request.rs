//! What a request says about payment.

use std::{borrow::Cow, net::SocketAddr};

use axum::extract::ConnectInfo;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use http_body::Body;
use mpp_core::header::{credential, decode_bytes, names};
use mpp_server::gate::{Attempt, Purpose, Repeatable, RequestBody};

/// The payment-related parts of a request, out of reach of the handler.
#[derive(Debug)]
pub(super) struct Presented {
    authorization: Vec<String>,
    payment_authorization: Vec<String>,
    accept_payment: Option<String>,
    purpose: Purpose,
    peer: Option<SocketAddr>,
    /// Set once the body was read.
    pub(super) repeatable: Option<Repeatable>,
    /// What is known of the body.
    pub(super) body: RequestBody,
}

impl Presented {
    /// Takes payment credentials out of the request, so that no handler logs
    /// them or passes them on (SECURITY-CASES A18, A20). Other credentials
    /// in `Authorization` stay.
    pub(super) fn take_from<B: Body>(request: &mut Request<B>) -> Self {
        let purpose = purpose(request);
        let body = match request.body().is_end_stream() {
            true => RequestBody::Empty,
            false => RequestBody::Unread,
        };
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        let peer = peer.map(|ConnectInfo(address)| *address);
        let headers = request.headers_mut();
        let authorization = values(headers, &header::AUTHORIZATION);
        keep_other_schemes(headers);
        let name = HeaderName::from_static(names::PAYMENT_AUTHORIZATION);
        let payment_authorization = values(headers, &name);
        headers.remove(&name);
        let accept = HeaderName::from_static(names::ACCEPT_PAYMENT);
        let accept_payment = values(headers, &accept);
        Self {
            authorization,
            payment_authorization,
            // Several lines mean the same as one list.
            accept_payment: (!accept_payment.is_empty()).then(|| accept_payment.join(", ")),
            purpose,
            peer,
            repeatable: None,
            body,
        }
    }

    /// For the gate.
    pub(super) fn attempt(&self) -> Attempt<'_> {
        Attempt::from_headers(
            self.authorization.iter().map(String::as_str),
            self.payment_authorization.iter().map(String::as_str),
            self.purpose,
        )
        .accept_payment(self.accept_payment.as_deref())
        .repeatable(self.repeatable)
        .body(self.body)
        .peer(self.peer.map(|address| address.ip()))
    }

    /// Who is asking, if that is known.
    #[cfg(feature = "ws")]
    pub(super) fn peer_ip(&self) -> Option<std::net::IpAddr> {
        self.peer.map(|address| address.ip())
    }
}

/// PROTOCOL 5.5: `HEAD`, and a `POST` without body and query string, only
/// manage the channel.
fn purpose<B: Body>(request: &Request<B>) -> Purpose {
    let bare_post = *request.method() == Method::POST
        && request.uri().query().is_none()
        && request.body().is_end_stream();
    if *request.method() == Method::HEAD || bare_post {
        Purpose::Management
    } else {
        Purpose::Content
    }
}

fn values(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let values = headers.get_all(name).iter();
    values
        .map(|value| decode_bytes(value.as_bytes()))
        .map(Cow::into_owned)
        .collect()
}

fn keep_other_schemes(headers: &mut HeaderMap) {
    let others: Vec<_> = headers
        .get_all(header::AUTHORIZATION)
        .iter()
        .filter_map(without_payment)
        .collect();
    headers.remove(header::AUTHORIZATION);
    for value in others {
        headers.append(header::AUTHORIZATION, value);
    }
}

/// The value without the payment credentials that stand in it.
///
/// The reader that found them has the last word: what it can not read, or
/// still finds a payment in, is left out as a whole.
fn without_payment(value: &HeaderValue) -> Option<HeaderValue> {
    let is_free =
        |value: &HeaderValue| credential::find([&*decode_bytes(value.as_bytes())]) == Ok(None);
    if is_free(value) {
        return Some(value.clone());
    }
    let mut in_payment = false;
    let mut others: Vec<&[u8]> = items(value.as_bytes());
    others.retain(|item| {
        if let Some(scheme) = scheme(item) {
            in_payment = scheme.eq_ignore_ascii_case(b"payment");
        }
        !in_payment
    });
    let rest = HeaderValue::from_bytes(others.join(&b","[..]).trim_ascii()).ok()?;
    (!rest.is_empty() && is_free(&rest)).then_some(rest)
}

/// Splits at commas outside of quoted strings.
fn items(value: &[u8]) -> Vec<&[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    let split = value.split(|&byte| {
        let plain = !std::mem::take(&mut escaped);
        match byte {
            b'\\' if quoted && plain => escaped = true,
            b'"' if plain => quoted = !quoted,
            _ => {}
        }
        byte == b',' && !quoted
    });
    split.collect()
}

/// The scheme that begins here; `None` for a further parameter of the last one.
fn scheme(item: &[u8]) -> Option<&[u8]> {
    let item = item.trim_ascii();
    let is_end = |byte: &u8| matches!(byte, b' ' | b'\t' | b'=');
    let (name, rest) = item.split_at(item.iter().position(is_end).unwrap_or(item.len()));
    (!rest.trim_ascii_start().starts_with(b"=")).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &str, left: Option<&str>) {
        let value = HeaderValue::from_str(value).unwrap();
        let rest = without_payment(&value);
        assert_eq!(rest.as_ref().map(|rest| rest.to_str().unwrap()), left);
    }

    // SECURITY-CASES A18, A20: only the payment goes, and all of it.
    #[test]
    fn a_payment_is_cut_out_of_a_list() {
        check("Bearer abc", Some("Bearer abc"));
        check("Payment e30", None);
        check("payment e30", None);
        check("Bearer abc, Payment e30", Some("Bearer abc"));
        check("PAYMENT e30,Bearer abc", Some("Bearer abc"));
        check("Payment e30, Payment e30, Basic eA==", Some("Basic eA=="));
        check(
            r#"Digest a="x, Payment e30", b = y, Payment e30, Bearer z"#,
            Some(r#"Digest a="x, Payment e30", b = y, Bearer z"#),
        );
        check(
            r#"Payment id="a, b", request="e30", Bearer z"#,
            Some("Bearer z"),
        );
    }

    #[test]
    fn a_quoted_word_is_no_payment() {
        let digest = r#"Digest username="doe, payment e30 \\", realm="a""#;
        check(digest, Some(digest));
    }

    #[test]
    fn what_may_still_hold_a_payment_is_left_out() {
        check("Payment", None);
        check("Payment e30 e30", None);
        check("Payment \"e30, Bearer abc", None);
    }
}
