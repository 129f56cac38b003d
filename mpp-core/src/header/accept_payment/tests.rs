//! Negotiation: draft-httpauth-payment-00, Client Payment Preferences.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use proptest::option;
use proptest::prelude::*;

use super::{AcceptPayment, Weight, encode, parse};
use crate::header::HeaderError;
use crate::header::limits::MAX_RANGES;
use crate::testing;
use crate::{IntentName, MethodName};

type Offer = (MethodName, IntentName);

fn offers(text: &str) -> Vec<Offer> {
    let offers = text.split(' ').map(|offer| {
        let (method, intent) = offer.split_once('/').unwrap();
        (method.parse().unwrap(), intent.parse().unwrap())
    });
    offers.collect()
}

#[track_caller]
fn check(header: &str, offered: &str, expected: &str) {
    let ranked = parse(header)
        .unwrap()
        .rank(offers(offered), |(method, intent)| (method, intent));
    assert_eq!(ranked, offers(expected), "{header}");
}

// The examples of the draft, and its rules one by one.
#[test]
fn offers_are_filtered_and_ordered() {
    let all = "stripe/charge solana/charge tempo/charge tempo/session";
    check(
        "tempo/charge, tempo/session, stripe/charge;q=0.5, solana/charge;q=0.3",
        all,
        "tempo/charge tempo/session stripe/charge solana/charge",
    );
    check(
        "tempo/*, solana/*;q=0.6, stripe/charge;q=0.2",
        all,
        "tempo/charge tempo/session solana/charge stripe/charge",
    );
    check(
        "tempo/charge, tempo/session;q=0, solana/charge;q=0.8, stripe/charge;q=0.4",
        all,
        "tempo/charge solana/charge stripe/charge",
    );
    // Equal weights keep the server's order.
    check(
        "tempo/charge, solana/charge",
        all,
        "solana/charge tempo/charge",
    );
}

#[test]
fn most_specific_range_wins() {
    let all = "tempo/charge tempo/session stripe/session stripe/charge";
    check(
        "*/*;q=0.1, tempo/session, */session;q=0.5",
        all,
        "tempo/session stripe/session tempo/charge stripe/charge",
    );
    check(
        "tempo/*;q=0.2, */session;q=0.9, */*;q=0.5",
        all,
        "stripe/session stripe/charge tempo/charge tempo/session",
    );
    check("tempo/charge;q=0, tempo/*", all, "tempo/session");
    check("*/*, tempo/*;q=0", all, "stripe/session stripe/charge");
}

#[test]
fn preferences_that_match_nothing_are_ignored() {
    let all = "tempo/session tempo/charge";
    check("stripe/charge", all, all);
    check("*/*;q=0", all, all);
    check("", all, all);
}

#[test]
fn grammar_is_lenient_in_blanks_and_strict_in_the_rest() {
    for (value, canonical) in [
        ("tempo/charge", "tempo/charge"),
        (
            " ,tempo/charge ; q=0.50,, */*;Q=1.000 ,",
            "tempo/charge;q=0.5, */*",
        ),
        ("*/session;q=0", "*/session;q=0"),
        (
            "tempo/*;q=0.001,\ttempo/charge;q=1.",
            "tempo/*;q=0.001, tempo/charge",
        ),
    ] {
        assert_eq!(encode(&parse(value).unwrap()), canonical, "{value}");
    }
    for value in [
        "tempo",
        "tempo/",
        "/charge",
        "Tempo/charge",
        "tempo/charge/x",
        "tempo /charge",
        "tempo/charge;q=1.1",
        "tempo/charge;q=2",
        "tempo/charge;q=0.1234",
        "tempo/charge;q=0.0001",
        "tempo/charge;q=-0.1",
        "tempo/charge;q=.5",
        "tempo/charge;q=",
        "tempo/charge;q",
        "tempo/charge;level=1",
        "tempo/charge;q=0.5;q=0.6",
        "tempo/charge tempo/session",
        "tempo/ch\u{e9}",
        "tempo/charge\r\n",
    ] {
        assert_eq!(parse(value), Err(HeaderError::Syntax), "{value}");
    }
}

#[test]
fn count_is_bounded() {
    assert!(parse(&vec!["*/*"; MAX_RANGES].join(",")).is_ok());
    let many = vec!["*/*"; MAX_RANGES + 1].join(",");
    assert_eq!(parse(&many), Err(HeaderError::TooManyEntries));
    assert_eq!(Weight::from_thousandths(1_001), None);
    assert!(AcceptPayment::new().is_empty());
}

fn preferences() -> impl Strategy<Value = AcceptPayment> {
    let weight = (0_u16..=1_000).prop_map(|weight| Weight::from_thousandths(weight).unwrap());
    let range = (
        option::of(testing::method()),
        option::of(testing::intent()),
        weight,
    );
    prop::collection::vec(range, 0..6).prop_map(|ranges| {
        let start = AcceptPayment::new();
        ranges
            .into_iter()
            .fold(start, |accept, (method, intent, weight)| {
                accept.accept(method, intent, weight)
            })
    })
}

proptest! {
    #[test]
    fn headers_round_trip(accept in preferences()) {
        prop_assert_eq!(parse(&encode(&accept)), Ok(accept));
    }

    #[test]
    fn ranking_never_invents_or_empties(accept in preferences(), methods in prop::collection::vec(testing::method(), 1..5)) {
        let offered: Vec<Offer> = methods.into_iter().map(|method| (method, IntentName::charge())).collect();
        let ranked = accept.rank(offered.clone(), |(method, intent)| (method, intent));
        prop_assert!(!ranked.is_empty());
        prop_assert!(ranked.iter().all(|offer| offered.contains(offer)));
    }

    #[test]
    fn no_text_panics(text in any::<String>(), close in "[a-z*/;q=0-9., ]{0,30}") {
        let _ = parse(&text);
        if let Ok(accept) = parse(&close) {
            prop_assert_eq!(parse(&encode(&accept)), Ok(accept));
        }
    }
}
