//! Case A15: what a sponsor pays for, and each limit at its edge.

use core::num::NonZeroU64;

use alloy_eips::eip2930::{AccessList, AccessListItem};

use super::*;

fn judged_at(now: i64, change: impl FnOnce(&mut TempoTransaction)) -> Result<(), PolicyViolation> {
    let tx = altered_open(&sponsored(), SessionProtocol::V2, change);
    SponsorPolicy::default().check(&tx, Timestamp::from_secs(now))
}

fn judged(change: impl FnOnce(&mut TempoTransaction)) -> Result<(), PolicyViolation> {
    judged_at(NOW, change)
}

// PROTOCOL 4: the default policy.
#[test]
fn the_defaults_are_those_of_the_protocol() {
    let policy = SponsorPolicy::default();
    assert_eq!(policy.max_gas, 2_000_000);
    assert_eq!(policy.max_fee_per_gas, 100_000_000_000);
    assert_eq!(
        policy.max_total_fee,
        U256::from(5) * U256::from(10).pow(U256::from(16))
    );
    // Within the 900 s of the protocol, and no longer than what any chain takes.
    assert_eq!(policy.max_validity, Duration::from_secs(300));
    assert_eq!(judged(|_| ()), Ok(()));
}

#[test]
fn only_requests_for_a_fee_payer_are_judged() {
    let own = altered_open(&self_paid(), SessionProtocol::V2, |_| ());
    let refused = SponsorPolicy::default().check(&own, Timestamp::from_secs(NOW));
    assert_eq!(refused, Err(PolicyViolation::NotRequested));
}

#[test]
fn gas_and_fees_have_limits() {
    assert_eq!(
        judged(|tx| tx.gas_limit = 2_000_001),
        Err(PolicyViolation::Gas(2_000_001))
    );
    let gwei = 1_000_000_000;
    assert_eq!(
        judged(|tx| tx.max_fee_per_gas = 100 * gwei + 1),
        Err(PolicyViolation::FeePerGas(100 * gwei + 1))
    );
    assert_eq!(
        judged(|tx| tx.max_priority_fee_per_gas = 100 * gwei + 1),
        Err(PolicyViolation::FeePerGas(100 * gwei + 1))
    );
    let at_limit = judged(|tx| {
        tx.gas_limit = 500_000;
        tx.max_fee_per_gas = 100 * gwei;
    });
    assert_eq!(at_limit, Ok(()));
    let above = judged(|tx| {
        tx.gas_limit = 500_001;
        tx.max_fee_per_gas = 100 * gwei;
    });
    assert_eq!(
        above,
        Err(PolicyViolation::TotalFee(U256::from(
            50_000_100_000_000_000_u64
        )))
    );
}

#[test]
fn validity_is_now_and_short() {
    let until = |seconds: i64| {
        move |tx: &mut TempoTransaction| {
            tx.valid_before = NonZeroU64::new(u64::try_from(NOW + seconds).unwrap());
        }
    };
    assert_eq!(judged(until(300)), Ok(()));
    assert_eq!(judged(until(301)), Err(PolicyViolation::Validity));
    assert_eq!(judged(until(1)), Ok(()));
    assert_eq!(judged(until(0)), Err(PolicyViolation::NotValidNow));
    assert_eq!(judged(until(-1)), Err(PolicyViolation::NotValidNow));
    assert_eq!(
        judged(|tx| tx.valid_before = None),
        Err(PolicyViolation::NotValidNow)
    );
    assert_eq!(judged_at(-1, |_| ()), Err(PolicyViolation::NotValidNow));
    let after = |second: i64| {
        move |tx: &mut TempoTransaction| {
            tx.valid_after = NonZeroU64::new(u64::try_from(second).unwrap());
        }
    };
    assert_eq!(judged(after(NOW)), Ok(()));
    assert_eq!(judged(after(NOW + 1)), Err(PolicyViolation::NotValidNow));
}

#[test]
fn other_nonces_could_be_held_back_and_are_refused() {
    assert_eq!(
        judged(|tx| tx.nonce_key = U256::ZERO),
        Err(PolicyViolation::Nonce)
    );
    assert_eq!(
        judged(|tx| tx.nonce_key = U256::ONE),
        Err(PolicyViolation::Nonce)
    );
    assert_eq!(judged(|tx| tx.nonce = 1), Err(PolicyViolation::Nonce));
}

#[test]
fn smuggled_extras_are_refused() {
    let item = AccessListItem {
        address: PATH_USD,
        storage_keys: [B256::ZERO].into(),
    };
    let list = judged(|tx| tx.access_list = AccessList([item].into()));
    assert_eq!(list, Err(PolicyViolation::AccessList));
    assert_eq!(
        judged(|tx| tx.calls[0].value = U256::ONE),
        Err(PolicyViolation::Value)
    );
    assert_eq!(
        judged(|tx| tx.calls[0].to = TxKind::Create),
        Err(PolicyViolation::Value)
    );
}

#[test]
fn authorizations_are_refused() {
    use tempo_primitives::transaction::{TempoSignature, TempoSignedAuthorization};
    let delegate = judged(|tx| {
        let authorization = alloy_eips::eip7702::Authorization {
            chain_id: U256::from(42431),
            address: Address::repeat_byte(1),
            nonce: 0,
        };
        let signed =
            TempoSignedAuthorization::new_unchecked(authorization, TempoSignature::default());
        tx.tempo_authorization_list = [signed].into();
    });
    assert_eq!(delegate, Err(PolicyViolation::Authorizations));
}

