//! The v2 reserve.

use alloy_primitives::{Address, B256, Bytes, aliases::U96};
use alloy_sol_types::SolCall;
use anyhow::Context as _;
use mpp_core::Amount;
use mpp_tempo::{
    ChannelTerms, LocalSigner, SessionProtocol, Signer as _,
    escrow::ITIP20ChannelReserve as v2,
    network::{CHANNEL_RESERVE as RESERVE, PATH_USD},
    tx::{SignedTx, gas},
    voucher::VoucherVerifier,
};
use serde_json::json;
use tempo_primitives::TempoTransaction;

use super::{Actors, DEPOSIT, run, spoiled, wait};
use crate::{
    account,
    e2e::alike::{
        pair::{Pair, call},
        senders::{Kind, Passkey},
    },
};

/// More than any channel here holds.
const TOO_MUCH: u64 = 5_000_000;

pub(super) async fn ask(pair: &mut Pair, actors: &Actors) -> anyhow::Result<()> {
    let first = open(pair, actors, 1).await?;
    opens(pair, actors).await?;
    deposits(pair, actors, &first).await?;
    payouts(pair, actors, &first).await?;
    closing(pair, actors, &first).await?;
    let second = open(pair, actors, 2).await?;
    leaving(pair, actors, &second).await?;
    let third = open(pair, actors, 3).await?;
    operated(pair, actors, &third).await?;
    passkey(pair, actors).await?;
    views(pair, actors, &[first, second, third]).await
}

fn open_call(actors: &Actors, salt: u8) -> v2::openCall {
    let params = actors.params(SessionProtocol::V2, salt);
    v2::openCall {
        payee: params.payee,
        operator: params.operator,
        token: params.token,
        deposit: U96::from(DEPOSIT),
        salt: params.salt,
        authorizedSigner: params.authorized_signer,
    }
}

async fn open(pair: &mut Pair, actors: &Actors, salt: u8) -> anyhow::Result<ChannelTerms> {
    let calls = vec![call(RESERVE, open_call(actors, salt).abi_encode())];
    let draft = TempoTransaction {
        gas_limit: gas::open(SessionProtocol::V2),
        ..pair.draft(calls)
    };
    let raw = account::sign_raw(&actors.payer, draft);
    pair.send("v2 open", &raw).await?.succeeded()?;
    let context = SignedTx::decode(&raw)?.expiring_nonce_hash();
    let params = actors.params(SessionProtocol::V2, salt);
    Ok(params.terms(42_431, actors.payer.address(), context))
}

fn descriptor(terms: &ChannelTerms) -> v2::ChannelDescriptor {
    (&terms.descriptor).into()
}

/// Calls by somebody, without a transaction.
async fn attempt(
    pair: &mut Pair,
    what: &str,
    signer: &LocalSigner,
    call: impl SolCall,
) -> anyhow::Result<()> {
    let what = format!("v2 {what}");
    pair.call(&what, signer.address(), RESERVE, call.abi_encode())
        .await?;
    Ok(())
}

async fn opens(pair: &mut Pair, actors: &Actors) -> anyhow::Result<()> {
    let good = open_call(actors, 9);
    let payer = &actors.payer;
    for (what, payee) in [
        ("open for nobody", Address::ZERO),
        ("open for a token", PATH_USD),
    ] {
        attempt(
            pair,
            what,
            payer,
            v2::openCall {
                payee,
                ..good.clone()
            },
        )
        .await?;
    }
    let mut bytes = [0xfd; 20];
    bytes[..4].fill(1);
    let payee = Address::from(bytes);
    let operator = Address::ZERO;
    let virtually = v2::openCall {
        payee,
        operator,
        ..good.clone()
    };
    attempt(pair, "open for a virtual one", payer, virtually).await?;
    let token = Address::repeat_byte(0x33);
    attempt(
        pair,
        "open of no token",
        payer,
        v2::openCall {
            token,
            ..good.clone()
        },
    )
    .await?;
    let deposit = U96::ZERO;
    attempt(
        pair,
        "open with zero",
        payer,
        v2::openCall {
            deposit,
            ..good.clone()
        },
    )
    .await?;
    attempt(pair, "open tried", payer, good.clone()).await?;
    let input = Bytes::from(good.abi_encode());
    let calls = json!([{"from": payer.address(), "to": RESERVE, "input": input}]);
    let simulation = json!([{"blockStateCalls": [{"calls": calls}]}, "latest"]);
    pair.ask("v2 open simulated", "eth_simulateV1", simulation)
        .await?;
    let poor = account::signer_for("has nothing")?;
    attempt(pair, "open by a poor one", &poor, good.clone()).await?;
    // Twice the same in one transaction is once too often.
    let twice = vec![
        call(RESERVE, good.abi_encode()),
        call(RESERVE, good.abi_encode()),
    ];
    pair.run("v2 open twice", payer, twice).await?;
    Ok(())
}

