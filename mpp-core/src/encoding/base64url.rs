//! base64url without padding; readers also take padding and the standard alphabet.
//!
//! With `std` on x86-64 and ARM64 the work is done in vector registers, if the
//! CPU has them.

use alloc::string::String;
use alloc::vec::Vec;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Peers pad now and then; what they never may do is leave stray bits, since
/// then one value would have several texts.
const READER: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_encode_padding(false)
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(false);

const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, READER);

#[cfg(all(feature = "std", any(target_arch = "x86_64", target_arch = "aarch64")))]
fn url_safe() -> &'static impl Engine {
    use base64::engine::Simd;
    static ENGINE: std::sync::LazyLock<Simd> = std::sync::LazyLock::new(|| Simd::url_safe(READER));
    &*ENGINE
}

#[cfg(not(all(feature = "std", any(target_arch = "x86_64", target_arch = "aarch64"))))]
fn url_safe() -> &'static impl Engine {
    static ENGINE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, READER);
    &ENGINE
}

/// Encodes bytes with the URL-safe alphabet and no padding.
///
/// ```
/// assert_eq!(mpp_core::encoding::base64url::encode(&[0xfb, 0xff]), "-_8");
/// ```
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    url_safe().encode(bytes)
}

/// Appends the text of bytes to `out`.
pub fn encode_to(bytes: &[u8], out: &mut String) {
    url_safe().encode_string(bytes, out);
}

/// The text of a MAC.
pub(crate) fn encode_mac(mac: &[u8; 32]) -> [u8; 43] {
    let mut text = [0; 43];
    // 32 bytes make 43 characters, so this does not fail; if it did, the text would match no id.
    let _ = url_safe().encode_slice(mac, &mut text);
    text
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
    // A text in neither alphabet fails twice, a text in both means the same in each.
    url_safe()
        .decode(text)
        .or_else(|_| STANDARD.decode(text))
        .map_err(|_| DecodeError)
}

/// Decodes the URL-safe alphabet without padding into a buffer that only grows.
///
/// This is the form that conforming peers send. Returns the decoded part of
/// the buffer, which is what [`decode`] would return.
///
/// # Errors
/// [`DecodeError`] for every other form.
pub fn decode_plain<'b>(text: &[u8], buffer: &'b mut Vec<u8>) -> Result<&'b [u8], DecodeError> {
    if text.last() == Some(&b'=') {
        return Err(DecodeError);
    }
    let room = base64::decoded_len_estimate(text.len());
    if buffer.len() < room {
        buffer.resize(room, 0);
    }
    let length = url_safe()
        .decode_slice(text, buffer)
        .map_err(|_| DecodeError)?;
    buffer.get(..length).ok_or(DecodeError)
}

/// A text is not base64url.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not valid base64url")]
pub struct DecodeError;

#[cfg(test)]
mod tests;
