use mpp_tempo::tx::{SignedTx, check};
use mpp_tempo::{Existence, VoucherVerifier};

use super::*;
use crate::error::ClientError;
use crate::event::ClientEvent;
use crate::policy::PolicyViolation;
use crate::session::book::{Phase, StaleReason};
use crate::testing::{PAYEE, offer};

// PROTOCOL 5.2, 5.3, 5.8: what an open is made of, in both versions.
#[tokio::test]
async fn an_open_deposits_what_was_suggested_and_signs_one_unit() {
    for offer in offers() {
        let bench = Bench::new();
        let mut payment = bench.begin(&offer).await;
        let (payload, credential) = send(&mut payment).await;
        let SessionPayload::Open {
            channel_id,
            transaction,
            authorized_signer,
            descriptor,
            ..
        } = &payload
        else {
            panic!("not an open");
        };
        let tx = SignedTx::decode(transaction).unwrap();
        let open = check::open(&tx, offer.protocol(), offer.escrow(), 42_431).unwrap();
        assert_eq!(open.deposit, units(10_000));
        assert_eq!(open.terms.id(), *channel_id);
        assert_eq!(open.terms.descriptor.payee, PAYEE);
        assert!(open.terms.descriptor.operator.is_zero());
        assert_eq!(*authorized_signer, Some(bench.payer.address()));
        let is_v2 = offer.protocol() == SessionProtocol::V2;
        assert_eq!(*descriptor, is_v2.then_some(open.terms.descriptor));
        let voucher = payload.voucher().unwrap();
        let verified = VoucherVerifier::new(&open.terms).verify(&voucher).unwrap();
        assert_eq!(verified.cumulative(), units(1_000));
        // Draft-tempo-session-00, Client Requirements: self-paid names a fee token.
        assert_eq!(tx.fee_token(), Some(offer.currency()));
        assert!(!tx.is_sponsored());
        // Expiring nonce, valid for 25 s, from a random moment in the past.
        assert_eq!(tx.valid_before(), Some(START + 25));
        assert!(tx.valid_after().unwrap() < START);
        let source = credential.source.unwrap();
        let address = format!("{:#x}", bench.payer.address());
        assert_eq!(source, format!("did:pkh:eip155:42431:{address}"));
    }
}

// Draft-tempo-session-00, Fee Payment; PROTOCOL 4: sponsored transactions go as 0x78 envelope.
#[tokio::test]
async fn a_sponsored_open_leaves_the_fees_to_the_server() {
    let offer = offer_with(|request| request["methodDetails"]["feePayer"] = json!(true));
    let bench = Bench::new();
    let mut payment = bench.begin(&offer).await;
    let (SessionPayload::Open { transaction, .. }, _) = send(&mut payment).await else {
        panic!("not an open");
    };
    assert_eq!(transaction[0], 0x78);
    let tx = SignedTx::decode(&transaction).unwrap();
    assert!(tx.needs_fee_payer());
    assert_eq!(tx.fee_token(), None);
}

// Written before the open credential leaves the process.
#[tokio::test]
async fn the_book_knows_the_channel_before_anything_is_sent() {
    let bench = Bench::new();
    let payment = bench.begin(&offer()).await;
    let record = bench.record(payment.channel_id());
    assert_eq!(record.phase, Phase::Opening);
    assert_eq!(record.ledger.deposit(), units(10_000));
    assert_eq!(record.ledger.signed(), units(1_000));
    let open = record.open.unwrap();
    let tx = SignedTx::decode(&open.transaction).unwrap();
    assert_eq!(tx.hash(), open.tx_hash);
    assert_eq!(open.challenge, *offer().challenge());
    let pinned = bench.book.payees_of("https://a.example:443").unwrap();
    assert_eq!(pinned, [PAYEE]);
}

