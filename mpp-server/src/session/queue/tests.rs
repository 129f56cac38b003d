//! Together or alone, each voucher gets its own answer.

use std::pin::pin;

use futures_util::future::{join_all, poll_immediate};
use mpp_tempo::SessionProtocol;

use super::*;
use crate::testing::{payer, salted_terms, sign};

/// A channel, a good voucher of it and one that somebody altered.
fn channel(salt: u8) -> (Arc<VoucherVerifier>, SignedVoucher, SignedVoucher) {
    let terms = salted_terms(SessionProtocol::V2, salt);
    let good = sign(&payer(), &terms, 5);
    let mut altered = good.clone();
    altered.voucher.cumulative = mpp_core::Amount::new(6);
    (Arc::new(VoucherVerifier::new(&terms)), good, altered)
}

fn busy(queue: &VoucherQueue) -> Vec<InProgress<'_>> {
    (0..COMPANY).map(|_| queue.enter()).collect()
}

#[tokio::test]
async fn a_lone_voucher_is_answered_without_waiting() {
    let queue = VoucherQueue::new();
    let _alone = queue.enter();
    let (verifier, good, altered) = channel(1);
    for (voucher, valid) in [(good, true), (altered, false)] {
        let answer = poll_immediate(queue.verify(&verifier, &voucher)).await;
        assert_eq!(answer.expect("no waiting").is_ok(), valid);
    }
}

#[tokio::test]
async fn vouchers_of_a_busy_server_form_one_batch_and_each_gets_its_answer() {
    let queue = VoucherQueue::new();
    let _busy = busy(&queue);
    let channels: Vec<_> = (1..=70).map(channel).collect();
    // Every third is bad; the same channel may come twice.
    let asked: Vec<_> = channels
        .iter()
        .chain(&channels)
        .enumerate()
        .map(|(index, (verifier, good, altered))| {
            let bad = index % 3 == 0;
            (verifier, if bad { altered } else { good })
        })
        .collect();
    let answers = join_all(
        asked
            .iter()
            .map(|(verifier, voucher)| queue.verify(verifier, voucher)),
    );
    let mut answers = pin!(answers);
    // The first poll queues all of them, and the leader waits for one turn only.
    assert!(poll_immediate(&mut answers).await.is_none());
    assert_eq!(queue.waiting.lock().unwrap().len(), asked.len());
    let answers = answers.await;
    assert!(queue.waiting.lock().unwrap().is_empty());
    for ((verifier, voucher), answer) in asked.iter().zip(answers) {
        assert_eq!(answer, verifier.verify(voucher));
    }
}

// A lower voucher is authenticated by its own signature, whatever a higher one is worth.
#[tokio::test]
async fn a_bad_lower_voucher_does_not_ride_on_a_good_higher_one() {
    let queue = VoucherQueue::new();
    let _busy = busy(&queue);
    let (verifier, good, _) = channel(1);
    let mut lower = good.clone();
    lower.voucher.cumulative = mpp_core::Amount::new(4);
    let answers = [&good, &lower].map(|voucher| queue.verify(&verifier, voucher));
    let [higher, lower] = join_all(answers).await.try_into().unwrap();
    assert!(higher.is_ok() && lower.is_err());
}

#[tokio::test]
async fn a_leader_that_is_cancelled_leaves_nobody_behind() {
    let queue = VoucherQueue::new();
    let _busy = busy(&queue);
    let (verifier, good, altered) = channel(1);
    let mut leader = Box::pin(queue.verify(&verifier, &good));
    assert!(poll_immediate(&mut leader).await.is_none());
    let mut follower = pin!(queue.verify(&verifier, &altered));
    assert!(poll_immediate(&mut follower).await.is_none());
    drop(leader);
    let answer = poll_immediate(follower).await;
    assert!(answer.expect("verified when the leader went").is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn threads_that_lead_and_follow_at_once_all_get_answers() {
    let queue = Arc::new(VoucherQueue::new());
    let tasks = (0..32_u8).map(|salt| {
        let queue = Arc::clone(&queue);
        async move {
            let (verifier, good, altered) = channel(salt);
            for _ in 0..20 {
                let _entered = queue.enter();
                assert!(queue.verify(&verifier, &good).await.is_ok());
                assert!(queue.verify(&verifier, &altered).await.is_err());
                tokio::task::yield_now().await;
            }
        }
    });
    tasks.collect::<tokio::task::JoinSet<_>>().join_all().await;
    assert_eq!(queue.in_progress.load(Ordering::Relaxed), 0);
}
