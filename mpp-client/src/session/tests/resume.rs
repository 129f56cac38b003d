use alloy_primitives::Address;
use mpp_core::{Challenge, EncodedJson, IntentName, Realm};
use mpp_tempo::charge::ProofTerms;
use mpp_tempo::wire::{ChargePayload, HighestVoucher, SessionSnapshot, SnapshotError};
use mpp_tempo::{Signer as _, voucher::sign_voucher};
use serde_json::Value;

use super::*;
use crate::error::ClientError;
use crate::offer::Unpayable;
use crate::policy::{PolicyViolation, ResumePolicy};
use crate::session::book::Phase;
use crate::session::resume::{Resume, SnapshotRefused};
use crate::testing::{PAYEE, challenge, offer, request};

/// A payer who has lost its book, and what the server knows of its channel.
struct Loss {
    bench: Bench,
    book: Arc<MemoryBook>,
    payer: Payer,
    snapshot: SessionSnapshot,
}

impl Loss {
    /// A channel on chain, of whose deposit three units are authorized and two are spent.
    async fn of(policy: Policy) -> Self {
        let bench = Bench::new();
        let id = bench.open(&offer()).await;
        let terms = bench.record(id).terms;
        let best = sign_voucher(bench.payer.signer(), &terms, units(3_000));
        let book = Arc::new(MemoryBook::default());
        Self {
            payer: bench.payer_of(policy, book.clone()),
            book,
            snapshot: SessionSnapshot {
                accepted_cumulative: units(3_000),
                chain_id: terms.chain_id,
                channel_id: id,
                close_requested_at: None,
                deposit: units(10_000),
                descriptor: terms.descriptor,
                escrow: terms.escrow,
                highest_voucher: Some(HighestVoucher::from(&best.await.unwrap())),
                required_cumulative: units(2_000),
                settled: Amount::ZERO,
                spent: units(2_000),
                units: Some(2),
            },
            bench,
        }
    }

    async fn new() -> Self {
        Self::of(Policy::new(units(100_000))).await
    }

    async fn ask(&self) -> Option<Resume> {
        self.payer.resume(&self.bench.site, &offer()).await.unwrap()
    }

    async fn adopt(&self, snapshot: &Value) -> Result<Option<ChannelId>, ClientError> {
        self.ask().await.unwrap().adopt(snapshot).await
    }

    fn json(&self) -> Value {
        serde_json::to_value(&self.snapshot).unwrap()
    }
}

// PROTOCOL 5.8: the channel goes on where it was, without a transaction.
#[tokio::test]
async fn a_channel_is_taken_over_and_goes_on_where_it_was() {
    let loss = Loss::new().await;
    let mined = loss.bench.chain.transactions_mined();
    let mut events = loss.payer.events();
    let id = loss.adopt(&loss.json()).await.unwrap().unwrap();
    assert_eq!(id, loss.snapshot.channel_id);
    let resumed = crate::ClientEvent::ChannelResumed {
        channel_id: id,
        deposit: units(10_000),
        spent: units(2_000),
    };
    assert_eq!(events.try_next(), Some(resumed));
    let pinned = loss.book.payees_of("https://a.example:443").unwrap();
    assert_eq!(pinned, [PAYEE]);
    // One unit is authorized and not spent yet; then vouchers rise again.
    for cumulative in [3_000, 4_000, 5_000] {
        let payment = loss.payer.begin(&loss.bench.site, offer()).await;
        let mut payment = payment.unwrap();
        assert_eq!(payment.channel_id(), id);
        assert_eq!(presented(&mut payment).await, units(cumulative));
        payment
            .confirm(&receipt(id, cumulative, cumulative))
            .unwrap();
    }
    assert_eq!(loss.bench.chain.transactions_mined(), mined);
    assert_eq!(loss.book.records().unwrap().len(), 1);
    // It can be left like any other.
    loss.bench.chain.mine();
    assert!(loss.payer.request_close(&id).await.is_ok());
}

