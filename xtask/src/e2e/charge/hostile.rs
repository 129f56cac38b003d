//! Credentials that must buy nothing: each is refused by its name, nothing is
//! sent, nothing is served, and the honest request after it works.

use std::num::NonZeroU64;

use alloy_eips::eip2930::{AccessList, AccessListItem};
use alloy_primitives::{Address, B256, Bytes, TxKind, U256};
use alloy_sol_types::SolCall as _;
use anyhow::{Context as _, ensure};
use mpp_core::{Amount, Challenge, Credential, ProblemKind, header};
use mpp_tempo::{
    Signer as _,
    chain::ChainClient as _,
    charge::{AttributionMemo, ChargeTransfer, ProofTerms},
    escrow::ITIP20,
    network::PATH_USD,
    wire::ChargePayload,
};
use reqwest::Method;
use serde_json::json;
use tempo_primitives::{
    TempoTransaction,
    transaction::{Call, FEE_PAYER_SIGNATURE_MARKER},
};

use super::{Case, market::OTHER_TOKEN};
use crate::wallet::{Wallet, call};
use crate::{account, raw::refused};

/// What is bent of an honest credential before it is sent.
struct Draft {
    challenge: Challenge,
    transaction: TempoTransaction,
    /// In place of the transaction.
    payload: Option<serde_json::Value>,
    source: Option<String>,
}

/// One hostile credential.
struct Hostile {
    name: &'static str,
    path: &'static str,
    kind: ProblemKind,
    bend: fn(&mut Draft),
}

const FAILED: ProblemKind = ProblemKind::VerificationFailed;
const FOREIGN: ProblemKind = ProblemKind::InvalidChallenge;
const INVALID: ProblemKind = ProblemKind::InvalidPayload;

macro_rules! hostile {
    ($($name:literal, $path:literal, $kind:expr, $bend:expr;)*) => {
        &[$(Hostile { name: $name, path: $path, kind: $kind, bend: $bend }),*]
    };
}

