//! Vouchers and transactions: which are good, and which are not.

use alloy_primitives::{B256, hex};
use mpp_core::{Amount, Timestamp};
use mpp_tempo::SessionProtocol;
use mpp_tempo::{
    ChannelTerms, SignedVoucher, Voucher, VoucherSignature, VoucherVerifier,
    network::CHANNEL_RESERVE,
    tx::{SignedTx, SponsorPolicy, check},
};
use serde_json::Value;

use super::{cases, load, text};

/// What becomes of a voucher.
fn verdict(case: &Value) -> &'static str {
    let terms: ChannelTerms = serde_json::from_value(case["terms"].clone()).unwrap();
    let id: B256 = text(case, "channelId").parse().unwrap();
    assert_eq!(terms.id(), id, "{}", case["name"]);
    let cumulative: Amount = text(case, "cumulativeAmount").parse().unwrap();
    let verifier = VoucherVerifier::new(&terms);
    let digest: B256 = text(case, "digest").parse().unwrap();
    assert_eq!(verifier.digest(cumulative), digest, "{}", case["name"]);
    let Ok(signature) = VoucherSignature::from_hex(text(case, "signature")) else {
        return "malformed";
    };
    let voucher = Voucher {
        channel_id: id,
        cumulative,
    };
    match verifier.verify(&SignedVoucher { voucher, signature }) {
        Ok(_) => "accepted",
        Err(_) => "refused",
    }
}

#[track_caller]
fn check_all(cases: Vec<Value>) {
    for case in cases {
        assert_eq!(verdict(&case), text(&case, "verdict"), "{}", case["name"]);
    }
}

#[test]
fn every_form_of_a_signature_verifies() {
    check_all(cases("tempo/vouchers.json"));
}

// SECURITY-CASES A9.
#[test]
fn mangled_signatures_do_not_verify() {
    check_all(cases("security/a09-signatures.json"));
}

// SECURITY-CASES A10.
#[test]
fn a_voucher_is_good_on_its_own_channel_only() {
    check_all(cases("security/a10-domains.json"));
}

// SECURITY-CASES A11.
#[test]
fn nobody_else_signs_for_a_channel() {
    check_all(cases("security/a11-identities.json"));
}

// SECURITY-CASES A15.
#[test]
fn a_sponsor_pays_for_nothing_that_is_smuggled() {
    let now = load("security/a15-sponsored.json")["now"].as_i64().unwrap();
    let policy = SponsorPolicy::default();
    for case in cases("security/a15-sponsored.json") {
        let raw = hex::decode(text(&case, "transaction")).unwrap();
        let Ok(transaction) = SignedTx::decode(&raw) else {
            assert_eq!("malformed", text(&case, "verdict"), "{}", case["name"]);
            continue;
        };
        let within = policy
            .check(&transaction, Timestamp::from_secs(now))
            .is_ok();
        let opened = check::open(&transaction, SessionProtocol::V2, CHANNEL_RESERVE, 42_431);
        let verdict = match (within, opened) {
            (false, _) => "policy",
            (true, Err(_)) => "calls",
            (true, Ok(_)) => "paid",
        };
        assert_eq!(verdict, text(&case, "verdict"), "{}", case["name"]);
    }
}
