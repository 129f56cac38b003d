//! Requests and payloads of sessions and charges.

use mpp_core::encoding::flat::FlatReader;
use mpp_core::encoding::json;
use mpp_core::{ChargeIntent, SessionIntent};
use mpp_tempo::charge::Transfers;
use mpp_tempo::wire::{
    ChargePayload, ChargeRequest, HighestVoucher, NeedVoucher, SessionPayload, SessionRequest,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Checks one JSON object as everything that it may be.
pub fn check(text: &[u8]) {
    let Ok(value) = json::parse(text) else {
        return;
    };
    session_payload(text, &value);
    if let Some(request) = survives::<ChargeRequest>(&value) {
        transfers(&request);
    }
    survives::<ChargePayload>(&value);
    survives::<SessionRequest>(&value);
    survives::<NeedVoucher>(&value);
    survives::<ChargeIntent>(&value);
    survives::<SessionIntent>(&value);
    if let Some(voucher) = survives::<HighestVoucher>(&value) {
        assert_eq!(HighestVoucher::from(&voucher.to_signed()), voucher);
    }
}

fn survives<T>(value: &Value) -> Option<T>
where
    T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let read: T = serde_json::from_value(value.clone()).ok()?;
    let written = serde_json::to_value(&read).unwrap();
    let again: T = serde_json::from_value(written.clone()).unwrap();
    assert_eq!(again, read);
    assert_eq!(serde_json::to_value(&again).unwrap(), written);
    Some(read)
}

fn session_payload(text: &[u8], value: &Value) {
    let slow = SessionPayload::from_value(value);
    let mut reader = FlatReader::default();
    let fast = reader.read(text).and_then(SessionPayload::from_flat);
    if let Some(fast) = fast {
        assert_eq!(slow.as_ref(), Ok(&fast));
    }
    let Ok(payload) = slow else {
        return;
    };
    let written = payload.to_value();
    assert_eq!(SessionPayload::from_value(&written).as_ref(), Ok(&payload));
    let is_voucher = matches!(payload, SessionPayload::Voucher { .. });
    if is_voucher {
        // The form that we write takes the short way.
        let text = written.to_string();
        let mut reader = FlatReader::default();
        let object = reader.read(text.as_bytes()).unwrap();
        assert_eq!(SessionPayload::from_flat(object).as_ref(), Some(&payload));
    }
    if let Some(signed) = payload.voucher() {
        assert_eq!(signed.voucher.channel_id, payload.channel_id());
    }
}

/// What a charge asks for adds up to its amount.
fn transfers(request: &ChargeRequest) {
    let Ok(transfers) = Transfers::try_from(request) else {
        return;
    };
    let sum = transfers
        .iter()
        .try_fold(mpp_core::Amount::ZERO, |sum, part| {
            sum.checked_add(part.amount)
        });
    assert_eq!(sum, Some(request.amount));
    assert_eq!(transfers.iter().count(), transfers.count());
    assert!(transfers.iter().all(|part| !part.amount.is_zero()));
    assert_eq!(transfers.primary().to, request.recipient);
}
