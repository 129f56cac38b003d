//! base64url without padding; readers also take padding and the standard alphabet.

use alloc::string::String;
use alloc::vec::Vec;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Peers pad now and then; what they never may do is leave stray bits, since
/// then one value would have several texts.
const READER: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_encode_padding(false)
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(false);

const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, READER);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, READER);

/// Encodes bytes with the URL-safe alphabet and no padding.
///
/// ```
/// assert_eq!(mpp_core::encoding::base64url::encode(&[0xfb, 0xff]), "-_8");
/// ```
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    URL_SAFE.encode(bytes)
}

/// Decodes either alphabet, padded or not.
///
/// ```
/// use mpp_core::encoding::base64url::decode;
///
/// assert_eq!(decode("-_8")?, [0xfb, 0xff]);
/// assert_eq!(decode("+/8=")?, [0xfb, 0xff]);
/// # Ok::<(), mpp_core::encoding::base64url::DecodeError>(())
/// ```
///
/// # Errors
/// [`DecodeError`] for other characters, a mixture of both alphabets, an
/// impossible length, wrong padding, or stray bits in the last character.
pub fn decode(text: &str) -> Result<Vec<u8>, DecodeError> {
    // The engine takes any number of `=`; padding fills a group of four or is absent.
    if text.ends_with('=') && !text.len().is_multiple_of(4) {
        return Err(DecodeError);
    }
    let engine = if text.bytes().any(|byte| matches!(byte, b'+' | b'/')) {
        &STANDARD
    } else {
        &URL_SAFE
    };
    engine.decode(text).map_err(|_| DecodeError)
}

/// A text is not base64url.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not valid base64url")]
pub struct DecodeError;

#[cfg(test)]
mod tests;
