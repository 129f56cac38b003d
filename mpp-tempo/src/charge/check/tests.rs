//! Cases A4 and A15: nothing but the transfers that were asked for passes.

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use alloy_primitives::{Address, B256, Bytes, TxKind};
use mpp_core::Timestamp;
use serde_json::json;

use super::*;
use crate::charge::AttributionMemo;
use crate::network::PATH_USD;
use crate::testing::{field, payer, recorded};
use crate::tx::build::{self, Transfer};
use crate::tx::{FeeMode, SignedTx, TxContext, TxFees};
use crate::wire::ChargeRequest;

const BINDING: ChargeBinding<'static> = ChargeBinding {
    realm: "shop.example",
    challenge_id: "c1",
};

fn asked() -> Transfers {
    let request: ChargeRequest = serde_json::from_value(json!({
        "amount": "10000",
        "currency": PATH_USD,
        "recipient": Address::repeat_byte(1),
        "methodDetails": {
            "chainId": 42431,
            "splits": [{"amount": "4000", "recipient": Address::repeat_byte(2)}],
        },
    }))
    .unwrap();
    Transfers::try_from(&request).unwrap()
}

fn honest() -> Vec<Transfer> {
    let memo = AttributionMemo::new("shop.example", None, "c1");
    let made = asked().with_attribution(memo);
    made.iter()
        .map(|one| Transfer::of_charge(PATH_USD, one))
        .collect()
}

fn context(chain_id: u64) -> TxContext {
    TxContext {
        chain_id,
        now: Timestamp::from_secs(1_795_172_500),
        valid_for: Duration::from_secs(25),
        fees: TxFees {
            max_fee_per_gas: 25_000_000_000,
            max_priority_fee_per_gas: 1_000_000_000,
            gas_limit: 2_000_000,
        },
        fee_mode: FeeMode::SelfPaid {
            fee_token: PATH_USD,
        },
        valid_after: None,
    }
}

fn checked(transfers: &[Transfer]) -> Result<(), ChargeCheckError> {
    check(&signed(transfers, |_| ()), &asked(), BINDING).map(drop)
}

fn signed(transfers: &[Transfer], change: impl FnOnce(&mut Vec<Call>)) -> SignedTx {
    let unsigned = build::transfer(&context(42431), transfers).unwrap();
    unsigned.with_calls(change).sign_now(&payer())
}

#[test]
fn what_was_asked_for_passes_in_any_order() {
    let mut made = honest();
    assert_eq!(checked(&made), Ok(()));
    made.reverse();
    assert_eq!(checked(&made), Ok(()));
}

#[test]
fn other_amounts_recipients_and_tokens_do_not_pass() {
    let differs = |change: fn(&mut Transfer)| {
        for place in 0..2 {
            let mut made = honest();
            change(&mut made[place]);
            assert!(checked(&made).is_err(), "{made:?}");
        }
    };
    differs(|one| one.amount = Amount::new(5_999));
    differs(|one| one.to = Address::repeat_byte(3));
    differs(|one| one.token = Address::repeat_byte(4));
    differs(|one| one.memo = Some(B256::repeat_byte(5)));
    let mut bare = honest();
    bare[0].memo = None;
    assert_eq!(
        checked(&bare),
        Err(ChargeCheckError::Transfers(TransferMismatch::Unattributed))
    );
}

#[test]
fn surplus_and_missing_calls_do_not_pass() {
    let made = honest();
    let count = |actual| {
        let expected = 2;
        Err(TxCheckError::CallCount { expected, actual }.into())
    };
    assert_eq!(checked(&made[..1]), count(1));
    assert_eq!(checked(&[made[0], made[1], made[1]]), count(3));
}

#[test]
fn nothing_hides_in_a_call() {
    let refused = |change: fn(&mut Vec<Call>), error: TxCheckError| {
        let tx = signed(&honest(), change);
        assert_eq!(check(&tx, &asked(), BINDING), Err(error.into()));
    };
    refused(|calls| calls[1].value = U256::from(1), TxCheckError::Value);
    refused(|calls| calls[0].to = TxKind::Create, TxCheckError::Target);
    let surplus = |calls: &mut Vec<Call>| {
        for call in calls {
            call.input = [&call.input[..], &[0]].concat().into();
        }
    };
    refused(surplus, TxCheckError::Calldata);
    let other = |calls: &mut Vec<Call>| {
        let call = ITIP20::approveCall {
            spender: Address::repeat_byte(1),
            amount: U256::from(6_000),
        };
        calls[0].input = call.abi_encode().into();
    };
    refused(other, TxCheckError::Calldata);
    let huge = |calls: &mut Vec<Call>| {
        let call = ITIP20::transferCall {
            to: Address::repeat_byte(2),
            amount: U256::from(u128::MAX) + U256::from(4_001),
        };
        calls[1].input = call.abi_encode().into();
    };
    refused(huge, TxCheckError::Amount);
}

#[test]
fn a_transaction_of_another_chain_does_not_pass() {
    let unsigned = build::transfer(&context(4217), &honest()).unwrap();
    let error = TxCheckError::ChainId {
        expected: 42431,
        actual: 4217,
    };
    let refused = check(&unsigned.sign_now(&payer()), &asked(), BINDING);
    assert_eq!(refused, Err(error.into()));
}

// Facts of the recordings: what deployed clients sign for these challenges.
#[test]
fn recorded_transactions_of_deployed_clients_pass() {
    let two = json!([
        {"amount": "2000", "recipient": "0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65"},
        {
            "amount": "1000",
            "memo": "0x00000000000000000000000000000000000000000000000000000000deadbeef",
            "recipient": "0x9965507D1a55bcC2695C58ba16FB37d819B0A4dc",
        },
    ]);
    let cases = vec![
        (
            "charge-pull.txt",
            "Z2SoJsNIbmeWIAYE19J1vbbVHtBFJjW5FQmiIuooX94",
            json!({"chainId": 42431}),
        ),
        (
            "charge-pull-sponsored.txt",
            "VimW2KCm93__bntsxXfmkgQHf9WicsXN18AfIzoUhrE",
            json!({"chainId": 42431, "feePayer": true}),
        ),
        (
            "charge-splits.txt",
            "hgNVFF4b98nbgVAQ0sTfo1ynwCQuiiX2kheJ35HfML4",
            json!({"chainId": 42431, "splits": two}),
        ),
    ];
    let recorded = recorded();
    let transactions = recorded["transactions"].as_array().unwrap();
    for (recording, challenge_id, details) in cases {
        let request: ChargeRequest = serde_json::from_value(json!({
            "amount": "10000",
            "currency": PATH_USD,
            "recipient": "0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
            "methodDetails": details,
        }))
        .unwrap();
        let transfers = Transfers::try_from(&request).unwrap();
        let sent = |case: &&serde_json::Value| case["recording"] == recording;
        let case = transactions.iter().find(sent).unwrap();
        let tx = SignedTx::decode(&field::<Bytes>(case, "transaction")).unwrap();
        let binding = ChargeBinding {
            realm: "127.0.0.1:18600",
            challenge_id,
        };
        let matched = check(&tx, &transfers, binding).unwrap();
        assert_eq!(matched.surplus, 0, "{recording}");
        assert!(check(&tx, &transfers, BINDING).is_err());
    }
}
