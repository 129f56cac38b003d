//! Transactions of deployed clients run here and do what they did there.

use super::support::*;
use crate::precompile::stream_channel::abi::IStreamEscrow as stream;
use crate::{DevReceipt, Devnet, DevnetConfig, STREAM_CHANNEL, TimeSource};
use alloy_primitives::aliases::U96;
use alloy_primitives::{Address, B256, Bytes, U256, address, hex};
use alloy_sol_types::SolEvent;
use mpp_core::Amount;
use mpp_tempo::SessionProtocol;
use serde_json::Value;
use tempo_contracts::precompiles::ITIP20ChannelReserve::{self as reserve, ChannelDescriptor};
use tempo_contracts::precompiles::{ITIP20, TIP20_CHANNEL_RESERVE_ADDRESS as RESERVE};
use tempo_primitives::transaction::FEE_PAYER_SIGNATURE_MARKER;
use tempo_primitives::{AASigned, TempoTransaction};

/// 2026-11-20T11:00:36Z, a moment at which nothing of the recording has expired.
const RECORDED: u64 = 1_795_172_437;
const PAYEE: Address = address!("0x70997970C51812dc3A010C7d01b50e0d17dc79C8");
const PAYER: Address = address!("0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC");

/// The recordings were made while the base fee of their chain had decayed almost to nothing.
fn chain() -> Devnet {
    let time = TimeSource::Fixed(RECORDED);
    Devnet::new(DevnetConfig {
        base_fee: 1_000_000,
        time,
        max_expiry: core::time::Duration::from_secs(120),
        ..DevnetConfig::default()
    })
}

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../vectors/devnet/captured.json")).unwrap()
}

fn session(name: &str) -> Vec<Value> {
    let all = vectors();
    let found = all["sessions"]
        .as_array()
        .unwrap()
        .iter()
        .find(|session| session["name"] == name);
    found.unwrap()["steps"].as_array().unwrap().clone()
}

fn step<'a>(steps: &'a [Value], action: &str) -> &'a Value {
    steps.iter().find(|step| step["action"] == action).unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn hash(value: &Value) -> B256 {
    value.as_str().unwrap().parse().unwrap()
}

fn amount(value: &Value) -> u128 {
    value.as_str().unwrap().parse().unwrap()
}

/// Runs recorded bytes; a 0x78 envelope is first cosigned by account 9, as the recorded server did.
fn submit(node: &Devnet, raw: &[u8]) -> DevReceipt {
    let ready = if raw[0] == 0x78 {
        cosign(node, raw)
    } else {
        raw.to_vec()
    };
    let hash = node.submit(&ready).unwrap();
    let receipt = node.receipt(hash).unwrap();
    assert!(receipt.success, "{:?}", receipt.revert);
    receipt
}

/// Rebuilds the 0x76 transaction from its envelope, which carries the sender where the fee payer signs.
fn cosign(node: &Devnet, envelope: &[u8]) -> Vec<u8> {
    let mut sender = vec![0x94];
    sender.extend_from_slice(PAYER.as_slice());
    // The last occurrence: the descriptor of a top-up names the payer too.
    let at = envelope
        .windows(21)
        .rposition(|window| window == sender)
        .unwrap();
    let marker = [0xc3, 0x80, 0x80, 0x80];
    assert_eq!(envelope[1], 0xf9);
    let mut body = [&envelope[4..at], &marker, &envelope[at + 21..]].concat();
    let mut list = vec![0xf9];
    list.extend_from_slice(&u16::try_from(body.len()).unwrap().to_be_bytes());
    list.append(&mut body);
    let signed = AASigned::rlp_decode(&mut list.as_slice()).unwrap();
    let (tx, signature, _) = signed.into_parts();
    assert_eq!(tx.fee_payer_signature, Some(FEE_PAYER_SIGNATURE_MARKER));
    let sponsor = actor(node, 9);
    let mut tx = TempoTransaction {
        fee_token: Some(TOKEN),
        ..tx
    };
    tx.fee_payer_signature = Some(sponsor.sign(tx.fee_payer_signature_hash(PAYER)));
    encode(&tx.into_signed(signature))
}

/// Puts the clock where both transactions of a session are valid.
fn at_session(node: &Devnet, valid_before: u64) {
    node.set_time(valid_before - 20);
}

#[test]
fn a_recorded_v1_session_opens_tops_up_and_closes() {
    let node = chain();
    at_session(&node, 1_795_172_495);
    let steps = session("session-v1-sse-topup");
    let open = step(&steps, "open");
    let receipt = submit(&node, &bytes(&open["transaction"]));
    let event = receipt
        .logs
        .iter()
        .find_map(|log| stream::ChannelOpened::decode_log(log).ok())
        .unwrap();
    assert_eq!(event.channelId, hash(&open["channelId"]));
    assert_eq!(
        (event.payer, event.payee, event.deposit),
        (PAYER, PAYEE, U256::from(2_000))
    );
    submit(&node, &bytes(&step(&steps, "topUp")["transaction"]));
    let channel = node.channel(SessionProtocol::V1, event.channelId).unwrap();
    assert_eq!(channel.deposit, Amount::new(5_000));

    let vouchers = steps.iter().filter(|step| step["action"] == "voucher");
    let affordable = vouchers.filter(|step| amount(&step["cumulativeAmount"]) < 5_000);
    for voucher in affordable {
        let settle = stream::settleCall {
            channelId: event.channelId,
            cumulativeAmount: amount(&voucher["cumulativeAmount"]),
            signature: bytes(&voucher["signature"]).into(),
        };
        ok(&node, &actor(&node, 1), STREAM_CHANNEL, &settle);
    }
    let close = step(&steps, "close");
    let call = stream::closeCall {
        channelId: event.channelId,
        cumulativeAmount: amount(&close["cumulativeAmount"]),
        signature: bytes(&close["signature"]).into(),
    };
    let receipt = ok(&node, &actor(&node, 1), STREAM_CHANNEL, &call);
    let closed = receipt
        .logs
        .iter()
        .find_map(|log| stream::ChannelClosed::decode_log(log).ok())
        .unwrap();
    assert_eq!(
        (closed.settledToPayee, closed.refundedToPayer),
        (U256::from(5_000), U256::ZERO)
    );
}