/// What is wrong with the transaction, the payload or the challenge.
const MATRIX: &[Hostile] = hostile![
    "another chain", "photo", FAILED, |d| d.transaction.chain_id = 4217;
    "less", "photo", FAILED, |d| pay(d, |one| one.amount = Amount::new(9_999));
    "more", "photo", FAILED, |d| pay(d, |one| one.amount = Amount::new(10_001));
    "another recipient", "photo", FAILED, |d| pay(d, |one| one.to = stranger());
    "another currency", "photo", FAILED, |d| with(d, 0, |one| one.to = TxKind::Call(OTHER_TOKEN));
    "no memo", "photo", FAILED, |d| pay(d, |one| one.memo = None);
    "any memo", "photo", FAILED, |d| pay(d, |one| one.memo = Some(B256::repeat_byte(7)));
    "the memo of another challenge", "photo", FAILED, |d| pay(d, |one| one.memo = Some(attribution("shop.example", "other")));
    "the memo of another realm", "photo", FAILED, |d| { let id = d.challenge.id.to_string(); pay(d, |one| one.memo = Some(attribution("evil.example", &id))); };
    "a missing split", "split", FAILED, |d| drop(d.transaction.calls.remove(1));
    "the split to somebody else", "split", FAILED, |d| with(d, 1, |one| *one = transfer(stranger(), 4_000));
    "the split without its memo", "split", FAILED, |d| d.transaction.calls.truncate(2);
    "everything to the primary recipient", "split", FAILED, |d| { d.transaction.calls.truncate(1); pay(d, |one| one.amount = Amount::new(10_000)); };
    "a surplus transfer", "photo", FAILED, |d| d.transaction.calls.push(transfer(stranger(), 1));
    "a surplus approval", "photo", FAILED, |d| d.transaction.calls.push(approval());
    "an approval in place of the transfer", "photo", FAILED, |d| with(d, 0, |one| *one = approval());
    "value", "photo", FAILED, |d| with(d, 0, |one| one.value = U256::from(1));
    "a contract creation", "photo", FAILED, |d| with(d, 0, |one| one.to = TxKind::Create);
    "bytes behind the calldata", "photo", FAILED, |d| with(d, 0, pad);
    "fees for the server where it pays none", "photo", FAILED, |d| d.transaction.fee_payer_signature = Some(FEE_PAYER_SIGNATURE_MARKER);
    "a validity that is over", "photo", FAILED, |d| d.transaction.valid_before = NonZeroU64::new(1_700_000_000);
    "sponsored: an access list", "sponsored", FAILED, |d| d.transaction.access_list = access_list();
    "sponsored: gas above the policy", "sponsored", FAILED, |d| d.transaction.gas_limit = 2_000_001;
    "sponsored: a fee above the policy", "sponsored", FAILED, |d| d.transaction.max_fee_per_gas = 100_000_000_001;
    "sponsored: a long validity", "sponsored", FAILED, |d| d.transaction.valid_before = NonZeroU64::new(later(901));
    "sponsored: no end of validity", "sponsored", FAILED, |d| d.transaction.valid_before = None;
    "sponsored: a nonce that waits", "sponsored", FAILED, |d| d.transaction.nonce_key = U256::from(1);
    "sponsored: a smuggled transfer", "sponsored", FAILED, |d| d.transaction.calls.push(transfer(stranger(), 1));
    "sponsored: value", "sponsored", FAILED, |d| with(d, 0, |one| one.value = U256::from(1));
    "sponsored: a hash", "sponsored", INVALID, |d| d.payload = Some(json!({"type": "hash", "hash": B256::repeat_byte(1)}));
    "a hash of nothing", "photo", ProblemKind::RequestInProgress, |d| d.payload = Some(json!({"type": "hash", "hash": B256::repeat_byte(1)}));
    "no transaction", "photo", INVALID, |d| d.payload = Some(json!({"type": "transaction", "signature": "0x76ff"}));
    "an ordinary transaction", "photo", INVALID, |d| d.payload = Some(json!({"type": "transaction", "signature": "0x02c0"}));
    "a payload of another method", "photo", INVALID, |d| d.payload = Some(json!({"type": "card", "number": "4242"}));
    "no payload", "photo", INVALID, |d| d.payload = Some(json!({}));
    "a transaction where an identity is asked for", "members", INVALID, |d| d.payload = Some(json!({"type": "transaction", "signature": "0x76ff"}));
    "the source of another account", "photo", FAILED, |d| d.source = Some(format!("did:pkh:eip155:42431:{:#x}", stranger()));
    "the source of another chain", "photo", FAILED, |d| d.source = d.source.take().map(|source| source.replace("42431", "4217"));
    "no source at all in `source`", "photo", INVALID, |d| d.source = Some(String::from("me"));
    "a challenge with another price", "photo", FOREIGN, |d| d.challenge.request = mpp_core::EncodedJson::from_value(&json!({"amount": "1"})).unwrap_or_else(|_| d.challenge.request.clone());
    "a challenge with another realm", "photo", FOREIGN, |d| if let Ok(realm) = mpp_core::Realm::new("evil.example") { d.challenge.realm = realm; };
    "a challenge that was made to last", "photo", FOREIGN, |d| d.challenge.expires = Some(String::from("2999-01-01T00:00:00Z"));
    "a challenge without an end", "photo", FOREIGN, |d| d.challenge.expires = None;
    "another intent", "photo", ProblemKind::MethodUnsupported, |d| d.challenge.intent = mpp_core::IntentName::session();
];

/// Sends every credential of the matrix, and those that need a past.
pub(super) async fn all(case: &Case<'_>) -> anyhow::Result<()> {
    let wallet = case.wallet().await?;
    for hostile in MATRIX {
        let run = bent(case, &wallet, hostile).await;
        run.with_context(|| format!("with {}", hostile.name))?;
    }
    elsewhere(case, &wallet).await.context("of elsewhere")?;
    expired(case, &wallet).await.context("that has expired")?;
    mined(case, &wallet)
        .await
        .context("with a mined transaction")?;
    proofs(case, &wallet).await.context("with a proof")?;
    unreadable(case, &wallet)
        .await
        .context("that is unreadable")
}

/// What must not change while hostile credentials are shown.
#[derive(Debug, PartialEq, Eq)]
struct Untouched {
    sent: u64,
    served: u64,
    sponsor: Amount,
}

impl Untouched {
    async fn of(case: &Case<'_>) -> anyhow::Result<Self> {
        Ok(Self {
            sent: case.market.chain.sent(),
            served: case.market.served(),
            sponsor: case.balance(case.market.sponsor.address()).await?,
        })
    }

