//! Credentials as they go into a request.

use alloy_primitives::Address;
use mpp_core::{Challenge, Credential, CredentialHeader, DidPkh, header};
use serde_json::Value;

use crate::error::ClientError;
use crate::offer::lower_hex;

/// A header field with a credential. `Debug` leaves the value out.
#[derive(Clone)]
pub struct CredentialField {
    /// The field's name in lower case.
    pub name: &'static str,
    /// The field's value: a secret until the server has it.
    pub value: String,
}

impl std::fmt::Debug for CredentialField {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CredentialField")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A credential of an account on a chain.
pub(crate) fn of_account(
    challenge: &Challenge,
    (chain_id, payer): (u64, &Address),
    payload: Value,
) -> Result<Credential, ClientError> {
    let source = DidPkh::new(chain_id, &lower_hex(payer))
        .map_err(|_| ClientError::Payment("the payer has no identifier"))?;
    Ok(Credential::new(challenge.clone(), payload).with_source(source.to_string()))
}

/// The credential in the field that its challenge asks for.
pub(crate) fn field(credential: &Credential) -> Result<CredentialField, ClientError> {
    let name = match credential.challenge.header {
        None => header::names::AUTHORIZATION,
        Some(CredentialHeader::PaymentAuthorization) => header::names::PAYMENT_AUTHORIZATION,
    };
    let value = header::credential::encode(credential)
        .map_err(|_| ClientError::Payment("the credential is too large"))?;
    Ok(CredentialField { name, value })
}
