//! What a request costs besides the curve: from its header field to its receipt, stage by stage.
//!
//! `cargo bench -p mpp-tempo --features std --bench request_path`. The stages named `general`
//! are the readers and writers that take every form; the others give the same answers.
#![expect(clippy::unwrap_used, reason = "a benchmark that fails stops")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use mpp_core::encoding::base64url;
use mpp_core::header::credential::{self, sole_token};
use mpp_core::header::receipt::ReceiptWriter;
use mpp_core::{
    Amount, Challenge, ChallengeDraft, Credential, CredentialReader, DidPkh, EncodedJson,
    IntentName, KeyRing, MethodName, Proof, Realm, SecretKey, SessionReceipt, SessionReceiptText,
    Timestamp, header,
};
use mpp_tempo::network::{CHANNEL_RESERVE, Network};
use mpp_tempo::voucher::VoucherDomain;
use mpp_tempo::wire::SessionPayload;
use mpp_tempo::{
    ChannelDescriptor, ChannelTerms, LocalSigner, SessionProtocol, SignedVoucher, Signer,
};

/// A client's credential, as a server sees it.
struct Case {
    name: &'static str,
    draft: ChallengeDraft,
    challenge: Challenge,
    header: String,
}

fn keys() -> KeyRing {
    KeyRing::new(SecretKey::from_bytes(b"4t7w!z%C*F-JaNdRgUkXp2s5v8x/A?D(").unwrap())
}

fn case(protocol: SessionProtocol) -> Case {
    let payer = LocalSigner::from_bytes(&[7; 32]).unwrap();
    let is_v2 = protocol == SessionProtocol::V2;
    let descriptor = ChannelDescriptor {
        payer: payer.address(),
        payee: Network::MODERATO.stream_channel,
        token: mpp_tempo::network::PATH_USD,
        ..Default::default()
    };
    let terms = ChannelTerms {
        protocol,
        chain_id: Network::MODERATO.chain_id,
        escrow: if is_v2 {
            CHANNEL_RESERVE
        } else {
            Network::MODERATO.stream_channel
        },
        descriptor,
    };
    let request = serde_json::json!({
        "amount": "1000", "currency": descriptor.token, "recipient": descriptor.payee,
        "methodDetails": {
            "chainId": terms.chain_id, "escrowContract": terms.escrow, "sessionProtocol": "v2",
        },
        "suggestedDeposit": "10000", "unitType": "word",
    });
    let scope = serde_json::json!({ "scope": "/poem" });
    let mut draft = ChallengeDraft::new(
        Realm::new("shop.example").unwrap(),
        MethodName::tempo(),
        IntentName::session(),
        EncodedJson::from_value(&request).unwrap(),
    )
    .with_opaque(EncodedJson::from_value(&scope).unwrap());
    draft.expires = Some("2026-11-20T11:06:31.472Z".parse().unwrap());
    let challenge = keys().bind(draft.clone());
    let cumulative = Amount::new(123_456_000);
    let digest = VoucherDomain::new(&terms).digest(cumulative);
    let payload = SessionPayload::Voucher {
        channel_id: terms.id(),
        descriptor: is_v2.then_some(descriptor),
        cumulative_amount: cumulative,
        signature: payer.sign_digest_sync(&digest).into(),
    };
    let source = DidPkh::new(terms.chain_id, &payer.address().to_string()).unwrap();
    let credential = Credential::new(challenge.clone(), payload.to_value());
    Case {
        name: if is_v2 { "v2" } else { "v1" },
        draft,
        header: credential::encode(&credential.with_source(source.to_string())).unwrap(),
        challenge,
    }
}

/// What is left for the verifier.
fn read_voucher(proof: &Proof<'_>) -> (SignedVoucher, DidPkh) {
    let source = proof.source.unwrap().as_str().parse().unwrap();
    let payload = SessionPayload::from_flat(proof.payload).unwrap();
    (payload.voucher().unwrap(), source)
}

/// Any form of credential, as in the server's long way.
fn read_general(keys: &KeyRing, header: &str) -> (SignedVoucher, DidPkh) {
    let token = credential::find([header]).unwrap().unwrap();
    let credential = credential::parse(token).unwrap();
    keys.verify(&credential.challenge).unwrap();
    black_box(credential.challenge.expires_at().unwrap());
    let payload = SessionPayload::from_value(&credential.payload).unwrap();
    let source = credential.source.unwrap().parse().unwrap();
    (payload.voucher().unwrap(), source)
}

