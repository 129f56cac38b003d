//! Values that several tests need.

use alloy_primitives::Address;
use mpp_core::{Amount, Challenge, ChallengeId, EncodedJson, IntentName, MethodName, Realm};
use mpp_core::{SessionReceipt, Timestamp};
use mpp_tempo::{ChannelId, LocalSigner};
use serde_json::{Value, json};
use url::Url;

use crate::offer::Offer;
use crate::origin::Site;

/// The payee of every challenge here.
pub(crate) const PAYEE: Address = Address::repeat_byte(0x77);

pub(crate) const fn units(amount: u128) -> Amount {
    Amount::new(amount)
}

pub(crate) fn site(url: &str) -> Site {
    Site::of(&Url::parse(url).unwrap()).unwrap()
}

/// The request of a v2 session on Moderato: 1,000 base units for a word.
pub(crate) fn request() -> Value {
    json!({
        "amount": "1000",
        "currency": "0x20c0000000000000000000000000000000000000",
        "recipient": PAYEE.to_string(),
        "suggestedDeposit": "10000",
        "unitType": "word",
        "methodDetails": {
            "chainId": 42431,
            "escrowContract": "0x4d50500000000000000000000000000000000000",
            "sessionProtocol": "v2",
        },
    })
}

pub(crate) fn challenge(request: &Value) -> Challenge {
    Challenge {
        id: ChallengeId::new("challenge-1").unwrap(),
        realm: Realm::new("api.example").unwrap(),
        method: MethodName::tempo(),
        intent: IntentName::session(),
        request: EncodedJson::from_value(request).unwrap(),
        expires: Some("2099-01-01T00:00:00Z".to_owned()),
        digest: None,
        description: None,
        opaque: None,
        header: None,
    }
}

pub(crate) fn offer() -> Offer {
    offer_with(|_| ())
}

/// An offer whose request was changed.
pub(crate) fn offer_with(change: impl FnOnce(&mut Value)) -> Offer {
    let mut request = request();
    change(&mut request);
    Offer::read(challenge(&request)).unwrap()
}

pub(crate) fn offer_until(expires: Timestamp) -> Offer {
    let mut challenge = challenge(&request());
    challenge.expires = Some(expires.to_string());
    Offer::read(challenge).unwrap()
}

pub(crate) fn receipt(channel: ChannelId, accepted: u128, spent: u128) -> SessionReceipt {
    SessionReceipt::new(
        MethodName::tempo(),
        Timestamp::from_secs(1_800_000_000),
        ChallengeId::new("challenge-1").unwrap(),
        channel.to_string(),
        units(accepted),
        units(spent),
    )
}

/// One of the exchanges recorded with deployed peers; see the file for their provenance.
pub(crate) fn recorded(name: &str) -> Value {
    let all: Value = serde_json::from_str(include_str!("../testdata/recorded.json")).unwrap();
    all["exchanges"][name].clone()
}

/// The challenge of a recorded exchange.
pub(crate) fn recorded_offer(name: &str) -> Offer {
    let header = recorded(name)["challenge"].as_str().unwrap().to_owned();
    let challenges = mpp_core::header::challenge::parse_all([header.as_str()]);
    Offer::choose(challenges.into_iter().map(Result::unwrap)).unwrap()
}

/// The key of the payer in the recorded exchanges: dev account 2.
pub(crate) fn recorded_payer() -> LocalSigner {
    let key = "0x5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a";
    LocalSigner::from_hex(key).unwrap()
}