#[tokio::test]
async fn a_bunch_of_requests_opens_one_channel() {
    let bench = Bench::new();
    let offer = offer();
    let mut first = bench.begin(&offer).await;
    let mut others: Vec<_> = (0..8).map(|_| Box::pin(bench.begin(&offer))).collect();
    for other in &mut others {
        assert!(futures_util::poll!(other.as_mut()).is_pending());
    }
    send(&mut first).await;
    let id = first.channel_id();
    first.confirm(&receipt(id, 1_000, 1_000)).unwrap();
    for (n, other) in (2_u128..).zip(others) {
        let mut payment = other.await;
        assert_eq!(payment.channel_id(), id);
        assert_eq!(presented(&mut payment).await, units(1_000 * n));
        let total = 1_000 * n;
        payment.confirm(&receipt(id, total, total)).unwrap();
    }
    assert_eq!(bench.book.records().unwrap().len(), 1);
}

// Two clients over one book are one payer.
#[tokio::test]
async fn two_clients_over_one_book_share_the_channel() {
    let bench = Bench::new();
    let twin = bench.twin(Policy::new(units(100_000)));
    let id = bench.open(&offer()).await;
    let mut ours = bench.begin(&offer()).await;
    let mut theirs = twin.begin(&bench.site, offer()).await.unwrap();
    assert_eq!((ours.channel_id(), theirs.channel_id()), (id, id));
    assert_eq!(presented(&mut ours).await, units(3_000));
    assert_eq!(presented(&mut theirs).await, units(3_000));
}

// If the opener is dropped, another takes over with the SAME transaction.
#[tokio::test]
async fn a_dropped_opener_is_followed_with_the_same_transaction() {
    for was_sent in [false, true] {
        let bench = Bench::new();
        let mut first = bench.begin(&offer()).await;
        let (first_payload, _) = send(&mut first).await;
        let offer = offer();
        let mut second = Box::pin(bench.begin(&offer));
        assert!(futures_util::poll!(second.as_mut()).is_pending());
        if was_sent {
            drop(first);
        } else {
            first.release();
        }
        let mut second = second.await;
        let (second_payload, _) = send(&mut second).await;
        assert_eq!(first_payload, second_payload);
        assert_eq!(bench.book.records().unwrap().len(), 1);
        let in_doubt = if was_sent { 1_000 } else { 0 };
        let record = bench.record(second.channel_id());
        assert_eq!(record.ledger.in_doubt(), units(in_doubt));
    }
}

#[tokio::test]
async fn an_open_that_was_mined_is_repeated_even_after_its_validity() {
    let bench = Bench::new();
    let mut first = bench.begin(&offer()).await;
    let (SessionPayload::Open { transaction, .. }, _) = send(&mut first).await else {
        panic!("not an open");
    };
    bench.mine(&transaction).await;
    drop(first);
    bench.pass(600);
    let mut second = bench.begin(&offer()).await;
    let (
        SessionPayload::Open {
            transaction: again, ..
        },
        _,
    ) = send(&mut second).await
    else {
        panic!("not an open");
    };
    assert_eq!(transaction, again);
}

// SECURITY-CASES: a rejected open kept as a live channel by the client.
#[tokio::test]
async fn an_open_that_was_never_mined_is_given_up_after_its_validity() {
    let bench = Bench::new();
    let mut first = bench.begin(&offer()).await;
    send(&mut first).await;
    let old = first.channel_id();
    drop(first);
    // Too late to send it again, too early to know.
    bench.pass(24);
    let undecided = bench.payer.begin(&bench.site, offer()).await;
    assert!(matches!(
        undecided,
        Err(ClientError::OpenUndecided { channel_id, .. }) if channel_id == old
    ));
    bench.pass(10);
    let second = bench.begin(&offer()).await;
    assert_ne!(second.channel_id(), old);
    assert_eq!(bench.record(old).phase, Phase::NeverOpened);
}

#[tokio::test]
async fn an_outage_leaves_an_open_undecided() {
    let bench = Bench::new();
    let mut first = bench.begin(&offer()).await;
    send(&mut first).await;
    drop(first);
    bench.pass(600);
    bench
        .chain
        .faults()
        .set_outage(mpp_devnet::Outage::Refusing);
    let failed = bench.payer.begin(&bench.site, offer()).await;
    assert!(matches!(failed, Err(ClientError::Chain(_))));
    assert_eq!(bench.book.records().unwrap().len(), 1);
}

