//! What goes out with a call.

use mpp_client::{
    ClientError,
    credential::CredentialField,
    exchange::{CallKey, Repeats},
    new_idempotency_key,
};
use mpp_core::header::idempotency_key::IdempotencyKey;
use serde_json::Value;

use crate::{
    meta::{self, Members},
    native,
    operation::Operation,
};

/// How a call is made.
#[derive(Clone, Debug, Default)]
pub struct CallOptions {
    key: Option<String>,
}

impl CallOptions {
    /// Names this purchase: however often it is sent under this key, within
    /// the time and number that the server remembers, it is carried out and
    /// charged once. A call whose answer was lost is then repeated by itself.
    ///
    /// The draft knows no such key; a server that does not either may carry
    /// the call out twice.
    #[must_use]
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }
}

/// The metadata of one call.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    pub(crate) key: CallKey,
    pub(crate) repeats: Repeats,
    /// What the client pays with, as `Accept-Payment` says it.
    accept: String,
}

impl Credentials {
    /// Reading a resource or a prompt changes nothing and may be repeated; a
    /// tool may do anything, so repeating takes the caller's own key, or a
    /// credential that a server takes once.
    pub(crate) fn of(
        operation: &Operation,
        options: &CallOptions,
        accept: &str,
    ) -> Result<Self, ClientError> {
        let chosen = options.key.as_deref().map(IdempotencyKey::from_text);
        let chosen = chosen.transpose().map_err(|_| {
            ClientError::Misuse("an idempotency key is 1 to 255 visible characters")
        })?;
        let (key, repeats) = match (chosen, operation) {
            (Some(key), _) => {
                let key = key.as_str().to_owned();
                (CallKey::OfPurchase(key), Repeats::Always)
            }
            (None, Operation::Resource(_) | Operation::Prompt(_)) => {
                let key = IdempotencyKey::parse(&new_idempotency_key());
                let key = key.map_or(CallKey::None, |key| {
                    CallKey::OfCall(key.as_str().to_owned())
                });
                (key, Repeats::Always)
            }
            (None, Operation::Tool(_) | Operation::Method(_)) => {
                (CallKey::None, Repeats::WhenPaidOnce)
            }
        };
        Ok(Self {
            key,
            repeats,
            accept: accept.to_owned(),
        })
    }

    /// Of a call that only manages a channel.
    pub(crate) const fn none() -> Self {
        Self {
            key: CallKey::None,
            repeats: Repeats::Never,
            accept: String::new(),
        }
    }

    /// What a call for content says.
    pub(crate) fn content(&self, field: Option<&CredentialField>) -> Result<Members, ClientError> {
        let mut members = credential(field)?;
        if let Some(key) = self.key.text() {
            members.insert(meta::IDEMPOTENCY_KEY.into(), Value::from(key));
        }
        members.insert(
            meta::ACCEPT_PAYMENT.into(),
            Value::from(self.accept.as_str()),
        );
        Ok(members)
    }

    /// What a call that only manages a channel says.
    pub(crate) fn management(field: Option<&CredentialField>) -> Result<Members, ClientError> {
        let mut members = credential(field)?;
        members.insert(meta::MANAGEMENT.into(), Value::Bool(true));
        Ok(members)
    }

    /// What a call says that asks to be known (PROTOCOL 5.8).
    pub(crate) fn introduction(proof: Option<&CredentialField>) -> Result<Members, ClientError> {
        let mut members = Self::management(proof)?;
        members.insert(meta::ACCEPT_PAYMENT.into(), Value::from("tempo/charge"));
        Ok(members)
    }
}

/// The credential as an object; it must not be logged or kept.
fn credential(field: Option<&CredentialField>) -> Result<Members, ClientError> {
    let mut members = Members::new();
    if let Some(field) = field {
        let written = native::credential(&field.decode()?)
            .map_err(|_| ClientError::Payment("the credential can not be written"))?;
        members.insert(meta::CREDENTIAL.into(), written);
    }
    Ok(members)
}