// SECURITY-CASES A27: snapshots that are not ours.
#[tokio::test]
async fn a_snapshot_that_is_not_ours_is_refused_and_nothing_is_written() {
    let loss = Loss::new().await;
    let other = json!(Address::repeat_byte(0x78));
    let stranger = LocalSigner::from_bytes(&[9; 32]).unwrap();
    let terms = loss.snapshot.claimed_terms();
    let forged =
        stranger.sign_digest_sync(&mpp_tempo::VoucherVerifier::new(&terms).digest(units(3_000)));
    let forged = mpp_tempo::VoucherSignature::from(forged).to_hex();
    type Lie<'a> = (&'a str, Value, SnapshotRefused);
    let parties = SnapshotRefused::OtherParties;
    let amounts = SnapshotRefused::Forged(SnapshotError::Amounts);
    let lies: [Lie<'_>; 13] = [
        ("/descriptor/payer", other.clone(), parties),
        ("/descriptor/payee", other.clone(), parties),
        ("/descriptor/operator", other.clone(), parties),
        ("/descriptor/token", other.clone(), parties),
        (
            "/descriptor/authorizedSigner",
            json!(stranger.address()),
            parties,
        ),
        ("/escrow", other, parties),
        ("/chainId", json!(4217), parties),
        (
            "/descriptor/salt",
            json!(ChannelId::repeat_byte(1)),
            SnapshotRefused::Forged(SnapshotError::WrongChannelId),
        ),
        // More than was signed.
        ("/spent", json!("3001"), amounts),
        ("/acceptedCumulative", json!("4000"), amounts),
        ("/settled", json!("3001"), amounts),
        ("/deposit", json!("2999"), amounts),
        ("/spent", json!(-1), SnapshotRefused::Unreadable),
    ];
    for (member, lie, expected) in lies {
        let mut snapshot = loss.json();
        *snapshot.pointer_mut(member).unwrap() = lie;
        let refused = loss.adopt(&snapshot).await;
        let is_it = matches!(refused, Err(ClientError::Snapshot(reason)) if reason == expected);
        assert!(is_it, "{member}: {refused:?}");
    }
    for (amount, signature) in [("3000", forged.as_str()), ("9000", "")] {
        let mut snapshot = loss.json();
        snapshot["acceptedCumulative"] = json!(amount);
        snapshot["highestVoucher"]["cumulativeAmount"] = json!(amount);
        if !signature.is_empty() {
            snapshot["highestVoucher"]["signature"] = json!(signature);
        }
        let refused = loss.adopt(&snapshot).await;
        let is_it = matches!(
            refused,
            Err(ClientError::Snapshot(SnapshotRefused::Forged(
                SnapshotError::Voucher(_)
            )))
        );
        assert!(is_it, "{amount}: {refused:?}");
    }
    let mut snapshot = loss.json();
    snapshot.as_object_mut().unwrap().remove("highestVoucher");
    let refused = loss.adopt(&snapshot).await;
    let no_voucher = SnapshotRefused::NoVoucher;
    assert!(matches!(refused, Err(ClientError::Snapshot(reason)) if reason == no_voucher));
    assert!(loss.book.records().unwrap().is_empty());
    // The honest one is taken after all of that.
    assert!(loss.adopt(&loss.json()).await.unwrap().is_some());
}

// The chain says what the channel holds, and whether it is open.
#[tokio::test]
async fn the_deposit_is_the_chains_and_not_the_servers() {
    let loss = Loss::new().await;
    let mut snapshot = loss.json();
    snapshot["deposit"] = json!("99000");
    let id = loss.adopt(&snapshot).await.unwrap().unwrap();
    assert_eq!(loss.book.read(&id).unwrap().ledger.deposit(), units(10_000));
}

#[tokio::test]
async fn a_channel_that_ends_is_not_taken_over() {
    let loss = Loss::new().await;
    let mut snapshot = loss.json();
    snapshot["closeRequestedAt"] = json!("1");
    assert_eq!(loss.adopt(&snapshot).await.unwrap(), None);

    // The server does not know yet that the payer asked the chain to close.
    let loss = Loss::new().await;
    let id = loss.snapshot.channel_id;
    loss.bench.payer.request_close(&id).await.unwrap();
    assert_eq!(loss.adopt(&loss.json()).await.unwrap(), None);
    assert!(loss.book.records().unwrap().is_empty());
}

// A book that knows better is not overruled.
#[tokio::test]
async fn a_channel_that_the_book_has_given_up_stays_given_up() {
    let loss = Loss::new().await;
    let mut record = loss.bench.record(loss.snapshot.channel_id);
    record.phase = Phase::Closing;
    loss.book.insert(record).unwrap();
    assert_eq!(loss.adopt(&loss.json()).await.unwrap(), None);
    let phase = loss.book.read(&loss.snapshot.channel_id).unwrap().phase;
    assert_eq!(phase, Phase::Closing);
}

#[tokio::test]
async fn a_channel_beyond_the_policy_is_not_used() {
    let loss = Loss::of(Policy::new(units(9_999))).await;
    let refused = loss.adopt(&loss.json()).await;
    let too_large = PolicyViolation::DepositTooLarge {
        required: units(10_000),
        limit: units(9_999),
    };
    assert!(matches!(refused, Err(ClientError::Policy(violation)) if violation == too_large));
    assert!(loss.book.records().unwrap().is_empty());
}

