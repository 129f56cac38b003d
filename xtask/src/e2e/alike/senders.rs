//! Senders with keys of every kind, sponsors, and tokens that fees are paid in.

use alloy_consensus::{SignableTransaction as _, TxEip1559};
use alloy_eips::Encodable2718 as _;
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_sol_types::SolCall as _;
use anyhow::Context as _;
use mpp_core::encoding::base64url;
use mpp_tempo::{LocalSigner, Signer as _, escrow::ITIP20, network::PATH_USD};
use p256::ecdsa::{SigningKey, signature::hazmat::PrehashSigner as _};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tempo_primitives::{
    AASigned, TempoTransaction, TempoTxEnvelope,
    transaction::{
        Call, FEE_PAYER_SIGNATURE_MARKER, PrimitiveSignature, TempoSignature,
        tt_signature::{P256SignatureWithPreHash, WebAuthnSignature, normalize_p256_s},
    },
};

use super::pair::{Pair, call};
use crate::account;

const FRIEND: Address = Address::repeat_byte(0xf2);

pub(super) async fn ask(pair: &mut Pair) -> anyhow::Result<()> {
    fee_tokens(pair).await?;
    sponsored(pair).await?;
    passkeys(pair).await?;
    ordinary(pair).await
}

fn transfer(token: Address, to: Address, amount: u64) -> Call {
    let amount = U256::from(amount);
    call(token, ITIP20::transferCall { to, amount }.abi_encode())
}

fn approval() -> Call {
    let approve = ITIP20::approveCall {
        spender: FRIEND,
        amount: U256::from(1),
    };
    call(PATH_USD, approve.abi_encode())
}

async fn fee_tokens(pair: &mut Pair) -> anyhow::Result<()> {
    // Anvil's development accounts have chosen fee tokens for themselves.
    let signer = account::signer_for("pays fees in what there is")?;
    let alpha = mpp_devnet::nth_token(1);
    let money = [PATH_USD, alpha].map(|token| transfer(token, signer.address(), 1_000_000));
    let bank = account::bank()?;
    let funded = pair.run("money of two kinds", &bank, money.into()).await?;
    funded.succeeded()?;
    let paid = |pair: &Pair, fee_token: Option<Address>, one: Call| TempoTransaction {
        fee_token,
        ..pair.draft(vec![one])
    };
    let cases = [
        ("no fee token, a transfer", None, transfer(alpha, FRIEND, 3)),
        ("no fee token, an approval", None, approval()),
        (
            "another fee token",
            Some(alpha),
            transfer(PATH_USD, FRIEND, 4),
        ),
    ];
    for (what, fee_token, one) in cases {
        let raw = account::sign_raw(&signer, paid(pair, fee_token, one));
        pair.send(what, &raw).await?.succeeded()?;
    }
    let missing = Some(Address::repeat_byte(0x99));
    let raw = account::sign_raw(&signer, paid(pair, missing, approval()));
    pair.ask("no such fee token", "eth_sendRawTransaction", json!([raw]))
        .await?;
    Ok(())
}

async fn sponsored(pair: &mut Pair) -> anyhow::Result<()> {
    let bank = account::bank()?;
    let sender = account::signer_for("has no money for fees")?;
    let calls = vec![transfer(PATH_USD, sender.address(), 50)];
    pair.run("a little money", &bank, calls)
        .await?
        .succeeded()?;
    let mut transaction = TempoTransaction {
        fee_payer_signature: Some(FEE_PAYER_SIGNATURE_MARKER),
        fee_token: None,
        ..pair.draft(vec![transfer(PATH_USD, FRIEND, 20)])
    };
    let own = account::sign_digest(&sender, transaction.signature_hash());
    transaction.fee_token = Some(PATH_USD);
    let hash = transaction.fee_payer_signature_hash(sender.address());
    transaction.fee_payer_signature = Some(account::sign_digest(&bank, hash));
    let raw = encode(transaction, PrimitiveSignature::Secp256k1(own));
    pair.send("a sponsored transfer", &raw).await?.succeeded()
}

async fn passkeys(pair: &mut Pair) -> anyhow::Result<()> {
    let bank = account::bank()?;
    let key = Passkey::new()?;
    let calls = vec![transfer(PATH_USD, key.address(), 1_000_000)];
    pair.run("money for a passkey", &bank, calls)
        .await?
        .succeeded()?;
    for (what, kind) in [
        ("a P-256 sender", Kind::P256),
        ("a WebAuthn sender", Kind::WebAuthn),
    ] {
        let transaction = pair.draft(vec![transfer(PATH_USD, FRIEND, 6)]);
        let signature = key.sign(kind, transaction.signature_hash())?;
        let raw = encode(transaction, signature);
        pair.send(what, &raw).await?.succeeded()?;
    }
    Ok(())
}

