use mpp_core::{Problem, ProblemKind};
use mpp_tempo::VoucherVerifier;

use super::*;
use crate::error::{ClientError, TransportError};
use crate::event::ClientEvent;
use crate::session::book::{Phase, StaleReason};
use crate::session::close::Close;
use crate::session::exit::Leave;
use crate::testing::offer;

async fn cumulative(bench: &Bench, close: &Close) -> Amount {
    let credential = read(&close.credential(&offer()).await.unwrap());
    let payload = SessionPayload::from_value(&credential.payload).unwrap();
    let SessionPayload::Close {
        close_signature,
        cumulative_amount,
        ..
    } = &payload
    else {
        panic!("not a close");
    };
    let verifier = VoucherVerifier::new(&bench.record(close.channel_id()).terms);
    verifier.verify(&payload.voucher().unwrap()).unwrap();
    // PROTOCOL 5.2: our client sends `closeSignature`.
    let authorization = close_signature.as_ref().unwrap();
    verifier
        .verify_close_authorization(*cumulative_amount, authorization)
        .unwrap();
    *cumulative_amount
}

/// A channel with two units signed and one spent.
async fn half_spent(bench: &Bench, offer: &Offer) -> ChannelId {
    let id = bench.open(offer).await;
    let mut refused = bench.begin(offer).await;
    send(&mut refused).await;
    refused.refuse(ClientError::Status { status: 402 });
    id
}

// PROTOCOL 5.4, close: v1 must be for exactly what was spent, v2 must cover it.
#[tokio::test]
async fn a_close_is_for_what_was_spent() {
    for offer in offers() {
        let bench = Bench::new();
        let id = half_spent(&bench, &offer).await;
        let mut close = bench.payer.close(id).await.unwrap();
        assert_eq!(cumulative(&bench, &close).await, units(1_000));
        assert_eq!(bench.record(id).phase, Phase::Closing);
        close.mark_sent();
        let mut events = bench.payer.events();
        let mut confirmed = receipt(id, 1_000, 1_000);
        let hash = ChannelId::repeat_byte(5);
        confirmed.tx_hash = Some(hash.to_string());
        close.confirm(&confirmed).unwrap();
        let tx_hash = Some(hash);
        assert_eq!(bench.record(id).phase, Phase::CloseConfirmed { tx_hash });
        let channel_id = id;
        assert_eq!(
            events.try_next(),
            Some(ClientEvent::Closed {
                channel_id,
                tx_hash
            })
        );
        // The chain has the last word.
        bench.payer.resolve(&id).await.unwrap();
        assert_eq!(bench.record(id).phase, Phase::CloseConfirmed { tx_hash });
        bench.ends_on_chain(id).await;
        bench.payer.resolve(&id).await.unwrap();
        assert_eq!(bench.record(id).phase, Phase::Closed { tx_hash });
        let closed = bench.payer.close(id).await;
        assert!(matches!(closed, Err(ClientError::Misuse(_))));
    }
}

// PROTOCOL 5.4: the problem names the required amount.
#[tokio::test]
async fn a_close_follows_the_amount_that_the_server_names() {
    let bench = Bench::new();
    let id = half_spent(&bench, &offers()[0]).await;
    let mut close = bench.payer.close(id).await.unwrap();
    let problem = |required| {
        Problem::new(ProblemKind::InsufficientBalance, "more")
            .with_required_cumulative(units(required))
    };
    assert!(close.adjust(&problem(2_000)).unwrap());
    assert_eq!(cumulative(&bench, &close).await, units(2_000));
    // The same again, or more than was ever signed: no.
    assert!(!close.adjust(&problem(2_000)).unwrap());
    assert!(!close.adjust(&problem(2_001)).unwrap());
    assert_eq!(cumulative(&bench, &close).await, units(2_000));
}

#[tokio::test]
async fn a_refused_close_leaves_the_channel_open() {
    let bench = Bench::new();
    let id = bench.open(&offer()).await;
    let mut close = bench.payer.close(id).await.unwrap();
    close.mark_sent();
    let _refused = close.refuse(ClientError::Status { status: 503 });
    assert_eq!(bench.record(id).phase, Phase::Open);
    drop(bench.payer.close(id).await.unwrap());
    assert_eq!(bench.record(id).phase, Phase::Open);
}

