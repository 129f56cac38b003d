//! Body digests: PROTOCOL.md section 1.1.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::{BodyDigest, DigestMismatch, DigestParseError};
use crate::testing::{cases, text};

#[test]
fn published_digests_verify() {
    for case in cases("body_digests") {
        let body = text(&case, "body").as_bytes();
        let digest: BodyDigest = text(&case, "digest").parse().unwrap();
        assert_eq!(digest, BodyDigest::of(body));
        assert_eq!(digest.matches(body), Ok(()));
    }
}

// PROTOCOL.md section 1.1: `sha-256=:<base64>:`; accept the bare form that peers emit.
#[test]
fn both_forms_are_read_and_the_rfc_form_is_written() {
    let form = "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:";
    let digest: BodyDigest = form.parse().unwrap();
    assert_eq!(digest.to_string(), form);
    assert_eq!(
        "sha-256=X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=".parse(),
        Ok(digest)
    );
    assert_eq!(
        "sha-256=X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE".parse(),
        Ok(digest)
    );
    assert_eq!(
        "SHA-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:".parse(),
        Ok(digest)
    );
}

#[test]
fn other_forms_are_refused() {
    for (text, error) in [
        ("", DigestParseError::Malformed),
        ("sha-256", DigestParseError::Malformed),
        ("sha-256=", DigestParseError::Malformed),
        ("sha-256=abc123def456", DigestParseError::Malformed),
        (
            "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=",
            DigestParseError::Malformed,
        ),
        (
            "sha-256=X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:",
            DigestParseError::Malformed,
        ),
        (
            "sha-512=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:",
            DigestParseError::UnknownAlgorithm,
        ),
        ("md5=:X48E:", DigestParseError::UnknownAlgorithm),
    ] {
        assert_eq!(text.parse::<BodyDigest>(), Err(error), "{text}");
    }
}

proptest! {
    #[test]
    fn text_round_trips_and_binds_the_body(body in any::<Vec<u8>>(), at in any::<prop::sample::Index>()) {
        let digest = BodyDigest::of(&body);
        prop_assert_eq!(digest.to_string().parse(), Ok(digest));
        let bare = format!("sha-256={}", digest.to_string().trim_start_matches("sha-256=").trim_matches(':'));
        prop_assert_eq!(bare.parse(), Ok(digest));
        prop_assert_eq!(digest.matches(&body), Ok(()));
        let mut other = body.clone();
        if body.is_empty() {
            other.push(0);
        } else {
            other[at.index(body.len())] ^= 1;
        }
        prop_assert_eq!(digest.matches(&other), Err(DigestMismatch));
    }
}
