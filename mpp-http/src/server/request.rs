//! What a request says about payment.

use std::{borrow::Cow, net::SocketAddr};

use axum::extract::ConnectInfo;
use http::{HeaderMap, HeaderName, Method, Request, header};
use http_body::Body;
use mpp_core::header::{decode_bytes, names};
use mpp_server::gate::{Attempt, Purpose};

/// The payment-related parts of a request, out of reach of the handler.
#[derive(Debug)]
pub(super) struct Presented {
    authorization: Vec<String>,
    payment_authorization: Vec<String>,
    accept_payment: Option<String>,
    purpose: Purpose,
    peer: Option<SocketAddr>,
}

impl Presented {
    /// Takes payment credentials out of the request, so that no handler logs
    /// them or passes them on (SECURITY-CASES A18, A20). Other credentials
    /// in `Authorization` stay.
    pub(super) fn take_from<B: Body>(request: &mut Request<B>) -> Self {
        let purpose = purpose(request);
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
        .peer(self.peer.map(|address| address.ip()))
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
        .filter(|value| !names_payment(value.as_bytes()))
        .cloned()
        .collect();
    headers.remove(header::AUTHORIZATION);
    for value in others {
        headers.append(header::AUTHORIZATION, value);
    }
}

/// Whether a value may hold a payment credential, alone or in a list.
fn names_payment(value: &[u8]) -> bool {
    let text = decode_bytes(value);
    text.split(',').any(|part| {
        let scheme = part.trim_start().split([' ', '\t']).next();
        scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("payment"))
    })
}
