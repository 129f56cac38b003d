//! What deployed peers sent, decoded and checked by us (vectors/tempo/recorded.json).

use serde_json::Value;

use super::*;
use crate::channel::ChannelDescriptor;
use crate::testing::{field, recorded};
use crate::voucher::{SignedVoucher, Voucher, VoucherError, VoucherVerifier};

fn cases(action: &str) -> Vec<Value> {
    let all = recorded()["transactions"].as_array().unwrap().clone();
    all.into_iter()
        .filter(|case| case["action"] == action)
        .collect()
}

fn decode(case: &Value) -> SignedTx {
    let bytes: Bytes = field(case, "transaction");
    SignedTx::decode(&bytes).unwrap()
}

fn check_open(case: &Value) -> OpenCall {
    let (protocol, escrow) = (field(case, "protocol"), field(case, "escrow"));
    check::open(&decode(case), protocol, escrow, 42431).unwrap()
}

/// Terms of every recorded channel, from its open transaction.
fn channels() -> Vec<ChannelTerms> {
    cases("open")
        .iter()
        .map(|case| check_open(case).terms)
        .collect()
}

#[test]
fn every_recorded_transaction_decodes_to_its_fields() {
    let all = recorded()["transactions"].as_array().unwrap().clone();
    assert_eq!(all.len(), 9);
    for case in all {
        let tx = decode(&case);
        assert_eq!(tx.sender(), field::<Address>(&case, "sender"));
        assert_eq!(tx.chain_id(), case["chainId"].as_u64().unwrap());
        assert_eq!(tx.gas_limit(), case["gas"].as_u64().unwrap());
        let decimal = |member: &str| case[member].as_str().unwrap().parse::<u128>().unwrap();
        assert_eq!(tx.max_fee_per_gas(), decimal("maxFeePerGas"));
        assert_eq!(
            tx.max_priority_fee_per_gas(),
            decimal("maxPriorityFeePerGas")
        );
        assert_eq!(tx.valid_before(), case["validBefore"].as_u64());
        assert_eq!(tx.valid_after(), case["validAfter"].as_u64());
        assert_eq!(tx.nonce_key(), field::<U256>(&case, "nonceKey"));
        assert!(tx.has_expiring_nonce());
        assert_eq!(tx.needs_fee_payer(), case["sponsored"].as_bool().unwrap());
        assert_eq!(tx.fee_token(), field::<Option<Address>>(&case, "feeToken"));
        let calls: Vec<TxCall> = tx.calls().collect();
        let expected = case["calls"].as_array().unwrap();
        assert_eq!(calls.len(), expected.len());
        for (call, expected) in calls.iter().zip(expected) {
            assert_eq!(call.to, Some(field(expected, "to")));
            assert_eq!(call.input, field::<Bytes>(expected, "data"));
        }
        // The encoding is the one that was sent.
        assert_eq!(tx.encode(), field::<Bytes>(&case, "transaction"));
    }
}

// The chain's own hash of unsponsored transactions.
#[test]
fn hashes_are_those_of_the_chain() {
    let all = recorded()["transactions"].as_array().unwrap().clone();
    let mined: Vec<_> = all
        .iter()
        .filter(|case| case["sponsored"] == false && case["hash"].is_string())
        .collect();
    assert_eq!(mined.len(), 3);
    for case in mined {
        assert_eq!(decode(case).hash(), field::<B256>(case, "hash"));
    }
}

