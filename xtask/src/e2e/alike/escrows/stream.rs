//! The v1 escrow.

use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::SolCall;
use mpp_tempo::{
    ChannelTerms, LocalSigner, SessionProtocol, Signer as _,
    escrow::{IStreamChannel as v1, ITIP20},
    network::{Network, PATH_USD},
    tx::gas,
};

use super::{Actors, DEPOSIT, run, send, spoiled, wait};
use crate::e2e::alike::pair::{Pair, call};

const ESCROW: Address = Network::MODERATO.stream_channel;
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
    compact(pair, actors, &third).await?;
    views(pair, actors, &[first, second, third]).await
}

fn open_call(actors: &Actors, salt: u8) -> v1::openCall {
    let params = actors.params(SessionProtocol::V1, salt);
    v1::openCall {
        payee: params.payee,
        token: params.token,
        deposit: DEPOSIT.into(),
        salt: params.salt,
        authorizedSigner: params.authorized_signer,
    }
}

async fn open(pair: &mut Pair, actors: &Actors, salt: u8) -> anyhow::Result<ChannelTerms> {
    let approve = ITIP20::approveCall {
        spender: ESCROW,
        amount: U256::from(DEPOSIT),
    };
    let calls = vec![
        call(PATH_USD, approve.abi_encode()),
        call(ESCROW, open_call(actors, salt).abi_encode()),
    ];
    send(
        pair,
        ("v1 open", gas::open(SessionProtocol::V1)),
        &actors.payer,
        calls,
    )
    .await?;
    let params = actors.params(SessionProtocol::V1, salt);
    Ok(params.terms(42_431, actors.payer.address(), B256::ZERO))
}

/// Calls by somebody, without a transaction.
async fn attempt(
    pair: &mut Pair,
    what: &str,
    signer: &LocalSigner,
    call: impl SolCall,
) -> anyhow::Result<()> {
    let what = format!("v1 {what}");
    pair.call(&what, signer.address(), ESCROW, call.abi_encode())
        .await?;
    Ok(())
}

async fn opens(pair: &mut Pair, actors: &Actors) -> anyhow::Result<()> {
    let good = open_call(actors, 1);
    let payer = &actors.payer;
    attempt(pair, "open again", payer, good.clone()).await?;
    let payee = Address::ZERO;
    attempt(
        pair,
        "open for nobody",
        payer,
        v1::openCall {
            payee,
            ..good.clone()
        },
    )
    .await?;
    let token = Address::ZERO;
    attempt(
        pair,
        "open of nothing",
        payer,
        v1::openCall {
            token,
            ..good.clone()
        },
    )
    .await?;
    let token = Address::repeat_byte(0x33);
    attempt(
        pair,
        "open of no token",
        payer,
        v1::openCall {
            token,
            ..good.clone()
        },
    )
    .await?;
    attempt(
        pair,
        "open with zero",
        payer,
        v1::openCall {
            deposit: 0,
            ..good.clone()
        },
    )
    .await?;
    let salt = B256::repeat_byte(99);
    attempt(
        pair,
        "open unapproved",
        payer,
        v1::openCall { salt, ..good },
    )
    .await
}

async fn deposits(pair: &mut Pair, actors: &Actors, terms: &ChannelTerms) -> anyhow::Result<()> {
    let id = terms.id();
    let top_up = |channel: B256, amount: U256| v1::topUp_0Call {
        channelId: channel,
        additionalDeposit: amount,
    };
    let (payer, one) = (&actors.payer, U256::ONE);
    attempt(
        pair,
        "top-up by a stranger",
        &actors.stranger,
        top_up(id, one),
    )
    .await?;
    attempt(pair, "top-up with zero", payer, top_up(id, U256::ZERO)).await?;
    attempt(pair, "top-up of nothing", payer, top_up(B256::ZERO, one)).await?;
    attempt(pair, "top-up beyond all", payer, top_up(id, U256::MAX)).await?;
    attempt(pair, "top-up unapproved", payer, top_up(id, one)).await?;
    let request = v1::requestCloseCall { channelId: id };
    run(
        pair,
        ("v1 request", gas::REQUEST_CLOSE),
        payer,
        ESCROW,
        request.abi_encode(),
    )
    .await?;
    run(
        pair,
        ("v1 request again", gas::REQUEST_CLOSE),
        payer,
        ESCROW,
        request.abi_encode(),
    )
    .await?;
    let approve = ITIP20::approveCall {
        spender: ESCROW,
        amount: U256::from(11),
    };
    let narrow = v1::topUp_1Call {
        channelId: id,
        additionalDeposit: 4,
    };
    let calls = vec![
        call(PATH_USD, approve.abi_encode()),
        call(ESCROW, top_up(id, U256::from(7)).abi_encode()),
        call(ESCROW, narrow.abi_encode()),
    ];
    send(pair, ("v1 top-ups", gas::TOP_UP), payer, calls).await
}