#[tokio::test]
async fn a_lost_close_takes_no_requests_and_can_be_repeated() {
    let bench = Bench::new();
    let id = bench.open(&offer()).await;
    let mut close = bench.payer.close(id).await.unwrap();
    close.mark_sent();
    let error = close.lose(TransportError::new("the connection broke"));
    assert!(matches!(error, ClientError::Indeterminate { .. }));
    assert_eq!(bench.record(id).phase, Phase::Closing);
    let payment = bench.begin(&offer()).await;
    assert_ne!(payment.channel_id(), id);
    drop(payment);
    let again = bench.payer.close(id).await.unwrap();
    drop(again);
    assert_eq!(bench.record(id).phase, Phase::Closing);
}

#[tokio::test]
async fn a_close_of_a_channel_that_is_gone_leaves_the_chain_to_tell() {
    let bench = Bench::new();
    let id = bench.open(&offer()).await;
    let close = bench.payer.close(id).await.unwrap();
    let reason = StaleReason::Finalized;
    let _gone = close.gone(reason, ClientError::Status { status: 410 });
    assert_eq!(bench.record(id).phase, Phase::Stale { reason });
}

/// A channel of which the server says that it has closed it, and has not.
async fn falsely_closed(bench: &Bench) -> ChannelId {
    let id = bench.open(&offer()).await;
    let mut close = bench.payer.close(id).await.unwrap();
    close.mark_sent();
    let mut confirmed = receipt(id, 1_000, 1_000);
    confirmed.tx_hash = Some(ChannelId::repeat_byte(5).to_string());
    close.confirm(&confirmed).unwrap();
    id
}

// SECURITY-CASES A33: the deposit is still there, and comes back without the server.
#[tokio::test]
async fn a_close_that_never_happened_can_be_left() {
    let bench = Bench::new();
    let id = falsely_closed(&bench).await;
    let payment = bench.begin(&offer()).await;
    assert_ne!(payment.channel_id(), id);
    drop(payment);
    let waiting = bench.payer.leave(&id).await.unwrap();
    assert!(matches!(waiting, Leave::Waiting { .. }));
    bench.pass(901);
    let left = bench.payer.leave(&id).await.unwrap();
    assert!(matches!(left, Leave::Done { tx_hash: Some(_) }));
    let there = bench.chain.channel(SessionProtocol::V2, id);
    assert!(there.is_none_or(|there| there.deposit.is_zero()));
}

// SECURITY-CASES A27: closing in words only does not unlock anything.
#[tokio::test]
async fn a_server_that_closes_in_words_only_locks_no_more_than_the_policy_allows() {
    let bench = Bench::with(Policy::new(units(10_000)).max_locked_per_origin(units(25_000)));
    falsely_closed(&bench).await;
    falsely_closed(&bench).await;
    let refused = bench.payer.begin(&bench.site, offer()).await;
    assert!(
        matches!(refused, Err(ClientError::Policy(_))),
        "{refused:?}"
    );
}

// SECURITY-CASES A34: whatever a server makes of a close, who wants out stays on the way out.
#[tokio::test]
async fn a_close_beside_an_exit_does_not_end_the_exit() {
    for is_confirmed in [true, false] {
        let bench = Bench::new();
        let id = bench.open(&offer()).await;
        bench.payer.leave(&id).await.unwrap();
        let mut close = bench.payer.close(id).await.unwrap();
        assert_eq!(bench.payer.leaving().unwrap(), [id]);
        close.mark_sent();
        if is_confirmed {
            close.confirm(&receipt(id, 1_000, 1_000)).unwrap();
        } else {
            drop(close.lose(TransportError::new("the connection broke")));
        }
        // A client that was restarted goes on.
        let next = bench.twin(Policy::new(units(100_000)));
        assert_eq!(next.leaving().unwrap(), [id]);
        bench.pass(901);
        let done = next.leave(&id).await.unwrap();
        assert!(matches!(done, Leave::Done { tx_hash: Some(_) }));
    }
}
