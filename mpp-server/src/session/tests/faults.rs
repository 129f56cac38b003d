//! Lost answers, dropped and reverted transactions, vanished clients: everything converges.

use std::{sync::Arc, time::Duration};

use mpp_core::{Amount, problem::ProblemKind};
use mpp_devnet::{Outage, Reorged, Times};
use mpp_tempo::{SessionProtocol, tx::FeeMode};

use crate::{
    clock::Clock as _,
    session::record::{ChannelRecord, PendingTx, Phase},
    store::{ChannelStore as _, Write},
    testing::{
        BOTH, DEPOSIT, Doctored, PRICE, World, amount, close_payload, managed, other_amounts,
        paying, problem, refused, served, top_up_payload, voucher_payload, without_events,
    },
};

const V1: SessionProtocol = SessionProtocol::V1;
const V2: SessionProtocol = SessionProtocol::V2;

const CLOSE_V1: [u8; 4] = [0x0d, 0x65, 0xc5, 0x1d];
const CLOSE_V2: [u8; 4] = [0x73, 0xb5, 0x7f, 0x74];
const OPEN_V1: [u8; 4] = [0xc7, 0x9e, 0xa4, 0x85];
const OPEN_V2: [u8; 4] = [0xed, 0xc5, 0x3b, 0x00];

fn close_selector(protocol: SessionProtocol) -> [u8; 4] {
    match protocol {
        V1 => CLOSE_V1,
        V2 => CLOSE_V2,
    }
}

// SECURITY-CASES A34: the answer to the open is lost, the transaction is not.
#[tokio::test(start_paused = true)]
async fn an_open_whose_answer_was_lost_is_found_again() {
    for protocol in BOTH {
        for fee_mode in [paying(), FeeMode::Sponsored] {
            let world = World::with(|builder| builder.watch_every(Duration::from_secs(86_400)));
            let route = world.sponsored_route(protocol);
            let params = world.params(protocol);
            let opening = world.sign_open(&params, fee_mode).await;
            let payload = opening.payload(&world.voucher(&opening.terms, PRICE));
            world.node.faults().lose_responses(Times::Once);
            let decision = world.buy(&route, &payload).await;
            problem(decision, ProblemKind::ServiceUnavailable);
            let record = world.record(opening.terms.id()).await;
            assert!(matches!(record.phase, Phase::Opening(_)));
            // Much later the same transaction is no longer valid, but it was mined.
            world.advance(3_600);
            served(world.buy(&route, &payload).await).await;
            assert_eq!(world.node.transactions_mined(), 1);
            let record = world.record(opening.terms.id()).await;
            assert_eq!(record.spent, amount(PRICE));
        }
    }
}

// The watcher finds it too, without anybody asking.
#[tokio::test(start_paused = true)]
async fn the_watcher_finds_an_open_whose_answer_was_lost() {
    let world = World::new();
    let route = world.route(V2);
    let opening = world.opening(V2).await;
    let payload = opening.payload(&world.voucher(&opening.terms, PRICE));
    tokio::time::sleep(Duration::from_secs(6)).await;
    world.node.faults().lose_responses(Times::Once);
    refused(world.buy(&route, &payload).await);
    tokio::time::sleep(Duration::from_secs(6)).await;
    let record = world.record(opening.terms.id()).await;
    assert_eq!(record.phase, Phase::Open);
}

// SECURITY-CASES A14: credit only after the receipt.
#[tokio::test(start_paused = true)]
async fn an_open_that_was_dropped_serves_nothing_and_can_be_sent_again() {
    for protocol in BOTH {
        let world = World::new();
        let route = world.route(protocol);
        let opening = world.opening(protocol).await;
        let payload = opening.payload(&world.voucher(&opening.terms, PRICE));
        world.node.faults().drop_transactions(Times::Once);
        let decision = world.buy(&route, &payload).await;
        problem(decision, ProblemKind::ServiceUnavailable);
        let id = opening.terms.id();
        let voucher = voucher_payload(&opening.terms, &world.voucher(&opening.terms, PRICE));
        let decision = world.buy(&route, &voucher).await;
        problem(decision, ProblemKind::ChannelNotFound);
        served(world.buy(&route, &payload).await).await;
        assert_eq!(world.record(id).await.spent, amount(PRICE));
    }
}