async fn payouts(pair: &mut Pair, actors: &Actors, terms: &ChannelTerms) -> anyhow::Result<()> {
    let id = terms.id();
    let settle = |amount: u64, signature: &[u8]| v1::settleCall {
        channelId: id,
        cumulativeAmount: amount.into(),
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
        ("v1 settle", gas::SETTLE),
        payee,
        ESCROW,
        settle(500, &good).abi_encode(),
    )
    .await?;
    attempt(pair, "settle again", payee, settle(500, &good)).await?;
    let lower = actors.voucher(terms, 400).await?;
    attempt(pair, "settle less", payee, settle(400, &lower)).await
}

async fn closing(pair: &mut Pair, actors: &Actors, terms: &ChannelTerms) -> anyhow::Result<()> {
    let close = |amount: u64, signature: &[u8]| v1::closeCall {
        channelId: terms.id(),
        cumulativeAmount: amount.into(),
        signature: signature.to_vec().into(),
    };
    let (payee, good) = (&actors.payee, actors.voucher(terms, 900).await?);
    attempt(
        pair,
        "close by a stranger",
        &actors.stranger,
        close(900, &good),
    )
    .await?;
    attempt(pair, "close with nothing signed", payee, close(900, &[])).await?;
    let above = actors.voucher(terms, TOO_MUCH).await?;
    attempt(
        pair,
        "close above the deposit",
        payee,
        close(TOO_MUCH, &above),
    )
    .await?;
    attempt(pair, "close at what is settled", payee, close(500, &[])).await?;
    run(
        pair,
        ("v1 close", gas::CLOSE),
        payee,
        ESCROW,
        close(900, &good).abi_encode(),
    )
    .await?;
    attempt(pair, "close again", payee, close(900, &good)).await?;
    attempt(
        pair,
        "open of a closed one",
        &actors.payer,
        open_call(actors, 1),
    )
    .await
}

async fn leaving(pair: &mut Pair, actors: &Actors, terms: &ChannelTerms) -> anyhow::Result<()> {
    let request = v1::requestCloseCall {
        channelId: terms.id(),
    };
    let withdraw = v1::withdrawCall {
        channelId: terms.id(),
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
        ("v1 request", gas::REQUEST_CLOSE),
        payer,
        ESCROW,
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
        ("v1 withdraw", gas::WITHDRAW),
        payer,
        ESCROW,
        withdraw.abi_encode(),
    )
    .await?;
    attempt(pair, "withdraw again", payer, withdraw).await
}

/// Signatures of 64 bytes (EIP-2098).
async fn compact(pair: &mut Pair, actors: &Actors, terms: &ChannelTerms) -> anyhow::Result<()> {
    let mut signature = actors.voucher(terms, 300).await?;
    let odd = signature.pop() == Some(28);
    if let (true, Some(first)) = (odd, signature.get_mut(32)) {
        *first |= 0x80;
    }
    let settle = v1::settleCall {
        channelId: terms.id(),
        cumulativeAmount: 300,
        signature: signature.into(),
    };
    run(
        pair,
        ("v1 settle, compact", gas::SETTLE),
        &actors.payee,
        ESCROW,
        settle.abi_encode(),
    )
    .await?;
    Ok(())
}

async fn views(pair: &mut Pair, actors: &Actors, all: &[ChannelTerms]) -> anyhow::Result<()> {
    let anybody = &actors.stranger;
    for terms in all {
        let get = v1::getChannelCall {
            channelId: terms.id(),
        };
        attempt(pair, "channel", anybody, get).await?;
    }
    let unknown = v1::getChannelCall {
        channelId: B256::ZERO,
    };
    attempt(pair, "unknown channel", anybody, unknown).await?;
    let ids = all.iter().map(ChannelTerms::id).chain([B256::ZERO]);
    let batch = v1::getChannelsBatchCall {
        channelIds: ids.collect(),
    };
    attempt(pair, "channels", anybody, batch).await?;
    let digest = v1::getVoucherDigestCall {
        channelId: B256::repeat_byte(5),
        cumulativeAmount: u128::MAX,
    };
    attempt(pair, "digest", anybody, digest).await?;
    let id = v1::computeChannelIdCall {
        payer: actors.payer.address(),
        payee: actors.payee.address(),
        token: PATH_USD,
        salt: B256::repeat_byte(6),
        authorizedSigner: Address::ZERO,
    };
    attempt(pair, "id", anybody, id).await?;
    attempt(pair, "domain", anybody, v1::domainSeparatorCall {}).await?;
    attempt(pair, "type", anybody, v1::VOUCHER_TYPEHASHCall {}).await?;
    attempt(pair, "grace", anybody, v1::CLOSE_GRACE_PERIODCall {}).await?;
    let nothing = vec![9, 9, 9, 9];
    pair.call("v1 no such function", anybody.address(), ESCROW, nothing)
        .await?;
    Ok(())
}
