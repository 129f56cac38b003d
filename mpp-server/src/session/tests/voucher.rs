//! Paying with vouchers: every rule of PROTOCOL 5.4 from the outside.

use alloy_primitives::{Address, B256, hex};
use mpp_core::{Amount, Credential, DidPkh, problem::ProblemKind};
use mpp_devnet::nth_token;
use mpp_tempo::{
    ChannelDescriptor, ChannelTerms, LocalSigner, SessionProtocol, Signer, tx::build::OpenParams,
    wire::SessionPayload,
};
use serde_json::Value;

use crate::{
    BadSignatureLimit, Route, SessionOffer,
    gate::{Attempt, Purpose},
    testing::{
        BOTH, DEPOSIT, PRICE, World, amount, managed, payer, paying, problem, refused, route,
        served, sign, terms, voucher_payload,
    },
};

const V1: SessionProtocol = SessionProtocol::V1;
const V2: SessionProtocol = SessionProtocol::V2;

async fn service(protocol: SessionProtocol) -> (World, Route, ChannelTerms) {
    let world = World::new();
    let route = world.route(protocol);
    let terms = world.open(&route, protocol, 0).await;
    (world, route, terms)
}

// Issue: vouchers in sequence; zero RPC on the voucher path (DESIGN 2.5).
#[tokio::test(start_paused = true)]
async fn ten_units_cost_ten_prices_and_no_rpc() {
    for protocol in BOTH {
        let (world, route, terms) = service(protocol).await;
        let calls = world.node.client_calls();
        for unit in 1..=10 {
            let payload = voucher_payload(&terms, &world.voucher(&terms, unit * PRICE));
            let receipt = served(world.buy(&route, &payload).await).await;
            assert_eq!(receipt.spent, amount(unit * PRICE));
        }
        assert_eq!(world.node.client_calls(), calls);
        assert_eq!(world.node.transactions_mined(), 1);
        let above = voucher_payload(&terms, &world.voucher(&terms, DEPOSIT + PRICE));
        let problem = problem(
            world.buy(&route, &above).await,
            ProblemKind::AmountExceedsDeposit,
        );
        assert_eq!(problem.deposit, Some(amount(DEPOSIT)));
        assert_eq!(world.record(terms.id()).await.spent, amount(DEPOSIT));
    }
}

// Draft-tempo-session-00, Idempotency.
#[tokio::test(start_paused = true)]
async fn equal_is_idempotent_and_lower_is_refused() {
    for protocol in BOTH {
        let (world, route, terms) = service(protocol).await;
        let payload = |units| voucher_payload(&terms, &world.voucher(&terms, units));
        managed(world.manage(&route, &payload(5 * PRICE)).await);
        let again = managed(world.manage(&route, &payload(5 * PRICE)).await);
        assert_eq!(again.accepted_cumulative, amount(5 * PRICE));
        assert_eq!(again.spent, Amount::ZERO);
        let lower = world.manage(&route, &payload(4 * PRICE)).await;
        let problem = problem(lower, ProblemKind::DeltaTooSmall);
        assert_eq!(problem.accepted_cumulative, Some(amount(5 * PRICE)));
    }
}

// PROTOCOL 5.6: "persist accepted -> check available >= cost, else 402 with requiredTopUp".
#[tokio::test(start_paused = true)]
async fn a_voucher_below_the_price_is_kept_and_refused() {
    let (world, route, terms) = service(V2).await;
    let payload = voucher_payload(&terms, &world.voucher(&terms, PRICE - 1));
    let problem = problem(
        world.buy(&route, &payload).await,
        ProblemKind::InsufficientBalance,
    );
    assert_eq!(problem.required_top_up, Some(amount(1)));
    assert_eq!(problem.accepted_cumulative, Some(amount(PRICE - 1)));
    assert_eq!(problem.channel_id, Some(terms.id().to_string()));
    let record = world.record(terms.id()).await;
    assert_eq!(record.accepted(), amount(PRICE - 1));
}

#[tokio::test(start_paused = true)]
async fn one_credential_pays_as_often_as_the_balance_lasts() {
    let (world, route, terms) = service(V2).await;
    let payload = voucher_payload(&terms, &world.voucher(&terms, 3 * PRICE));
    let credential = world.credential(&route, &payload).await;
    let copies = (0..20).map(|_| world.decide(&route, credential.clone(), Purpose::Content));
    let decisions = futures_util::future::join_all(copies).await;
    let grants: Vec<_> = decisions
        .into_iter()
        .filter(|decision| matches!(decision, crate::gate::Decision::Grant(_)))
        .collect();
    assert_eq!(grants.len(), 3);
    for grant in grants {
        served(grant).await;
    }
    assert_eq!(world.record(terms.id()).await.spent, amount(3 * PRICE));
}

#[tokio::test(start_paused = true)]
async fn a_minimum_delta_holds_for_the_route_that_sets_it() {
    let world = World::new();
    let offer = world.offer(V2).min_voucher_delta("0.002").build().unwrap();
    let route = route("/poem", offer);
    let terms = world.open(&route, V2, 0).await;
    let payload = |units| voucher_payload(&terms, &world.voucher(&terms, units));
    let dust = world.buy(&route, &payload(2 * PRICE - 1)).await;
    problem(dust, ProblemKind::DeltaTooSmall);
    served(world.buy(&route, &payload(2 * PRICE)).await).await;
}

