//! What goes over the wire, byte for byte.

use mpp_core::{IntentName, MethodName, encoding::jcs, header::accept_payment};
use mpp_http::sse::encode;
use serde_json::Value;

use super::{cases, text, texts};

#[test]
fn canonical_json_is_that_of_rfc_8785() {
    for case in cases("core/jcs.json") {
        let value: Value = serde_json::from_str(text(&case, "json")).unwrap();
        let canonical = jcs::to_string(&value).unwrap();
        assert_eq!(canonical, text(&case, "canonical"), "{}", case["name"]);
    }
}

#[test]
fn offers_are_ranked_by_accept_payment() {
    for case in cases("core/accept_payment.json") {
        let header = text(&case, "header");
        let parsed = accept_payment::parse(header);
        if case["malformed"] == true {
            assert!(parsed.is_err(), "{header}");
            continue;
        }
        let offers = texts(&case, "offers").into_iter().map(|offer| {
            let (method, intent) = offer.split_once('/').unwrap();
            let method: MethodName = method.parse().unwrap();
            let intent: IntentName = intent.parse().unwrap();
            (method, intent)
        });
        let ranked = parsed
            .unwrap()
            .rank(offers.collect(), |offer| (&offer.0, &offer.1));
        let ranked: Vec<_> = ranked
            .iter()
            .map(|(method, intent)| format!("{method}/{intent}"))
            .collect();
        assert_eq!(ranked, texts(&case, "ranked"), "{header}");
    }
}

// SECURITY-CASES A23.
#[test]
fn texts_become_events_that_forge_nothing() {
    for case in cases("http/sse.json") {
        let wire = encode::message(text(&case, "text"));
        let wire = std::str::from_utf8(&wire).unwrap();
        assert_eq!(wire, text(&case, "wire"), "{}", case["name"]);
        let fields = wire.split(['\n', '\r']).filter(|line| !line.is_empty());
        let events = fields.filter(|line| !line.starts_with("data:"));
        assert_eq!(events.collect::<Vec<_>>(), ["event: message"]);
    }
}
