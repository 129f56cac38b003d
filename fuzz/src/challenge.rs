//! `WWW-Authenticate`: lists of challenges, and the MAC of our own.

use arbitrary::{Arbitrary, Unstructured};
use mpp_core::challenge::CredentialHeader;
use mpp_core::header::challenge::{encode, parse_all};
use mpp_core::header::limits::{MAX_REQUEST, MAX_VALUE};
use mpp_core::{
    BodyDigest, Challenge, ChallengeDraft, ChallengeId, EncodedJson, IntentName, KeyRing,
    MethodName, Realm, SecretKey, Timestamp,
};
use serde_json::{Map, Value};

/// Checks header values, one a line, or a challenge of our own.
pub fn check(data: &[u8]) {
    let Some((choice, rest)) = crate::choice(data) else {
        return;
    };
    match choice % 2 {
        0 => {
            if let Ok(text) = std::str::from_utf8(rest) {
                values(text);
            }
        }
        _ => {
            let mut bytes = Unstructured::new(rest);
            if let Ok(own) = Own::arbitrary(&mut bytes) {
                issued(&own, &mut bytes);
            }
        }
    }
}

fn values(text: &str) {
    let found = parse_all(text.split('\n'));
    let challenges: Vec<Challenge> = found.into_iter().flatten().collect();
    let Some(first) = challenges.first() else {
        return;
    };
    for challenge in &challenges {
        round_trip(challenge);
    }
    let written: Vec<String> = challenges.iter().map(encode).collect();
    let again: Vec<Challenge> = parse_all(written.iter().map(String::as_str))
        .into_iter()
        .map(|read| read.unwrap())
        .collect();
    // One comma-joined line says what lines of their own say.
    let joined = written.join(", ");
    if joined.len() <= MAX_VALUE {
        let read: Result<Vec<_>, _> = parse_all([joined.as_str()]).into_iter().collect();
        assert_eq!(read.as_ref(), Ok(&again));
    }
    // SECURITY-CASES A6: inside of a quoted value none begins.
    let quoted = written[0].replace('\\', "\\\\").replace('"', "\\\"");
    let other = format!("Other a=\"{quoted}\", b=\", Payment \", {}", written[0]);
    if other.len() <= MAX_VALUE {
        let read = parse_all([other.as_str()]);
        assert_eq!(read, [Ok(again[0].clone())]);
    }
    assert_eq!(first.id, again[0].id);
}

/// A written challenge is read as what it was, but for control characters in
/// its free texts, and is written the same again.
fn round_trip(challenge: &Challenge) {
    assert!(challenge.request.as_str().len() <= MAX_REQUEST);
    let written = encode(challenge);
    assert!(written.bytes().all(|byte| matches!(byte, b' '..=b'~')));
    if written.len() > MAX_VALUE {
        return;
    }
    let read = parse_all([written.as_str()]);
    let [Ok(read)] = &read[..] else {
        panic!("{read:?} of {written}");
    };
    assert_eq!(encode(read), written);
    let is_plain = |text: &Option<String>| {
        text.as_ref()
            .is_none_or(|text| !text.chars().any(char::is_control))
    };
    let free = [
        &challenge.expires,
        &challenge.digest,
        &challenge.description,
    ];
    if free.into_iter().all(is_plain) {
        assert_eq!(read, challenge);
    }
    let covered = |of: &Challenge| {
        let (id, realm, request) = (of.id.clone(), of.realm.clone(), of.request.clone());
        (
            id,
            realm,
            of.method.clone(),
            of.intent.clone(),
            request,
            of.opaque.clone(),
            of.header,
        )
    };
    assert_eq!(covered(read), covered(challenge));
    // What a client makes of its text.
    let _ = (
        challenge.expires_at(),
        challenge.correlation(),
        challenge.request.decode_value(),
    );
}

/// What a server of ours may put into a challenge.
#[derive(Arbitrary, Debug)]
struct Own {
    realm: String,
    intent: String,
    request: Vec<(String, String)>,
    expires: Option<u32>,
    body: Option<Vec<u8>>,
    description: Option<String>,
    opaque: Option<Vec<(String, String)>>,
    is_beside: bool,
}

impl Own {
    fn draft(&self) -> Option<ChallengeDraft> {
        let object = |members: &[(String, String)]| {
            let members = members
                .iter()
                .map(|(name, text)| (name.clone(), text.as_str().into()));
            EncodedJson::from_value(&Value::Object(members.collect::<Map<_, _>>())).ok()
        };
        let mut draft = ChallengeDraft::new(
            Realm::new(self.realm.as_str()).ok()?,
            MethodName::tempo(),
            IntentName::new(self.intent.as_str()).ok()?,
            object(&self.request)?,
        );
        if let Some(expires) = self.expires {
            draft = draft.with_expires(Timestamp::from_secs(expires.into()));
        }
        if let Some(body) = &self.body {
            draft = draft.with_digest(BodyDigest::of(body));
        }
        if let Some(description) = &self.description {
            draft = draft.with_description(description.as_str());
        }
        if let Some(opaque) = &self.opaque {
            draft = draft.with_opaque(object(opaque)?);
        }
        if self.is_beside {
            draft = draft.with_header(CredentialHeader::PaymentAuthorization);
        }
        Some(draft)
    }
}

pub(crate) fn keys() -> KeyRing {
    let secret: [u8; 32] = std::array::from_fn(|place| place as u8 ^ 0x5a);
    KeyRing::new(SecretKey::from_bytes(&secret).unwrap())
}

/// PROTOCOL 1.1: a challenge of ours verifies, and no other does.
fn issued(own: &Own, bytes: &mut Unstructured<'_>) {
    let Some(draft) = own.draft() else {
        return;
    };
    let keys = keys();
    let challenge = keys.bind(draft.clone());
    assert_eq!(keys.verify(&challenge), Ok(()));
    let expires = draft.expires;
    let template = keys.template(draft);
    let issued = template.issue(expires);
    // The short way of writing one is the long one.
    assert_eq!(issued.to_challenge(), challenge);
    assert_eq!(issued.header_value(), encode(&challenge));
    let value = encode(&challenge);
    if value.len() <= MAX_VALUE {
        let read = parse_all([value.as_str()]);
        let [Ok(read)] = &read[..] else {
            panic!("{read:?} of {value}");
        };
        assert_eq!(keys.verify(read), Ok(()));
    }
    let mut other = challenge.clone();
    if tamper(&mut other, bytes).is_some() && other != challenge {
        assert!(keys.verify(&other).is_err(), "{other:?}");
    }
}

/// Changes one slot that the MAC covers.
fn tamper(challenge: &mut Challenge, bytes: &mut Unstructured<'_>) -> Option<()> {
    let slot: u8 = bytes.arbitrary().ok()?;
    let text: String = bytes.arbitrary().ok()?;
    match slot % 8 {
        0 => challenge.id = ChallengeId::new(text).ok()?,
        1 => challenge.realm = Realm::new(text).ok()?,
        2 => challenge.method = MethodName::new(text).ok()?,
        3 => challenge.intent = IntentName::new(text).ok()?,
        4 => challenge.request = EncodedJson::from_wire(text).ok()?,
        // Absent and empty share a slot, and mean the same to every check.
        5 if text.is_empty() => return None,
        5 => challenge.expires = Some(text),
        6 if text.is_empty() => return None,
        6 => challenge.digest = Some(text),
        _ => challenge.opaque = Some(EncodedJson::from_wire(text).ok()?),
    }
    Some(())
}
