//! The stages of a paid request that need no curve, one by one.
//!
//! `cargo bench -p mpp-core`. The messages have the size that deployed peers send in a session.
#![expect(clippy::unwrap_used, reason = "a benchmark that fails stops")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mpp_core::encoding::{base64url, jcs};
use mpp_core::{
    Amount, Challenge, ChallengeDraft, Credential, EncodedJson, IntentName, KeyRing, MethodName,
    Realm, Receipt, SecretKey, SessionReceipt, Timestamp, header,
};
use serde_json::{Value, json};

const CHANNEL: &str = "0x50cb9d095a6bf6a9851cdbf2cef91a7aa29741ba2df62447473b78e9cfaff0bd";
const PAYER: &str = "0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc";
const PAYEE: &str = "0x70997970c51812dc3a010c7d01b50e0d17dc79c8";
const TOKEN: &str = "0x20c0000000000000000000000000000000000000";
const ZERO: &str = "0x0000000000000000000000000000000000000000";

fn keys() -> KeyRing {
    KeyRing::new(SecretKey::from_bytes(b"4t7w!z%C*F-JaNdRgUkXp2s5v8x/A?D(").unwrap())
}

fn now() -> Timestamp {
    Timestamp::from_secs(1_795_172_444)
}

fn request() -> Value {
    json!({
        "amount": "1000",
        "currency": TOKEN,
        "methodDetails": {
            "chainId": 42431,
            "escrowContract": "0x4d50500000000000000000000000000000000000",
            "sessionProtocol": "v2",
        },
        "recipient": PAYEE,
        "suggestedDeposit": "10000",
        "unitType": "word",
    })
}

fn draft() -> ChallengeDraft {
    ChallengeDraft::new(
        Realm::new("api.example.com").unwrap(),
        MethodName::tempo(),
        IntentName::session(),
        EncodedJson::from_value(&request()).unwrap(),
    )
    .with_expires(now().checked_add(Duration::from_secs(300)).unwrap())
    .with_opaque(EncodedJson::from_value(&json!({"scope": "/poem"})).unwrap())
}

fn payload() -> Value {
    json!({
        "action": "voucher",
        "channelId": CHANNEL,
        "cumulativeAmount": "2000",
        "descriptor": {
            "authorizedSigner": PAYER,
            "expiringNonceHash": CHANNEL,
            "operator": ZERO,
            "payee": PAYEE,
            "payer": PAYER,
            "salt": CHANNEL,
            "token": TOKEN,
        },
        "signature": format!("0x{}1b", "4a".repeat(64)),
    })
}

fn credential() -> Credential {
    Credential::new(keys().bind(draft()), payload())
        .with_source(format!("did:pkh:eip155:42431:{PAYER}"))
}

fn receipt() -> Receipt {
    let challenge = keys().bind(draft());
    let (accepted, spent) = (Amount::new(2000), Amount::new(1000));
    let method = MethodName::tempo();
    SessionReceipt::new(method, now(), challenge.id, CHANNEL, accepted, spent).into()
}

fn reading(c: &mut Criterion) {
    let field = header::credential::encode(&credential()).unwrap();
    let token = field.strip_prefix("Payment ").unwrap();
    let json = base64url::decode(token).unwrap();
    let mut group = c.benchmark_group("credential");
    group.throughput(Throughput::Bytes(field.len() as u64));
    group.bench_function("find in the header", |b| {
        b.iter(|| header::credential::find(black_box([field.as_str()])).unwrap());
    });
    group.bench_function("decode base64url", |b| {
        b.iter(|| base64url::decode(black_box(token)).unwrap());
    });
    group.bench_function("read JSON", |b| {
        b.iter(|| Credential::from_json(black_box(&json)).unwrap());
    });
    group.bench_function("parse", |b| {
        b.iter(|| header::credential::parse(black_box(token)).unwrap());
    });
    group.finish();
}

fn binding(c: &mut Criterion) {
    let keys = keys();
    let two_keys = keys
        .clone()
        .with_previous(SecretKey::from_bytes(b"the secret before this one, 32 bytes").unwrap());
    let echoed: Challenge = keys.bind(draft());
    let mut group = c.benchmark_group("challenge");
    group.bench_function("check the MAC", |b| {
        b.iter(|| keys.verify(black_box(&echoed)).unwrap());
    });
    group.bench_function("check the MAC, two secrets", |b| {
        b.iter(|| two_keys.verify(black_box(&echoed)).unwrap());
    });
    group.bench_function("check the expiry", |b| {
        b.iter(|| black_box(&echoed).ensure_live(now()).unwrap());
    });
    let draft = draft();
    group.bench_function("bind", |b| b.iter(|| keys.bind(black_box(&draft).clone())));
    group.bench_function("issue", |b| {
        b.iter(|| header::challenge::encode(&keys.bind(black_box(&draft).clone())));
    });
    let request = request();
    group.bench_function("canonical request", |b| {
        b.iter(|| jcs::to_string(black_box(&request)).unwrap());
    });
    let field = header::challenge::encode(&echoed);
    group.bench_function("parse", |b| {
        b.iter(|| header::challenge::parse_all(black_box([field.as_str()])));
    });
    group.finish();
}

fn receipts(c: &mut Criterion) {
    let receipt = receipt();
    let field = header::receipt::encode(&receipt);
    let mut group = c.benchmark_group("receipt");
    group.bench_function("encode", |b| {
        b.iter(|| header::receipt::encode(black_box(&receipt)));
    });
    group.bench_function("parse", |b| {
        b.iter(|| header::receipt::parse(black_box(&field)).unwrap());
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = reading, binding, receipts
}
criterion_main!(benches);
