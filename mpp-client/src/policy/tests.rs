use mpp_tempo::network::PATH_USD;
use serde_json::{Value, json};

use super::*;
use crate::offer::Offer;
use crate::testing::{PAYEE, offer, offer_with, site, units};

const HTTPS: &str = "https://a.example/x";

fn policy() -> Policy {
    Policy::new(units(100_000)).or_chain(42_431)
}

#[track_caller]
fn check(policy: &Policy, change: impl FnOnce(&mut Value), expected: Result<(), PolicyViolation>) {
    let offer = offer_with(change);
    let checked = policy.check_offer(&site(HTTPS).origin, &offer, None);
    assert_eq!(checked, expected);
}

#[test]
fn the_defaults_allow_the_networks_own_terms() {
    check(&policy(), |_| (), Ok(()));
}

// SECURITY-CASES A27: another chain, token, escrow or payee.
#[test]
fn the_defaults_refuse_other_terms() {
    let other = Address::repeat_byte(9);
    check(
        &policy(),
        |r| r["methodDetails"]["chainId"] = json!(4217),
        Err(PolicyViolation::ChainNotAllowed { chain_id: 4217 }),
    );
    check(
        &policy(),
        |r| r["currency"] = json!(other),
        Err(PolicyViolation::CurrencyNotAllowed { currency: other }),
    );
    check(
        &policy(),
        |r| r["methodDetails"]["escrowContract"] = json!(other),
        Err(PolicyViolation::EscrowNotAllowed { escrow: other }),
    );
    // The reserve's address is no v1 escrow: the version is part of what is allowed.
    let reserve = mpp_tempo::network::CHANNEL_RESERVE;
    check(
        &policy(),
        |r| r["methodDetails"]["sessionProtocol"] = json!("v1"),
        Err(PolicyViolation::EscrowNotAllowed { escrow: reserve }),
    );
}

#[test]
fn lists_widen_and_narrow_what_is_allowed() {
    let other = Address::repeat_byte(9);
    check(
        &policy().allow_currency(other),
        |r| r["currency"] = json!(other),
        Ok(()),
    );
    check(
        &policy().allow_escrow(SessionProtocol::V2, other),
        |r| r["methodDetails"]["escrowContract"] = json!(other),
        Ok(()),
    );
    check(
        &policy().allow_recipient(other),
        |_| (),
        Err(PolicyViolation::RecipientNotAllowed { recipient: PAYEE }),
    );
    check(&policy().allow_recipient(PAYEE), |_| (), Ok(()));
    let mainnet = Policy::new(units(1)).allow_chain(4217).or_chain(42_431);
    check(
        &mainnet,
        |_| (),
        Err(PolicyViolation::ChainNotAllowed { chain_id: 42_431 }),
    );
}

// PROTOCOL 3: pathUSD is no default currency on mainnet.
#[test]
fn path_usd_is_allowed_on_test_networks_only() {
    let policy = Policy::new(units(100_000)).allow_chain(4217);
    check(
        &policy,
        |r| r["methodDetails"]["chainId"] = json!(4217),
        Err(PolicyViolation::CurrencyNotAllowed { currency: PATH_USD }),
    );
}

// SECURITY-CASES A27: the payee is pinned per origin.
#[test]
fn a_server_can_not_change_its_payee() {
    let origin = site(HTTPS).origin;
    let (offer, before) = (offer(), Address::repeat_byte(3));
    let changed = policy().check_offer(&origin, &offer, Some(before));
    assert_eq!(
        changed,
        Err(PolicyViolation::RecipientChanged {
            pinned: before,
            recipient: PAYEE
        })
    );
    assert_eq!(policy().check_offer(&origin, &offer, Some(PAYEE)), Ok(()));
    // A list says who is trusted, pinned or not.
    let listed = policy().allow_recipient(PAYEE);
    assert_eq!(listed.check_offer(&origin, &offer, Some(before)), Ok(()));
}

// SECURITY-CASES A19: credentials over plain http.
#[test]
fn credentials_go_over_https_or_to_this_machine() {
    let refused = Err(PolicyViolation::InsecureTransport);
    let transport = |policy: &Policy, url: &str| policy.check_transport(&site(url).origin);
    assert_eq!(transport(&policy(), "https://a.example/"), Ok(()));
    assert_eq!(transport(&policy(), "http://127.0.0.1:8080/"), Ok(()));
    assert_eq!(transport(&policy(), "http://a.example/"), refused);
    let named = policy().allow_plain_http_host("a.example");
    assert_eq!(transport(&named, "http://a.example/"), Ok(()));
    assert_eq!(transport(&named, "http://b.a.example/"), refused);
}