// PROTOCOL 1.3: signer-mismatch and invalid-signature; SECURITY-CASES A9.
#[tokio::test(start_paused = true)]
async fn a_bad_signature_is_refused() {
    for protocol in BOTH {
        let (world, route, terms) = service(protocol).await;
        let foreign = voucher_payload(&terms, &sign(&world.stranger, &terms, PRICE));
        problem(
            world.buy(&route, &foreign).await,
            ProblemKind::SignerMismatch,
        );
        let good = voucher_payload(&terms, &world.voucher(&terms, PRICE));
        let text = good.to_value()["signature"].as_str().unwrap().to_owned();
        let mut bytes = hex::decode(&text).unwrap();
        bytes[64] = 0;
        let high_s = hex!("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364140");
        let mut high = hex::decode(&text).unwrap();
        high[32..64].copy_from_slice(&high_s);
        for bad in [
            hex::encode_prefixed(&bytes),
            hex::encode_prefixed(&high),
            hex::encode_prefixed(&bytes[..63]),
            String::from("0x"),
            String::from("signature"),
        ] {
            let mut value = good.to_value();
            value["signature"] = bad.into();
            let credential = Credential::new(world.challenge(&route).await, value);
            let decision = world.decide(&route, credential, Purpose::Content).await;
            let problem = problem(decision, ProblemKind::InvalidSignature);
            assert_eq!(problem.channel_id, Some(terms.id().to_string()));
        }
        served(world.buy(&route, &good).await).await;
    }
}

// SECURITY-CASES A8: a flood of bad signatures stops at the limit; honest ones are not affected.
#[tokio::test(start_paused = true)]
async fn a_flood_of_bad_signatures_is_cut_off() {
    let world = World::with(|builder| {
        builder.bad_signature_limit(BadSignatureLimit {
            burst: 3,
            refill_millis: 1_000,
        })
    });
    let route = world.route(V2);
    let terms = world.open(&route, V2, 0).await;
    let forged = voucher_payload(&terms, &sign(&world.stranger, &terms, PRICE));
    for _ in 0..3 {
        let decision = world.buy(&route, &forged).await;
        problem(decision, ProblemKind::SignerMismatch);
    }
    problem(world.buy(&route, &forged).await, ProblemKind::RateLimited);
    // Format and bounds come before the limit (PROTOCOL 5.4).
    let above = voucher_payload(&terms, &world.voucher(&terms, DEPOSIT + 1));
    let decision = world.buy(&route, &above).await;
    problem(decision, ProblemKind::AmountExceedsDeposit);
    // The payer comes from elsewhere.
    let honest = voucher_payload(&terms, &world.voucher(&terms, PRICE));
    let credential = world.credential(&route, &honest).await;
    let attempt = Attempt::from_credential(Some(credential), Purpose::Content)
        .peer(Some([192, 0, 2, 7].into()));
    served(world.server.decide(&route, attempt).await).await;
    world.advance(1);
    let forged = voucher_payload(&terms, &sign(&world.stranger, &terms, 2 * PRICE));
    let decision = world.buy(&route, &forged).await;
    problem(decision, ProblemKind::SignerMismatch);
}

/// A channel of `opened` is of no use on `offered`.
async fn check_foreign(opened: SessionOffer, world: &World, offered: SessionOffer) {
    let protocol = V2;
    let home = route("/poem", opened.build().unwrap());
    let terms = world.open(&home, protocol, 0).await;
    let foreign = route("/poem", offered.build().unwrap());
    let payload = voucher_payload(&terms, &world.voucher(&terms, PRICE));
    let decision = world.buy(&foreign, &payload).await;
    problem(decision, ProblemKind::VerificationFailed);
    assert_eq!(world.record(terms.id()).await.accepted(), Amount::ZERO);
}

// Draft-tempo-session-00, Voucher Verification 1; SECURITY-CASES A10, A11.
#[tokio::test(start_paused = true)]
async fn a_channel_of_other_terms_is_refused() {
    let world = World::new();
    let home = || world.offer(V2);
    check_foreign(home(), &world, home().currency(nth_token(1))).await;
    check_foreign(home(), &world, home().protocol(V1)).await;
    let elsewhere = Address::repeat_byte(3);
    check_foreign(home(), &world, home().escrow_contract(elsewhere)).await;
    let recipient = home().recipient(elsewhere).operator(world.payee());
    check_foreign(home(), &world, recipient).await;
    check_foreign(home(), &world, home().operator(elsewhere)).await;
}

