//! Vouchers off the fast path: new signers, tables, and the other kinds of keys.
//!
//! `cargo bench -p mpp-tempo --features std --bench signers` (add `libsecp256k1` for the C library
//! as the library tier).
#![expect(clippy::unwrap_used, reason = "a benchmark that fails stops")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{Address, B256, keccak256};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use mpp_core::Amount;
use mpp_core::encoding::base64url;
use mpp_tempo::network::CHANNEL_RESERVE;
use mpp_tempo::voucher::{VerifierEngine, VoucherDomain};
use mpp_tempo::{
    ChannelDescriptor, ChannelTerms, LocalSigner, SessionProtocol, SignedVoucher, Signer, Voucher,
    VoucherSignature, VoucherVerifier,
};
use p256::ecdsa::signature::hazmat::PrehashSigner;
use p256::ecdsa::{Signature, SigningKey};
use sha2::{Digest, Sha256};

const CUMULATIVE: Amount = Amount::new(1_000_000);
/// Room for tables; slots of dropped verifiers are used again.
const TABLE_BYTES: usize = 4 << 20;

fn terms(payer: Address) -> ChannelTerms {
    ChannelTerms {
        protocol: SessionProtocol::V2,
        chain_id: 42431,
        escrow: CHANNEL_RESERVE,
        descriptor: ChannelDescriptor {
            payer,
            ..Default::default()
        },
    }
}

fn voucher(terms: &ChannelTerms, signature: VoucherSignature) -> SignedVoucher {
    let voucher = Voucher {
        channel_id: terms.id(),
        cumulative: CUMULATIVE,
    };
    SignedVoucher { voucher, signature }
}

/// What the first, the second and later vouchers of a channel cost.
fn new_signers(c: &mut Criterion) {
    let payer = LocalSigner::from_bytes(&[7; 32]).unwrap();
    let terms = terms(payer.address());
    let digest = VoucherDomain::new(&terms).digest(CUMULATIVE);
    let signed = voucher(&terms, payer.sign_digest_sync(&digest).into());
    let engine = Arc::new(VerifierEngine::new(TABLE_BYTES));
    let after = |vouchers: usize| {
        let verifier = VoucherVerifier::with_engine(&terms, &engine);
        for _ in 0..vouchers {
            verifier.verify(&signed).unwrap();
        }
        verifier
    };
    let mut group = c.benchmark_group("signer");
    group.bench_function("verifier of a new channel", |b| {
        b.iter(|| VoucherVerifier::with_engine(black_box(&terms), &engine));
    });
    let stages = [
        ("first voucher: recover, learn the key", 0),
        ("second voucher: verify, build the table", 1),
        ("third voucher: use the table", 2),
    ];
    for (name, earlier) in stages {
        group.bench_function(name, |b| {
            b.iter_batched_ref(
                || after(earlier),
                |verifier| verifier.verify(black_box(&signed)).unwrap(),
                BatchSize::PerIteration,
            );
        });
    }
    // Without room for tables the signer stays with the library, which knows the key.
    let no_tables = Arc::new(VerifierEngine::new(0));
    let verifier = VoucherVerifier::with_engine(&terms, &no_tables);
    group.bench_function("signer without a table", |b| {
        b.iter(|| verifier.verify(black_box(&signed)).unwrap());
    });
    group.finish();
}

/// A P-256 key with its account.
struct Passkey {
    key: SigningKey,
    public_key: Vec<u8>,
    terms: ChannelTerms,
    digest: B256,
}

impl Passkey {
    fn new() -> Self {
        let key = SigningKey::from_slice(&[5; 32]).unwrap();
        let point = key.verifying_key().to_sec1_point(false);
        let public_key = point.as_bytes().split_first().unwrap().1.to_vec();
        let terms = terms(Address::from_word(keccak256(&public_key)));
        Self {
            key,
            public_key,
            terms,
            digest: VoucherDomain::new(&terms).digest(CUMULATIVE),
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signature: Signature = self.key.sign_prehash(message).unwrap();
        signature.normalize_s().to_bytes().to_vec()
    }

    /// `0x01 || r || s || x || y || prehash`.
    fn p256(&self) -> Vec<u8> {
        let signature = self.sign(self.digest.as_slice());
        [&[0x01], &signature[..], &self.public_key, &[0]].concat()
    }

    /// `0x02 || authenticator data || client data || r || s || x || y`.
    fn webauthn(&self) -> Vec<u8> {
        let data = [&[0xAA; 32][..], &[0x05, 0, 0, 0, 7]].concat();
        let challenge = base64url::encode(self.digest.as_slice());
        let client = format!(
            r#"{{"type":"webauthn.get","challenge":"{challenge}","origin":"https://wallet.example.com","crossOrigin":false}}"#
        );
        let message = Sha256::new()
            .chain_update(&data)
            .chain_update(Sha256::digest(&client))
            .finalize();
        let signature = self.sign(&message);
        let parts = [&[0x02], &data[..], client.as_bytes(), &signature];
        [&parts.concat()[..], &self.public_key].concat()
    }
}

fn passkeys(c: &mut Criterion) {
    let passkey = Passkey::new();
    let verifier = VoucherVerifier::new(&passkey.terms);
    let mut group = c.benchmark_group("passkey");
    for (name, bytes) in [("P-256", passkey.p256()), ("WebAuthn", passkey.webauthn())] {
        group.bench_function(format!("{name}, read"), |b| {
            b.iter(|| VoucherSignature::parse(black_box(&bytes)).unwrap());
        });
        let signed = voucher(&passkey.terms, VoucherSignature::parse(&bytes).unwrap());
        group.bench_function(format!("{name}, verify"), |b| {
            b.iter(|| verifier.verify(black_box(&signed)).unwrap());
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = new_signers, passkeys
}
criterion_main!(benches);
