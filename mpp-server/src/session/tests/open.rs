//! Opening a channel: what is checked, in which order, and what is left behind.

use std::time::Duration;

use alloy_primitives::{Address, B256};
use mpp_core::{Amount, DidPkh, problem::ProblemKind};
use mpp_devnet::nth_token;
use mpp_tempo::{
    SessionProtocol, SignedVoucher, Signer,
    tx::{TxContext, build, build::OpenParams, gas},
    wire::SessionPayload,
};

use crate::{
    ServerEvent,
    gate::Purpose,
    session::record::{LedgerKind, Phase},
    testing::{
        BOTH, DEPOSIT, Opening, PRICE, World, amount, ledger, managed, paying, problem, refused,
        route, served, sign, voucher_payload,
    },
};

const V1: SessionProtocol = SessionProtocol::V1;
const V2: SessionProtocol = SessionProtocol::V2;

// PROTOCOL 5.4 open; issue: exactly one chain transaction for open.
#[tokio::test(start_paused = true)]
async fn an_open_locks_the_deposit_and_serves() {
    for protocol in BOTH {
        let world = World::new();
        let mut events = world.server.subscribe();
        let route = world.route(protocol);
        let opening = world.opening(protocol).await;
        let first = world.voucher(&opening.terms, PRICE);
        let receipt = served(world.buy(&route, &opening.payload(&first)).await).await;
        assert_eq!(receipt.spent, amount(PRICE));
        assert_eq!(receipt.accepted_cumulative, amount(PRICE));
        assert_eq!(receipt.units, Some(1));
        assert_eq!(receipt.channel_id, opening.terms.id().to_string());
        assert_eq!(world.node.transactions_mined(), 1);
        let on_chain = world.on_chain(&opening.terms).unwrap();
        assert_eq!(on_chain.deposit, amount(DEPOSIT));
        let record = world.record(opening.terms.id()).await;
        assert_eq!(record.phase, Phase::Open);
        assert_eq!(record.deposit, amount(DEPOSIT));
        let kinds = ledger(&world.store, record.id).await;
        let kinds: Vec<_> = kinds.iter().map(|entry| entry.kind).collect();
        assert_eq!(kinds, [LedgerKind::Opened, LedgerKind::Charged]);
        let mut told = Vec::new();
        while let Ok(event) = events.try_recv() {
            told.push(event);
        }
        assert!(told.contains(&ServerEvent::ChannelOpened {
            channel_id: record.id,
            deposit: amount(DEPOSIT)
        }));
        assert!(told.contains(&ServerEvent::Charged {
            channel_id: record.id,
            cost: amount(PRICE),
            units: 1,
            spent: amount(PRICE)
        }));
    }
}

// PROTOCOL 5.5: open as a management request charges nothing.
#[tokio::test(start_paused = true)]
async fn a_managed_open_charges_nothing() {
    for protocol in BOTH {
        let world = World::new();
        let route = world.route(protocol);
        let opening = world.opening(protocol).await;
        let payload = opening.payload(&world.voucher(&opening.terms, PRICE));
        let receipt = managed(world.manage(&route, &payload).await);
        assert_eq!(receipt.spent, Amount::ZERO);
        assert_eq!(receipt.units, None);
    }
}

// PROTOCOL 5.2: a lower opening amount records the channel; content is then refused with what is missing.
#[tokio::test(start_paused = true)]
async fn an_open_below_the_price_records_the_channel_and_asks_for_more() {
    let world = World::new();
    let opening = world.opening(V2).await;
    let payload = opening.payload(&world.voucher(&opening.terms, 0));
    let decision = world.buy(&world.route(V2), &payload).await;
    let problem = problem(decision, ProblemKind::InsufficientBalance);
    assert_eq!(problem.required_top_up, Some(amount(PRICE)));
    assert_eq!(problem.required_cumulative, Some(amount(PRICE)));
    assert_eq!(world.record(opening.terms.id()).await.phase, Phase::Open);
}

