//! Closing: capture what was spent, refund the rest.

use std::sync::Arc;

use mpp_core::{Amount, problem::ProblemKind};
use mpp_tempo::{
    ChannelDescriptor, ChannelTerms, SessionProtocol, voucher::sign_close_authorization,
    wire::SessionPayload,
};

use crate::{
    Route, ServerEvent,
    session::record::{Phase, Quarantine},
    store::{ChannelStore as _, Write},
    testing::{
        BOTH, DEPOSIT, PRICE, World, amount, close_payload, managed, problem, served, sign,
        voucher_payload,
    },
};

const V1: SessionProtocol = SessionProtocol::V1;
const V2: SessionProtocol = SessionProtocol::V2;

/// A channel on which three of five authorized units are spent.
async fn spent_three_of_five(protocol: SessionProtocol) -> (World, Route, ChannelTerms) {
    let world = World::new();
    let route = world.route(protocol);
    let terms = world.open(&route, protocol, 0).await;
    let payload = voucher_payload(&terms, &world.voucher(&terms, 5 * PRICE));
    for _ in 0..3 {
        served(world.buy(&route, &payload).await).await;
    }
    (world, route, terms)
}

// PROTOCOL 5.4: capture = max(spent, settled), never more; the rest goes back (on chain).
#[tokio::test(start_paused = true)]
async fn a_close_pays_exactly_what_was_spent() {
    for protocol in BOTH {
        let (world, route, terms) = spent_three_of_five(protocol).await;
        let mut events = world.server.subscribe();
        let (payee, payer) = (world.payee(), terms.descriptor.payer);
        let before = (world.balance(payee), world.balance(payer));
        let authorized = match protocol {
            V1 => 3 * PRICE,
            V2 => 5 * PRICE,
        };
        let payload = close_payload(&terms, &world.voucher(&terms, authorized));
        let receipt = managed(world.manage(&route, &payload).await);
        assert_eq!(receipt.spent, amount(3 * PRICE));
        let hash = receipt.tx_hash.unwrap();
        let mined = world.node.receipt(hash.parse().unwrap()).unwrap();
        let paid = world.balance(payee) + mined.fee.to::<u128>() - before.0;
        assert_eq!(paid, 3 * PRICE);
        assert_eq!(world.balance(payer) - before.1, DEPOSIT - 3 * PRICE);
        let record = world.record(terms.id()).await;
        assert_eq!(record.settled, amount(3 * PRICE));
        assert!(matches!(
            record.phase,
            Phase::Closed {
                transaction: Some(_)
            }
        ));
        let mut closed = 0;
        while let Ok(event) = events.try_recv() {
            closed += usize::from(matches!(event, ServerEvent::Closed { .. }));
        }
        assert_eq!(closed, 1);
        // Repeating the close gives the same answer and no other transaction.
        let again = managed(world.manage(&route, &payload).await);
        assert_eq!(again.tx_hash, Some(hash));
        assert_eq!(world.node.transactions_mined(), 2);
    }
}

// SECURITY-CASES A11: what was spent and settled is told to the payer alone.
#[tokio::test(start_paused = true)]
async fn nobody_else_is_told_how_a_channel_ended() {
    for protocol in BOTH {
        let (world, route, terms) = spent_three_of_five(protocol).await;
        let payload = close_payload(&terms, &world.voucher(&terms, 3 * PRICE));
        managed(world.manage(&route, &payload).await);
        let forged = close_payload(&terms, &sign(&world.stranger, &terms, 3 * PRICE));
        let decision = world.manage(&route, &forged).await;
        problem(decision, ProblemKind::SignerMismatch);
    }
}

// PROTOCOL 5.4: one close in flight per channel.
#[tokio::test(start_paused = true)]
async fn concurrent_closes_send_one_transaction() {
    for protocol in BOTH {
        let (world, route, terms) = spent_three_of_five(protocol).await;
        let payload = close_payload(&terms, &world.voucher(&terms, 3 * PRICE));
        let copies = (0..10).map(|_| world.manage(&route, &payload));
        let answers = futures_util::future::join_all(copies).await;
        let hashes: Vec<_> = answers
            .into_iter()
            .map(|decision| managed(decision).tx_hash.unwrap())
            .collect();
        assert!(hashes.iter().all(|hash| *hash == hashes[0]));
        assert_eq!(world.node.transactions_mined(), 2);
    }
}

