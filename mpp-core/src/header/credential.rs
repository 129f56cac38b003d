//! `Authorization` and `Payment-Authorization`: credentials.
//!
//! ```abnf
//! credentials     = "Payment" 1*SP base64url-nopad
//! base64url-nopad = 1*( ALPHA / DIGIT / "-" / "_" )
//! ```

use alloc::string::String;

use super::HeaderError;
use super::auth_params::{self, Content, Element};
use super::limits::MAX_CREDENTIAL;
use crate::credential::Credential;
use crate::encoding::base64url;

/// Writes a credential as the value of its header field.
///
/// # Errors
/// [`HeaderError::TooLarge`] when it exceeds [`MAX_CREDENTIAL`]: no server would read it.
pub fn encode(credential: &Credential) -> Result<String, HeaderError> {
    let token68 = base64url::encode(credential.to_json().as_bytes());
    if token68.len() > MAX_CREDENTIAL {
        return Err(HeaderError::TooLarge);
    }
    Ok(alloc::format!("Payment {token68}"))
}

/// Finds the payment credential of a request, without decoding it.
///
/// Takes the values of all `Authorization` and `Payment-Authorization` fields.
/// Credentials of other schemes may stand beside it, in fields of their own or
/// in a comma list.
///
/// ```
/// use mpp_core::header::{HeaderError, credential};
///
/// assert_eq!(credential::find(["Bearer abc, Payment e30"])?, Some("e30"));
/// assert_eq!(credential::find([r#"Digest username="Payment e30""#])?, None);
/// let two = ["Payment e30", "payment e30"];
/// assert_eq!(credential::find(two), Err(HeaderError::MultipleCredentials));
/// # Ok::<(), HeaderError>(())
/// ```
///
/// # Errors
/// [`HeaderError::MultipleCredentials`] for more than one (answered with 400),
/// [`HeaderError::TooLarge`] beyond the limits, [`HeaderError::ControlCharacter`],
/// and [`HeaderError::Syntax`] for a payment credential of another form.
pub fn find<'a>(values: impl IntoIterator<Item = &'a str>) -> Result<Option<&'a str>, HeaderError> {
    let mut found = None;
    for value in values {
        for element in auth_params::parse(value)?
            .into_iter()
            .filter(Element::is_payment)
        {
            if found.replace(element.content).is_some() {
                return Err(HeaderError::MultipleCredentials);
            }
        }
    }
    match found.transpose()? {
        None => Ok(None),
        Some(Content::Token68(token68)) if token68.len() > MAX_CREDENTIAL => {
            Err(HeaderError::TooLarge)
        }
        Some(Content::Token68(token68)) => Ok(Some(token68)),
        Some(Content::Params(_)) => Err(HeaderError::Syntax),
    }
}

/// The token of a field value that holds nothing else, undecoded and unchecked.
///
/// If it decodes as plain base64url, it is what [`find`] returns for this one
/// value; if it does not, [`find`] decides.
///
/// ```
/// use mpp_core::header::credential::sole_token;
///
/// assert_eq!(sole_token("Payment e30"), Some("e30"));
/// assert_eq!(sole_token("Bearer abc, Payment e30"), None);
/// ```
#[must_use]
pub fn sole_token(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_at_checked("Payment ".len())?;
    (scheme.eq_ignore_ascii_case("Payment ") && !token.is_empty()).then_some(token)
}

/// Decodes what [`find`] has found.
///
/// # Errors
/// [`HeaderError::TooLarge`] before decoding; [`HeaderError::Base64`] or
/// [`HeaderError::Credential`] when the content is malformed.
pub fn parse(token68: &str) -> Result<Credential, HeaderError> {
    if token68.len() > MAX_CREDENTIAL {
        return Err(HeaderError::TooLarge);
    }
    Ok(Credential::from_json(&base64url::decode(token68)?)?)
}

#[cfg(test)]
mod tests;