// PROTOCOL 5.4: repeating an open whose transaction is already mined succeeds idempotently.
#[tokio::test(start_paused = true)]
async fn a_repeated_open_finds_its_channel() {
    for protocol in BOTH {
        let world = World::new();
        let route = world.route(protocol);
        let opening = world.opening(protocol).await;
        let payload = opening.payload(&world.voucher(&opening.terms, PRICE));
        managed(world.manage(&route, &payload).await);
        world.advance(3_600);
        let repeated = managed(world.manage(&route, &payload).await);
        assert_eq!(repeated.accepted_cumulative, amount(PRICE));
        assert_eq!(world.node.transactions_mined(), 1);
        // Also when later vouchers have overtaken the first one.
        let higher = world.voucher(&opening.terms, 3 * PRICE);
        managed(world.manage(&route, &opening.payload(&higher)).await);
        let overtaken = managed(world.manage(&route, &payload).await);
        assert_eq!(overtaken.accepted_cumulative, amount(3 * PRICE));
    }
}

#[tokio::test(start_paused = true)]
async fn concurrent_copies_of_an_open_make_one_channel() {
    for protocol in BOTH {
        let world = World::new();
        let route = world.route(protocol);
        let opening = world.opening(protocol).await;
        let payload = opening.payload(&world.voucher(&opening.terms, PRICE));
        let copies = (0..10).map(|_| world.manage(&route, &payload));
        for decision in futures_util::future::join_all(copies).await {
            managed(decision);
        }
        assert_eq!(world.node.transactions_mined(), 1);
        let entries = ledger(&world.store, opening.terms.id()).await;
        assert_eq!(entries.len(), 1);
    }
}

// The open transaction is public once it is mined: it must not let a stranger spend the balance
// that the payer's vouchers have made (PROTOCOL 5.4: signature and signer before accept).
#[tokio::test(start_paused = true)]
async fn a_mined_open_with_a_forged_voucher_spends_nothing() {
    for protocol in BOTH {
        let world = World::new();
        let route = world.route(protocol);
        let opening = world.opening(protocol).await;
        let id = opening.terms.id();
        let payload = opening.payload(&world.voucher(&opening.terms, 5 * PRICE));
        managed(world.manage(&route, &payload).await);
        for units in [0, PRICE, 5 * PRICE] {
            let mut forged = sign(&world.stranger, &opening.terms, units);
            forged.voucher.channel_id = id;
            let forged = opening.payload(&forged);
            let managed = world.manage(&route, &forged).await;
            problem(managed, ProblemKind::SignerMismatch);
            // A lower one buys nothing, whoever has signed it.
            let kind = match units < 5 * PRICE {
                true => ProblemKind::DeltaTooSmall,
                false => ProblemKind::SignerMismatch,
            };
            let problem = problem(world.buy(&route, &forged).await, kind);
            assert_eq!(problem.channel_id, Some(id.to_string()));
        }
        assert_eq!(world.record(id).await.spent, Amount::ZERO);
    }
}

// A settlement makes its voucher public, as mining makes the open transaction: both together must
// not let a stranger spend what the payer's later vouchers have made.
#[tokio::test(start_paused = true)]
async fn a_mined_open_with_a_settled_voucher_spends_nothing() {
    for protocol in BOTH {
        let world = World::new();
        let route = world.route(protocol);
        let opening = world.opening(protocol).await;
        let terms = opening.terms;
        let public = world.voucher(&terms, PRICE);
        served(world.buy(&route, &opening.payload(&public)).await).await;
        world.settle(&terms, &public).await;
        world.server.refresh(terms.id()).await.unwrap();
        let ahead = voucher_payload(&terms, &world.voucher(&terms, 3 * PRICE));
        managed(world.manage(&route, &ahead).await);
        let decision = world.buy(&route, &opening.payload(&public)).await;
        let problem = problem(decision, ProblemKind::DeltaTooSmall);
        assert_eq!(problem.accepted_cumulative, Some(amount(3 * PRICE)));
        assert_eq!(world.record(terms.id()).await.spent, amount(PRICE));
    }
}

