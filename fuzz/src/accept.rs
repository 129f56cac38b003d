//! `Accept-Payment`, what MCP peers say instead of it, and `Idempotency-Key`.

use mpp_core::header::accept_payment::{self, AcceptPayment, Weight};
use mpp_core::header::idempotency_key::{IdempotencyKey, MAX_KEY};
use mpp_core::header::limits::MAX_RANGES;
use mpp_core::{IntentName, MethodName};
use mpp_mcp::Capability;

/// Checks one header value.
pub fn check(data: &[u8]) {
    let Some((choice, rest)) = crate::choice(data) else {
        return;
    };
    let Ok(text) = std::str::from_utf8(rest) else {
        return;
    };
    match choice % 2 {
        0 => preferences(text),
        _ => key(text),
    }
}

fn preferences(text: &str) {
    let Ok(accept) = accept_payment::parse(text) else {
        return;
    };
    let written = accept_payment::encode(&accept);
    assert!(written.matches(',').count() < MAX_RANGES);
    assert_eq!(accept_payment::parse(&written).as_ref(), Ok(&accept));
    rank(&accept);
    // What an MCP peer says of itself is Accept-Payment without ranges.
    let capability = Capability::of_accept_payment(text);
    if let Some(said) = capability.accept_payment() {
        assert!(accept_payment::parse(&said).is_ok());
        assert_eq!(Capability::of_accept_payment(&said), capability);
    }
}

/// Ranking leaves out what is not accepted, and nothing else.
fn rank(accept: &AcceptPayment) {
    let methods = ["tempo", "card"].map(|name| MethodName::new(name).unwrap());
    let intents = [IntentName::session(), IntentName::charge()];
    let offers: Vec<_> = methods
        .iter()
        .flat_map(|method| intents.iter().map(move |intent| (method, intent)))
        .collect();
    let ranked = accept.rank(offers.clone(), |offer| *offer);
    let weight = |(method, intent): &(&MethodName, &IntentName)| accept.weight(method, intent);
    let accepted: Vec<_> = offers
        .iter()
        .filter(|offer| weight(offer) > Weight::ZERO)
        .collect();
    if accepted.is_empty() {
        assert_eq!(ranked, offers);
    } else {
        assert_eq!(ranked.len(), accepted.len());
        assert!(accepted.iter().all(|offer| ranked.contains(offer)));
        assert!(ranked.is_sorted_by_key(|offer| std::cmp::Reverse(weight(offer))));
    }
}

fn key(text: &str) {
    if let Ok(key) = IdempotencyKey::parse(text) {
        assert!((1..=MAX_KEY).contains(&key.as_str().len()));
        assert_eq!(IdempotencyKey::parse(&key.encode()).as_ref(), Ok(&key));
        assert_eq!(IdempotencyKey::from_text(key.as_str()).as_ref(), Ok(&key));
    }
    if let Ok(key) = IdempotencyKey::from_text(text) {
        assert_eq!(key.as_str(), text);
        assert_eq!(IdempotencyKey::parse(&key.encode()), Ok(key));
    }
}