fn descriptor(value: &Value) -> ChannelDescriptor {
    let account = |name: &str| value[name].as_str().unwrap().parse::<Address>().unwrap();
    ChannelDescriptor {
        payer: account("payer"),
        payee: account("payee"),
        operator: account("operator"),
        token: account("token"),
        salt: hash(&value["salt"]),
        authorizedSigner: account("authorizedSigner"),
        expiringNonceHash: hash(&value["expiringNonceHash"]),
    }
}

#[track_caller]
fn check_v2(name: &str, valid_before: u64, deposit: u128, capture: u128) {
    let node = chain();
    at_session(&node, valid_before);
    let sponsor = actor(&node, 9).address;
    let payer_before = balance(&node, PAYER);
    let steps = session(name);
    let open = step(&steps, "open");
    let receipt = submit(&node, &bytes(&open["transaction"]));
    let event = receipt
        .logs
        .iter()
        .find_map(|log| reserve::ChannelOpened::decode_log(log).ok())
        .unwrap();
    let descriptor = descriptor(&open["descriptor"]);
    assert_eq!(
        event.channelId,
        hash(&open["channelId"]),
        "the recorded channel id"
    );
    assert_eq!(
        event.expiringNonceHash, descriptor.expiringNonceHash,
        "the recorded nonce hash"
    );
    let top_up = submit(&node, &bytes(&step(&steps, "topUp")["transaction"]));
    let channel = node.channel(SessionProtocol::V2, event.channelId).unwrap();
    assert_eq!(channel.deposit, Amount::new(deposit));
    if name.contains("sponsored") {
        assert_eq!((receipt.fee_payer, top_up.fee_payer), (sponsor, sponsor));
        assert_eq!(
            balance(&node, PAYER),
            payer_before - deposit,
            "a sponsored payer pays no fee"
        );
    }
    let close = step(&steps, "close");
    let call = reserve::closeCall {
        descriptor,
        cumulativeAmount: U96::from(amount(&close["cumulativeAmount"])),
        captureAmount: U96::from(capture),
        signature: bytes(&close["signature"]).into(),
    };
    let receipt = ok(&node, &actor(&node, 1), RESERVE, &call);
    let closed = receipt
        .logs
        .iter()
        .find_map(|log| reserve::ChannelClosed::decode_log(log).ok())
        .unwrap();
    assert_eq!(
        (closed.settledToPayee, closed.refundedToPayer),
        (U96::from(capture), U96::from(deposit - capture))
    );
    assert_eq!(node.channel(SessionProtocol::V2, event.channelId), None);
}

#[test]
fn a_recorded_v2_session_opens_tops_up_and_closes() {
    check_v2("session-v2-sse-topup", 1_795_172_516, 5_000, 4_321);
}

#[test]
fn a_recorded_sponsored_v2_session_charges_the_sponsor() {
    check_v2("session-v2-sponsored-topup", 1_795_172_518, 7_000, 6_000);
}

#[test]
fn recorded_charges_pay_their_recipients() {
    for charge in vectors()["charges"].as_array().unwrap() {
        let node = chain();
        at_session(
            &node,
            if charge["name"] == "charge-splits" {
                1_795_172_472
            } else {
                1_795_172_462
            },
        );
        let raw: Bytes = bytes(&charge["transaction"]).into();
        let request = &charge["request"];
        let splits = request["methodDetails"]["splits"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let shared: u128 = splits.iter().map(|split| amount(&split["amount"])).sum();
        let mut expected = vec![(PAYEE, amount(&request["amount"]) - shared)];
        for split in &splits {
            expected.push((
                split["recipient"].as_str().unwrap().parse().unwrap(),
                amount(&split["amount"]),
            ));
        }
        let before: Vec<u128> = expected
            .iter()
            .map(|(who, _)| balance(&node, *who))
            .collect();
        let receipt = submit(&node, &raw);
        for ((who, due), before) in expected.iter().zip(before) {
            assert_eq!(balance(&node, *who), before + due, "{}", charge["name"]);
        }
        assert_eq!(receipt.from, PAYER);
        assert!(
            receipt
                .logs
                .iter()
                .any(|log| ITIP20::TransferWithMemo::decode_log(log).is_ok())
        );
    }
}

#[test]
fn the_hash_of_a_recorded_charge_is_the_reference_of_its_receipt() {
    let node = chain();
    at_session(&node, 1_795_172_462);
    let all = vectors();
    let charge = all["charges"]
        .as_array()
        .unwrap()
        .iter()
        .find(|charge| charge["name"] == "charge-pull")
        .unwrap();
    let receipt = submit(&node, &bytes(&charge["transaction"]));
    let reference = "0x50af732877f70119a136420fa57ca85851ce2e57efd01c9196e197b19406a8e2";
    assert_eq!(receipt.hash, reference.parse::<B256>().unwrap());
}
