//! Secrets: security case A22.

use alloc::format;
use alloc::vec::Vec;

use super::{SecretKey, SecretKeyError};

// PROTOCOL.md section 1.1: secret at least 32 bytes, refuse to start otherwise.
#[test]
fn short_secrets_are_refused() {
    let bytes: Vec<u8> = (1..=33).collect();
    for length in 0..32 {
        let refused = SecretKey::from_bytes(&bytes[..length]).unwrap_err();
        assert_eq!(refused, SecretKeyError::TooShort, "{length}");
    }
    assert!(SecretKey::from_bytes(&bytes[..32]).is_ok());
    assert!(SecretKey::from_bytes(&bytes).is_ok());
}

#[test]
fn known_defaults_are_refused() {
    let defaults: [&[u8]; 5] = [
        &[0; 32],
        &[b'x'; 64],
        b"changemechangemechangemechangeme",
        b"YOUR-SECRET-KEY-of-at-least-32-bytes",
        b"please-CHANGE_ME-before-you-deploy!!",
    ];
    for bytes in defaults {
        assert_eq!(
            SecretKey::from_bytes(bytes).unwrap_err(),
            SecretKeyError::WellKnown
        );
    }
}

// Security case A20: no secret in Debug.
#[test]
fn debug_is_redacted() {
    let bytes = b"4t7w!z%C*F-JaNdRgUkXp2s5v8x/A?D(";
    assert_eq!(
        format!("{:?}", SecretKey::from_bytes(bytes).unwrap()),
        "SecretKey(..)"
    );
}

#[cfg(feature = "std")]
#[test]
fn environment_holds_the_secret_or_the_server_does_not_start() {
    let absent = SecretKey::from_env("MPP_TEST_NO_SUCH_VARIABLE").unwrap_err();
    assert_eq!(absent, SecretKeyError::Absent);
    // Cargo sets this one for every test; it is far shorter than a secret.
    let short = SecretKey::from_env("CARGO_PKG_NAME").unwrap_err();
    assert_eq!(short, SecretKeyError::TooShort);
}