async fn deposits(pair: &mut Pair, actors: &Actors, terms: &ChannelTerms) -> anyhow::Result<()> {
    let top_up = |terms: &ChannelTerms, amount: U96| v2::topUpCall {
        descriptor: descriptor(terms),
        additionalDeposit: amount,
    };
    let (payer, one) = (&actors.payer, U96::from(1));
    attempt(
        pair,
        "top-up by a stranger",
        &actors.stranger,
        top_up(terms, one),
    )
    .await?;
    let mut other = *terms;
    other.descriptor.salt = B256::repeat_byte(0x44);
    attempt(pair, "top-up of nothing", payer, top_up(&other, one)).await?;
    attempt(pair, "top-up beyond all", payer, top_up(terms, U96::MAX)).await?;
    attempt(pair, "top-up with zero", payer, top_up(terms, U96::ZERO)).await?;
    let request = v2::requestCloseCall {
        descriptor: descriptor(terms),
    };
    run(
        pair,
        ("v2 request", gas::REQUEST_CLOSE),
        payer,
        RESERVE,
        request.abi_encode(),
    )
    .await?;
    run(
        pair,
        ("v2 request again", gas::REQUEST_CLOSE),
        payer,
        RESERVE,
        request.abi_encode(),
    )
    .await?;
    let more = top_up(terms, U96::from(7)).abi_encode();
    run(pair, ("v2 top-up", gas::TOP_UP), payer, RESERVE, more).await?;
    run(
        pair,
        ("v2 request", gas::REQUEST_CLOSE),
        payer,
        RESERVE,
        request.abi_encode(),
    )
    .await?;
    let nothing = top_up(terms, U96::ZERO).abi_encode();
    run(
        pair,
        ("v2 cancelled with zero", gas::TOP_UP),
        payer,
        RESERVE,
        nothing,
    )
    .await?;
    Ok(())
}

async fn payouts(pair: &mut Pair, actors: &Actors, terms: &ChannelTerms) -> anyhow::Result<()> {
    let settle = |amount: u64, signature: &[u8]| v2::settleCall {
        descriptor: descriptor(terms),
        cumulativeAmount: U96::from(amount),
        signature: signature.to_vec().into(),
    };
    let (payee, good) = (&actors.payee, actors.voucher(terms, 500).await?);
    attempt(
        pair,
        "settle by a stranger",
        &actors.stranger,
        settle(500, &good),
    )
    .await?;
    attempt(pair, "settle of another amount", payee, settle(501, &good)).await?;
    for (what, signature) in spoiled(&good)? {
        let what = format!("settle with {what}");
        attempt(pair, &what, payee, settle(500, &signature)).await?;
    }
    let above = actors.voucher(terms, TOO_MUCH).await?;
    attempt(
        pair,
        "settle above the deposit",
        payee,
        settle(TOO_MUCH, &above),
    )
    .await?;
    run(
        pair,
        ("v2 settle", gas::SETTLE),
        payee,
        RESERVE,
        settle(500, &good).abi_encode(),
    )
    .await?;
    attempt(pair, "settle again", payee, settle(500, &good)).await
}

async fn closing(pair: &mut Pair, actors: &Actors, terms: &ChannelTerms) -> anyhow::Result<()> {
    let close = |amount: u64, capture: u64, signature: &[u8]| v2::closeCall {
        descriptor: descriptor(terms),
        cumulativeAmount: U96::from(amount),
        captureAmount: U96::from(capture),
        signature: signature.to_vec().into(),
    };
    let (payee, good) = (&actors.payee, actors.voucher(terms, 900).await?);
    attempt(
        pair,
        "close by a stranger",
        &actors.stranger,
        close(900, 800, &good),
    )
    .await?;
    attempt(
        pair,
        "close with nothing signed",
        payee,
        close(900, 800, &[]),
    )
    .await?;
    attempt(
        pair,
        "close below what is settled",
        payee,
        close(900, 499, &good),
    )
    .await?;
    attempt(
        pair,
        "close above the voucher",
        payee,
        close(900, 901, &good),
    )
    .await?;
    let above = actors.voucher(terms, TOO_MUCH).await?;
    attempt(
        pair,
        "close above the deposit",
        payee,
        close(TOO_MUCH, TOO_MUCH, &above),
    )
    .await?;
    attempt(
        pair,
        "close at what is settled",
        payee,
        close(500, 500, &[]),
    )
    .await?;
    run(
        pair,
        ("v2 close", gas::CLOSE),
        payee,
        RESERVE,
        close(900, 800, &good).abi_encode(),
    )
    .await?;
    attempt(pair, "close again", payee, close(900, 800, &good)).await
}

