//! `Authorization`: finding a credential, and its two ways of being read.

use std::sync::LazyLock;

use mpp_core::encoding::base64url;
use mpp_core::header::credential as header;
use mpp_core::header::limits::MAX_CREDENTIAL;
use mpp_core::{
    Challenge, ChallengeDraft, ChallengeTemplate, Credential, CredentialReader, EncodedJson,
    IntentName, KeyRing, MethodName, Proof, Realm, Timestamp,
};
use mpp_mcp::native;
use mpp_tempo::wire::{SessionPayload, VoucherForm};
use serde_json::{Value, json};

use crate::json::value_of;

/// Checks a header value, a credential, or what stands behind a challenge.
pub fn check(data: &[u8]) {
    let Some((choice, rest)) = crate::choice(data) else {
        return;
    };
    match choice % 4 {
        0 => {
            if let Ok(text) = std::str::from_utf8(rest) {
                values(text);
            }
        }
        1 => {
            credential(rest);
        }
        2 => behind_a_challenge(rest),
        _ => native_object(rest),
    }
}

fn values(text: &str) {
    let values: Vec<&str> = text.split('\n').collect();
    let found = header::find(values.iter().copied());
    if let Ok(Some(token)) = found {
        assert!(token.len() <= MAX_CREDENTIAL);
        assert!(values.iter().any(|value| value.contains(token)));
        let _ = header::parse(token);
        // SECURITY-CASES A31: a second one is refused.
        let twice = [&values[..], &["Payment e30"]].concat();
        assert!(header::find(twice).is_err());
    }
    let ([value], Some(sole)) = (&values[..], header::sole_token(text)) else {
        return;
    };
    let mut buffer = Vec::new();
    if sole.len() <= MAX_CREDENTIAL && base64url::decode_plain(sole.as_bytes(), &mut buffer).is_ok()
    {
        assert_eq!(header::find([*value]), Ok(Some(sole)));
    }
}

/// Both ways of reading a credential; returns its token when it is one.
fn credential(json: &[u8]) -> Option<(String, Credential)> {
    let token = base64url::encode(json);
    let slow = header::parse(&token);
    let mut reader = CredentialReader::default();
    if let Some(fast) = reader.read(&token) {
        let flat = (value_of(fast.proof.payload), fast.proof.source);
        // The short way may read a challenge that the grammar refuses; it is
        // the caller's MAC, or this, that tells.
        if let Some(challenge) = fast.challenge.to_challenge() {
            let slow = slow.as_ref().expect("the general reader reads it, too");
            assert_eq!(slow.challenge, challenge);
            assert_eq!(
                (slow.payload.clone(), slow.source.as_deref()),
                with_text(flat)
            );
        }
        assert_eq!(
            keys().verify_text(&fast.challenge).is_ok(),
            fast.challenge
                .to_challenge()
                .is_some_and(|challenge| keys().verify(&challenge).is_ok())
        );
    }
    let credential = slow.ok()?;
    assert!(token.len() <= MAX_CREDENTIAL);
    let written = credential.to_json();
    assert_eq!(
        Credential::from_json(written.as_bytes()).as_ref(),
        Ok(&credential)
    );
    if let Ok(value) = header::encode(&credential) {
        let found = header::find([value.as_str()]).unwrap().unwrap();
        assert_eq!(header::sole_token(&value), Some(found));
        assert_eq!(header::parse(found).as_ref(), Ok(&credential));
    }
    both_forms(&credential);
    Some((token, credential))
}

fn with_text<'a>(
    (payload, source): (Value, Option<mpp_core::encoding::flat::FlatText<'a>>),
) -> (Value, Option<&'a str>) {
    (payload, source.map(|source| source.as_str()))
}

/// A credential as a JSON object is the credential of the header, as far as
/// its request is written as we write it.
fn both_forms(credential: &Credential) {
    let Ok(native) = native::credential(credential) else {
        return;
    };
    if let Ok(read) = native::read_credential(native) {
        assert_eq!(
            (&read.payload, &read.source),
            (&credential.payload, &credential.source)
        );
        assert_eq!(read.challenge.id, credential.challenge.id);
        let [again, first] = [&read, credential].map(|of| of.challenge.request.decode_value());
        assert_eq!(again, first);
    }
}

