use mpp_tempo::tx::{FeeMode, TxContext, TxFees, build};

use super::*;
use crate::error::ClientError;
use crate::session::book::Phase;
use crate::session::exit::Leave;
use crate::testing::offer;

/// What is done without waiting for anybody else.
async fn at_once<T>(doing: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(20);
    let done = tokio::time::timeout(limit, doing).await;
    done.expect("it waits for a server that may never answer")
}

/// Leaves a channel to the end, while somebody has the gate of its key.
async fn leave(bench: &Bench, id: ChannelId) {
    let waiting = at_once(bench.payer.leave(&id)).await.unwrap();
    assert!(matches!(waiting, Leave::Waiting { .. }));
    bench.pass(901);
    let done = at_once(bench.payer.leave(&id)).await.unwrap();
    assert!(matches!(done, Leave::Done { tx_hash: Some(_) }));
}

// SECURITY-CASES A27: a server that keeps an open unanswered does not keep the deposit with it.
#[tokio::test]
async fn a_channel_is_left_while_its_open_is_not_answered() {
    let bench = Bench::new();
    let mut payment = bench.begin(&offer()).await;
    let id = payment.channel_id();
    let (SessionPayload::Open { transaction, .. }, _) = send(&mut payment).await else {
        panic!("not an open");
    };
    bench.mine(&transaction).await;
    leave(&bench, id).await;
    payment.confirm(&receipt(id, 1_000, 1_000)).unwrap();
    assert!(matches!(bench.record(id).phase, Phase::Closed { .. }));
}

// A top-up that was sent before may be mined after the request to close, and takes it back
// (PROTOCOL 5.3): whoever leaves asks again, and nothing more is sent of it.
#[tokio::test]
async fn a_channel_is_left_while_its_top_up_is_not_answered() {
    let bench = Bench::new();
    let id = bench.open(&offer()).await;
    let top_up = bench.payer.top_up(id, &offer(), units(5_000)).await;
    let top_up = top_up.unwrap();
    let sent = read(&top_up.credential(&offer()).unwrap());
    let sent = SessionPayload::from_value(&sent.payload).unwrap();
    let SessionPayload::TopUp { transaction, .. } = sent else {
        panic!("not a top-up");
    };
    let asked = at_once(bench.payer.request_close(&id)).await.unwrap();
    let refused = top_up.credential(&offer());
    assert!(matches!(refused, Err(ClientError::Misuse(_))));
    bench.mine(&transaction).await;
    bench.pass(10);
    let again = at_once(bench.payer.leave(&id)).await.unwrap();
    assert!(matches!(again, Leave::Waiting { until } if until >= asked + 10));
    bench.pass(901);
    let done = at_once(bench.payer.leave(&id)).await.unwrap();
    assert!(matches!(done, Leave::Done { tx_hash: Some(_) }));
    drop(top_up);
}

// A refill that was begun before, and not signed, is not signed any more.
#[tokio::test]
async fn nothing_is_added_to_a_channel_that_the_chain_is_asked_to_close() {
    let bench = Bench::new();
    let id = bench.open(&offer()).await;
    let offer = offer();
    bench.chain.faults().set_outage(mpp_devnet::Outage::Hanging);
    let mut refilling = Box::pin(bench.payer.top_up(id, &offer, units(5_000)));
    assert!(futures_util::poll!(refilling.as_mut()).is_pending());
    bench.chain.faults().set_outage(mpp_devnet::Outage::None);
    at_once(bench.payer.request_close(&id)).await.unwrap();
    let refused = refilling.await;
    assert!(
        matches!(refused, Err(ClientError::Misuse(_))),
        "{refused:?}"
    );
}

// Two that leave at once send one request and one withdrawal, and both come to the end.
#[tokio::test]
async fn a_channel_is_left_once() {
    let bench = Bench::new();
    let id = bench.open(&offer()).await;
    let twin = bench.twin(Policy::new(units(100_000)));
    for pause in [0, 901] {
        bench.pass(pause);
        let next = bench.chain.block_number().checked_add(1).unwrap();
        let (ours, theirs) = tokio::join!(bench.payer.leave(&id), twin.leave(&id));
        assert_eq!(ours.unwrap(), theirs.unwrap());
        assert_eq!(bench.chain.block_number(), next);
    }
}