#[tokio::test]
async fn a_server_is_asked_once_and_only_when_something_may_be_lost() {
    let loss = Loss::new().await;
    loss.ask().await.unwrap().none();
    assert!(loss.ask().await.is_none());

    let never = Loss::of(Policy::new(units(100_000)).resume(ResumePolicy::Never)).await;
    assert!(never.ask().await.is_none());

    // The book has a channel.
    let bench = &never.bench;
    assert!(
        bench
            .payer
            .resume(&bench.site, &offer())
            .await
            .unwrap()
            .is_none()
    );

    // Snapshots describe v2 channels.
    let [v1, _] = offers();
    let loss = Loss::new().await;
    assert!(
        loss.payer
            .resume(&loss.bench.site, &v1)
            .await
            .unwrap()
            .is_none()
    );

    // An offer that is not allowed is not worth a question.
    let refused = offer_with(|request| request["currency"] = json!(PAYEE));
    let refused = loss.payer.resume(&loss.bench.site, &refused).await;
    assert!(matches!(refused, Err(ClientError::Policy(_))));
}

#[tokio::test]
async fn a_bunch_of_requests_asks_once() {
    let loss = Loss::new().await;
    let first = loss.ask().await.unwrap();
    let mut second = Box::pin(loss.ask());
    assert!(futures_util::poll!(second.as_mut()).is_pending());
    first.adopt(&loss.json()).await.unwrap();
    assert!(second.await.is_none());
}

fn zero_charge(change: impl FnOnce(&mut Challenge, &mut Value)) -> Challenge {
    let session = request();
    let mut request = json!({
        "amount": "0",
        "currency": session["currency"],
        "recipient": session["recipient"],
        "methodDetails": {"chainId": 42431},
    });
    let mut challenge = challenge(&session);
    challenge.intent = IntentName::charge();
    change(&mut challenge, &mut request);
    challenge.request = EncodedJson::from_value(&request).unwrap();
    challenge
}

// PROTOCOL 4: the proof in the form of the deployed peers.
#[tokio::test]
async fn a_proof_answers_a_charge_of_zero_on_the_offers_terms() {
    let loss = Loss::new().await;
    let resume = loss.ask().await.unwrap();
    let asked = zero_charge(|_, _| ());
    let challenges = [challenge(&request()), asked.clone()];
    let credential = read(&resume.proof(&challenges).await.unwrap().unwrap());
    assert_eq!(credential.challenge, asked);
    let account = loss.payer.address();
    let expected = format!("did:pkh:eip155:42431:{account:#x}");
    assert_eq!(credential.source, Some(expected));
    let ChargePayload::Proof { signature } = serde_json::from_value(credential.payload).unwrap()
    else {
        panic!("not a proof");
    };
    let terms = ProofTerms {
        account,
        chain_id: 42_431,
        challenge_id: asked.id.as_str(),
        realm: asked.realm.as_str(),
    };
    assert_eq!(signature.recover(&terms.digest()), Ok(account));
}

// SECURITY-CASES A27: no proof that somebody else could use, and none that costs anything.
#[tokio::test]
async fn a_proof_on_other_terms_is_not_signed() {
    type Change = fn(&mut Challenge, &mut Value);
    let changes: [Change; 7] = [
        |_, request| request["amount"] = json!("1"),
        |_, request| request["recipient"] = json!(Address::repeat_byte(0x78)),
        |_, request| request["currency"] = json!(PAYEE),
        |_, request| request["methodDetails"]["chainId"] = json!(4217),
        |challenge, _| challenge.realm = Realm::new("other.example").unwrap(),
        |challenge, _| challenge.intent = IntentName::session(),
        |challenge, _| challenge.method = "card".parse().unwrap(),
    ];
    let loss = Loss::new().await;
    let resume = loss.ask().await.unwrap();
    for change in changes {
        let proof = resume.proof(&[zero_charge(change)]).await.unwrap();
        assert!(proof.is_none());
    }
}

// Draft-httpauth-payment-00: clients must not answer an expired challenge. The channel may be there,
// so none is opened beside it.
#[tokio::test]
async fn an_expired_charge_is_not_answered_with_a_proof() {
    let loss = Loss::new().await;
    let resume = loss.ask().await.unwrap();
    let now = Timestamp::from_secs(i64::try_from(START).unwrap());
    let ends = |end: Option<Timestamp>| {
        zero_charge(|challenge, _| challenge.expires = end.map(|end| end.to_string()))
    };
    let expired = resume.proof(&[ends(Some(now))]).await;
    assert!(
        matches!(expired, Err(ClientError::Unpayable(Unpayable::Expired))),
        "{expired:?}"
    );
    let endless = resume.proof(&[ends(None)]).await;
    assert!(
        matches!(endless, Err(ClientError::Unpayable(Unpayable::Expiry))),
        "{endless:?}"
    );
    let later = now.checked_add(Duration::from_secs(1));
    assert!(resume.proof(&[ends(later)]).await.unwrap().is_some());
}