fn native_object(text: &[u8]) {
    let Ok(value) = mpp_core::encoding::json::parse(text) else {
        return;
    };
    if let Ok(credential) = native::read_credential(value.clone()) {
        let written = native::credential(&credential).unwrap();
        assert_eq!(native::read_credential(written), Ok(credential));
    }
    if let Ok(challenge) = native::read_challenge(value) {
        let written = native::challenge(&challenge).unwrap();
        assert_eq!(native::read_challenge(written), Ok(challenge));
    }
}

struct Known {
    keys: KeyRing,
    template: ChallengeTemplate,
    challenge: Challenge,
    /// A credential for it that was read before, in the common form.
    token: String,
}

static KNOWN: LazyLock<Known> = LazyLock::new(|| {
    let keys = crate::challenge::keys();
    let draft = ChallengeDraft::new(
        Realm::new("shop.example").unwrap(),
        MethodName::tempo(),
        IntentName::session(),
        EncodedJson::from_value(&json!({"amount": "1"})).unwrap(),
    );
    let template = keys.template(draft);
    let issued = template.issue(Some(Timestamp::from_secs(1_800_000_000)));
    let challenge = issued.to_challenge();
    let payload = json!({
        "action": "voucher",
        "channelId": format!("0x{}", "ab".repeat(32)),
        "cumulativeAmount": "1",
        "signature": SIGNATURE,
    });
    let credential = Credential::new(challenge.clone(), payload).with_source(SOURCE);
    let value = header::encode(&credential).unwrap();
    let token = header::sole_token(&value).unwrap().to_owned();
    Known {
        keys,
        template,
        challenge,
        token,
    }
});

const SOURCE: &str = "did:pkh:eip155:42431:0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc";
const SIGNATURE: &str = concat!(
    "0x79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
    "000000000000000000000000000000000000000000000000000000000000000a1b"
);

fn keys() -> &'static KeyRing {
    &KNOWN.keys
}

/// `{"challenge":<a challenge of ours>` and then anything: what is known of
/// challenge and voucher makes no difference.
fn behind_a_challenge(rest: &[u8]) {
    let Known {
        keys,
        template,
        challenge,
        token,
    } = &*KNOWN;
    let mut text = serde_json::to_vec(&json!({"challenge": challenge})).unwrap();
    text.pop();
    text.extend_from_slice(rest);
    let slow = credential(&text);
    let next = base64url::encode(&text);

    let mut reader = CredentialReader::default();
    let first = reader.read(token).unwrap();
    let known = keys.recognize(&first).unwrap();
    assert_eq!(known.challenge(), challenge);
    let form = template.learn(&first).unwrap();
    let voucher = VoucherForm::learn(first.rest().unwrap(), &first.proof).unwrap();

    if let Some(proof) = reader.read_known(&known, &next) {
        same_proof(&proof, slow.as_ref());
    }
    if let Some(formed) = reader.read_formed(&form, &next) {
        let known = form.recognize(&formed).expect("it is the same challenge");
        assert_eq!(known.challenge(), challenge);
        if let Some(proof) = formed.behind.proof() {
            same_proof(&proof, slow.as_ref());
        }
    }
    let Some(opened) = reader.open_known(&known, &next) else {
        return;
    };
    if let Some((payload, source)) = voucher.read(opened.rest()) {
        let (_, slow) = slow.expect("the general reader reads it, too");
        assert_eq!(SessionPayload::from_value(&slow.payload), Ok(payload));
        let slow_source = slow.source.map(|text| text.parse().unwrap());
        assert_eq!(slow_source, source);
    }
}

fn same_proof(proof: &Proof<'_>, slow: Option<&(String, Credential)>) {
    let (_, slow) = slow.expect("the general reader reads it, too");
    assert_eq!(slow.payload, value_of(proof.payload));
    assert_eq!(
        slow.source.as_deref(),
        proof.source.map(|source| source.as_str())
    );
    if let Some(payload) = SessionPayload::from_flat(proof.payload) {
        assert_eq!(SessionPayload::from_value(&slow.payload), Ok(payload));
    }
}
