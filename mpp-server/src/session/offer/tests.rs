//! What an offer says on the wire, and what can not be offered.

use mpp_tempo::Signer;
use serde_json::{Value, json};

use super::*;
use crate::testing::World;

#[track_caller]
fn misuse(offer: SessionOffer) -> Misuse {
    offer.build().unwrap_err()
}

fn request(offer: &Offer) -> Value {
    offer.request().decode_value().unwrap()
}

// PROTOCOL 5.1.
#[tokio::test]
async fn the_request_says_what_is_sold() {
    let world = World::new();
    let offer = world
        .server
        .session()
        .amount("0.001")
        .unit_type("word")
        .suggested_deposit("1")
        .min_voucher_delta("0.0001")
        .description("a poem")
        .fee_payer()
        .build()
        .unwrap();
    let payee = world.payee().to_string().to_lowercase();
    let expected = json!({
        "amount": "1000",
        "currency": "0x20c0000000000000000000000000000000000000",
        "recipient": payee,
        "unitType": "word",
        "suggestedDeposit": "1000000",
        "methodDetails": {
            "escrowContract": "0x4d50500000000000000000000000000000000000",
            "chainId": 42431,
            "sessionProtocol": "v2",
            "minVoucherDelta": "100",
            "feePayer": true,
        },
    });
    assert_eq!(request(&offer), expected);
    assert_eq!(offer.description(), Some("a poem"));
}

// PROTOCOL 5.1: servers emit both the field and the matching escrow.
#[tokio::test]
async fn each_protocol_names_its_escrow() {
    let world = World::new();
    for (protocol, name, escrow) in [
        (
            SessionProtocol::V1,
            "v1",
            "0xe1c4d3dce17bc111181ddf716f75bae49e61a336",
        ),
        (
            SessionProtocol::V2,
            "v2",
            "0x4d50500000000000000000000000000000000000",
        ),
    ] {
        let offer = world.offer(protocol).build().unwrap();
        let details = request(&offer)["methodDetails"].clone();
        assert_eq!(details["sessionProtocol"], name);
        assert_eq!(details["escrowContract"], escrow);
    }
}

// Issue: exact money: 0.000025 is 25 base units; "0.0000004" with 6 decimals is refused.
#[tokio::test]
async fn prices_convert_exactly_or_not_at_all() {
    let world = World::new();
    let price = |text: &str| world.server.session().amount(text);
    let offer = price("0.000025").build().unwrap();
    assert_eq!(request(&offer)["amount"], "25");
    for bad in ["0.0000004", "0", "0.000000", "-1", "1e3", "", "1,5", " 1"] {
        assert!(matches!(
            misuse(price(bad)),
            Misuse::Amount {
                parameter: "amount",
                ..
            }
        ));
    }
    let two_decimals = price("0.01").decimals(2).build().unwrap();
    assert_eq!(request(&two_decimals)["amount"], "1");
    assert!(matches!(
        misuse(price("0.001").decimals(2)),
        Misuse::Amount { .. }
    ));
    // SECURITY-CASES A32: bounded by the protocol version.
    let beyond_uint96 = "79228162514264337593543950336";
    assert!(matches!(
        misuse(price(beyond_uint96).decimals(0)),
        Misuse::Amount { .. }
    ));
    let v1 = price(beyond_uint96).decimals(0);
    assert!(v1.protocol(SessionProtocol::V1).build().is_ok());
}

#[tokio::test]
async fn every_other_misuse_is_named() {
    let world = World::new();
    let offer = || world.offer(SessionProtocol::V2);
    assert!(matches!(
        misuse(world.server.session()),
        Misuse::Missing("amount")
    ));
    let parameters = [
        (offer().min_voucher_delta("0.0000001"), "min_voucher_delta"),
        (offer().suggested_deposit("one"), "suggested_deposit"),
    ];
    for (offer, expected) in parameters {
        assert!(matches!(
            misuse(offer),
            Misuse::Amount { parameter, .. } if parameter == expected
        ));
    }
    let invalid = |offer| assert!(matches!(misuse(offer), Misuse::Invalid(_)));
    invalid(offer().suggested_deposit("0.0009"));
    invalid(
        offer()
            .protocol(SessionProtocol::V1)
            .operator(world.payee()),
    );
    // Somebody else's channels, which this server could never settle.
    let stranger = world.stranger.address();
    invalid(offer().recipient(stranger));
    invalid(offer().recipient(stranger).operator(stranger));
    let settling = offer().recipient(stranger).operator(world.payee());
    assert!(settling.build().is_ok());
}
