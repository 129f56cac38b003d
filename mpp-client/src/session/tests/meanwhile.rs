//! The chain takes its time to answer, and channels move on meanwhile.

use mpp_devnet::Outage;

use super::*;
use crate::error::{ClientError, TransportError};
use crate::session::book::Phase;
use crate::testing::offer;

/// What a look at the chain makes of a channel that `change` moves on before the chain answers.
async fn looked_at_before(bench: &Bench, id: ChannelId, change: impl AsyncFnOnce()) -> Phase {
    bench.chain.faults().set_outage(Outage::Hanging);
    let mut looking = Box::pin(bench.payer.resolve(&id));
    assert!(futures_util::poll!(looking.as_mut()).is_pending());
    change().await;
    bench.chain.faults().set_outage(Outage::None);
    let phase = looking.await.unwrap();
    assert_eq!(bench.record(id).phase, phase);
    phase
}

// A second deposit beside a channel that only seems to be usable.
#[tokio::test]
async fn a_channel_that_was_closed_while_the_chain_is_asked_stays_closed() {
    let bench = Bench::new();
    let id = bench.open(&offer()).await;
    let tx_hash = Some(ChannelId::repeat_byte(5));
    let phase = looked_at_before(&bench, id, async || {
        let mut close = bench.payer.close(id).await.unwrap();
        close.mark_sent();
        let mut confirmed = receipt(id, 1_000, 1_000);
        confirmed.tx_hash = tx_hash.map(|hash| hash.to_string());
        close.confirm(&confirmed).unwrap();
    });
    assert_eq!(phase.await, Phase::CloseConfirmed { tx_hash });
    let next = bench.begin(&offer()).await;
    assert_ne!(next.channel_id(), id);
}

#[tokio::test]
async fn a_close_that_was_lost_while_the_chain_is_asked_takes_no_requests() {
    let bench = Bench::new();
    let id = bench.open(&offer()).await;
    let phase = looked_at_before(&bench, id, async || {
        let mut close = bench.payer.close(id).await.unwrap();
        close.mark_sent();
        drop(close.lose(TransportError::new("the connection broke")));
    });
    assert_eq!(phase.await, Phase::Closing);
    let next = bench.begin(&offer()).await;
    assert_ne!(next.channel_id(), id);
}

#[tokio::test]
async fn a_channel_that_was_confirmed_while_the_chain_is_asked_is_open() {
    let bench = Bench::new();
    let mut payment = bench.begin(&offer()).await;
    let (SessionPayload::Open { transaction, .. }, _) = send(&mut payment).await else {
        panic!("not an open");
    };
    let id = payment.channel_id();
    let phase = looked_at_before(&bench, id, async || {
        payment.confirm(&receipt(id, 1_000, 1_000)).unwrap();
        bench.chain.faults().set_outage(Outage::None);
        bench.mine(&transaction).await;
    });
    assert_eq!(phase.await, Phase::Open);
}

// The wish to leave outlives a close that the server refuses.
#[tokio::test]
async fn a_refused_close_does_not_call_a_payer_back_that_leaves() {
    let bench = Bench::new();
    let id = bench.open(&offer()).await;
    let mut close = bench.payer.close(id).await.unwrap();
    close.mark_sent();
    bench.payer.leave(&id).await.unwrap();
    let _refused = close.refuse(ClientError::Status { status: 503 });
    assert!(bench.record(id).phase.is_leaving());
    assert_eq!(bench.payer.leaving().unwrap(), [id]);
}

// An open that never happened stands before an older channel that can pay.
#[tokio::test]
async fn a_channel_that_can_be_used_is_used_when_a_newer_open_never_happened() {
    let bench = Bench::new();
    let usable = bench.open(&offer()).await;
    let phase = |phase: Phase| {
        let mut change = |record: &mut ChannelRecord| record.phase = phase.clone();
        bench.book.update(&usable, &mut change).unwrap();
    };
    phase(Phase::Closing);
    let newer = bench.begin(&offer()).await;
    let never = newer.channel_id();
    drop(newer);
    phase(Phase::Open);
    bench.pass(60);
    let next = bench.begin(&offer()).await;
    assert_eq!(next.channel_id(), usable);
    assert_eq!(bench.record(never).phase, Phase::NeverOpened);
    assert_eq!(bench.book.records().unwrap().len(), 2);
}

// What the chain showed before the top-up says nothing of it.
#[tokio::test]
async fn a_channel_that_was_refilled_while_the_chain_is_asked_keeps_its_deposit() {
    let bench = Bench::new();
    let id = bench.open(&offer()).await;
    let before = bench.record(id).ledger.deposit();
    let phase = looked_at_before(&bench, id, async || {
        bench.chain.faults().set_outage(Outage::None);
        let offer = offer();
        let top_up = bench.payer.top_up(id, &offer, units(1_000)).await.unwrap();
        top_up.confirm(&receipt(id, 1_000, 1_000)).unwrap();
    });
    assert_eq!(phase.await, Phase::Open);
    let grown = before.checked_add(units(1_000)).unwrap();
    assert_eq!(bench.record(id).ledger.deposit(), grown);
}