// SECURITY-CASES A35: bad voucher + good open transaction -> nothing broadcast.
#[tokio::test(start_paused = true)]
async fn a_bad_voucher_broadcasts_nothing() {
    for protocol in BOTH {
        let world = World::new();
        let route = world.route(protocol);
        let opening = world.opening(protocol).await;
        let good = world.voucher(&opening.terms, PRICE);
        let foreign = sign(&world.stranger, &opening.terms, PRICE);
        let mut raised = good.clone();
        raised.voucher.cumulative = amount(2 * PRICE);
        let too_much = world.voucher(&opening.terms, DEPOSIT + 1);
        let elsewhere = world.voucher(&world.opening(protocol).await.terms, PRICE);
        let swapped = SignedVoucher {
            signature: elsewhere.signature,
            ..good
        };
        for (bad, kind) in [
            (foreign, ProblemKind::SignerMismatch),
            (raised, ProblemKind::SignerMismatch),
            (swapped, ProblemKind::SignerMismatch),
            (too_much, ProblemKind::AmountExceedsDeposit),
        ] {
            problem(world.buy(&route, &opening.payload(&bad)).await, kind);
        }
        assert_eq!(world.node.transactions_mined(), 0);
        assert!(world.server.channel(opening.terms.id()).await.is_err());
    }
}

/// An open whose transaction differs from the offer is refused unsent.
async fn check_refused(protocol: SessionProtocol, change: impl FnOnce(&World, &mut OpenParams)) {
    let world = World::new();
    let mut params = world.params(protocol);
    change(&world, &mut params);
    let opening = world.sign_open(&params, paying()).await;
    let payload = opening.payload(&world.voucher(&opening.terms, 1));
    let decision = world.buy(&world.route(protocol), &payload).await;
    problem(decision, ProblemKind::VerificationFailed);
    assert_eq!(world.node.transactions_mined(), 0);
}

// PROTOCOL 5.4 open: exactly the expected calls, payee, token, operator, deposit >= price.
// SECURITY-CASES A10, A11.
#[tokio::test(start_paused = true)]
async fn an_open_that_differs_from_the_offer_is_refused() {
    for protocol in BOTH {
        check_refused(protocol, |world, params| {
            params.payee = world.stranger.address();
        })
        .await;
        check_refused(protocol, |_, params| params.token = nth_token(1)).await;
        check_refused(protocol, |_, params| params.deposit = amount(PRICE - 1)).await;
        check_refused(protocol, |_, params| {
            params.escrow = Address::repeat_byte(3)
        })
        .await;
    }
    check_refused(V2, |world, params| params.operator = world.payer.address()).await;
}

// PROTOCOL 5.1: clients answer only with the protocol of the challenge.
#[tokio::test(start_paused = true)]
async fn an_open_of_the_other_protocol_is_refused() {
    for (offered, opened) in [(V1, V2), (V2, V1)] {
        let world = World::new();
        let opening = world.opening(opened).await;
        let payload = opening.payload(&world.voucher(&opening.terms, 1));
        let decision = world.buy(&world.route(offered), &payload).await;
        assert_eq!(refused(decision).problem.status(), 402);
        assert_eq!(world.node.transactions_mined(), 0);
    }
}