// SECURITY-CASES A25: a reverted transaction is not believed.
#[tokio::test(start_paused = true)]
async fn a_reverted_open_serves_nothing() {
    for (protocol, selector) in [(V1, OPEN_V1), (V2, OPEN_V2)] {
        let world = World::new();
        let route = world.route(protocol);
        let opening = world.opening(protocol).await;
        let payload = opening.payload(&world.voucher(&opening.terms, PRICE));
        world.node.faults().revert_calls(selector, Times::Once);
        let decision = world.buy(&route, &payload).await;
        problem(decision, ProblemKind::VerificationFailed);
        let record = world.record(opening.terms.id()).await;
        assert_eq!(record.phase, Phase::Failed);
        assert_eq!(record.deposit, Amount::ZERO);
    }
}

// PROTOCOL 5.3: a v1 id can be opened by another transaction when the first has failed.
#[tokio::test(start_paused = true)]
async fn another_transaction_opens_a_v1_channel_after_the_first_has_expired() {
    let world = World::new();
    let route = world.route(V1);
    let params = world.params(V1);
    let first = world.sign_open(&params, paying()).await;
    let payload = first.payload(&world.voucher(&first.terms, PRICE));
    world.node.faults().drop_transactions(Times::Once);
    refused(world.buy(&route, &payload).await);
    world.advance(10);
    let second = world.sign_open(&params, paying()).await;
    assert_eq!(first.terms.id(), second.terms.id());
    let payload = second.payload(&world.voucher(&second.terms, PRICE));
    // The first may still be mined.
    let decision = world.buy(&route, &payload).await;
    problem(decision, ProblemKind::ServiceUnavailable);
    world.advance(60);
    world.node.mine();
    let third = world.sign_open(&params, paying()).await;
    let payload = third.payload(&world.voucher(&third.terms, PRICE));
    let decision = world.buy(&route, &payload).await;
    problem(decision, ProblemKind::VerificationFailed);
    served(world.buy(&route, &payload).await).await;
    assert_eq!(world.node.transactions_mined(), 1);
}

// SECURITY-CASES A34: nobody asks for it again, and still it ends.
#[tokio::test(start_paused = true)]
async fn an_open_that_was_never_mined_is_given_up_when_it_can_not_be_any_more() {
    for protocol in BOTH {
        let world = World::with(|builder| builder.watch_every(Duration::from_secs(86_400)));
        let route = world.route(protocol);
        let params = world.params(protocol);
        let opening = world.sign_open(&params, paying()).await;
        let id = opening.terms.id();
        world.node.faults().drop_transactions(Times::Once);
        let payload = opening.payload(&world.voucher(&opening.terms, PRICE));
        refused(world.buy(&route, &payload).await);
        world.server.reconcile().await.unwrap();
        let record = world.record(id).await;
        assert!(matches!(record.phase, Phase::Opening(_)), "{record:?}");
        // The server's clock alone says nothing of the chain.
        world.clock.advance_secs(60);
        world.server.reconcile().await.unwrap();
        let record = world.record(id).await;
        assert!(matches!(record.phase, Phase::Opening(_)), "{record:?}");
        world.node.advance_time(Duration::from_secs(60));
        world.node.mine();
        world.server.reconcile().await.unwrap();
        assert_eq!(world.record(id).await.phase, Phase::Failed);
        let again = world.sign_open(&params, paying()).await;
        let payload = again.payload(&world.voucher(&again.terms, PRICE));
        served(world.buy(&route, &payload).await).await;
    }
}

// One that is valid without end may be mined at any time. It does not keep the server busy for ever.
#[tokio::test(start_paused = true)]
async fn an_open_without_end_is_given_up_after_an_hour() {
    for protocol in BOTH {
        let world = World::with(|builder| builder.watch_every(Duration::from_secs(1_000_000)));
        let params = world.params(protocol);
        let opening = world.sign_open(&params, paying()).await;
        let pending = PendingTx {
            hash: opening.transaction.hash(),
            valid_before: u64::MAX,
        };
        let first = world.voucher(&opening.terms, PRICE);
        let record = ChannelRecord::opening(opening.terms, pending, first, world.clock.now());
        let write = Write {
            expected: None,
            next: Arc::new(record),
            entry: None,
            outcome: None,
        };
        world.store.commit(write).await.unwrap();
        for (seconds, phase) in [(3_600, Phase::Opening(pending)), (11, Phase::Failed)] {
            world.advance(seconds);
            world.node.mine();
            world.server.reconcile().await.unwrap();
            assert_eq!(world.record(opening.terms.id()).await.phase, phase);
        }
        // The channel can still be opened.
        let again = world.sign_open(&params, paying()).await;
        let payload = again.payload(&world.voucher(&again.terms, PRICE));
        world.node.submit(&again.transaction.encode()).unwrap();
        served(world.buy(&world.route(protocol), &payload).await).await;
    }
}

