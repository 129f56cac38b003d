//! `WWW-Authenticate`: challenges.
//!
//! ```abnf
//! challenge  = "Payment" 1*SP auth-param *( OWS "," OWS auth-param )
//! auth-param = token BWS "=" BWS ( token / quoted-string )
//! ```

use alloc::string::String;
use alloc::vec::Vec;

use super::HeaderError;
use super::auth_params::{self, Content, Element};
use crate::challenge::{Challenge, CredentialHeader, EncodedJson, EncodedJsonError};

/// Writes a challenge as one header value.
///
/// The parameters stand in the order of PROTOCOL.md section 1, all quoted. The
/// result is visible ASCII whatever the challenge holds: characters beyond
/// ASCII become `\uXXXX`, control characters in the free texts become blanks.
#[must_use]
pub fn encode(challenge: &Challenge) -> String {
    let mut out = String::from("Payment ");
    write_param(&mut out, "id", challenge.id.as_str());
    let params = [
        ("realm", Some(challenge.realm.as_str())),
        ("method", Some(challenge.method.as_str())),
        ("intent", Some(challenge.intent.as_str())),
        ("request", Some(challenge.request.as_str())),
        ("description", challenge.description.as_deref()),
        ("digest", challenge.digest.as_deref()),
        ("expires", challenge.expires.as_deref()),
        ("opaque", challenge.opaque.as_ref().map(EncodedJson::as_str)),
        ("header", challenge.header.map(CredentialHeader::as_str)),
    ];
    write_params(&mut out, params);
    out
}

/// Appends the parameters that there are, each behind a comma.
pub(crate) fn write_params<'a>(
    out: &mut String,
    params: impl IntoIterator<Item = (&'static str, Option<&'a str>)>,
) {
    for (name, value) in params {
        if let Some(value) = value {
            out.push_str(", ");
            write_param(out, name, value);
        }
    }
}

/// Reads all payment challenges of an answer.
///
/// Takes the values of all `WWW-Authenticate` fields; each may hold several
/// challenges, between challenges of other schemes, which are skipped. A
/// challenge that breaks a rule is an error in its place and spoils no other.
///
/// ```
/// use mpp_core::header::challenge::parse_all;
///
/// let values = [
///     r#"Bearer realm="a, Payment id=1", Payment id="x", realm="r", method="tempo", intent="charge", request="e30""#,
///     r#"payment ID = y, realm=r, method=tempo, intent=session, request=e30"#,
/// ];
/// let found = parse_all(values);
/// assert_eq!(found.len(), 2);
/// assert_eq!(found[1].as_ref().unwrap().id.as_str(), "y");
/// ```
#[must_use]
pub fn parse_all<'a>(
    values: impl IntoIterator<Item = &'a str>,
) -> Vec<Result<Challenge, HeaderError>> {
    let mut challenges = Vec::new();
    for value in values {
        match auth_params::parse(value) {
            Ok(elements) => {
                let payments = elements.into_iter().filter(Element::is_payment);
                challenges.extend(payments.map(from_element));
            }
            Err(error) => challenges.push(Err(error)),
        }
    }
    challenges
}

fn from_element(element: Element<'_>) -> Result<Challenge, HeaderError> {
    let Content::Params(mut params) = element.content? else {
        return Err(HeaderError::Syntax);
    };
    let mut take = |wanted: &str| {
        let index = params
            .iter()
            .position(|(name, _)| name.eq_ignore_ascii_case(wanted))?;
        Some(params.swap_remove(index).1)
    };
    let mut require = |name| take(name).ok_or(HeaderError::MissingParameter(name));
    let id = require("id")?
        .parse()
        .map_err(|_| HeaderError::InvalidParameter("id"))?;
    let realm = require("realm")?
        .parse()
        .map_err(|_| HeaderError::InvalidParameter("realm"))?;
    let method = require("method")?
        .parse()
        .map_err(|_| HeaderError::InvalidParameter("method"))?;
    let intent = require("intent")?
        .parse()
        .map_err(|_| HeaderError::InvalidParameter("intent"))?;
    let request = encoded_json("request", require("request")?)?;
    let opaque = take("opaque")
        .map(|text| encoded_json("opaque", text))
        .transpose()?;
    let header = match take("header") {
        Some(name) => credential_header(&name)?,
        None => None,
    };
    Ok(Challenge {
        id,
        realm,
        method,
        intent,
        request,
        expires: take("expires"),
        digest: take("digest"),
        description: take("description"),
        opaque,
        header,
    })
}

fn encoded_json(name: &'static str, text: String) -> Result<EncodedJson, HeaderError> {
    EncodedJson::from_wire(text).map_err(|error| match error {
        EncodedJsonError::TooLarge => HeaderError::TooLarge,
        _ => HeaderError::InvalidParameter(name),
    })
}

/// Reads the parameter `header`; a field we do not know could not be answered.
fn credential_header(name: &str) -> Result<Option<CredentialHeader>, HeaderError> {
    let special = CredentialHeader::PaymentAuthorization;
    if name.eq_ignore_ascii_case(special.as_str()) {
        Ok(Some(special))
    } else if name.eq_ignore_ascii_case(super::names::AUTHORIZATION) {
        Ok(None)
    } else {
        Err(HeaderError::InvalidParameter("header"))
    }
}

fn write_param(out: &mut String, name: &str, value: &str) {
    out.push_str(name);
    out.push_str("=\"");
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
    if value.bytes().all(is_plain) {
        out.push_str(value);
    } else {
        value
            .chars()
            .for_each(|character| write_quoted_char(out, character));
    }
    out.push('"');
}

fn write_quoted_char(out: &mut String, character: char) {
    match character {
        '"' | '\\' => out.extend(['\\', character]),
        ' '..='~' => out.push(character),
        control if control.is_control() => out.push(' '),
        other => {
            for unit in other.encode_utf16(&mut [0; 2]) {
                out.push_str(&alloc::format!("\\u{unit:04x}"));
            }
        }
    }
}

#[cfg(test)]
mod tests;