// PROTOCOL 5.4: the problem names the required amount; v1 needs exactly that.
#[tokio::test(start_paused = true)]
async fn a_close_voucher_that_does_not_fit_is_told_the_amount() {
    for protocol in BOTH {
        let (world, route, terms) = spent_three_of_five(protocol).await;
        let misfits: &[u128] = match protocol {
            V1 => &[2 * PRICE, 4 * PRICE],
            V2 => &[2 * PRICE],
        };
        for units in misfits {
            let payload = close_payload(&terms, &world.voucher(&terms, *units));
            let decision = world.manage(&route, &payload).await;
            let problem = problem(decision, ProblemKind::InsufficientBalance);
            assert_eq!(problem.required_cumulative, Some(amount(3 * PRICE)));
        }
        // Cheap checks precede the curve: a forged misfit is told the same.
        let forged = close_payload(&terms, &sign(&world.stranger, &terms, 2 * PRICE));
        let decision = world.manage(&route, &forged).await;
        problem(decision, ProblemKind::InsufficientBalance);
        let payload = close_payload(&terms, &world.voucher(&terms, DEPOSIT + 1));
        let decision = world.manage(&route, &payload).await;
        problem(decision, ProblemKind::AmountExceedsDeposit);
        assert_eq!(world.record(terms.id()).await.phase, Phase::Open);
    }
}

#[tokio::test(start_paused = true)]
async fn an_unused_channel_is_refunded_in_full() {
    for protocol in BOTH {
        let world = World::new();
        let route = world.route(protocol);
        let terms = world.open(&route, protocol, 0).await;
        let before = world.balance(terms.descriptor.payer);
        let payload = close_payload(&terms, &world.voucher(&terms, 0));
        let receipt = managed(world.manage(&route, &payload).await);
        assert_eq!(receipt.spent, Amount::ZERO);
        assert_eq!(world.balance(terms.descriptor.payer) - before, DEPOSIT);
    }
}

#[tokio::test(start_paused = true)]
async fn only_the_payer_closes() {
    for protocol in BOTH {
        let (world, route, terms) = spent_three_of_five(protocol).await;
        let forged = close_payload(&terms, &sign(&world.stranger, &terms, 3 * PRICE));
        let decision = world.manage(&route, &forged).await;
        problem(decision, ProblemKind::SignerMismatch);
        assert_eq!(world.record(terms.id()).await.phase, Phase::Open);
        assert_eq!(world.node.transactions_mined(), 1);
    }
}

// Draft-tempo-session-00, Close Payload: a close with another descriptor is refused.
#[tokio::test(start_paused = true)]
async fn a_close_with_another_descriptor_is_refused() {
    let (world, route, terms) = spent_three_of_five(V2).await;
    let honest = close_payload(&terms, &world.voucher(&terms, 3 * PRICE));
    let foreign = ChannelDescriptor {
        salt: terms.id(),
        ..terms.descriptor
    };
    for (claimed, kind) in [
        (Some(foreign), ProblemKind::VerificationFailed),
        (None, ProblemKind::InvalidPayload),
    ] {
        let mut payload = honest.clone();
        if let SessionPayload::Close { descriptor, .. } = &mut payload {
            *descriptor = claimed;
        }
        problem(world.manage(&route, &payload).await, kind);
        assert_eq!(world.record(terms.id()).await.phase, Phase::Open);
    }
    managed(world.manage(&route, &honest).await);
}