async fn leaving(pair: &mut Pair, actors: &Actors, terms: &ChannelTerms) -> anyhow::Result<()> {
    let request = v2::requestCloseCall {
        descriptor: descriptor(terms),
    };
    let withdraw = v2::withdrawCall {
        descriptor: descriptor(terms),
    };
    let payer = &actors.payer;
    attempt(
        pair,
        "request by a stranger",
        &actors.stranger,
        request.clone(),
    )
    .await?;
    attempt(pair, "withdraw without a request", payer, withdraw.clone()).await?;
    run(
        pair,
        ("v2 request", gas::REQUEST_CLOSE),
        payer,
        RESERVE,
        request.abi_encode(),
    )
    .await?;
    attempt(pair, "withdraw too early", payer, withdraw.clone()).await?;
    wait(pair).await?;
    attempt(
        pair,
        "withdraw by a stranger",
        &actors.stranger,
        withdraw.clone(),
    )
    .await?;
    run(
        pair,
        ("v2 withdraw", gas::WITHDRAW),
        payer,
        RESERVE,
        withdraw.abi_encode(),
    )
    .await?;
    attempt(pair, "withdraw again", payer, withdraw).await
}

/// An operator may do what the payee may.
async fn operated(pair: &mut Pair, actors: &Actors, terms: &ChannelTerms) -> anyhow::Result<()> {
    let settle = v2::settleCall {
        descriptor: descriptor(terms),
        cumulativeAmount: U96::from(300),
        signature: actors.voucher(terms, 300).await?.into(),
    };
    run(
        pair,
        ("v2 settle by the operator", gas::SETTLE),
        &actors.operator,
        RESERVE,
        settle.abi_encode(),
    )
    .await?;
    Ok(())
}

/// Vouchers that a passkey signs, and the form of 64 bytes that only v1 knows.
async fn passkey(pair: &mut Pair, actors: &Actors) -> anyhow::Result<()> {
    let key = Passkey::new()?;
    let opening = v2::openCall {
        authorizedSigner: key.address(),
        ..open_call(actors, 5)
    };
    let raw = pair.draft(vec![call(RESERVE, opening.abi_encode())]);
    let raw = account::sign_raw(&actors.payer, raw);
    pair.send("v2 open for a passkey", &raw)
        .await?
        .succeeded()?;
    let mut params = actors.params(SessionProtocol::V2, 5);
    params.authorized_signer = key.address();
    let context = SignedTx::decode(&raw)?.expiring_nonce_hash();
    let terms = params.terms(42_431, actors.payer.address(), context);
    let domain = VoucherVerifier::new(&terms);
    let settle = |amount: u64, signature: Bytes| v2::settleCall {
        descriptor: descriptor(&terms),
        cumulativeAmount: U96::from(amount),
        signature,
    };
    for (amount, what, kind) in [
        (100, "v2 settle over P-256", Kind::P256),
        (200, "v2 settle over WebAuthn", Kind::WebAuthn),
    ] {
        let digest = domain.digest(Amount::new(amount.into()));
        let signature = key.sign(kind, digest)?.to_bytes();
        let signed = settle(amount, signature.clone());
        run(
            pair,
            (what, gas::SETTLE),
            &actors.payee,
            RESERVE,
            signed.abi_encode(),
        )
        .await?;
        let other = settle(amount.saturating_add(1), signature);
        attempt(
            pair,
            "settle with a passkey's other amount",
            &actors.payee,
            other,
        )
        .await?;
    }
    let terms = open(pair, actors, 7).await?;
    let mut compact = actors.voucher(&terms, 300).await?;
    compact.truncate(64);
    let settle = v2::settleCall {
        descriptor: descriptor(&terms),
        cumulativeAmount: U96::from(300),
        signature: compact.into(),
    };
    attempt(pair, "settle, compact", &actors.payee, settle).await
}

async fn views(pair: &mut Pair, actors: &Actors, all: &[ChannelTerms]) -> anyhow::Result<()> {
    let anybody = &actors.stranger;
    for terms in all {
        let state = v2::getChannelStateCall {
            channelId: terms.id(),
        };
        attempt(pair, "state", anybody, state).await?;
        let channel = v2::getChannelCall {
            descriptor: descriptor(terms),
        };
        attempt(pair, "channel", anybody, channel).await?;
    }
    let ids = all.iter().map(ChannelTerms::id).chain([B256::ZERO]);
    let batch = v2::getChannelStatesBatchCall {
        channelIds: ids.collect(),
    };
    attempt(pair, "states", anybody, batch).await?;
    let digest = v2::getVoucherDigestCall {
        channelId: B256::repeat_byte(5),
        cumulativeAmount: U96::MAX,
    };
    attempt(pair, "digest", anybody, digest).await?;
    let terms = all.first().context("three channels")?;
    let v2::ChannelDescriptor {
        payer,
        payee,
        operator,
        token,
        salt,
        authorizedSigner,
        expiringNonceHash,
    } = descriptor(terms);
    let id = v2::computeChannelIdCall {
        payer,
        payee,
        operator,
        token,
        salt,
        authorizedSigner,
        expiringNonceHash,
    };
    attempt(pair, "id", anybody, id).await?;
    attempt(pair, "domain", anybody, v2::domainSeparatorCall {}).await?;
    attempt(pair, "type", anybody, v2::VOUCHER_TYPEHASHCall {}).await?;
    attempt(pair, "grace", anybody, v2::CLOSE_GRACE_PERIODCall {}).await?;
    let nothing = vec![9, 9, 9, 9];
    pair.call("v2 no such function", anybody.address(), RESERVE, nothing)
        .await?;
    Ok(())
}
