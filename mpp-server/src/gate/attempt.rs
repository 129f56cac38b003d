//! What a transport saw of a request.

use std::{fmt, net::IpAddr};

use mpp_core::{
    Credential,
    header::{self, HeaderError},
};

use super::{Repeatable, RequestBody};
use crate::error::Rejection;

/// A request to a paid route, without its transport.
#[derive(Debug)]
pub struct Attempt<'a> {
    pub(super) presented: Presented<'a>,
    pub(super) purpose: Purpose,
    pub(super) accept_payment: Option<&'a str>,
    pub(super) peer: Option<IpAddr>,
    pub(super) repeatable: Option<Repeatable>,
    pub(super) body: RequestBody,
}

/// What the request is for (PROTOCOL 5.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Content: charge the price and run the handler.
    Content,
    /// Only the channel: nothing is charged, no handler runs.
    Management,
}

pub(super) enum Presented<'a> {
    Nothing,
    /// The value of the only header field; not looked into.
    Value(&'a str),
    Token(&'a str),
    Native(Box<Credential>),
    Unreadable(Rejection),
}

impl<'a> Attempt<'a> {
    /// From the values of the `Authorization` and `Payment-Authorization`
    /// headers, in any number.
    pub fn from_headers(
        authorization: impl IntoIterator<Item = &'a str>,
        payment_authorization: impl IntoIterator<Item = &'a str>,
        purpose: Purpose,
    ) -> Self {
        let mut all = authorization.into_iter().chain(payment_authorization);
        let presented = match (all.next(), all.next()) {
            (None, _) => Presented::Nothing,
            (Some(only), None) => Presented::Value(only),
            (Some(first), Some(second)) => Presented::find([first, second].into_iter().chain(all)),
        };
        Self {
            presented,
            purpose,
            accept_payment: None,
            peer: None,
            repeatable: None,
            body: RequestBody::Unread,
        }
    }

    /// From a credential in JSON form, as MCP and WebSocket carry it.
    #[must_use]
    pub fn from_credential(credential: Option<Credential>, purpose: Purpose) -> Self {
        let presented = match credential {
            Some(credential) => Presented::Native(Box::new(credential)),
            None => Presented::Nothing,
        };
        Self {
            presented,
            purpose,
            accept_payment: None,
            peer: None,
            repeatable: None,
            body: RequestBody::Unread,
        }
    }

    /// Whether there is a credential, or something in its place.
    #[must_use]
    pub fn presents_credential(&self) -> bool {
        !matches!(self.presented, Presented::Nothing)
    }

    /// The `Accept-Payment` header, by which offers are ranked.
    #[must_use]
    pub fn accept_payment(mut self, value: Option<&'a str>) -> Self {
        self.accept_payment = value;
        self
    }

    /// What makes the request idempotent; counts for what is paid only.
    #[must_use]
    pub fn repeatable(mut self, repeatable: Option<Repeatable>) -> Self {
        self.repeatable = repeatable;
        self
    }

    /// The body, for routes that bind payments to it
    /// ([`Route::bind_body`](super::Route::bind_body)).
    #[must_use]
    pub fn body(mut self, body: RequestBody) -> Self {
        self.body = body;
        self
    }

    /// Who is asking, for limits; never for trust.
    #[must_use]
    pub fn peer(mut self, peer: Option<IpAddr>) -> Self {
        self.peer = peer;
        self
    }
}

/// Never shows a credential: whoever reads a log could spend it.
impl fmt::Debug for Presented<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "Nothing",
            Self::Value(_) => "Value(..)",
            Self::Token(_) => "Token(..)",
            Self::Native(_) => "Native(..)",
            Self::Unreadable(_) => "Unreadable(..)",
        })
    }
}

impl<'a> Presented<'a> {
    /// Looks for the credential among the values of header fields.
    pub(super) fn find(values: impl IntoIterator<Item = &'a str>) -> Self {
        match header::credential::find(values) {
            Ok(Some(token)) => Self::Token(token),
            Ok(None) => Self::Nothing,
            Err(error) => Self::Unreadable(unreadable(&error)),
        }
    }

    /// Reads the credential.
    pub(super) fn read(self) -> Result<Credential, Rejection> {
        match self {
            Self::Value(value) => Self::find([value]).read(),
            Self::Nothing => Err(Rejection::PaymentRequired),
            Self::Unreadable(rejection) => Err(rejection),
            Self::Native(credential) => Ok(*credential),
            Self::Token(token) => {
                header::credential::parse(token).map_err(|error| unreadable(&error))
            }
        }
    }
}

/// PROTOCOL 1.3: two credentials and oversized ones are bad requests, what can
/// not be read is a malformed credential.
fn unreadable(error: &HeaderError) -> Rejection {
    match error {
        HeaderError::MultipleCredentials => {
            Rejection::BadRequest("a request may carry only one payment credential")
        }
        HeaderError::TooLarge => {
            Rejection::BadRequest("the payment credential is larger than 64 KiB")
        }
        error => Rejection::MalformedCredential(error.to_string()),
    }
}
