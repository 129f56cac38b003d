//! Names are validated at the only way in.

use super::{ChallengeId, IdError, IntentName, MethodName, Realm};

// PROTOCOL.md section 1: `method` is [a-z]+.
#[test]
fn method_names_are_lower_case_letters() {
    assert_eq!(MethodName::new("tempo"), Ok(MethodName::tempo()));
    for text in ["", "Tempo", "tempo2", "tem-po", "t\u{e9}mpo", " tempo"] {
        assert_eq!(MethodName::new(text), Err(IdError::Method), "{text}");
    }
}

// PROTOCOL.md section 1: `intent` is [A-Za-z0-9-]+.
#[test]
fn intent_names_are_letters_digits_and_hyphens() {
    assert_eq!(IntentName::new("charge"), Ok(IntentName::charge()));
    assert_eq!(IntentName::new("session"), Ok(IntentName::session()));
    assert_eq!(IntentName::new("Charge-v2").unwrap().as_str(), "Charge-v2");
    for text in ["", "char ge", "charge_v2", "charge/", "*"] {
        assert_eq!(IntentName::new(text), Err(IdError::Intent), "{text}");
    }
}

// PROTOCOL.md section 1: `id` non-empty, CR and LF nowhere.
#[test]
fn challenge_ids_are_not_empty_and_have_no_control_characters() {
    assert_eq!(
        ChallengeId::new("a b\"|\u{2615}").unwrap().as_str(),
        "a b\"|\u{2615}"
    );
    for text in ["", "a\rb", "a\nb", "\0", "\u{85}"] {
        assert_eq!(
            ChallengeId::new(text),
            Err(IdError::ChallengeId),
            "{text:?}"
        );
    }
}

#[test]
fn realms_can_not_hold_the_separator_of_the_mac() {
    assert_eq!(
        Realm::new("127.0.0.1:18600").unwrap().as_str(),
        "127.0.0.1:18600"
    );
    for text in ["", "a|b", "a\r\nb"] {
        assert_eq!(Realm::new(text), Err(IdError::Realm), "{text:?}");
    }
}

#[test]
fn serde_validates() {
    assert_eq!(
        serde_json::from_str::<MethodName>("\"tempo\"").unwrap(),
        MethodName::tempo()
    );
    assert_eq!(
        serde_json::to_string(&MethodName::tempo()).unwrap(),
        "\"tempo\""
    );
    for text in ["\"Tempo\"", "\"\"", "1", "null"] {
        assert!(serde_json::from_str::<MethodName>(text).is_err(), "{text}");
    }
}