// PROTOCOL 4, Sponsorship: our cosigning of a recorded envelope is the transaction that the
// recorded server sent, byte for byte: the chain knew it under this hash.
#[tokio::test]
async fn cosigning_reproduces_the_recorded_transactions() {
    let all = recorded()["transactions"].as_array().unwrap().clone();
    let sponsored: Vec<_> = all
        .iter()
        .filter(|case| case["sponsored"] == true)
        .collect();
    assert_eq!(sponsored.len(), 3);
    for case in sponsored {
        let request = decode(case);
        let signed = cosign(request.clone(), &sponsor(), PATH_USD).await.unwrap();
        assert_eq!(signed.hash(), field::<B256>(case, "hash"));
        assert_eq!(signed.expiring_nonce_hash(), request.expiring_nonce_hash());
        let again = SignedTx::decode(&signed.encode()).unwrap();
        assert_eq!(again, signed);
        assert_eq!(
            again.sponsorship(),
            Sponsorship::Signed(sponsor().address())
        );
        assert_eq!(again.fee_token(), Some(PATH_USD));
    }
}

#[test]
fn recorded_sponsored_transactions_are_within_the_policy() {
    let all = recorded()["transactions"].as_array().unwrap().clone();
    for case in all.iter().filter(|case| case["sponsored"] == true) {
        let tx = decode(case);
        let now = i64::try_from(tx.valid_before().unwrap()).unwrap() - 25;
        let judged = SponsorPolicy::default().check(&tx, Timestamp::from_secs(now));
        assert_eq!(judged, Ok(()));
    }
}

// PROTOCOL 5.3: ids and expiringNonceHash of real channels.
#[test]
fn recorded_opens_make_the_recorded_channels() {
    let opens = cases("open");
    assert_eq!(opens.len(), 3);
    for case in opens {
        let open = check_open(&case);
        assert_eq!(open.terms.id(), field::<B256>(&case, "channelId"));
        assert_eq!(open.terms.descriptor.payer, payer().address());
        assert_eq!(open.deposit, field(&case, "deposit"));
        if !case["descriptor"].is_null() {
            let descriptor: ChannelDescriptor = field(&case, "descriptor");
            assert_eq!(open.terms.descriptor, descriptor);
            assert_eq!(
                decode(&case).expiring_nonce_hash(),
                descriptor.expiring_nonce_hash
            );
        }
    }
}

#[test]
fn recorded_top_ups_add_what_their_payload_says() {
    let top_ups = cases("topUp");
    assert_eq!(top_ups.len(), 3);
    for case in top_ups {
        let id: B256 = field(&case, "channelId");
        let terms = channels()
            .into_iter()
            .find(|terms| terms.id() == id)
            .unwrap();
        let top_up = check::top_up(&decode(&case), &terms).unwrap();
        assert_eq!(top_up.channel_id, id);
        assert_eq!(top_up.additional, field(&case, "additionalDeposit"));
    }
}

// PROTOCOL 5.3: vouchers of deployed clients, good and hostile.
#[test]
fn recorded_vouchers_get_the_recorded_verdict() {
    let all = recorded()["vouchers"].as_array().unwrap().clone();
    assert!(all.len() >= 17);
    for case in all {
        let escrow: Address = field(&case, "escrow");
        let file = &case["recording"];
        let id: B256 = field(&case, "channelId");
        let terms = cases("open")
            .iter()
            .find(|open| &open["recording"] == file)
            .map(|open| check_open(open).terms)
            .unwrap();
        assert_eq!(terms.escrow, escrow);
        let signed = SignedVoucher {
            voucher: Voucher {
                channel_id: id,
                cumulative: field(&case, "cumulativeAmount"),
            },
            signature: field(&case, "signature"),
        };
        let verdict = VoucherVerifier::new(&terms).verify(&signed);
        match case["verdict"].as_str().unwrap() {
            "valid" => assert_eq!(verdict.unwrap().into_signed(), signed),
            "wrong-channel" => assert_eq!(verdict, Err(VoucherError::WrongChannel)),
            "signer-mismatch" => {
                assert!(matches!(verdict, Err(VoucherError::SignerMismatch { .. })));
            }
            "invalid-signature" => assert_eq!(verdict, Err(VoucherError::InvalidSignature)),
            other => panic!("unknown verdict {other}"),
        }
    }
}
