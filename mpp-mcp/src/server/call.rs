//! A call, and what it says about payment.

use std::net::IpAddr;

use mpp_core::{
    Credential,
    header::{HeaderError, idempotency_key::IdempotencyKey},
};
use mpp_server::{
    Rejection,
    gate::{Purpose, Repeatable},
};
use serde::Serialize;
use serde_json::Value;

use crate::{
    Capability,
    meta::{self, Members},
    native::{self, NativeError},
    operation::Operation,
};

/// A call of an operation, without its transport.
///
/// What it says about payment is out of the metadata, and so out of reach of
/// the handler (SECURITY-CASES A18).
#[derive(Debug)]
#[must_use = "a call does nothing until it is admitted"]
pub struct Call {
    pub(super) operation: Operation,
    presented: Presented,
    purpose: Purpose,
    key: Option<Value>,
    accept: Option<String>,
    arguments: Vec<u8>,
    peer: Option<IpAddr>,
}

enum Presented {
    Nothing,
    One(Value),
    Several,
}

/// A credential is money: it is not for logs.
impl std::fmt::Debug for Presented {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Nothing => "Nothing",
            Self::One(_) => "One(..)",
            Self::Several => "Several",
        })
    }
}

impl Call {
    /// A call without metadata.
    pub const fn new(operation: Operation) -> Self {
        Self {
            operation,
            presented: Presented::Nothing,
            purpose: Purpose::Content,
            key: None,
            accept: None,
            arguments: Vec::new(),
            peer: None,
        }
    }

    /// Takes what is about payment out of metadata.
    ///
    /// To be called for each place where metadata can stand: nested and at the
    /// root (draft-payment-transport-mcp-00, Metadata Placement).
    pub fn take_from(mut self, meta: &mut Members) -> Self {
        if let Some(credential) = meta.remove(meta::CREDENTIAL) {
            self.presented = match self.presented {
                Presented::Nothing => Presented::One(credential),
                Presented::One(_) | Presented::Several => Presented::Several,
            };
        }
        if let Some(key) = meta.remove(meta::IDEMPOTENCY_KEY) {
            self.key.get_or_insert(key);
        }
        if let Some(Value::String(accept)) = meta.remove(meta::ACCEPT_PAYMENT) {
            self.accept = Some(accept);
        }
        if meta.remove(meta::MANAGEMENT) == Some(Value::Bool(true)) {
            self.purpose = Purpose::Management;
        }
        meta::strip(meta);
        self
    }

    /// What the operation is to be done with, by which a retry is told from
    /// another request under the same key.
    ///
    /// Metadata is no part of it: a retry has a progress token of its own.
    pub fn with_arguments(mut self, arguments: &impl Serialize) -> Self {
        if self.key.is_some() {
            // Maps of JSON are ordered, so equal arguments are equal text.
            self.arguments = serde_json::to_vec(arguments).unwrap_or_default();
        }
        self
    }

    /// What the client said that it takes; what the call itself says counts
    /// more.
    pub fn with_capability(mut self, capability: Option<&Capability>) -> Self {
        if self.accept.is_none() {
            self.accept = capability.and_then(Capability::accept_payment);
        }
        self
    }

    /// Who is asking, for limits; never for trust.
    pub const fn with_peer(mut self, peer: Option<IpAddr>) -> Self {
        self.peer = peer;
        self
    }

    pub(super) const fn purpose(&self) -> Purpose {
        self.purpose
    }

    pub(super) fn accept_payment(&self) -> Option<&str> {
        self.accept.as_deref()
    }

    pub(super) const fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    /// Reads the credential.
    pub(super) fn credential(&mut self) -> Result<Option<Credential>, Rejection> {
        match std::mem::replace(&mut self.presented, Presented::Nothing) {
            Presented::Nothing => Ok(None),
            Presented::Several => Err(Rejection::BadRequest(
                "a request may carry only one payment credential",
            )),
            Presented::One(value) => match native::read_credential(value) {
                Ok(credential) => Ok(Some(credential)),
                Err(NativeError::TooLarge) => Err(Rejection::BadRequest(
                    "the payment credential is larger than 64 KiB",
                )),
                Err(error) => Err(Rejection::MalformedCredential(error.to_string())),
            },
        }
    }

    /// Reads what makes the call idempotent.
    pub(super) fn repeatable(&self) -> Result<Option<Repeatable>, Rejection> {
        let Some(key) = &self.key else {
            return Ok(None);
        };
        let read = key.as_str().ok_or(HeaderError::Syntax);
        let read = read.and_then(IdempotencyKey::from_text);
        let key = read.map_err(|_| {
            Rejection::BadRequest("an idempotency key must be one string of at most 255 bytes")
        })?;
        let scope = self.operation.scope();
        Ok(Some(Repeatable::new(
            &key,
            &[b"json-rpc", scope.as_bytes(), &self.arguments],
        )))
    }
}