// SECURITY-CASES: the record of a channel that still holds money deleted.
#[tokio::test]
async fn a_channel_that_the_server_lost_is_replaced_and_remembered() {
    let bench = Bench::new();
    let old = bench.open(&offer()).await;
    let mut payment = bench.begin(&offer()).await;
    send(&mut payment).await;
    let mut payment = payment.replace(None, StaleReason::NotFound).await.unwrap();
    let (payload, _) = send(&mut payment).await;
    assert!(matches!(payload, SessionPayload::Open { .. }));
    assert_ne!(payment.channel_id(), old);
    let record = bench.record(old);
    let reason = StaleReason::NotFound;
    assert_eq!(record.phase, Phase::Stale { reason });
    assert!(record.phase.may_hold_money());
    assert!(!record.ledger.is_busy());
    // The chain knows that it still holds money.
    assert_eq!(bench.payer.resolve(&old).await.unwrap(), record.phase);
    let on_chain = bench.chain.channel(SessionProtocol::V2, old).unwrap();
    assert_eq!(on_chain.deposit, record.ledger.deposit());
}

// SECURITY-CASES A27: caps per host.
#[tokio::test]
async fn a_server_that_forgets_channel_after_channel_is_stopped() {
    let bench = Bench::with(Policy::new(units(10_000)).max_locked_per_origin(units(20_000)));
    for _ in 0..2 {
        let id = bench.open(&offer()).await;
        bench.payer.set_stale(&id, StaleReason::NotFound).unwrap();
    }
    let refused = bench.payer.begin(&bench.site, offer()).await;
    assert!(matches!(
        refused,
        Err(ClientError::Policy(PolicyViolation::TooMuchLocked { .. }))
    ));
    // Another server is not affected.
    let elsewhere = site("https://b.example/x");
    assert!(bench.payer.begin(&elsewhere, offer()).await.is_ok());
}

// SECURITY-CASES A27: other recipient.
#[tokio::test]
async fn a_server_that_changes_its_payee_gets_nothing() {
    let bench = Bench::new();
    bench.open(&offer()).await;
    let other = offer_with(|request| request["recipient"] = json!(bench.payer.address()));
    let mut events = bench.payer.events();
    let refused = bench.payer.begin(&bench.site, other).await;
    assert!(matches!(
        refused,
        Err(ClientError::Policy(
            PolicyViolation::RecipientChanged { .. }
        ))
    ));
    assert!(matches!(
        events.try_next(),
        Some(ClientEvent::Rejected { .. })
    ));
    assert_eq!(bench.book.records().unwrap().len(), 1);
}

#[tokio::test]
async fn nothing_is_signed_when_gas_is_too_expensive() {
    let bench = Bench::with(Policy::new(units(100_000)).max_fee_per_gas(1));
    let refused = bench.payer.begin(&bench.site, offer()).await;
    assert!(matches!(
        refused,
        Err(ClientError::Policy(PolicyViolation::FeeTooHigh { .. }))
    ));
    assert!(bench.book.records().unwrap().is_empty());
}

#[tokio::test]
async fn the_chain_may_run_ahead_of_this_machine() {
    let bench = Bench::new();
    bench.chain.advance_time(Duration::from_secs(10_000));
    bench.chain.mine();
    let id = bench.open(&offer()).await;
    let record = bench.record(id);
    assert_eq!(record.open_valid_before(), START + 10_025);
    let view = ChainClient::channel(
        &bench.chain,
        record.terms.protocol,
        record.terms.escrow,
        record.id,
    );
    assert_eq!(view.await.unwrap().existence, Existence::Open);
}