// SECURITY-CASES A34: nobody heard of it, and a reorganization took it back.
#[tokio::test(start_paused = true)]
async fn an_open_that_was_mined_and_taken_back_is_given_up_by_the_next_server() {
    let world = World::with(|builder| builder.watch_every(Duration::from_secs(86_400)));
    let route = world.route(V2);
    let opening = world.opening(V2).await;
    let id = opening.terms.id();
    world.node.faults().lose_responses(Times::Once);
    let payload = opening.payload(&world.voucher(&opening.terms, PRICE));
    refused(world.buy(&route, &payload).await);
    world.node.faults().reorg(1, Reorged::Lost);
    world.advance(60);
    world.node.mine();
    let next = world.again(|builder| builder);
    next.ready().await.unwrap();
    assert_eq!(world.record(id).await.phase, Phase::Failed);
}

// SECURITY-CASES A34: the payer had sent it long before, and has ended the channel, when a server
// died between recording and asking.
#[tokio::test(start_paused = true)]
async fn an_open_whose_channel_has_ended_ends_with_it() {
    for protocol in BOTH {
        let world = World::with(|builder| builder.watch_every(Duration::from_secs(86_400)));
        world.route(protocol);
        let opening = world.opening(protocol).await;
        let id = opening.terms.id();
        world.node.submit(&opening.transaction.encode()).unwrap();
        world.request_close(&opening.terms).await;
        world.advance(1_000);
        world.withdraw(&opening.terms).await;
        // What happened is read, and so long ago that it is not read again.
        for _ in 0..2 {
            world.server.catch_up().await.unwrap();
            (0..100).for_each(|_| world.node.mine());
        }
        let pending = PendingTx {
            hash: opening.transaction.hash(),
            valid_before: opening.transaction.valid_before().unwrap(),
        };
        let first = world.voucher(&opening.terms, PRICE);
        let now = world.clock.now();
        let write = Write {
            expected: None,
            next: Arc::new(ChannelRecord::opening(opening.terms, pending, first, now)),
            entry: None,
            outcome: None,
        };
        world.store.commit(write).await.unwrap();
        let next = world.again(|builder| builder);
        next.ready().await.unwrap();
        let record = world.record(id).await;
        assert!(matches!(record.phase, Phase::Closed { .. }), "{record:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_unreachable_node_is_a_fault_and_leaves_no_debt() {
    let world = World::new();
    let route = world.route(V2);
    let opening = world.opening(V2).await;
    let payload = opening.payload(&world.voucher(&opening.terms, PRICE));
    world.node.faults().set_outage(Outage::Refusing);
    let decision = world.buy(&route, &payload).await;
    problem(decision, ProblemKind::ServiceUnavailable);
    world.node.faults().set_outage(Outage::None);
    served(world.buy(&route, &payload).await).await;
}

// Draft-tempo-session-00, Crash Safety; DESIGN 2.7: effects never live in a request future.
#[tokio::test(start_paused = true)]
async fn a_client_that_hangs_up_leaves_a_recorded_channel() {
    for protocol in BOTH {
        let (world, store) = World::on_slow_store();
        let route = world.route(protocol);
        let opening = world.opening(protocol).await;
        let payload = opening.payload(&world.voucher(&opening.terms, PRICE));
        // The attempt is recorded before it hangs up, and nothing that comes after.
        store.take(Duration::from_millis(40));
        let request = tokio::time::timeout(Duration::from_millis(50), world.buy(&route, &payload));
        assert!(request.await.is_err());
        tokio::time::sleep(Duration::from_millis(500)).await;
        let record = world.record(opening.terms.id()).await;
        assert_eq!(record.phase, Phase::Open);
        assert_eq!(record.deposit, amount(DEPOSIT));
        assert_eq!(record.spent, Amount::ZERO);
    }
}

// SECURITY-CASES A34: a top-up whose answer was lost is found by repeating it.
#[tokio::test(start_paused = true)]
async fn a_top_up_whose_answer_was_lost_is_found_again() {
    for protocol in BOTH {
        let world = World::with(|builder| builder.watch_every(Duration::from_secs(86_400)));
        let route = world.route(protocol);
        let terms = world.open(&route, protocol, 0).await;
        let signed = world.sign_top_up(&terms, 500, paying()).await;
        let payload = top_up_payload(&terms, signed.encode(), 500);
        world.node.faults().lose_responses(Times::Once);
        let decision = world.manage(&route, &payload).await;
        problem(decision, ProblemKind::ServiceUnavailable);
        assert_eq!(world.record(terms.id()).await.deposit, amount(DEPOSIT));
        managed(world.manage(&route, &payload).await);
        assert_eq!(
            world.record(terms.id()).await.deposit,
            amount(DEPOSIT + 500)
        );
    }
}

/// A channel with one unit spent.
async fn in_use(protocol: SessionProtocol) -> (World, crate::Route, mpp_tempo::ChannelTerms) {
    let world = World::with(|builder| builder.watch_every(Duration::from_secs(86_400)));
    let route = world.route(protocol);
    let terms = world.open(&route, protocol, 0).await;
    let payload = voucher_payload(&terms, &world.voucher(&terms, PRICE));
    served(world.buy(&route, &payload).await).await;
    (world, route, terms)
}

// SECURITY-CASES A33: a close believed though reverted.
#[tokio::test(start_paused = true)]
async fn a_reverted_close_leaves_the_channel_open() {
    for protocol in BOTH {
        let (world, route, terms) = in_use(protocol).await;
        let close = close_payload(&terms, &world.voucher(&terms, PRICE));
        let selector = close_selector(protocol);
        world.node.faults().revert_calls(selector, Times::Once);
        let decision = world.manage(&route, &close).await;
        problem(decision, ProblemKind::VerificationFailed);
        assert_eq!(world.record(terms.id()).await.phase, Phase::Open);
        let payload = voucher_payload(&terms, &world.voucher(&terms, 2 * PRICE));
        served(world.buy(&route, &payload).await).await;
        world.advance(1);
        let close = close_payload(&terms, &world.voucher(&terms, 2 * PRICE));
        managed(world.manage(&route, &close).await);
    }
}

// SECURITY-CASES A33: a close whose answer was lost is `unknown` until proven, and sells nothing.
#[tokio::test(start_paused = true)]
async fn a_close_whose_answer_was_lost_is_found_again() {
    for protocol in BOTH {
        let (world, route, terms) = in_use(protocol).await;
        let close = close_payload(&terms, &world.voucher(&terms, PRICE));
        world.node.faults().lose_responses(Times::Once);
        let decision = world.manage(&route, &close).await;
        problem(decision, ProblemKind::ServiceUnavailable);
        let record = world.record(terms.id()).await;
        assert!(matches!(record.phase, Phase::Closing { sent: Some(_), .. }));
        let payload = voucher_payload(&terms, &world.voucher(&terms, 2 * PRICE));
        let decision = world.buy(&route, &payload).await;
        problem(decision, ProblemKind::ChannelFinalized);
        let receipt = managed(world.manage(&route, &close).await);
        assert!(receipt.tx_hash.is_some());
        assert_eq!(world.node.transactions_mined(), 2);
    }
}

// SECURITY-CASES A33: nor by a server whose clock runs while its node stands still.
#[tokio::test(start_paused = true)]
async fn a_close_is_not_given_up_on_the_word_of_a_node_that_stands_still() {
    for protocol in BOTH {
        let (world, route, terms) = in_use(protocol).await;
        world.node.mine();
        let close = close_payload(&terms, &world.voucher(&terms, PRICE));
        world.node.faults().lose_responses(Times::Once);
        let decision = world.manage(&route, &close).await;
        problem(decision, ProblemKind::ServiceUnavailable);
        world.node.faults().lag_reads(1);
        world.clock.advance_secs(60);
        // Who takes the same transaction once more says that it was mined.
        managed(world.manage(&route, &close).await);
        assert_eq!(world.node.transactions_mined(), 2);
    }
}

// SECURITY-CASES A33: a close that was dropped is given up only when it can no longer be mined.
#[tokio::test(start_paused = true)]
async fn a_dropped_close_is_given_up_after_its_validity() {
    for protocol in BOTH {
        let (world, route, terms) = in_use(protocol).await;
        let close = close_payload(&terms, &world.voucher(&terms, PRICE));
        world.node.faults().drop_transactions(Times::Always);
        let decision = world.manage(&route, &close).await;
        problem(decision, ProblemKind::ServiceUnavailable);
        world.advance(60);
        world.node.mine();
        let decision = world.manage(&route, &close).await;
        problem(decision, ProblemKind::VerificationFailed);
        assert_eq!(world.record(terms.id()).await.phase, Phase::Open);
        world.node.faults().clear();
        managed(world.manage(&route, &close).await);
        let record = world.record(terms.id()).await;
        assert!(matches!(
            record.phase,
            Phase::Closed {
                transaction: Some(_)
            }
        ));
    }
}

// SECURITY-CASES A33: the close fails because the payer has withdrawn meanwhile.
#[tokio::test(start_paused = true)]
async fn a_close_after_a_withdrawal_finds_the_channel_closed() {
    for protocol in BOTH {
        let (world, route, terms) = in_use(protocol).await;
        world.request_close(&terms).await;
        world.advance(1_000);
        world.withdraw(&terms).await;
        let close = close_payload(&terms, &world.voucher(&terms, PRICE));
        let receipt = managed(world.manage(&route, &close).await);
        let record = world.record(terms.id()).await;
        let transaction = receipt.tx_hash.map(|hash| hash.parse().unwrap());
        assert_eq!(record.phase, Phase::Closed { transaction });
        assert!(transaction.is_some());
        assert_eq!(record.settled, Amount::ZERO);
    }
}

// SECURITY-CASES A34: an outage before the close was sent.
#[tokio::test(start_paused = true)]
async fn a_close_resumes_after_an_outage() {
    for protocol in BOTH {
        let (world, route, terms) = in_use(protocol).await;
        let close = close_payload(&terms, &world.voucher(&terms, PRICE));
        world.node.faults().set_outage(Outage::Refusing);
        let decision = world.manage(&route, &close).await;
        problem(decision, ProblemKind::ServiceUnavailable);
        world.node.faults().set_outage(Outage::None);
        managed(world.manage(&route, &close).await);
        assert_eq!(world.node.transactions_mined(), 2);
    }
}

/// The world's server again, with a node whose receipts are not what happened.
fn misled(world: &World, change: fn(&mut mpp_tempo::chain::TxReceipt)) -> crate::PaymentServer {
    let node = world.node.clone();
    world.again(|builder| builder.chain(Doctored { node, change }))
}

// SECURITY-CASES A14: a success without its event locks no deposit.
#[tokio::test(start_paused = true)]
async fn an_open_without_its_event_opens_nothing() {
    for protocol in BOTH {
        for change in [without_events, other_amounts] {
            let mut world = World::new();
            world.server = misled(&world, change);
            let opening = world.opening(protocol).await;
            let payload = opening.payload(&world.voucher(&opening.terms, PRICE));
            let refusal = refused(world.buy(&world.route(protocol), &payload).await);
            assert!(refusal.problem.status() >= 500, "{:?}", refusal.problem);
            let record = world.record(opening.terms.id()).await;
            assert!(matches!(record.phase, Phase::Opening(_)), "{record:?}");
        }
    }
}

// SECURITY-CASES A33: a success without its event, or with another amount, closes nothing.
#[tokio::test(start_paused = true)]
async fn a_close_without_its_event_is_not_believed() {
    for protocol in BOTH {
        for change in [without_events, other_amounts] {
            let mut world = World::new();
            let route = world.route(protocol);
            let terms = world.open(&route, protocol, 0).await;
            let payload = voucher_payload(&terms, &world.voucher(&terms, PRICE));
            served(world.buy(&route, &payload).await).await;
            world.server = misled(&world, change);
            let payload = close_payload(&terms, &world.voucher(&terms, PRICE));
            let refusal = refused(world.manage(&world.route(protocol), &payload).await);
            assert!(refusal.problem.status() >= 500, "{:?}", refusal.problem);
            let record = world.record(terms.id()).await;
            assert!(matches!(record.phase, Phase::Closing { .. }), "{record:?}");
            assert_eq!(record.settled, Amount::ZERO);
        }
    }
}