fn receipt<'a>(channel: &'a str, challenge_id: &'a str) -> SessionReceiptText<'a> {
    SessionReceiptText {
        method: "tempo",
        intent: "session",
        timestamp: Timestamp::from_millis(1_795_172_444_112),
        reference: channel,
        challenge_id,
        channel_id: channel,
        accepted_cumulative: Amount::new(123_456_000),
        spent: Amount::new(123_455_000),
        units: Some(1),
        tx_hash: None,
    }
}

fn reading(criterion: &mut Criterion) {
    let keys = keys();
    for case in [SessionProtocol::V1, SessionProtocol::V2].map(case) {
        let mut group = criterion.benchmark_group(case.name);
        let token = sole_token(&case.header).unwrap();
        let (mut reader, mut buffer) = (CredentialReader::default(), Vec::new());
        let text = reader.read(token).unwrap();
        let known = keys.recognize(&text).unwrap();
        group.bench_function("base64", |bench| {
            bench.iter(|| {
                base64url::decode_plain(black_box(token).as_bytes(), &mut buffer).map(<[u8]>::len)
            });
        });
        group.bench_function("credential", |bench| {
            bench.iter(|| black_box(reader.read(black_box(token))).is_some());
        });
        group.bench_function("credential, challenge known", |bench| {
            bench.iter(|| black_box(reader.read_known(&known, black_box(token))).is_some());
        });
        group.bench_function("credential, general", |bench| {
            bench.iter(|| credential::parse(black_box(token)));
        });
        let mut reader = CredentialReader::default();
        let text = reader.read(token).unwrap();
        group.bench_function("mac", |bench| {
            bench.iter(|| keys.verify_text(black_box(&text.challenge)));
        });
        group.bench_function("voucher", |bench| {
            bench.iter(|| read_voucher(black_box(&text.proof)));
        });
    }
}

fn writing(criterion: &mut Criterion) {
    let case = case(SessionProtocol::V2);
    let channel = format!("0x{}", "ab".repeat(32));
    let text = receipt(&channel, case.challenge.id.as_str());
    let mut group = criterion.benchmark_group("write");
    let (mut writer, mut out) = (ReceiptWriter::default(), String::new());
    group.bench_function("receipt", |bench| {
        bench.iter(|| {
            out.clear();
            writer.write(black_box(&text), &mut out);
        });
    });
    let owned = SessionReceipt::new(
        MethodName::tempo(),
        text.timestamp,
        case.challenge.id.clone(),
        channel.as_str(),
        text.accepted_cumulative,
        text.spent,
    );
    group.bench_function("receipt, general", |bench| {
        bench.iter(|| {
            let json = serde_json::to_string(black_box(&owned)).unwrap();
            base64url::encode(json.as_bytes())
        });
    });
    let keys = keys();
    let template = keys.template(case.draft.clone());
    let expires = case.draft.expires;
    group.bench_function("challenge", |bench| {
        bench.iter(|| template.issue(black_box(expires)).header_value());
    });
    group.bench_function("challenge, general", |bench| {
        bench.iter(|| header::challenge::encode(&keys.bind(black_box(&case.draft).clone())));
    });
}

/// Everything but the curve, the digest and the store.
fn whole(criterion: &mut Criterion) {
    let keys = keys();
    for case in [SessionProtocol::V1, SessionProtocol::V2].map(case) {
        let mut group = criterion.benchmark_group(format!("{}, header to receipt", case.name));
        let channel = format!("0x{}", "ab".repeat(32));
        let text = receipt(&channel, case.challenge.id.as_str());
        let (mut reader, mut writer) = (CredentialReader::default(), ReceiptWriter::default());
        let mut out = String::new();
        let known = {
            let text = reader.read(sole_token(&case.header).unwrap()).unwrap();
            keys.recognize(&text).unwrap()
        };
        group.bench_function("challenge known", |bench| {
            bench.iter(|| {
                let token = sole_token(black_box(&case.header)).unwrap();
                black_box(read_voucher(&reader.read_known(&known, token).unwrap()));
                out.clear();
                writer.write(&text, &mut out);
            });
        });
        group.bench_function("mac verified", |bench| {
            bench.iter(|| {
                let token = sole_token(black_box(&case.header)).unwrap();
                let credential = reader.read(token).unwrap();
                keys.verify_text(&credential.challenge).unwrap();
                let expires = credential.challenge.expires.unwrap().as_str();
                black_box(Timestamp::parse(expires).unwrap());
                black_box(read_voucher(&credential.proof));
                out.clear();
                writer.write(&text, &mut out);
            });
        });
        group.bench_function("general", |bench| {
            bench.iter(|| {
                black_box(read_general(&keys, black_box(&case.header)));
                out.clear();
                writer.write(&text, &mut out);
            });
        });
    }
}

criterion_group!(benches, reading, writing, whole);
criterion_main!(benches);