// PROTOCOL 5.4: channelId recomputed; the descriptor and the signer are claims.
#[tokio::test(start_paused = true)]
async fn an_open_that_claims_something_else_is_refused() {
    let world = World::new();
    let route = world.route(V2);
    let opening = world.opening(V2).await;
    let honest = opening.payload(&world.voucher(&opening.terms, PRICE));
    let refuse = async |change: fn(&mut SessionPayload), kind| {
        let mut payload = honest.clone();
        change(&mut payload);
        problem(world.buy(&route, &payload).await, kind);
    };
    let verification = ProblemKind::VerificationFailed;
    let id = |payload: &mut SessionPayload| {
        if let SessionPayload::Open { channel_id, .. } = payload {
            *channel_id = B256::repeat_byte(1);
        }
    };
    refuse(id, verification).await;
    let salt = |payload: &mut SessionPayload| {
        if let SessionPayload::Open {
            descriptor: Some(claimed),
            ..
        } = payload
        {
            claimed.salt = B256::repeat_byte(0xee);
        }
    };
    refuse(salt, verification).await;
    let signer = |payload: &mut SessionPayload| {
        if let SessionPayload::Open {
            authorized_signer, ..
        } = payload
        {
            *authorized_signer = Some(Address::repeat_byte(4));
        }
    };
    refuse(signer, verification).await;
    // PROTOCOL 5.2: v2 actions carry the descriptor.
    let without = |payload: &mut SessionPayload| {
        if let SessionPayload::Open { descriptor, .. } = payload {
            *descriptor = None;
        }
    };
    refuse(without, ProblemKind::InvalidPayload).await;
    let garbage = |payload: &mut SessionPayload| {
        if let SessionPayload::Open { transaction, .. } = payload {
            *transaction = vec![0x76, 0xc0].into();
        }
    };
    refuse(garbage, ProblemKind::InvalidPayload).await;
    assert_eq!(world.node.transactions_mined(), 0);
    served(world.buy(&route, &honest).await).await;
}

/// An open of a channel with so much in it, valid for so many seconds.
async fn signed(world: &World, protocol: SessionProtocol, deposit: u128, seconds: u64) -> Opening {
    let params = OpenParams {
        deposit: amount(deposit),
        ..world.params(protocol)
    };
    let context = TxContext {
        valid_for: Duration::from_secs(seconds),
        ..world.context(gas::open(protocol), paying())
    };
    let unsigned = build::open(&context, &params).unwrap();
    let terms = unsigned.open_terms(&params, world.payer.address());
    let transaction = unsigned.sign(&world.payer).await.unwrap();
    Opening { terms, transaction }
}

// An attempt that is recorded stays: one that can not succeed would cost its sender nothing.
#[tokio::test(start_paused = true)]
async fn an_open_that_can_not_succeed_leaves_nothing_behind() {
    const YEAR: u64 = 365 * 86_400;
    for protocol in BOTH {
        let world = World::new();
        let route = world.route(protocol);
        let balance = world.balance(world.payer.address());
        let late = signed(&world, protocol, DEPOSIT, 25).await;
        world.advance(3_600);
        world.node.mine();
        let early = signed(&world, protocol, DEPOSIT, YEAR).await;
        let poor = signed(&world, protocol, balance + 1, 25).await;
        for opening in [late, early, poor] {
            let payload = opening.payload(&world.voucher(&opening.terms, PRICE));
            let decision = world.buy(&route, &payload).await;
            problem(decision, ProblemKind::VerificationFailed);
            assert!(world.server.channel(opening.terms.id()).await.is_err());
        }
        assert_eq!(world.node.transactions_mined(), 0);
    }
}

// PROTOCOL 5.4: an open whose transaction is already mined succeeds, also when the payer has sent it
// itself, long ago, and has nothing left.
#[tokio::test(start_paused = true)]
async fn an_open_that_its_payer_has_sent_is_found() {
    for protocol in BOTH {
        let world = World::new();
        let fees = 1_000_000;
        let balance = world.balance(world.payer.address());
        let opening = signed(&world, protocol, balance - fees, 25).await;
        world.node.submit(&opening.transaction.encode()).unwrap();
        world.advance(3_600);
        world.node.mine();
        let payload = opening.payload(&world.voucher(&opening.terms, PRICE));
        let receipt = served(world.buy(&world.route(protocol), &payload).await).await;
        assert_eq!(receipt.spent, amount(PRICE));
    }
}