// SECURITY-CASES A27: huge price.
#[test]
fn the_unit_price_is_bounded() {
    let policy = policy().max_unit_price(units(999));
    check(
        &policy,
        |_| (),
        Err(PolicyViolation::PriceTooHigh {
            price: units(1_000),
            limit: units(999),
        }),
    );
    check(&policy, |r| r["amount"] = json!("999"), Ok(()));
}

// Draft-httpauth-payment-00: a description is for people, and says nothing of what is paid.
#[test]
fn a_description_is_never_trusted() {
    let policy = policy().max_unit_price(units(999));
    let mut challenge = offer_with(|r| r["description"] = json!("free"))
        .challenge()
        .clone();
    challenge.description = Some(String::from("free, 0 units"));
    let offer = Offer::read(challenge).unwrap();
    assert_eq!(
        policy.check_offer(&site(HTTPS).origin, &offer, None),
        Err(PolicyViolation::PriceTooHigh {
            price: units(1_000),
            limit: units(999),
        })
    );
    assert_eq!(offer.price(), units(1_000));
}

// PROTOCOL 5.8: deposit = max(suggestedDeposit or price, price), then min with maxDeposit.
#[test]
fn the_deposit_follows_suggestion_price_and_limit() {
    #[track_caller]
    fn check(limit: u128, suggested: Option<&str>, expected: Option<u128>) {
        let offer = offer_with(|r| r["suggestedDeposit"] = json!(suggested));
        let deposit = Policy::new(units(limit)).deposit(&offer);
        assert_eq!(deposit.ok(), expected.map(units));
    }
    check(100_000, Some("10000"), Some(10_000));
    check(100_000, Some("10"), Some(1_000));
    check(100_000, None, Some(1_000));
    check(2_000, Some("10000"), Some(2_000));
    check(1_000, Some("10000"), Some(1_000));
    check(999, Some("10000"), None);
}

// PROTOCOL 5.7: never above maxDeposit.
#[test]
fn a_refill_covers_the_need_within_the_limit() {
    #[track_caller]
    fn check(top_up: TopUpPolicy, required: u128, expected: Result<Option<u128>, ()>) {
        // A channel that was opened with 100 and holds 200, of at most 1,000.
        let policy = Policy::new(units(1_000)).top_up(top_up);
        let refill = policy.refill(units(200), units(100), units(required));
        assert_eq!(refill.map_err(drop), expected.map(|a| a.map(units)));
    }
    let auto = |amount| TopUpPolicy::Auto { amount };
    check(auto(None), 201, Ok(Some(100)));
    check(auto(None), 500, Ok(Some(300)));
    check(auto(Some(units(700))), 201, Ok(Some(700)));
    check(auto(Some(units(900))), 201, Ok(Some(800)));
    check(auto(None), 1_000, Ok(Some(800)));
    check(auto(None), 1_001, Err(()));
    check(TopUpPolicy::Never, 201, Ok(None));
}

#[test]
fn a_deliberate_deposit_is_bounded_by_policy_and_protocol() {
    let policy = Policy::new(Amount::MAX);
    let widest = SessionProtocol::V2.max_amount();
    let beyond = widest.checked_add(units(1)).unwrap();
    assert!(policy.check_deposit(widest, SessionProtocol::V2).is_ok());
    assert!(policy.check_deposit(beyond, SessionProtocol::V2).is_err());
    assert!(policy.check_deposit(beyond, SessionProtocol::V1).is_ok());
}

// SECURITY-CASES A27: endless need-voucher.
#[test]
fn vouchers_and_streams_are_bounded() {
    let policy = Policy::new(units(5_000_000));
    let step = |policy: &Policy, to| policy.check_step(units(1_000), units(500), units(to));
    assert_eq!(step(&policy, 1_000_500), Ok(()));
    assert!(step(&policy, 1_000_501).is_err());
    assert!(step(&policy.clone().max_voucher_step(units(10)), 511).is_err());
    // Lower than before is no step at all.
    assert_eq!(step(&policy, 1), Ok(()));
    assert_eq!(policy.check_stream(units(5_000_000)), Ok(()));
    assert!(policy.check_stream(units(5_000_001)).is_err());
    let narrow = policy.max_per_stream(units(9));
    assert!(narrow.check_stream(units(10)).is_err());
}

#[test]
fn what_is_locked_and_what_gas_costs_is_bounded() {
    let policy = Policy::new(units(10));
    assert_eq!(policy.check_locked(units(40)), Ok(()));
    assert!(policy.check_locked(units(41)).is_err());
    assert_eq!(policy.check_fee(100_000_000_000), Ok(()));
    assert!(policy.check_fee(100_000_000_001).is_err());
}
