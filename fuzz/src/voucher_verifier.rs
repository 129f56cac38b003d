//! Every tier of the voucher verifier against k256 and libsecp256k1.
//!
//! An input is a list of vouchers, six bytes each: which key signs, which nonce it takes, what is
//! changed in the signature, where and to what, and the amount. All tiers must give the library
//! tier's answers, one by one and in one batch, and the library tier must accept exactly what both
//! libraries recover to the payer.

use std::sync::{Arc, LazyLock};

use k256::elliptic_curve::ops::Reduce;
use k256::elliptic_curve::sec1::ToSec1Point;
use k256::{ProjectivePoint, Scalar, U256};
use mpp_core::Amount;
use mpp_tempo::network::CHANNEL_RESERVE;
use mpp_tempo::voucher::{Tier, VerifierEngine, VoucherDomain, VoucherError, verify_batch};
use mpp_tempo::{
    ChannelDescriptor, ChannelTerms, LocalSigner, SessionProtocol, SignedVoucher, Signer, Voucher,
    VoucherSignature, VoucherVerifier,
};
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use secp256k1::{Message, Secp256k1, VerifyOnly};

const KEYS: usize = 12;
const RECORD: usize = 6;
const MAX_VOUCHERS: usize = 130;

/// A channel of a known secret, with a verifier of each tier.
struct Channel {
    secret: Scalar,
    key: [u8; 65],
    domain: VoucherDomain,
    verifiers: Vec<VoucherVerifier>,
}

/// A scalar k with its inverse and what a signature shows of k G.
struct Nonce {
    inverse: Scalar,
    r: Scalar,
    odd: u8,
}

struct World {
    channels: Vec<Channel>,
    nonces: Vec<Nonce>,
    context: Secp256k1<VerifyOnly>,
}

static WORLD: LazyLock<World> = LazyLock::new(World::new);

impl World {
    fn new() -> Self {
        let tiers = [Tier::Library, Tier::Portable, Tier::Avx512].into_iter();
        let engines: Vec<_> = tiers
            .filter_map(|tier| VerifierEngine::with_tier(tier, 2 << 20).ok())
            .map(Arc::new)
            .collect();
        let nonces: Vec<_> = (0..=u8::MAX)
            .map(|choice| Nonce::new(&edge(choice)))
            .collect();
        let channels = (0..KEYS)
            .map(|index| Channel::new(edge(index as u8), &engines, &nonces[200]))
            .collect();
        // Else the libraries would answer for every tier.
        for engine in engines
            .iter()
            .filter(|engine| engine.tier() != Tier::Library)
        {
            assert_eq!(engine.tables(), KEYS);
        }
        Self {
            channels,
            nonces,
            context: Secp256k1::verification_only(),
        }
    }

    /// Whether both libraries recover the channel's key. They must not differ.
    fn expected(&self, channel: &Channel, digest: &[u8; 32], bytes: &[u8; 65]) -> bool {
        let id = RecoveryId::try_from(i32::from(bytes[64]) - 27).unwrap();
        let by_c = RecoverableSignature::from_compact(&bytes[..64], id)
            .and_then(|signature| {
                let message = Message::from_digest(*digest);
                self.context.recover_ecdsa(message, &signature)
            })
            .map(|key| key.serialize_uncompressed());
        let by_k256 = recover_by_k256(digest, bytes);
        assert_eq!(by_c.ok(), by_k256, "libraries disagree");
        by_k256 == Some(channel.key)
    }
}

fn recover_by_k256(digest: &[u8; 32], bytes: &[u8; 65]) -> Option<[u8; 65]> {
    use k256::ecdsa::{RecoveryId, Signature, VerifyingKey};
    let signature = Signature::from_slice(&bytes[..64]).ok()?;
    let id = RecoveryId::new(bytes[64] == 28, false);
    let key = VerifyingKey::recover_from_prehash(digest, &signature, id).ok()?;
    key.to_sec1_point(false).as_bytes().try_into().ok()
}

impl Nonce {
    fn new(scalar_k: &Scalar) -> Self {
        let point = uncompressed(scalar_k);
        Self {
            inverse: scalar_k.invert().unwrap(),
            r: scalar(&point[1..33].try_into().unwrap()),
            odd: point[64] & 1,
        }
    }
}

impl Channel {
    fn new(secret: Scalar, engines: &[Arc<VerifierEngine>], nonce: &Nonce) -> Self {
        let signer = LocalSigner::from_bytes(&secret.to_bytes().into()).unwrap();
        let terms = ChannelTerms {
            protocol: SessionProtocol::V2,
            chain_id: 42431,
            escrow: CHANNEL_RESERVE,
            descriptor: ChannelDescriptor {
                payer: signer.address(),
                ..Default::default()
            },
        };
        let verifiers = engines
            .iter()
            .map(|engine| VoucherVerifier::with_engine(&terms, engine))
            .collect();
        let channel = Self {
            secret,
            key: uncompressed(&secret),
            domain: VoucherDomain::new(&terms),
            verifiers,
        };
        // The tables are there from the third voucher on.
        for amount in 0..3 {
            let honest = channel.sign(Amount::new(amount), nonce);
            let voucher = channel.voucher(Amount::new(amount), &honest).unwrap();
            for verifier in &channel.verifiers {
                verifier.verify(&voucher).unwrap();
            }
        }
        channel
    }