// PROTOCOL 5.2: `closeSignature` is verified when present and not required.
#[tokio::test(start_paused = true)]
async fn a_close_signature_must_hold_when_it_is_there() {
    let (world, route, terms) = spent_three_of_five(V2).await;
    let with = |signature| {
        let mut payload = close_payload(&terms, &world.voucher(&terms, 3 * PRICE));
        if let SessionPayload::Close {
            close_signature, ..
        } = &mut payload
        {
            *close_signature = Some(signature);
        }
        payload
    };
    let voucher = world.voucher(&terms, 3 * PRICE).signature;
    let decision = world.manage(&route, &with(voucher)).await;
    problem(decision, ProblemKind::SignerMismatch);
    assert_eq!(world.record(terms.id()).await.phase, Phase::Open);
    let signed = sign_close_authorization(&world.payer, &terms, amount(3 * PRICE)).await;
    managed(world.manage(&route, &with(signed.unwrap())).await);
}

// SECURITY-CASES A13: use after finalise; PROTOCOL 1.3: 410.
#[tokio::test(start_paused = true)]
async fn a_closed_channel_sells_nothing() {
    for protocol in BOTH {
        let (world, route, terms) = spent_three_of_five(protocol).await;
        let close = close_payload(&terms, &world.voucher(&terms, 3 * PRICE));
        managed(world.manage(&route, &close).await);
        for units in [3, 5, 6] {
            let payload = voucher_payload(&terms, &world.voucher(&terms, units * PRICE));
            let decision = world.buy(&route, &payload).await;
            let problem = problem(decision, ProblemKind::ChannelFinalized);
            assert_eq!(problem.status(), 410);
        }
        assert_eq!(world.record(terms.id()).await.spent, amount(3 * PRICE));
    }
}

// PROTOCOL 5.3: during the grace period the payee can still close.
#[tokio::test(start_paused = true)]
async fn a_close_request_can_end_amicably() {
    for protocol in BOTH {
        let (world, route, terms) = spent_three_of_five(protocol).await;
        world.request_close(&terms).await;
        world.server.refresh(terms.id()).await.unwrap();
        let payload = close_payload(&terms, &world.voucher(&terms, 3 * PRICE));
        managed(world.manage(&route, &payload).await);
        assert_eq!(world.record(terms.id()).await.settled, amount(3 * PRICE));
    }
}

// Two verifiers have to agree before money moves: what one of them refuses is not sent, the
// channel stops, somebody is told, and the voucher is kept.
#[tokio::test(start_paused = true)]
async fn a_voucher_that_the_second_opinion_refuses_is_not_settled() {
    for protocol in BOTH {
        let (world, route, terms) = spent_three_of_five(protocol).await;
        let mut events = world.server.subscribe();
        let mined = world.node.transactions_mined();
        // As if the verifier had taken a stranger's voucher.
        let disputed = sign(&world.stranger, &terms, 3 * PRICE);
        let found = world.store.load(terms.id()).await.unwrap().unwrap();
        let mut next = found.record;
        Arc::make_mut(&mut next).phase = Phase::Closing {
            voucher: disputed.clone(),
            capture: amount(3 * PRICE),
            sent: None,
            requested_at: None,
        };
        let write = Write {
            expected: Some(found.version),
            next,
            entry: None,
            outcome: None,
        };
        world.store.commit(write).await.unwrap();
        let payload = close_payload(&terms, &world.voucher(&terms, 3 * PRICE));
        problem(world.manage(&route, &payload).await, ProblemKind::Internal);
        assert_eq!(world.node.transactions_mined(), mined);
        let quarantined = Phase::Quarantined {
            reason: Quarantine::VoucherDisputed,
            requested_at: None,
            evidence: Some(disputed),
        };
        assert_eq!(world.record(terms.id()).await.phase, quarantined);
        let told = ServerEvent::Quarantined {
            channel_id: terms.id(),
            reason: Quarantine::VoucherDisputed,
        };
        let events = std::iter::from_fn(|| events.try_recv().ok());
        assert_eq!(events.filter(|event| *event == told).count(), 1);
        // It stays that way, whoever asks.
        problem(
            world.manage(&route, &payload).await,
            ProblemKind::ServiceUnavailable,
        );
    }
}
