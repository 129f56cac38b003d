//! Short texts: amounts, times, digests, names, signatures.

use mpp_core::{Amount, BodyDigest, ChallengeId, DidPkh, IntentName, MethodName, Realm, Timestamp};
use mpp_tempo::VoucherSignature;
use serde_json::Value;

/// Checks one short text.
pub fn check(data: &[u8]) {
    let Some((choice, rest)) = crate::choice(data) else {
        return;
    };
    if choice % 8 == 7 {
        return signature(rest);
    }
    let Ok(text) = std::str::from_utf8(rest) else {
        return;
    };
    match choice % 8 {
        0 => amount(text),
        1 => price(text),
        2 => time(text),
        3 => digest(text),
        4 => source(text),
        5 => names(text),
        _ => {
            if let Ok(signature) = VoucherSignature::from_hex(text) {
                let again = VoucherSignature::from_hex(&signature.to_hex());
                assert_eq!(again.as_ref(), Ok(&signature));
            }
        }
    }
}

fn amount(text: &str) {
    if let Ok(amount) = text.parse::<Amount>() {
        // One amount has one text, and JSON agrees with it.
        assert_eq!(amount.to_string(), text);
        assert_eq!(Amount::from_decimal(text, 0), Ok(amount));
    }
    let json = serde_json::from_value::<Amount>(Value::from(text));
    assert_eq!(json.ok(), text.parse().ok());
}

fn price(text: &str) {
    let Some((decimals, text)) = text.split_once('|') else {
        return;
    };
    let Ok(decimals) = decimals.parse::<u8>() else {
        return;
    };
    let Ok(amount) = Amount::from_decimal(text, decimals) else {
        return;
    };
    let written = amount.to_decimal(decimals);
    assert_eq!(Amount::from_decimal(&written, decimals), Ok(amount));
    // Nothing is rounded: only zeros at the end are gone.
    let exact = match text.split_once('.') {
        Some((whole, fraction)) => match fraction.trim_end_matches('0') {
            "" => whole.to_owned(),
            fraction => format!("{whole}.{fraction}"),
        },
        None => text.to_owned(),
    };
    assert_eq!(written, exact);
}

fn time(text: &str) {
    let Ok(time) = Timestamp::parse(text) else {
        return;
    };
    assert!((Timestamp::MIN..=Timestamp::MAX).contains(&time));
    assert_eq!(Timestamp::from_millis(time.as_millis()), time);
    assert_eq!(Timestamp::parse(&time.to_string()), Ok(time));
}

fn digest(text: &str) {
    if let Ok(digest) = text.parse::<BodyDigest>() {
        assert_eq!(digest.to_string().parse(), Ok(digest));
    }
    let digest = BodyDigest::of(text.as_bytes());
    assert_eq!(digest.matches(text.as_bytes()), Ok(()));
    assert!(digest.matches(format!("{text} ").as_bytes()).is_err());
    assert_eq!(digest.to_string().parse(), Ok(digest));
}

fn source(text: &str) {
    if let Ok(source) = text.parse::<DidPkh>() {
        assert_eq!(source.to_string().parse(), Ok(source));
        assert_eq!(source.to_string(), text.to_ascii_lowercase());
    }
}

fn names(text: &str) {
    if let Ok(method) = MethodName::new(text) {
        assert!(method.as_str() == text && text.bytes().all(|byte| byte.is_ascii_lowercase()));
    }
    if let Ok(intent) = IntentName::new(text) {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        assert!(intent.as_str() == text && text.bytes().all(is_name));
    }
    // Both are slots of the MAC, which `|` separates.
    if let Ok(realm) = Realm::new(text) {
        assert!(realm.as_str() == text && !text.contains('|'));
    }
    if let Ok(id) = ChallengeId::new(text) {
        assert!(id.as_str() == text && !text.is_empty());
    }
}

fn signature(bytes: &[u8]) {
    let Ok(signature) = VoucherSignature::parse(bytes) else {
        return;
    };
    let written = signature.to_bytes();
    assert_eq!(VoucherSignature::parse(&written).as_ref(), Ok(&signature));
    assert_eq!(
        VoucherSignature::from_hex(&signature.to_hex()).as_ref(),
        Ok(&signature)
    );
    // Whatever it is, recovering from it answers.
    let digest = alloy_primitives::keccak256(bytes);
    let _ = signature.recover(&digest);
}