// SECURITY-CASES A10: each of the two is refused for itself, whatever else is the same.
#[tokio::test(start_paused = true)]
async fn a_channel_of_another_protocol_or_payee_is_refused() {
    let world = World::new();
    let escrow = world.params(V2).escrow;
    let other = world.offer(V2).protocol(V1).escrow_contract(escrow);
    check_foreign(world.offer(V2), &world, other).await;

    // We may settle for either payee.
    let ours = || world.offer(V2).operator(world.payee());
    let home = route("/poem", ours().build().unwrap());
    let params = OpenParams {
        operator: world.payee(),
        ..world.params(V2)
    };
    let opening = world.sign_open(&params, paying()).await;
    let payload = opening.payload(&world.voucher(&opening.terms, 0));
    managed(world.manage(&home, &payload).await);
    let elsewhere = ours().recipient(Address::repeat_byte(3));
    let elsewhere = route("/poem", elsewhere.build().unwrap());
    let payload = voucher_payload(&opening.terms, &world.voucher(&opening.terms, PRICE));
    let decision = world.buy(&elsewhere, &payload).await;
    problem(decision, ProblemKind::VerificationFailed);
    served(world.buy(&home, &payload).await).await;
}

// PROTOCOL 5.2 and 5.4: descriptor and source must be the channel's.
#[tokio::test(start_paused = true)]
async fn a_foreign_descriptor_or_source_is_refused() {
    let (world, route, terms) = service(V2).await;
    let honest = voucher_payload(&terms, &world.voucher(&terms, PRICE));
    let with = |claimed| {
        let mut payload = honest.clone();
        if let SessionPayload::Voucher { descriptor, .. } = &mut payload {
            *descriptor = claimed;
        }
        payload
    };
    let foreign = ChannelDescriptor {
        salt: B256::repeat_byte(0xee),
        ..terms.descriptor
    };
    let decision = world.buy(&route, &with(Some(foreign))).await;
    problem(decision, ProblemKind::VerificationFailed);
    let decision = world.buy(&route, &with(None)).await;
    problem(decision, ProblemKind::InvalidPayload);
    let decide = async |signer: &LocalSigner| {
        let source = DidPkh::new(42431, &signer.address().to_string()).unwrap();
        let credential = world.credential(&route, &honest).await;
        let credential = credential.with_source(source.to_string());
        world.decide(&route, credential, Purpose::Content).await
    };
    let decision = decide(&world.stranger).await;
    problem(decision, ProblemKind::VerificationFailed);
    assert_eq!(world.record(terms.id()).await.accepted(), Amount::ZERO);
    served(decide(&world.payer).await).await;
}

// PROTOCOL 1.3: 410 with fresh challenges.
#[tokio::test(start_paused = true)]
async fn an_unknown_channel_is_gone() {
    let world = World::new();
    for protocol in BOTH {
        let terms = terms(protocol);
        let payload = voucher_payload(&terms, &sign(&payer(), &terms, 1));
        let decision = world.buy(&world.route(protocol), &payload).await;
        let problem = problem(decision, ProblemKind::ChannelNotFound);
        assert_eq!(problem.status(), 410);
    }
}

// PROTOCOL 5.6: nothing is delivered that is not persisted.
#[tokio::test(start_paused = true)]
async fn a_voucher_that_could_not_be_kept_buys_nothing() {
    for protocol in BOTH {
        let (world, store) = World::on_slow_store();
        let route = world.route(protocol);
        let terms = world.open(&route, protocol, 0).await;
        let before = world.record(terms.id()).await;
        let payload = voucher_payload(&terms, &world.voucher(&terms, PRICE));
        store.fail_next_commit();
        let refused = refused(world.buy(&route, &payload).await);
        assert_eq!(refused.problem.status(), 503);
        assert_eq!(world.record(terms.id()).await, before);
        // Nothing of it is left in memory that would keep the same voucher from being taken.
        let receipt = served(world.buy(&route, &payload).await).await;
        assert_eq!(receipt.spent, amount(PRICE));
    }
}

// SECURITY-CASES A11: ids are bytes; upper-case text is the same channel.
#[tokio::test(start_paused = true)]
async fn a_channel_id_has_no_aliases() {
    let (world, route, terms) = service(V2).await;
    let mut value = voucher_payload(&terms, &world.voucher(&terms, PRICE)).to_value();
    let id = hex::encode_upper(terms.id());
    value["channelId"] = format!("0x{id}").into();
    let credential = Credential::new(world.challenge(&route).await, value);
    let receipt = served(world.decide(&route, credential, Purpose::Content).await).await;
    assert_eq!(receipt.channel_id, terms.id().to_string());
}

// PROTOCOL 5.2: unknown actions and missing members are refused.
#[tokio::test(start_paused = true)]
async fn a_payload_that_breaks_the_schema_is_refused() {
    let (world, route, terms) = service(V2).await;
    let honest = voucher_payload(&terms, &world.voucher(&terms, PRICE)).to_value();
    let change = |member: &str, value: Value| {
        let mut changed = honest.clone();
        changed[member] = value;
        changed
    };
    for payload in [
        change("action", "refund".into()),
        change("cumulativeAmount", 1_000.into()),
        change("cumulativeAmount", "-1".into()),
        change("channelId", "0x12".into()),
        Value::Object(serde_json::Map::new()),
    ] {
        let credential = Credential::new(world.challenge(&route).await, payload);
        let decision = world.decide(&route, credential, Purpose::Content).await;
        problem(decision, ProblemKind::InvalidPayload);
    }
}