    /// The low-s signature with a chosen nonce.
    fn sign(&self, cumulative: Amount, nonce: &Nonce) -> [u8; 65] {
        let digest = scalar(&self.domain.digest(cumulative).0);
        let s = nonce.inverse * (digest + nonce.r * self.secret);
        let mut bytes = [27 + nonce.odd; 65];
        bytes[..32].copy_from_slice(&nonce.r.to_bytes());
        bytes[32..64].copy_from_slice(&s.to_bytes());
        if VoucherSignature::parse(&bytes).is_err() {
            bytes[32..64].copy_from_slice(&(-s).to_bytes());
            bytes[64] ^= 27 ^ 28;
        }
        bytes
    }

    fn voucher(&self, cumulative: Amount, bytes: &[u8]) -> Option<SignedVoucher> {
        let voucher = Voucher {
            channel_id: self.domain.channel_id(),
            cumulative,
        };
        let signature = VoucherSignature::parse(bytes).ok()?;
        Some(SignedVoucher { voucher, signature })
    }
}

/// A number at an edge, or one without a pattern for high choices.
fn edge(choice: u8) -> Scalar {
    let lambda = scalar(&[
        0x53, 0x63, 0xad, 0x4c, 0xc0, 0x5c, 0x30, 0xe0, 0xa5, 0x26, 0x1c, 0x02, 0x88, 0x12, 0x64,
        0x5a, 0x12, 0x2e, 0x22, 0xea, 0x20, 0x81, 0x66, 0x78, 0xdf, 0x02, 0x96, 0x7c, 0x1b, 0x23,
        0xbd, 0x72,
    ]);
    let small = Scalar::from(u64::from(choice / 6) + 1);
    match choice {
        160.. => scalar(&[choice; 32]),
        _ => match choice % 6 {
            0 => small,
            1 => -small,
            2 => lambda * small,
            3 => -(lambda * small),
            4 => lambda + small,
            _ => (0..choice).fold(small, |power, _| power + power),
        },
    }
}

fn scalar(bytes: &[u8; 32]) -> Scalar {
    <Scalar as Reduce<U256>>::reduce(&U256::from_be_slice(bytes))
}

fn uncompressed(secret: &Scalar) -> [u8; 65] {
    let point = (ProjectivePoint::GENERATOR * secret).to_affine();
    point.to_sec1_point(false).as_bytes().try_into().unwrap()
}

/// The signature with one change.
fn altered(mut bytes: [u8; 65], [how, place, value]: [u8; 3]) -> [u8; 65] {
    let place = usize::from(place);
    match how % 8 {
        0 => bytes[64] ^= 27 ^ 28,
        1 => bytes[64] = value,
        2 => bytes[place % 65] = value,
        3 => bytes[place % 64] ^= 1 << (value % 8),
        4 => bytes[..32].copy_from_slice(&edge(value).to_bytes()),
        5 => bytes[32..64].copy_from_slice(&edge(value).to_bytes()),
        _ => {}
    }
    bytes
}

/// Checks a list of vouchers.
pub fn check(data: &[u8]) {
    let (records, _) = data.as_chunks::<RECORD>();
    let world = &*WORLD;
    let mut cases = Vec::new();
    for [key, nonce, how, place, value, amount] in records.iter().take(MAX_VOUCHERS) {
        let channel = &world.channels[usize::from(*key) % KEYS];
        let cumulative = Amount::new(u128::from(*amount));
        let signed = channel.sign(cumulative, &world.nonces[usize::from(*nonce)]);
        let bytes = altered(signed, [*how, *place, *value]);
        let Some(voucher) = channel.voucher(cumulative, &bytes) else {
            continue;
        };
        let digest = channel.domain.digest(cumulative).0;
        let expected = world.expected(channel, &digest, &bytes);
        let answer = channel.verifiers[0].verify(&voucher);
        assert_eq!(answer.is_ok(), expected, "{bytes:02x?}");
        cases.push((channel, voucher, answer));
    }
    // The first tier is the library's, which has just answered.
    for tier in 1..world.channels[0].verifiers.len() {
        let batch: Vec<_> = cases
            .iter()
            .map(|(channel, voucher, _)| (&channel.verifiers[tier], voucher))
            .collect();
        let mut answers = vec![Err(VoucherError::WrongChannel); batch.len()];
        verify_batch(&batch, &mut answers).unwrap();
        for ((verifier, voucher), ((_, _, expected), answer)) in
            batch.iter().zip(cases.iter().zip(&answers))
        {
            assert_eq!(answer, expected);
            assert_eq!(&verifier.verify(voucher), expected);
        }
    }
}