/// An open that asks for a fee payer, of a key that claims to act for another account.
fn signed_by_an_access_key() -> SignedTx {
    use tempo_primitives::TempoSignature;
    use tempo_primitives::transaction::KeychainSignature;

    let claimed = Address::repeat_byte(7);
    let own = build::open(&sponsored(), &params(SessionProtocol::V2)).unwrap();
    let tx = own.into_inner();
    let digest = KeychainSignature::signing_hash(tx.signature_hash(), claimed);
    let inner = envelope::to_alloy(&payer().sign_digest_sync(&digest));
    let keychain = KeychainSignature::new(claimed, PrimitiveSignature::Secp256k1(inner));
    let signed = AASigned::new_unhashed(tx, TempoSignature::Keychain(keychain));
    let mut bytes = Vec::new();
    signed.eip2718_encode(&mut bytes);
    SignedTx::decode(&bytes).unwrap()
}

// Its limits are known to the chain only, and what exceeds them reverts at our cost.
#[test]
fn access_keys_are_sponsored_only_where_that_is_wanted() {
    let tx = signed_by_an_access_key();
    assert!(tx.needs_fee_payer() && tx.access_key().is_some());
    let now = Timestamp::from_secs(NOW);
    let policy = SponsorPolicy::default();
    assert_eq!(policy.check(&tx, now), Err(PolicyViolation::AccessKey));
    let wanted = SponsorPolicy {
        sponsors_access_keys: true,
        ..policy
    };
    assert_eq!(wanted.check(&tx, now), Ok(()));
}

fn of_calls(count: usize, gas_limit: u64) -> SignedTx {
    altered_open(&sponsored(), SessionProtocol::V2, |tx| {
        tx.calls = core::iter::repeat_n(tx.calls[0].clone(), count).collect();
        tx.gas_limit = gas_limit;
    })
}

// A transaction that runs out of gas costs the whole limit.
#[test]
fn the_gas_limit_covers_what_the_calls_have_used_and_what_is_paid_once() {
    let check = |count, used, needed| {
        let judged = |limit| SponsorPolicy::check_tried(&of_calls(count, limit), 0, Some(used));
        assert_eq!(judged(needed), Ok(()));
        let limit = needed - 1;
        let too_little = PolicyViolation::TooLittleGas { limit, needed };
        assert_eq!(judged(limit), Err(too_little));
    };
    check(1, 299_530, 299_530 + 16_000);
    check(2, 299_530 + 52_534, 299_530 + 11_534 + 16_000);
    check(3, 10, 16_000);
    check(1, u64::MAX - 16_000, u64::MAX);
    let untold = SponsorPolicy::check_tried(&of_calls(1, 0), 0, None);
    assert_eq!(untold, Ok(()));
}

#[test]
fn no_block_takes_less_than_the_base_fee() {
    let tx = of_calls(1, 1);
    let gwei = 1_000_000_000;
    let judged = |base_fee| SponsorPolicy::check_tried(&tx, base_fee, None);
    assert_eq!(judged(25 * gwei), Ok(()));
    let below = PolicyViolation::BelowBaseFee(25 * gwei);
    assert_eq!(judged(25 * gwei + 1), Err(below));
}

// PROTOCOL 4: a charge has up to ten splits.
#[test]
fn every_charge_can_be_sponsored() {
    let policy = SponsorPolicy::default();
    // As clients sign at Tempo's usual base fee, with room for a fifth more.
    let per_gas = U256::from(24_000_000_000_u64);
    for count in 1..=11 {
        let limits = policy.for_transfers(count);
        let gas = gas::transfers(count);
        assert!(gas <= limits.max_gas, "{count}");
        let fee = U256::from(gas) * per_gas;
        assert!(fee <= limits.max_total_fee, "{count}");
        assert_eq!(limits.max_fee_per_gas, policy.max_fee_per_gas);
    }
    assert_eq!(policy.for_transfers(5), policy);
    // One transfer is no reason to exceed what an operator has set.
    let strict = SponsorPolicy {
        max_gas: 100_000,
        ..policy
    };
    assert_eq!(strict.for_transfers(1), strict);
    let none = SponsorPolicy {
        max_gas: 0,
        ..policy
    };
    let limits = none.for_transfers(2);
    assert_eq!(limits.max_total_fee, none.max_total_fee);
}

#[test]
fn a_fee_is_rounded_up_to_base_units() {
    let fee = |gas_limit, max_fee_per_gas| {
        let tx = altered_open(&sponsored(), SessionProtocol::V2, |tx| {
            tx.gas_limit = gas_limit;
            tx.max_fee_per_gas = max_fee_per_gas;
        });
        tx.max_fee_amount()
    };
    assert_eq!(fee(600_000, 2_000_000_000), Amount::new(1_200));
    assert_eq!(fee(1, 1), Amount::new(1));
    assert_eq!(fee(0, 1), Amount::ZERO);
    assert_eq!(fee(u64::MAX, u128::MAX), Amount::new(u128::MAX));
}