// SECURITY-CASES A20: no signed transaction, signature or key in Debug.
#[tokio::test]
async fn debug_shows_nothing_that_can_be_sent() {
    let bench = Bench::new();
    let id = bench.open(&offer()).await;
    let payment = bench.begin(&offer()).await;
    let top_up = bench.payer.top_up(id, &offer(), units(1)).await.unwrap();
    let close_shown = format!("{payment:?} {top_up:?}");
    drop(top_up);
    let record = bench.record(id);
    let shown = format!("{record:?} {:?} {close_shown}", bench.payer).to_lowercase();
    let secrets = [
        record.open.unwrap().transaction.to_string(),
        record.top_up.unwrap().transaction.to_string(),
        record.best.signature.to_hex(),
        bench.chain.accounts()[2].private_key.clone(),
    ];
    for secret in secrets {
        let digits = secret.trim_start_matches("0x");
        assert!(!shown.contains(digits), "{digits}");
    }
}

/// What becomes of requests that all have looked into the book before one of them writes.
async fn at_once(bench: &Bench, offers: Vec<Offer>) -> Vec<Result<Payment, ClientError>> {
    bench.chain.faults().set_outage(mpp_devnet::Outage::Hanging);
    let begin = |offer| Box::pin(bench.payer.begin(&bench.site, offer));
    let mut requests: Vec<_> = offers.into_iter().map(begin).collect();
    for request in &mut requests {
        assert!(futures_util::poll!(request.as_mut()).is_pending());
    }
    bench.chain.faults().set_outage(mpp_devnet::Outage::None);
    futures_util::future::join_all(requests).await
}

// SECURITY-CASES A27: caps per host, also when each answer names another operator.
#[tokio::test]
async fn channels_that_are_opened_at_once_lock_no_more_than_the_policy_allows() {
    let bench = Bench::with(Policy::new(units(10_000)).max_locked_per_origin(units(20_000)));
    let offers = (1..=4_u8).map(|operator| {
        offer_with(|request| {
            let operator = json!(alloy_primitives::Address::repeat_byte(operator));
            request["methodDetails"]["operator"] = operator;
        })
    });
    let opened = at_once(&bench, offers.collect()).await;
    for refused in opened.iter().filter_map(|opened| opened.as_ref().err()) {
        assert!(
            matches!(
                refused,
                ClientError::Policy(PolicyViolation::TooMuchLocked { .. })
            ),
            "{refused:?}"
        );
    }
    assert_eq!(opened.iter().flatten().count(), 2);
    assert_eq!(bench.book.records().unwrap().len(), 2);
}

// SECURITY-CASES A27: other recipient.
#[tokio::test]
async fn a_server_that_names_two_payees_at_once_pays_one() {
    let bench = Bench::new();
    let other = offer_with(|request| request["recipient"] = json!(bench.payer.address()));
    let opened = at_once(&bench, vec![offer(), other]).await;
    assert!(opened[0].is_ok());
    assert!(
        matches!(
            opened[1],
            Err(ClientError::Policy(
                PolicyViolation::RecipientChanged { .. }
            ))
        ),
        "{:?}",
        opened[1]
    );
    assert_eq!(bench.book.records().unwrap().len(), 1);
}

// An offer for one chain is not answered with money of another.
#[tokio::test]
async fn an_offer_for_a_chain_that_is_not_connected_is_refused() {
    let policy = Policy::new(units(100_000))
        .allow_chain(42_431)
        .allow_chain(4217)
        .allow_currency(offer().currency());
    let bench = Bench::with(policy);
    let elsewhere = offer_with(|request| request["methodDetails"]["chainId"] = json!(4217));
    let refused = bench.payer.begin(&bench.site, elsewhere.clone()).await;
    let not_allowed = PolicyViolation::ChainNotAllowed { chain_id: 4217 };
    assert!(
        matches!(&refused, Err(ClientError::Policy(violation)) if *violation == not_allowed),
        "{refused:?}"
    );
    let refused = bench.payer.check_offer(&bench.site, &elsewhere);
    assert!(matches!(refused, Err(ClientError::Policy(_))));
    assert!(bench.book.records().unwrap().is_empty());
    bench.begin(&offer()).await;
}