/// Transactions as on any other chain of this kind.
async fn ordinary(pair: &mut Pair) -> anyhow::Result<()> {
    let fresh = account::signer_for("sends an ordinary transaction")?;
    let bank = account::bank()?;
    let calls = vec![transfer(PATH_USD, fresh.address(), 1_000_000)];
    pair.run("money for an ordinary one", &bank, calls)
        .await?
        .succeeded()?;
    let raw = ordinary_transfer(&fresh);
    pair.send("an ordinary transaction of a fresh account", &raw)
        .await?;
    let signer = account::development(5)?;
    let raw = ordinary_transfer(&signer);
    let sent = pair.send("an ordinary transaction", &raw).await?;
    sent.succeeded()?;
    let account = json!([signer.address(), "latest"]);
    let nonce = pair.ask("its nonce", "eth_getTransactionCount", account);
    let [ours, theirs] = nonce.await?.both("/result");
    anyhow::ensure!(ours == "0x1" && theirs == "0x1", "{ours} and {theirs}");
    Ok(())
}

fn ordinary_transfer(signer: &LocalSigner) -> Bytes {
    let Call { to, input, .. } = transfer(PATH_USD, FRIEND, 8);
    let transaction = TxEip1559 {
        chain_id: 42_431,
        gas_limit: 1_000_000,
        max_fee_per_gas: 10_000_000_000,
        max_priority_fee_per_gas: 1_000_000_000,
        to,
        input,
        ..TxEip1559::default()
    };
    let signature = account::sign_digest(signer, transaction.signature_hash());
    let envelope = TempoTxEnvelope::Eip1559(transaction.into_signed(signature));
    envelope.encoded_2718().into()
}

fn encode(transaction: TempoTransaction, signature: PrimitiveSignature) -> Bytes {
    let mut encoded = Vec::new();
    let signature = TempoSignature::Primitive(signature);
    AASigned::new_unhashed(transaction, signature).eip2718_encode(&mut encoded);
    encoded.into()
}

/// How a passkey signs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    P256,
    WebAuthn,
}

/// A P-256 key.
pub(super) struct Passkey {
    key: SigningKey,
    x: B256,
    y: B256,
}

impl Passkey {
    pub(super) fn new() -> anyhow::Result<Self> {
        let key = SigningKey::from_slice(&[7; 32])?;
        let point = key.verifying_key().to_sec1_point(false);
        let bytes = point.as_bytes();
        let coordinate = |from: usize, to: usize| bytes.get(from..to).map(B256::from_slice);
        let (x, y) = coordinate(1, 33)
            .zip(coordinate(33, 65))
            .context("no point")?;
        Ok(Self { key, x, y })
    }

    pub(super) fn address(&self) -> Address {
        Address::from_word(keccak256([self.x.0, self.y.0].concat()))
    }

    pub(super) fn sign(&self, kind: Kind, digest: B256) -> anyhow::Result<PrimitiveSignature> {
        Ok(match kind {
            Kind::P256 => {
                let (r, s) = self.sign_hash(digest)?;
                PrimitiveSignature::P256(P256SignatureWithPreHash {
                    r,
                    s,
                    pub_key_x: self.x,
                    pub_key_y: self.y,
                    pre_hash: false,
                })
            }
            Kind::WebAuthn => self.sign_webauthn(digest)?,
        })
    }

    fn sign_hash(&self, hash: B256) -> anyhow::Result<(B256, B256)> {
        let signature: p256::ecdsa::Signature = self.key.sign_prehash(hash.as_slice())?;
        let (r, s) = signature.split_bytes();
        let s = normalize_p256_s(&s).map_err(|_| anyhow::anyhow!("no scalar"))?;
        Ok((B256::from_slice(&r), s))
    }

    fn sign_webauthn(&self, digest: B256) -> anyhow::Result<PrimitiveSignature> {
        // A hash of 32 bytes, flags that say that the user was there, a counter.
        let mut authenticator = vec![0_u8; 37];
        *authenticator.get_mut(32).context("flags")? = 0x01;
        let challenge = base64url::encode(digest.as_slice());
        let client = json!({
            "type": "webauthn.get",
            "challenge": challenge,
            "origin": "http://localhost",
        });
        let client = client.to_string();
        let mut hasher = Sha256::new();
        hasher.update(&authenticator);
        hasher.update(Sha256::digest(client.as_bytes()));
        let (r, s) = self.sign_hash(B256::from_slice(&hasher.finalize()))?;
        Ok(PrimitiveSignature::WebAuthn(WebAuthnSignature {
            r,
            s,
            pub_key_x: self.x,
            pub_key_y: self.y,
            webauthn_data: [authenticator, client.into_bytes()].concat().into(),
        }))
    }
}
