use mpp_tempo::Existence;

use super::*;
use crate::session::book::{Phase, StaleReason};
use crate::session::exit::Leave;
use crate::session::rescue::Standing;
use crate::testing::offer;

fn units_of(bench: &Bench) -> Amount {
    bench
        .chain
        .balance(offer().currency(), bench.payer.address())
}

// PROTOCOL 5.3: a v2 descriptor is rebuilt from the ChannelOpened event.
#[tokio::test]
async fn a_lost_book_is_made_good_from_the_chain_and_the_deposits_come_back() {
    let bench = Bench::new();
    let mut ids = Vec::new();
    for offer in offers() {
        ids.push(bench.open(&offer).await);
    }
    let before = units_of(&bench);
    // Nothing is left but the key.
    let payer = bench.payer_of(Policy::new(units(100_000)), Arc::default());
    assert_eq!(payer.channels().unwrap().len(), 0);
    let rescued = payer.rescue().await.unwrap();
    let mut found: Vec<_> = rescued.iter().map(|rescued| rescued.channel_id).collect();
    found.sort_unstable();
    ids.sort_unstable();
    assert_eq!(found, ids);
    assert!(
        rescued
            .iter()
            .all(|rescued| rescued.standing == Standing::Found)
    );
    assert!(
        rescued
            .iter()
            .all(|rescued| rescued.view.existence == Existence::Open)
    );
    // They pay for nothing.
    for id in &ids {
        let record = payer.channel(id).unwrap();
        let reason = StaleReason::Found;
        assert_eq!(record.phase, Phase::Stale { reason });
        let Leave::Waiting { until } = payer.leave(id).await.unwrap() else {
            panic!("withdrawn at once");
        };
        assert!(until > bench.chain.now());
    }
    bench.pass(901);
    for id in &ids {
        assert!(matches!(
            payer.leave(id).await,
            Ok(Leave::Done { tx_hash: Some(_) })
        ));
        assert!(matches!(payer.leave(id).await, Ok(Leave::Done { .. })));
    }
    let back = units_of(&bench).checked_sub(before).unwrap();
    assert!(back > units(16_000), "{back:?}");
    assert!(payer.rescue().await.unwrap().is_empty());
}

#[tokio::test]
async fn channels_that_the_book_knows_are_left_as_they_are() {
    let bench = Bench::new();
    let id = bench.open(&offer()).await;
    let before = bench.record(id);
    let rescued = bench.payer.rescue().await.unwrap();
    assert_eq!(rescued.len(), 1);
    let phase = Phase::Open;
    assert_eq!(rescued[0].standing, Standing::Known { phase });
    assert_eq!(bench.record(id), before);
}

// A reorganization took the close back, or a node that had fallen behind was believed.
#[tokio::test]
async fn a_channel_that_was_held_for_over_can_be_left() {
    for phase in [Phase::Closed { tx_hash: None }, Phase::NeverOpened] {
        let bench = Bench::new();
        let id = bench.open(&offer()).await;
        let over = phase.clone();
        bench
            .book
            .update(&id, &mut |record| record.phase = over.clone())
            .unwrap();
        let rescued = bench.payer.rescue().await.unwrap();
        assert_eq!(rescued[0].standing, Standing::Known { phase });
        let waiting = bench.payer.leave(&id).await.unwrap();
        assert!(matches!(waiting, Leave::Waiting { .. }));
        assert_ne!(bench.begin(&offer()).await.channel_id(), id);
    }
}

// SECURITY-CASES A34: requestClose and withdraw are one operation, which a restart goes on with.
#[tokio::test]
async fn a_forced_exit_goes_on_after_a_restart() {
    for offer in offers() {
        let bench = Bench::new();
        let id = bench.open(&offer).await;
        bench.chain.faults().lose_responses(mpp_devnet::Times::Once);
        // The process dies without knowing whether the chain was asked.
        bench.payer.leave(&id).await.unwrap_err();
        assert_eq!(bench.record(id).phase, Phase::Leaving);
        let next = bench.twin(Policy::new(units(100_000)));
        assert_eq!(next.leaving().unwrap(), [id]);
        let blocks = bench.chain.block_number();
        let waiting = next.leave(&id).await.unwrap();
        assert!(matches!(waiting, Leave::Waiting { .. }));
        assert_eq!(bench.chain.block_number(), blocks, "asked twice");
        assert_eq!(next.leave(&id).await.unwrap(), waiting);
        bench.pass(901);
        let last = bench.twin(Policy::new(units(100_000)));
        assert_eq!(last.leaving().unwrap(), [id]);
        let done = last.leave(&id).await.unwrap();
        assert!(matches!(done, Leave::Done { tx_hash: Some(_) }));
        assert!(last.leaving().unwrap().is_empty());
        assert_eq!(last.leave(&id).await.unwrap(), done);
    }
}

// A reorganization removes the close request: it is made again.
#[tokio::test]
async fn an_exit_that_the_chain_takes_back_is_begun_again() {
    let bench = Bench::new();
    let id = bench.open(&offer()).await;
    bench.payer.leave(&id).await.unwrap();
    bench.chain.faults().reorg(1, mpp_devnet::Reorged::Lost);
    bench.pass(901);
    let again = bench.payer.leave(&id).await.unwrap();
    assert!(matches!(again, Leave::Waiting { until } if until > bench.chain.now()));
    bench.pass(901);
    let done = bench.payer.leave(&id).await.unwrap();
    assert!(matches!(done, Leave::Done { tx_hash: Some(_) }));
}

#[tokio::test]
async fn a_channel_that_may_still_be_opened_is_not_left() {
    let bench = Bench::new();
    let mut payment = bench.begin(&offer()).await;
    let id = payment.channel_id();
    send(&mut payment).await;
    let early = bench.payer.leave(&id).await;
    assert!(matches!(
        early,
        Err(crate::error::ClientError::OpenUndecided { .. })
    ));
    bench.pass(60);
    let done = bench.payer.leave(&id).await.unwrap();
    assert_eq!(done, Leave::Done { tx_hash: None });
}

// Mined, and no server ever confirmed it: the chain says that the deposit is there.
#[tokio::test]
async fn a_channel_whose_open_was_mined_and_not_confirmed_is_left() {
    for pause in [0, 600] {
        let bench = Bench::new();
        let mut payment = bench.begin(&offer()).await;
        let id = payment.channel_id();
        let (SessionPayload::Open { transaction, .. }, _) = send(&mut payment).await else {
            panic!("not an open");
        };
        bench.mine(&transaction).await;
        drop(payment);
        bench.pass(pause);
        let waiting = bench.payer.leave(&id).await.unwrap();
        assert!(matches!(waiting, Leave::Waiting { .. }));
        assert_eq!(bench.payer.leaving().unwrap(), [id]);
        bench.pass(901);
        let done = bench.payer.leave(&id).await.unwrap();
        assert!(matches!(done, Leave::Done { tx_hash: Some(_) }));
    }
}
