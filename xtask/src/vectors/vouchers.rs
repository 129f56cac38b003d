//! Vouchers in all forms that a chain takes, and in those that it does not.

use alloy_primitives::{Address, B256, U256, hex, keccak256};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use mpp_core::Amount;
use mpp_tempo::{
    ChannelDescriptor, ChannelTerms, LocalSigner, SessionProtocol, Signer as _,
    network::PATH_USD,
    voucher::{VoucherDomain, VoucherVerifier},
};
use p256::ecdsa::{Signature, SigningKey, signature::hazmat::PrehashSigner as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{Computed, provenance};
use crate::account;

/// The Moderato test network.
const CHAIN: u64 = 42_431;

/// The order of secp256k1.
const ORDER: &str = "0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";

const AMOUNT: Amount = Amount::new(1_000_000);

/// A voucher as it is shown, and what becomes of it.
struct Case {
    name: &'static str,
    terms: ChannelTerms,
    amount: Amount,
    signature: Vec<u8>,
    verdict: &'static str,
}

impl Case {
    fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "terms": self.terms,
            "channelId": self.terms.id(),
            "cumulativeAmount": self.amount,
            "digest": VoucherVerifier::new(&self.terms).digest(self.amount),
            "signature": hex::encode_prefixed(&self.signature),
            "verdict": self.verdict,
        })
    }
}

pub(super) fn compute() -> anyhow::Result<Vec<Computed>> {
    let payer = account::bank()?;
    let file = |path, what: &str, cases: Vec<Case>| Computed {
        path,
        content: json!({
            "provenance": provenance(what),
            "cases": cases.iter().map(Case::to_json).collect::<Vec<_>>(),
        }),
    };
    Ok(vec![
        file(
            "tempo/vouchers.json",
            "Every form of a signature that the escrows of both versions take.",
            accepted(&payer)?,
        ),
        file(
            "security/a09-signatures.json",
            "Signatures that deployed verifiers have accepted, or could, and the chain does not.",
            mangled(&payer)?,
        ),
        file(
            "security/a10-domains.json",
            "One good signature, shown on channels that differ in one term each.",
            elsewhere(&payer)?,
        ),
        file(
            "security/a11-identities.json",
            "Who may sign for a channel, and who may not.",
            others(&payer)?,
        ),
    ])
}

fn terms(protocol: SessionProtocol, signer: Address) -> anyhow::Result<ChannelTerms> {
    let escrow = protocol.default_escrow(CHAIN);
    Ok(ChannelTerms {
        protocol,
        chain_id: CHAIN,
        escrow: escrow.ok_or_else(|| anyhow::anyhow!("no escrow"))?,
        descriptor: ChannelDescriptor {
            payer: account::bank()?.address(),
            payee: Address::repeat_byte(0x22),
            operator: Address::ZERO,
            token: PATH_USD,
            salt: B256::repeat_byte(0x33),
            authorized_signer: signer,
            expiring_nonce_hash: match protocol {
                SessionProtocol::V1 => B256::ZERO,
                SessionProtocol::V2 => B256::repeat_byte(0x44),
            },
        },
    })
}

fn signed(signer: &LocalSigner, terms: &ChannelTerms) -> [u8; 65] {
    let digest = VoucherDomain::new(terms).digest(AMOUNT);
    signer.sign_digest_sync(&digest).to_bytes()
}

/// EIP-2098: the parity goes into the top bit of s.
fn compact(signature: &[u8; 65]) -> Vec<u8> {
    let mut short = signature[..64].to_vec();
    if signature[64] == 28
        && let Some(top) = short.get_mut(32)
    {
        *top |= 0x80;
    }
    short
}

const BOTH: [SessionProtocol; 2] = [SessionProtocol::V1, SessionProtocol::V2];