    async fn check(self, case: &Case<'_>) -> anyhow::Result<()> {
        let now = Self::of(case).await?;
        ensure!(now == self, "{now:?} after {self:?}");
        Ok(())
    }
}

async fn bent(case: &Case<'_>, wallet: &Wallet<'_>, hostile: &Hostile) -> anyhow::Result<()> {
    let url = case.url(hostile.path);
    let before = Untouched::of(case).await?;
    let challenge = wallet.raw.challenge(&url).await?;
    // What is asked of members has no transaction.
    let priced = match hostile.path {
        "members" => wallet.raw.challenge(&case.url("photo")).await?,
        _ => challenge.clone(),
    };
    let mut draft = Draft {
        transaction: wallet.transaction(&priced).await?,
        challenge,
        payload: None,
        source: Some(wallet.source()?),
    };
    (hostile.bend)(&mut draft);
    let payload = match draft.payload {
        Some(payload) => payload,
        None => {
            let transaction = wallet.sign_raw(draft.transaction);
            serde_json::to_value(ChargePayload::Transaction { transaction })?
        }
    };
    let mut credential = Credential::new(draft.challenge, payload);
    credential.source = draft.source;
    refused(wallet.show(&url, &credential).await?, hostile.kind).await?;
    before.check(case).await?;
    honest(case, wallet, hostile.path).await
}

/// The honest request after a hostile one.
async fn honest(case: &Case<'_>, wallet: &Wallet<'_>, path: &str) -> anyhow::Result<()> {
    if path == "members" {
        return Ok(());
    }
    let url = case.url(path);
    let credential = wallet.pay(&url).await?;
    wallet.buy(&url, &credential).await.context("honest")?;
    Ok(())
}

/// SECURITY-CASES A3: paid for one route, shown at another.
async fn elsewhere(case: &Case<'_>, wallet: &Wallet<'_>) -> anyhow::Result<()> {
    let before = Untouched::of(case).await?;
    let credential = wallet.pay(&case.url("photo")).await?;
    for path in ["other", "sponsored", "token", "members"] {
        let response = wallet.show(&case.url(path), &credential).await?;
        refused(response, FOREIGN).await.context(path)?;
    }
    before.check(case).await?;
    wallet.buy(&case.url("photo"), &credential).await?;
    Ok(())
}

/// PROTOCOL 1.1: equal to now has expired.
async fn expired(case: &Case<'_>, wallet: &Wallet<'_>) -> anyhow::Result<()> {
    let url = format!("{}/photo", case.market.hasty.url);
    let before = Untouched::of(case).await?;
    let credential = wallet.pay(&url).await?;
    ensure!(credential.challenge.expires_at()? <= account::now());
    let response = wallet.show(&url, &credential).await?;
    refused(response, ProblemKind::PaymentExpired).await?;
    before.check(case).await?;
    honest(case, wallet, "photo").await
}

/// SECURITY-CASES A4: mined transactions that pay something else.
async fn mined(case: &Case<'_>, wallet: &Wallet<'_>) -> anyhow::Result<()> {
    let url = case.url("photo");
    let before = Untouched::of(case).await?;
    let challenge = wallet.raw.challenge(&url).await?;
    let other = wallet.raw.challenge(&url).await?;
    let honest_calls = wallet.transaction(&challenge).await?.calls;
    for calls in [
        vec![transfer(stranger(), 10_000)],
        vec![transfer(case.market.payee.address(), 10_000)],
        wallet.transaction(&other).await?.calls,
    ] {
        let mut transaction = wallet.transaction(&challenge).await?;
        transaction.calls = calls;
        let sent = wallet.sign(transaction)?;
        let mined = case.node.chain.send_and_wait(sent.encode()).await?;
        ensure!(mined.success);
        let pushed = wallet.push(&challenge, mined.hash)?;
        refused(wallet.show(&url, &pushed).await?, FAILED).await?;
    }
    // Somebody else's payment, claimed by its hash.
    let mut transaction = wallet.transaction(&challenge).await?;
    transaction.calls = honest_calls;
    let sent = wallet.sign(transaction)?;
    let mined = case.node.chain.send_and_wait(sent.encode()).await?;
    let mut stolen = wallet.push(&challenge, mined.hash)?;
    stolen.source = Some(format!("did:pkh:eip155:42431:{:#x}", stranger()));
    refused(wallet.show(&url, &stolen).await?, FAILED).await?;
    before.check(case).await?;
    wallet
        .buy(&url, &wallet.push(&challenge, mined.hash)?)
        .await?;
    Ok(())
}

