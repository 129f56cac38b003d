use mpp_core::problem::ProblemKind;
use serde_json::json;

use super::*;
use crate::testing::World;

fn refused(configure: impl FnOnce(ChargeOffer) -> ChargeOffer) -> String {
    let world = World::new();
    configure(world.server.charge())
        .build()
        .unwrap_err()
        .to_string()
}

#[tokio::test]
async fn offers_that_do_not_hold_together_are_misuse() {
    let other = Address::repeat_byte(1);
    let check = |configure: fn(ChargeOffer) -> ChargeOffer, expected: &str| {
        let message = refused(configure);
        assert!(message.contains(expected), "{message}");
    };
    check(|offer| offer, "`amount` is required");
    // A human price is never rounded.
    check(|offer| offer.amount("0.0000004"), "decimal places");
    check(|offer| offer.amount("1").modes([]), "`modes` is empty");
    let zero: fn(ChargeOffer) -> ChargeOffer = |offer| offer.amount("0").sponsored();
    check(zero, "a charge of zero");
    let pushed: fn(ChargeOffer) -> ChargeOffer =
        |offer| offer.amount("1").memo(B256::ZERO).modes([ChargeMode::Push]);
    check(pushed, "pulled only");
    assert!(refused(|offer| offer.amount("1").split(other, "1")).contains("not below"));
    assert!(refused(|offer| offer.amount("1").split(other, "0")).contains("zero"));
    let eleven = |offer: ChargeOffer| {
        let offer = offer.amount("1");
        (0..11).fold(offer, |offer, _| offer.split(other, "0.01"))
    };
    assert!(refused(eleven).contains("11 splits"));
}

// Draft-httpauth-payment-00, Size Considerations: below 8 KB, even with everything in it.
#[tokio::test]
async fn the_largest_challenge_is_below_8_kb() {
    let world = World::new();
    let offer = (1..=10).fold(world.server.charge().amount("1"), |offer, number| {
        offer.split_with_memo(
            Address::repeat_byte(number),
            "0.01",
            B256::repeat_byte(number),
        )
    });
    let offer = offer
        .external_id("e".repeat(64))
        .description("d".repeat(256));
    let route = crate::testing::route("/photo", offer.build().unwrap());
    let header = mpp_core::header::challenge::encode(&world.challenge(&route).await);
    assert!(header.len() < 8 * 1024, "{} bytes", header.len());
}

// PROTOCOL 4: the request.
#[tokio::test]
async fn the_request_says_what_is_to_be_paid() {
    let world = World::new();
    let offer = world
        .server
        .charge()
        .amount("0.01")
        .external_id("order-1")
        .description("a photo")
        .split(Address::repeat_byte(1), "0.004")
        .sponsored()
        .build()
        .unwrap();
    let request: serde_json::Value = offer.request().decode().unwrap();
    let expected = json!({
        "amount": "10000",
        "currency": "0x20c0000000000000000000000000000000000000",
        "recipient": format!("{:#x}", world.payee()),
        "externalId": "order-1",
        "methodDetails": {
            "chainId": 42431,
            "feePayer": true,
            "splits": [{"amount": "4000", "recipient": Address::repeat_byte(1)}],
        },
    });
    assert_eq!(request, expected);
    assert_eq!(offer.description(), Some("a photo"));
    let route = crate::testing::route("/photo", offer);
    let challenge = world.challenge(&route).await;
    let again = world.challenge(&route).await;
    assert_ne!(challenge.id, again.id, "{:?}", ProblemKind::PaymentRequired);
}

// Draft-tempo-charge-00, Submission Modes: a server that takes one of them says so.
#[tokio::test]
async fn modes_are_named_where_one_is_missing() {
    let world = World::new();
    let modes = |configure: fn(ChargeOffer) -> ChargeOffer| {
        let offer = configure(world.server.charge().amount("1"))
            .build()
            .unwrap();
        let request: serde_json::Value = offer.request().decode().unwrap();
        request["methodDetails"]["supportedModes"].clone()
    };
    assert_eq!(modes(|offer| offer), json!(null));
    let pull = json!(["pull"]);
    assert_eq!(modes(|offer| offer.modes([ChargeMode::Pull])), pull);
    assert_eq!(modes(|offer| offer.memo(B256::repeat_byte(1))), pull);
    let push = json!(["push"]);
    assert_eq!(modes(|offer| offer.modes([ChargeMode::Push])), push);
    // Where the server pays the fees, the client knows that only pull is left.
    assert_eq!(modes(ChargeOffer::sponsored), json!(null));
}