fn accepted(payer: &LocalSigner) -> anyhow::Result<Vec<Case>> {
    let mut cases = Vec::new();
    for (protocol, names) in BOTH.into_iter().zip([
        ["v1, secp256k1 with 65 bytes", "v1, secp256k1 with 64 bytes"],
        ["v2, secp256k1 with 65 bytes", "v2, secp256k1 with 64 bytes"],
    ]) {
        let terms = terms(protocol, Address::ZERO)?;
        let long = signed(payer, &terms);
        for (name, signature) in names.into_iter().zip([long.to_vec(), compact(&long)]) {
            cases.push(case(name, terms, signature, "accepted"));
        }
    }
    let key = SigningKey::from_slice(&[5; 32])?;
    let passkey = Passkey(key);
    let terms = terms(SessionProtocol::V2, passkey.account())?;
    let digest = VoucherDomain::new(&terms).digest(AMOUNT);
    let plain = passkey.plain(digest, 0)?;
    cases.push(case("v2, P-256", terms, plain, "accepted"));
    let hashed = passkey.plain(digest, 1)?;
    cases.push(case(
        "v2, P-256 over the digest's hash",
        terms,
        hashed,
        "accepted",
    ));
    let assertion = passkey.assertion(digest)?;
    cases.push(case("v2, WebAuthn", terms, assertion, "accepted"));
    Ok(cases)
}

fn case(
    name: &'static str,
    terms: ChannelTerms,
    signature: Vec<u8>,
    verdict: &'static str,
) -> Case {
    Case {
        name,
        terms,
        amount: AMOUNT,
        signature,
        verdict,
    }
}

fn mangled(payer: &LocalSigner) -> anyhow::Result<Vec<Case>> {
    let terms = terms(SessionProtocol::V2, Address::ZERO)?;
    let good = signed(payer, &terms);
    let with = |at: usize, byte: u8| {
        let bytes = good.iter().enumerate();
        let changed = bytes.map(|(place, old)| if place == at { byte } else { *old });
        changed.collect::<Vec<_>>()
    };
    let (parity, last_of_r, last_of_s) = (good[64].wrapping_sub(27), good[31], good[63]);
    let order: U256 = ORDER.parse()?;
    let high = order.wrapping_sub(U256::from_be_slice(&good[32..64]));
    let other_v = if good[64] == 27 { 28 } else { 27 };
    let twin = |v: u8| [&good[..32], &high.to_be_bytes::<32>(), &[v]].concat();
    let zero_r = [&[0; 32], &good[32..]].concat();
    let zero_s = [&good[..32], &[0; 32], &good[64..]].concat();
    let order_r = [&order.to_be_bytes::<32>(), &good[32..]].concat();
    Ok(vec![
        case("untouched", terms, good.to_vec(), "accepted"),
        case("high s, v flipped", terms, twin(other_v), "malformed"),
        case("high s, same v", terms, twin(good[64]), "malformed"),
        case("v flipped", terms, with(64, other_v), "refused"),
        case("v is 0 or 1", terms, with(64, parity), "malformed"),
        case("v is 29", terms, with(64, 29), "malformed"),
        case("v of EIP-155", terms, with(64, 37), "malformed"),
        case("r is zero", terms, zero_r, "malformed"),
        case("s is zero", terms, zero_s, "malformed"),
        case("r is the order", terms, order_r, "malformed"),
        case("all zero", terms, vec![0; 65], "malformed"),
        case("one byte short", terms, good[..63].to_vec(), "malformed"),
        case(
            "one byte long",
            terms,
            [&good[..], &[0]].concat(),
            "malformed",
        ),
        case("empty", terms, Vec::new(), "malformed"),
        case("a bit of r", terms, with(31, last_of_r ^ 1), "refused"),
        case("a bit of s", terms, with(63, last_of_s ^ 1), "refused"),
    ])
}

