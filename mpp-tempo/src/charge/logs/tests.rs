//! Cases A4 and A25: a receipt pays a charge by its own transfers only.

use alloc::vec;
use alloc::vec::Vec;

use alloy_primitives::B256;
use serde_json::json;

use super::*;
use crate::charge::AttributionMemo;
use crate::network::PATH_USD;
use crate::wire::ChargeRequest;

const PAYER: Address = Address::repeat_byte(9);
const BINDING: ChargeBinding<'static> = ChargeBinding {
    realm: "shop.example",
    challenge_id: "c1",
};

fn memo(challenge_id: &str) -> Option<B256> {
    Some(AttributionMemo::new("shop.example", None, challenge_id).to_word())
}

fn asked() -> Transfers {
    let request: ChargeRequest = serde_json::from_value(json!({
        "amount": "20",
        "currency": PATH_USD,
        "recipient": Address::repeat_byte(1),
        "methodDetails": {
            "chainId": 42431,
            "splits": [{"amount": "10", "recipient": Address::repeat_byte(1)}],
        },
    }))
    .unwrap();
    Transfers::try_from(&request).unwrap()
}

fn log(event: &impl SolEvent, token: Address) -> ChainLog {
    let data = event.encode_log_data();
    ChainLog {
        address: token,
        topics: data.topics().to_vec(),
        data: data.data,
        ..ChainLog::default()
    }
}

fn plain(from: Address, to: u8, amount: u64) -> ChainLog {
    let event = ITIP20::Transfer {
        from,
        to: Address::repeat_byte(to),
        amount: U256::from(amount),
    };
    log(&event, PATH_USD)
}

fn with_memo(from: Address, to: u8, amount: u64, memo: Option<B256>) -> [ChainLog; 2] {
    let event = ITIP20::TransferWithMemo {
        from,
        to: Address::repeat_byte(to),
        amount: U256::from(amount),
        memo: memo.unwrap(),
    };
    [plain(from, to, amount), log(&event, PATH_USD)]
}

fn paid(parts: &[&[ChainLog]]) -> Result<(), ChargeUnpaid> {
    check_receipt(&receipt(parts), &asked(), BINDING).map(drop)
}

fn receipt(parts: &[&[ChainLog]]) -> TxReceipt {
    TxReceipt {
        hash: B256::repeat_byte(1),
        success: true,
        block_number: 1,
        logs: parts.concat(),
        gas_used: 100_000,
        from: PAYER,
        fee_payer: None,
        gas_price: None,
    }
}

#[test]
fn transfers_of_the_sender_pay_and_the_fee_does_not_matter() {
    let attributed = with_memo(PAYER, 1, 10, memo("c1"));
    let split = [plain(PAYER, 1, 10)];
    let fee = [plain(PAYER, 0xFE, 3)];
    assert_eq!(paid(&[&attributed, &split, &fee]), Ok(()));
    assert_eq!(paid(&[&fee, &split, &attributed]), Ok(()));
}

// PROTOCOL 4: adjacent logs of one transfer are one, and each is used once.
#[test]
fn the_two_logs_of_one_transfer_do_not_pay_twice() {
    let attributed = with_memo(PAYER, 1, 10, memo("c1"));
    assert!(matches!(
        paid(&[&attributed]),
        Err(ChargeUnpaid::Transfers(TransferMismatch::Missing { .. }))
    ));
}

#[test]
fn a_reverted_transaction_pays_nothing() {
    let attributed = with_memo(PAYER, 1, 10, memo("c1"));
    let mut reverted = receipt(&[&attributed, &[plain(PAYER, 1, 10)]]);
    reverted.success = false;
    let refused = check_receipt(&reverted, &asked(), BINDING);
    assert_eq!(refused, Err(ChargeUnpaid::Reverted));
}

#[test]
fn transfers_of_others_tokens_and_challenges_pay_nothing() {
    let split = [plain(PAYER, 1, 10)];
    let refused = |part: &[ChainLog]| assert!(paid(&[part, &split]).is_err());
    refused(&with_memo(Address::repeat_byte(8), 1, 10, memo("c1")));
    refused(&with_memo(PAYER, 1, 10, memo("c2")));
    refused(&with_memo(PAYER, 2, 10, memo("c1")));
    refused(&with_memo(PAYER, 1, 11, memo("c1")));
    refused(&split);
    let mut elsewhere = with_memo(PAYER, 1, 10, memo("c1"));
    for log in &mut elsewhere {
        log.address = Address::repeat_byte(7);
    }
    refused(&elsewhere);
}

#[test]
fn logs_with_more_than_a_transfer_pay_nothing() {
    let attributed = with_memo(PAYER, 1, 10, memo("c1"));
    for place in [1, 2] {
        let mut split = plain(PAYER, 1, 10);
        split.topics[place].0[0] = 1;
        assert!(paid(&[&attributed, &[split]]).is_err());
    }
    let mut longer = plain(PAYER, 1, 10);
    longer.data = [&longer.data[..], &[0]].concat().into();
    assert!(paid(&[&attributed, &[longer]]).is_err());
}

#[test]
fn logs_that_are_no_transfers_are_passed_over() {
    let mut odd = plain(PAYER, 1, 10);
    odd.topics.pop();
    let empty = ChainLog {
        address: PATH_USD,
        ..ChainLog::default()
    };
    let many = ChainLog {
        topics: vec![B256::ZERO; 5],
        ..empty.clone()
    };
    let attributed = with_memo(PAYER, 1, 10, memo("c1"));
    let noise: Vec<_> = vec![odd, empty, many];
    assert!(paid(&[&noise, &attributed]).is_err());
    assert_eq!(paid(&[&noise, &attributed, &[plain(PAYER, 1, 10)]]), Ok(()));
}
