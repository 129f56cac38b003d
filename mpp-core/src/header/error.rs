//! The one error of all header codecs.

use crate::credential::CredentialError;
use crate::encoding::base64url::DecodeError;
use crate::encoding::json::JsonError;
use crate::receipt::ReceiptError;

/// Why a header value is refused. No variant quotes the value of a credential.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The value has CR, LF or another control character, raw or escaped.
    #[error("header value has a control character")]
    ControlCharacter,
    /// The value, or the part that is about to be decoded, is too long.
    #[error("header value is too large")]
    TooLarge,
    /// The value breaks the grammar of its field.
    #[error("header value is malformed")]
    Syntax,
    /// A parameter stands twice in one challenge.
    #[error("challenge has a duplicate parameter")]
    DuplicateParameter,
    /// The list has more entries than any honest peer sends.
    #[error("header value has too many entries")]
    TooManyEntries,
    /// A required parameter is missing.
    #[error("challenge lacks the parameter `{0}`")]
    MissingParameter(&'static str),
    /// A parameter breaks its own grammar.
    #[error("challenge has a malformed parameter `{0}`")]
    InvalidParameter(&'static str),
    /// The request carries more than one payment credential.
    #[error("request has more than one payment credential")]
    MultipleCredentials,
    /// The value is not base64url.
    #[error(transparent)]
    Base64(#[from] DecodeError),
    /// The decoded value is not strict JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// The decoded value is not a credential.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// The decoded value is not a receipt.
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
}