fn elsewhere(payer: &LocalSigner) -> anyhow::Result<Vec<Case>> {
    let home = terms(SessionProtocol::V2, Address::ZERO)?;
    let good = signed(payer, &home).to_vec();
    let moved = |change: &dyn Fn(&mut ChannelTerms)| {
        let mut terms = home;
        change(&mut terms);
        terms
    };
    let foreign = |name, terms| case(name, terms, good.clone(), "refused");
    let mut raised = foreign("another amount", home);
    raised.amount = Amount::new(AMOUNT.base_units().saturating_add(1));
    Ok(vec![
        case("at home", home, good.clone(), "accepted"),
        foreign("another chain", moved(&|t| t.chain_id = 4_217)),
        foreign(
            "another escrow",
            moved(&|t| t.escrow = Address::repeat_byte(0x55)),
        ),
        foreign(
            "the other version",
            terms(SessionProtocol::V1, Address::ZERO)?,
        ),
        foreign(
            "another payee",
            moved(&|t| t.descriptor.payee = Address::repeat_byte(0x66)),
        ),
        foreign(
            "another token",
            moved(&|t| t.descriptor.token = Address::repeat_byte(0x66)),
        ),
        foreign(
            "another salt",
            moved(&|t| t.descriptor.salt = B256::repeat_byte(0x66)),
        ),
        foreign(
            "another operator",
            moved(&|t| t.descriptor.operator = Address::repeat_byte(0x66)),
        ),
        foreign(
            "another opening transaction",
            moved(&|t| t.descriptor.expiring_nonce_hash = B256::repeat_byte(0x66)),
        ),
        raised,
    ])
}

fn others(payer: &LocalSigner) -> anyhow::Result<Vec<Case>> {
    let delegate = LocalSigner::from_bytes(&[7; 32])?;
    let own = terms(SessionProtocol::V2, Address::ZERO)?;
    let delegated = terms(SessionProtocol::V2, delegate.address())?;
    let wrapper = |kind: u8| {
        let inner = signed(payer, &own);
        [&[kind], payer.address().as_slice(), &inner].concat()
    };
    let passkey = Passkey(SigningKey::from_slice(&[5; 32])?);
    let v1 = terms(SessionProtocol::V1, passkey.account())?;
    let digest = VoucherDomain::new(&v1).digest(AMOUNT);
    Ok(vec![
        case(
            "the payer, no other is named",
            own,
            signed(payer, &own).to_vec(),
            "accepted",
        ),
        case(
            "a stranger",
            own,
            signed(&delegate, &own).to_vec(),
            "refused",
        ),
        case(
            "the named signer",
            delegated,
            signed(&delegate, &delegated).to_vec(),
            "accepted",
        ),
        case(
            "the payer, another is named",
            delegated,
            signed(payer, &delegated).to_vec(),
            "refused",
        ),
        case(
            "a keychain wrapper, first version",
            own,
            wrapper(3),
            "malformed",
        ),
        case(
            "a keychain wrapper, second version",
            own,
            wrapper(4),
            "malformed",
        ),
        case("a passkey on v1", v1, passkey.plain(digest, 0)?, "refused"),
    ])
}

/// A P-256 key as accounts of the chain have it.
struct Passkey(SigningKey);

impl Passkey {
    fn public(&self) -> Vec<u8> {
        let point = self.0.verifying_key().to_sec1_point(false);
        point.as_bytes().get(1..).unwrap_or_default().to_vec()
    }

    fn account(&self) -> Address {
        Address::from_word(keccak256(self.public()))
    }

    fn sign(&self, message: &[u8]) -> anyhow::Result<Vec<u8>> {
        let signature: Signature = self.0.sign_prehash(message)?;
        Ok(signature.normalize_s().to_bytes().to_vec())
    }

    /// The primitive form, over the digest or over its SHA-256.
    fn plain(&self, digest: B256, prehash: u8) -> anyhow::Result<Vec<u8>> {
        let signature = match prehash {
            0 => self.sign(digest.as_slice())?,
            _ => self.sign(&Sha256::digest(digest))?,
        };
        Ok([vec![0x01], signature, self.public(), vec![prehash]].concat())
    }

    /// An assertion as browsers make them, with the digest as its challenge.
    fn assertion(&self, digest: B256) -> anyhow::Result<Vec<u8>> {
        let challenge = URL_SAFE_NO_PAD.encode(digest);
        let client = format!(
            r#"{{"type":"webauthn.get","challenge":"{challenge}","origin":"https://wallet.example"}}"#
        );
        let mut data = vec![0xaa; 32];
        data.push(0x05);
        data.extend([0, 0, 0, 7]);
        let message = Sha256::new()
            .chain_update(&data)
            .chain_update(Sha256::digest(&client))
            .finalize();
        let signature = self.sign(&message)?;
        Ok([
            vec![0x02],
            data,
            client.into_bytes(),
            signature,
            self.public(),
        ]
        .concat())
    }
}