#[tokio::test(start_paused = true)]
async fn an_authorized_signer_signs_instead_of_the_payer() {
    for protocol in BOTH {
        let world = World::new();
        let mut params = world.params(protocol);
        params.authorized_signer = world.stranger.address();
        let opening = world.sign_open(&params, paying()).await;
        let route = world.route(protocol);
        let by_payer = sign(&world.payer, &opening.terms, PRICE);
        let decision = world.buy(&route, &opening.payload(&by_payer)).await;
        problem(decision, ProblemKind::SignerMismatch);
        let by_signer = sign(&world.stranger, &opening.terms, PRICE);
        served(world.buy(&route, &opening.payload(&by_signer)).await).await;
    }
}

// PROTOCOL 1.2: `source` is did:pkh of the payer.
#[tokio::test(start_paused = true)]
async fn a_foreign_source_is_refused() {
    let world = World::new();
    let route = world.route(V2);
    let opening = world.opening(V2).await;
    let payload = opening.payload(&world.voucher(&opening.terms, PRICE));
    let decide = async |source: String| {
        let credential = world.credential(&route, &payload).await.with_source(source);
        world.decide(&route, credential, Purpose::Content).await
    };
    let did = |chain_id, signer: &dyn Fn() -> Address| {
        DidPkh::new(chain_id, &signer().to_string())
            .unwrap()
            .to_string()
    };
    let foreign = decide(did(42431, &|| world.stranger.address())).await;
    problem(foreign, ProblemKind::VerificationFailed);
    let other_chain = decide(did(1, &|| world.payer.address())).await;
    problem(other_chain, ProblemKind::VerificationFailed);
    let garbage = decide(String::from("did:key:z6Mk")).await;
    problem(garbage, ProblemKind::InvalidPayload);
    assert_eq!(world.node.transactions_mined(), 0);
    served(decide(did(42431, &|| world.payer.address())).await).await;
}

// PROTOCOL 5.6: accepted <= deposit. Of two v1 opens with one id, the smaller is mined.
#[tokio::test(start_paused = true)]
async fn a_shown_deposit_that_is_not_the_mined_one_buys_nothing() {
    let world = World::new();
    let shown = world.params(V1);
    let small = OpenParams {
        deposit: amount(2 * PRICE),
        ..shown
    };
    let mined = world.sign_open(&small, paying()).await;
    world.node.submit(&mined.transaction.encode()).unwrap();
    let opening = world.sign_open(&shown, paying()).await;
    assert_eq!(opening.terms.id(), mined.terms.id());
    let payload = opening.payload(&world.voucher(&opening.terms, DEPOSIT));
    let decision = world.buy(&world.route(V1), &payload).await;
    problem(decision, ProblemKind::AmountExceedsDeposit);
    let record = world.record(mined.terms.id()).await;
    assert_eq!(record.deposit, amount(2 * PRICE));
    assert_eq!(
        (record.accepted(), record.spent),
        (Amount::ZERO, Amount::ZERO)
    );
}

#[tokio::test(start_paused = true)]
async fn an_operator_that_the_offer_names_is_required() {
    let world = World::new();
    let offer = world.offer(V2).operator(world.payee()).build().unwrap();
    let route = route("/poem", offer);
    let plain = world.opening(V2).await;
    let payload = plain.payload(&world.voucher(&plain.terms, PRICE));
    problem(
        world.buy(&route, &payload).await,
        ProblemKind::VerificationFailed,
    );
    let mut params = world.params(V2);
    params.operator = world.payee();
    let opening = world.sign_open(&params, paying()).await;
    let payload = opening.payload(&world.voucher(&opening.terms, PRICE));
    served(world.buy(&route, &payload).await).await;
}