/// A proof of identity pays nothing, and one of somebody else proves nothing.
async fn proofs(case: &Case<'_>, wallet: &Wallet<'_>) -> anyhow::Result<()> {
    let before = Untouched::of(case).await?;
    let prove = async |path: &str, account: Address| -> anyhow::Result<Credential> {
        let challenge = wallet.raw.challenge(&case.url(path)).await?;
        let terms = ProofTerms {
            account,
            chain_id: case.node.network()?.chain_id,
            challenge_id: challenge.id.as_str(),
            realm: challenge.realm.as_str(),
        };
        let signature = terms.sign(&wallet.raw.signer).await?;
        let mut proof = wallet.credential(&challenge, &ChargePayload::Proof { signature })?;
        proof.source = Some(format!("did:pkh:eip155:42431:{account:#x}"));
        Ok(proof)
    };
    let own = wallet.address();
    let free = prove("photo", own).await?;
    let response = wallet.show(&case.url("photo"), &free).await?;
    refused(response, INVALID).await?;
    let forged = prove("members", stranger()).await?;
    let response = wallet.show(&case.url("members"), &forged).await?;
    refused(response, FAILED).await?;
    before.check(case).await?;
    let honest = prove("members", own).await?;
    wallet.buy(&case.url("members"), &honest).await?;
    Ok(())
}

/// PROTOCOL 1.3: what can not be read, and what comes twice.
async fn unreadable(case: &Case<'_>, wallet: &Wallet<'_>) -> anyhow::Result<()> {
    let url = case.url("photo");
    let before = Untouched::of(case).await?;
    let value = header::credential::encode(&wallet.pay(&url).await?)?;
    let token = value.strip_prefix("Payment ").context("scheme")?;
    for (text, kind) in [
        (
            String::from("Payment e30"),
            ProblemKind::MalformedCredential,
        ),
        (
            String::from("Payment !!!!"),
            ProblemKind::MalformedCredential,
        ),
        (
            format!("Payment {token}, Payment {token}"),
            ProblemKind::BadRequest,
        ),
    ] {
        let response = wallet.raw.authorize(Method::GET, &url, &text).await?;
        refused(response, kind).await?;
    }
    before.check(case).await?;
    honest(case, wallet, "photo").await
}

/// Bends one call of the transaction.
fn with(draft: &mut Draft, call: usize, bend: impl FnOnce(&mut Call)) {
    if let Some(call) = draft.transaction.calls.get_mut(call) {
        bend(call);
    }
}

/// Bends the first transfer of the charge.
fn pay(draft: &mut Draft, bend: impl FnOnce(&mut ChargeTransfer)) {
    let Some(first) = draft.transaction.calls.first_mut() else {
        return;
    };
    let Ok(paid) = ITIP20::transferWithMemoCall::abi_decode(&first.input) else {
        return;
    };
    let mut one = ChargeTransfer {
        to: paid.to,
        amount: Amount::new(paid.amount.saturating_to()),
        memo: Some(paid.memo),
    };
    bend(&mut one);
    *first = call(PATH_USD, &one);
}

fn transfer(to: Address, units: u128) -> Call {
    let one = ChargeTransfer {
        to,
        amount: Amount::new(units),
        memo: None,
    };
    call(PATH_USD, &one)
}

fn approval() -> Call {
    let approve = ITIP20::approveCall {
        spender: stranger(),
        amount: U256::from(10_000),
    };
    Call {
        to: TxKind::Call(PATH_USD),
        value: U256::ZERO,
        input: approve.abi_encode().into(),
    }
}

fn pad(call: &mut Call) {
    let padded = [call.input.as_ref(), &[0; 32]].concat();
    call.input = Bytes::from(padded);
}

fn access_list() -> AccessList {
    AccessList(vec![AccessListItem {
        address: PATH_USD,
        storage_keys: vec![B256::ZERO],
    }])
}

fn attribution(realm: &str, challenge_id: &str) -> B256 {
    AttributionMemo::new(realm, None, challenge_id).to_word()
}

fn stranger() -> Address {
    Address::repeat_byte(0xEE)
}

/// Unix seconds, so many from now.
fn later(seconds: u64) -> u64 {
    let now = u64::try_from(account::now().as_secs()).unwrap_or_default();
    now.saturating_add(seconds)
}
