//! A request as its caller made it: sent as often as it takes.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use mpp_client::credential::CredentialField;
use mpp_client::exchange::{CallKey, Repeats};
use mpp_client::{ClientError, new_idempotency_key};
use mpp_core::header::names;
use reqwest::{Body, Request};
use url::Url;

/// What is to be sent.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: OrderBody,
    pub(super) timeout: Option<Duration>,
    pub(super) repeating: Repeating,
}

/// Whether the request is sent again when its answer was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeating {
    /// When its method is idempotent, or the caller has chosen a key.
    WhenSafe,
    /// Never.
    Never,
}

/// A body, and whether it can be sent again.
#[derive(Debug)]
pub(super) enum OrderBody {
    /// None.
    Empty,
    /// Kept, and sent as often as it takes.
    Bytes(Bytes),
    /// Streamed once; gone after that.
    Once(Option<Body>),
}

impl Order {
    pub(super) fn new(method: Method, url: Url) -> Self {
        Self {
            method,
            url,
            headers: HeaderMap::new(),
            body: OrderBody::Empty,
            timeout: None,
            repeating: Repeating::WhenSafe,
        }
    }

    /// Gives the request a key, unless the caller has, and tells whether it may be sent again
    /// without knowing what became of it.
    ///
    /// A server that knows the key serves and charges it once in any case; one that does not might
    /// carry a `POST` out twice (RFC 9110, 9.2.2), so that takes the caller's own key. A request
    /// that is never sent again gets none: a server would keep its whole body for nothing, and
    /// refuse a large one.
    pub(super) fn prepare_repeats(&mut self) -> (Repeats, CallKey) {
        let chosen = self.headers.contains_key(names::IDEMPOTENCY_KEY);
        let repeats = if self.repeating == Repeating::Never || self.goes_once() {
            Repeats::Never
        } else if chosen || self.method.is_idempotent() {
            Repeats::Always
        } else {
            Repeats::WhenPaidOnce
        };
        if !chosen
            && repeats != Repeats::Never
            && let Ok(key) = HeaderValue::from_str(&new_idempotency_key())
        {
            self.headers.insert(names::IDEMPOTENCY_KEY, key);
        }
        let key = match (self.key(), chosen) {
            (None, _) => CallKey::None,
            (Some(key), true) => CallKey::OfPurchase(key.to_owned()),
            (Some(key), false) => CallKey::OfCall(key.to_owned()),
        };
        (repeats, key)
    }

    /// Whether its body can be sent a single time.
    pub(super) const fn goes_once(&self) -> bool {
        matches!(self.body, OrderBody::Once(_))
    }

    /// The bytes that a challenge's digest must match; `None` when they are not known.
    pub(super) fn known_body(&self) -> Option<&[u8]> {
        match &self.body {
            OrderBody::Empty => Some(&[]),
            OrderBody::Bytes(bytes) => Some(bytes),
            OrderBody::Once(_) => None,
        }
    }

    /// The idempotency key as it is sent.
    fn key(&self) -> Option<&str> {
        let value = self.headers.get(names::IDEMPOTENCY_KEY)?;
        value.to_str().ok()
    }

    /// `accept` is what the client pays with.
    pub(super) fn request(
        &mut self,
        accept: &str,
        field: Option<&CredentialField>,
    ) -> Result<Request, ClientError> {
        let mut request = Request::new(self.method.clone(), self.url.clone());
        *request.timeout_mut() = self.timeout;
        *request.body_mut() = match &mut self.body {
            OrderBody::Empty => None,
            OrderBody::Bytes(bytes) => Some(bytes.clone().into()),
            OrderBody::Once(body) => Some(
                body.take()
                    .ok_or(ClientError::Misuse("a streamed body can not be sent again"))?,
            ),
        };
        let headers = request.headers_mut();
        headers.extend(self.headers.clone());
        if !headers.contains_key(names::ACCEPT_PAYMENT)
            && let Ok(accept) = HeaderValue::from_str(accept)
        {
            headers.insert(names::ACCEPT_PAYMENT, accept);
        }
        if let Some(field) = field {
            add_credential(headers, field)?;
        }
        Ok(request)
    }
}

/// Adds a credential beside credentials of other schemes.
pub(super) fn add_credential(
    headers: &mut HeaderMap,
    field: &CredentialField,
) -> Result<(), ClientError> {
    let mut value = HeaderValue::from_str(&field.value)
        .map_err(|_| ClientError::Payment("the credential can not be written"))?;
    value.set_sensitive(true);
    headers.append(field.name, value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    // SECURITY-CASES A20: header tables and logs leave a sensitive value out.
    #[test]
    fn a_credential_is_sensitive_and_stays_beside_others() {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", HeaderValue::from_static("Bearer abc"));
        let field = CredentialField {
            name: "authorization",
            value: "Payment e30".to_owned(),
        };
        add_credential(&mut headers, &field).unwrap();
        let values: Vec<_> = headers.get_all("authorization").iter().collect();
        assert_eq!(values[0], "Bearer abc");
        assert_eq!(values[1], "Payment e30");
        assert!(values[1].is_sensitive());
        assert!(!format!("{headers:?}").contains("e30"));
    }
}