// PROTOCOL 5.3: requestClose, 900 s, withdraw, in both versions.
#[tokio::test]
async fn a_deposit_comes_back_without_the_server() {
    for offer in offers() {
        let bench = Bench::new();
        let id = bench.open(&offer).await;
        let token = offer.currency();
        let payer = bench.payer.address();
        let early = bench.payer.withdraw(&id).await;
        assert!(matches!(early, Err(ClientError::Misuse(_))));

        let from = bench.payer.request_close(&id).await.unwrap();
        let at = from - 900;
        assert_eq!(bench.record(id).phase, Phase::CloseRequested { at });
        assert!(bench.record(id).phase.may_hold_money());
        // Asked again, nothing is sent.
        let block = bench.chain.block_number();
        assert_eq!(bench.payer.request_close(&id).await.unwrap(), from);
        assert_eq!(bench.chain.block_number(), block);
        let early = bench.payer.withdraw(&id).await;
        assert!(matches!(early, Err(ClientError::Misuse(_))));

        bench.pass(901);
        let before = bench.chain.balance(token, payer);
        let tx_hash = bench.payer.withdraw(&id).await.unwrap();
        assert!(tx_hash.is_some());
        assert_eq!(bench.record(id).phase, Phase::Closed { tx_hash });
        let back = bench.chain.balance(token, payer).checked_sub(before);
        // The deposit less the fee.
        assert!(back.unwrap() > units(8_000), "{back:?}");
        let again = bench.payer.request_close(&id).await;
        assert!(matches!(again, Err(ClientError::Misuse(_))));
    }
}

#[tokio::test]
async fn a_request_that_closes_takes_no_payments() {
    let bench = Bench::new();
    let id = bench.open(&offer()).await;
    bench.payer.request_close(&id).await.unwrap();
    let payment = bench.begin(&offer()).await;
    assert_ne!(payment.channel_id(), id);
}

#[tokio::test]
async fn a_lost_answer_of_the_chain_is_found_again() {
    let bench = Bench::new();
    let id = bench.open(&offer()).await;
    bench.chain.faults().lose_responses(mpp_devnet::Times::Once);
    let lost = bench.payer.request_close(&id).await;
    assert!(matches!(lost, Err(ClientError::Chain(_))));
    let block = bench.chain.block_number();
    bench.payer.request_close(&id).await.unwrap();
    assert_eq!(bench.chain.block_number(), block);
}

#[tokio::test]
async fn a_reverted_transaction_is_an_error() {
    let bench = Bench::new();
    let id = bench.open(&offer()).await;
    let selector = [0x67, 0x54, 0x02, 0xe5];
    bench
        .chain
        .faults()
        .revert_calls(selector, mpp_devnet::Times::Once);
    let reverted = bench.payer.request_close(&id).await;
    assert!(matches!(reverted, Err(ClientError::Payment(_))));
    // The wish stays, and so does the deposit, until it is tried again.
    assert_eq!(bench.record(id).phase, Phase::Leaving);
    bench.payer.request_close(&id).await.unwrap();
}

// A payee that settles in the grace period: nothing is left to withdraw, and that is no error.
#[tokio::test]
async fn a_channel_that_the_payee_closed_needs_no_withdrawal() {
    let bench = Bench::new();
    let payee = &bench.chain.accounts()[1];
    let offer = offer_with(|request| request["recipient"] = json!(payee.address));
    let id = bench.open(&offer).await;
    bench.payer.request_close(&id).await.unwrap();
    let record = bench.record(id);
    let context = TxContext {
        chain_id: 42_431,
        now: Timestamp::from_secs(i64::try_from(bench.chain.now()).unwrap()),
        valid_for: Duration::from_secs(20),
        fees: TxFees {
            max_fee_per_gas: 2_000_000_000,
            max_priority_fee_per_gas: 0,
            gas_limit: mpp_tempo::tx::gas::CLOSE,
        },
        fee_mode: FeeMode::SelfPaid {
            fee_token: offer.currency(),
        },
        valid_after: None,
    };
    let close = build::close(&context, &record.terms, &record.best, units(1_000)).unwrap();
    let signer = LocalSigner::from_hex(&payee.private_key).unwrap();
    let signed = close.sign(&signer).await.unwrap();
    bench.mine(&signed.encode()).await;
    bench.pass(901);
    assert_eq!(bench.payer.withdraw(&id).await.unwrap(), None);
    let closed = Phase::Closed { tx_hash: None };
    assert_eq!(bench.record(id).phase, closed);
}
