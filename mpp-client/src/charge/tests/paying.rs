//! What a charge makes of a challenge.

use mpp_tempo::charge::check;
use mpp_tempo::tx::cosign;

use super::*;
use crate::ClientError;
use crate::charge::ChargeState;
use crate::offer::Unpayable;

#[test]
fn charges_that_make_no_sense_are_not_read() {
    let read = |change: fn(&mut Value)| {
        let mut request = request();
        change(&mut request);
        ChargeOffer::read(challenge("c", &request)).map(drop)
    };
    assert_eq!(read(|_| ()), Ok(()));
    let malformed = read(|request| request["amount"] = json!("0.5"));
    assert_eq!(malformed, Err(Unpayable::Request));
    for member in ["amount", "currency", "recipient"] {
        let mut partial = request();
        partial.as_object_mut().unwrap().remove(member);
        let refused = ChargeOffer::read(challenge("c", &partial)).map(drop);
        assert_eq!(refused, Err(Unpayable::Request), "{member}");
    }
    // A split has an amount and a recipient.
    for split in [json!({"amount": "1"}), json!({"recipient": PAYEE})] {
        let mut partial = request();
        partial["methodDetails"]["splits"] = json!([split]);
        let refused = ChargeOffer::read(challenge("c", &partial)).map(drop);
        assert_eq!(refused, Err(Unpayable::Request));
    }
    // Splits: 1 to 10, each above zero, in sum below the amount (PROTOCOL 4).
    for splits in [
        json!([]),
        json!([{"amount": "0", "recipient": PAYEE}]),
        json!([{"amount": "10000", "recipient": PAYEE}]),
        json!(vec![json!({"amount": "1", "recipient": PAYEE}); 11]),
    ] {
        let mut request = request();
        request["methodDetails"]["splits"] = splits;
        let refused = ChargeOffer::read(challenge("c", &request));
        assert!(matches!(refused, Err(Unpayable::Charge(_))), "{refused:?}");
    }
    let mut endless = challenge("c", &request());
    endless.expires = None;
    assert_eq!(ChargeOffer::read(endless), Err(Unpayable::Expiry));
    let mut session = challenge("c", &request());
    session.intent = IntentName::session();
    assert_eq!(ChargeOffer::read(session), Err(Unpayable::NotOffered));
}

// PROTOCOL 4: 0x76, expiring nonce, validBefore = min(now + 25 s, challenge expiry), direct
// transfers, the attribution memo always.
#[tokio::test]
async fn a_charge_is_one_transaction_that_makes_the_transfers() {
    let bench = Bench::new();
    let offer = offer("c1");
    let once = bench.pay(&offer).await;
    let tx = transaction(&once);
    check(&tx, offer.transfers().unwrap(), offer.binding()).unwrap();
    assert!(tx.has_expiring_nonce() && !tx.is_sponsored());
    assert_eq!(tx.valid_before(), Some(START + 25));
    assert_eq!(tx.sender(), bench.payer.address());
    assert_eq!(tx.encode()[0], 0x76);
    assert_eq!(tx.fee_token(), Some(PATH_USD));
    let source = once.credential().source.clone().unwrap();
    let address = bench.payer.address().to_string().to_lowercase();
    assert_eq!(source, format!("did:pkh:eip155:42431:{address}"));
    // It was written down before.
    let record = bench.only();
    assert_eq!(record.tx_hash, Some(tx.hash()));
    assert_eq!(record.valid_before, Some(START + 25));
    assert_eq!(
        (record.amount, record.state),
        (units(PRICE), ChargeState::Open)
    );
    // And the chain takes it.
    let before = bench.paid(PAYEE);
    let mined = bench.chain.submit(&tx.encode()).unwrap();
    bench.chain.mine();
    assert!(bench.chain.receipt(mined).unwrap().success);
    assert_eq!(bench.paid(PAYEE) - before, PRICE);
}

#[tokio::test]
async fn a_charge_is_valid_no_longer_than_its_challenge() {
    let bench = Bench::new();
    let offer = offer("c1");
    bench.pass(290);
    let once = bench.pay(&offer).await;
    assert_eq!(transaction(&once).valid_before(), Some(START + 300));
    bench.pass(8);
    let late = super::offer("c2");
    let refused = bench.payer.charge(&bench.site, &late, None).await;
    assert!(matches!(
        refused,
        Err(ClientError::Unpayable(Unpayable::Late))
    ));
    assert_eq!(bench.signatures(), 1);
}

#[tokio::test]
async fn splits_and_pinned_memos_are_paid_as_asked() {
    let bench = Bench::new();
    let (first, second) = (Address::repeat_byte(1), Address::repeat_byte(2));
    let memo = B256::repeat_byte(7);
    let offer = offer_with("c1", |request| {
        request["methodDetails"]["splits"] = json!([
            {"amount": "4000", "recipient": first},
            {"amount": "1000", "recipient": second, "memo": memo},
        ]);
    });
    let once = bench.pay(&offer).await;
    let tx = transaction(&once);
    check(&tx, offer.transfers().unwrap(), offer.binding()).unwrap();
    // Draft-tempo-charge-00, Ordering: the primary recipient, then the splits as listed.
    let order: Vec<_> = tx
        .calls()
        .map(|call| Address::from_slice(&call.input[16..36]))
        .collect();
    assert_eq!(order, [PAYEE, first, second]);
    let mined = bench.chain.submit(&tx.encode()).unwrap();
    bench.chain.mine();
    assert!(bench.chain.receipt(mined).unwrap().success, "out of gas?");
    assert_eq!(bench.paid(PAYEE), 5_000);
    assert_eq!(bench.paid(first), 4_000);
    assert_eq!(bench.paid(second), 1_000);
    // A memo of the server's own on the primary transfer leaves no room for the attribution.
    let pinned = offer_with("c2", |request| {
        request["methodDetails"]["memo"] = json!(memo)
    });
    let once = bench.pay(&pinned).await;
    let tx = transaction(&once);
    check(&tx, pinned.transfers().unwrap(), pinned.binding()).unwrap();
}

// The gas limit is enough for the largest charge there is, to accounts that are all new.
#[tokio::test]
async fn ten_splits_to_new_accounts_have_enough_gas() {
    let bench = Bench::new();
    let splits: Vec<_> = (1_u8..=10)
        .map(|number| json!({"amount": "10", "recipient": Address::repeat_byte(number)}))
        .collect();
    let offer = offer_with("c1", |request| {
        request["methodDetails"]["splits"] = json!(splits);
    });
    let once = bench.pay(&offer).await;
    let mined = bench.chain.submit(&transaction(&once).encode()).unwrap();
    bench.chain.mine();
    assert!(bench.chain.receipt(mined).unwrap().success);
    assert_eq!(bench.paid(Address::repeat_byte(10)), 10);
}

// PROTOCOL 4: sponsored, the client sends the 0x78 envelope and names no fee token.
#[tokio::test]
async fn a_sponsored_charge_leaves_the_fees_to_the_server() {
    let bench = Bench::new();
    let offer = offer_with("c1", |request| {
        request["methodDetails"]["feePayer"] = json!(true);
    });
    let once = bench.pay(&offer).await;
    let tx = transaction(&once);
    assert_eq!(tx.encode()[0], 0x78);
    assert!(tx.needs_fee_payer());
    assert_eq!(tx.fee_token(), None);
    check(&tx, offer.transfers().unwrap(), offer.binding()).unwrap();
    // The final hash is the server's to know.
    assert_eq!(bench.only().tx_hash, None);
    let before = bench.paid(bench.payer.address());
    let sponsor = LocalSigner::from_hex(&bench.chain.accounts()[3].private_key).unwrap();
    let signed = cosign(tx, &sponsor, PATH_USD).await.unwrap();
    bench.chain.submit(&signed.encode()).unwrap();
    bench.chain.mine();
    assert_eq!(before - bench.paid(bench.payer.address()), PRICE);
    let reference = signed.hash().to_string();
    once.confirm(&receipt("c1", reference)).unwrap();
    let served = ChargeState::Served {
        tx_hash: signed.hash(),
    };
    assert_eq!(bench.only().state, served);
}

#[tokio::test]
async fn a_challenge_is_paid_once() {
    let bench = Bench::new();
    let first = bench.pay(&offer("c1")).await;
    bench.pass(3);
    let again = bench.pay(&offer("c1")).await;
    assert_eq!(again.credential(), first.credential());
    assert_eq!(bench.signatures(), 1);
    // Of another server, it is another charge.
    let elsewhere = site("https://b.example/x");
    let other = bench.payer.charge(&elsewhere, &offer("c1"), None).await;
    assert_ne!(other.unwrap().credential(), first.credential());
}

#[tokio::test]
async fn two_equal_charges_are_two_transactions() {
    let bench = Bench::new();
    let first = transaction(&bench.pay(&offer("c1")).await);
    let second = transaction(&bench.pay(&offer("c2")).await);
    assert_ne!(first.hash(), second.hash());
}

#[tokio::test]
async fn a_purchase_is_presented_again_until_the_chain_says_that_it_was_not_paid() {
    let bench = Bench::new();
    let paid = |key: &'static str| bench.payer.paid_before(&bench.site, key);
    assert!(paid("\"k\"").await.unwrap().is_none());
    let key = Some("\"k\"");
    let first = bench.payer.charge(&bench.site, &offer("c1"), key).await;
    let first = first.unwrap();
    let again = paid("\"k\"").await.unwrap().unwrap();
    assert_eq!(again.credential(), first.credential());
    assert!(paid("\"other\"").await.unwrap().is_none());
    let elsewhere = site("https://a.example/y");
    let other = bench.payer.paid_before(&elsewhere, "\"k\"").await;
    assert!(other.unwrap().is_none());
    bench.pass(31);
    assert!(paid("\"k\"").await.unwrap().is_none());
}

#[tokio::test]
async fn requests_of_one_purchase_at_the_same_time_are_paid_once() {
    let bench = Bench::new();
    let offers: Vec<_> = (0..8).map(|number| offer(&format!("c{number}"))).collect();
    let key = Some("\"k\"");
    let paying = offers
        .iter()
        .map(|offer| bench.payer.charge(&bench.site, offer, key));
    let paid = futures_util::future::join_all(paying).await;
    let paid: Vec<_> = paid.into_iter().flatten().collect();
    assert!(!paid.is_empty());
    for once in &paid {
        assert_eq!(once.credential(), paid[0].credential());
    }
    assert_eq!(bench.signatures(), 1);
    assert_eq!(bench.book.charges().unwrap().len(), 1);
}

#[tokio::test]
async fn a_payment_that_was_given_up_is_not_presented_again() {
    let bench = Bench::new();
    let once = bench.pay(&offer("c1")).await;
    let error = once.release(ClientError::Status { status: 0 });
    assert!(matches!(error, ClientError::Status { .. }));
    let again = bench.payer.charge(&bench.site, &offer("c1"), None).await;
    assert!(matches!(again, Err(ClientError::Protocol(_))), "{again:?}");
    bench.pay(&offer("c2")).await;
}

// PROTOCOL 4: proofs answer charges of zero, with the source, in the form of deployed peers.
#[tokio::test]
async fn a_charge_of_zero_is_answered_with_a_proof() {
    let bench = Bench::new();
    let offer = offer_with("c1", |request| request["amount"] = json!("0"));
    let once = bench.pay(&offer).await;
    let ChargePayload::Proof { signature } = payload(once.credential()) else {
        panic!("no proof");
    };
    let terms = mpp_tempo::charge::ProofTerms {
        account: bench.payer.address(),
        chain_id: 42_431,
        challenge_id: "c1",
        realm: "api.example",
    };
    terms.verify(&signature).unwrap();
    assert!(once.credential().source.is_some());
    assert!(bench.book.charges().unwrap().is_empty());
    once.confirm(&receipt("c1", "c1")).unwrap();
}

// SECURITY-CASES A20.
#[tokio::test]
async fn debug_shows_no_payment() {
    let bench = Bench::new();
    let once = bench.pay(&offer("c1")).await;
    let hex = transaction(&once).encode().to_string();
    let record = bench.only();
    let field = once.field().unwrap();
    let shown = format!("{once:?} {record:?} {field:?} {:?}", bench.payer);
    assert!(shown.contains(&record.id.to_string()) || shown.contains("ChargeId"));
    assert!(!shown.contains(hex.get(100..160).unwrap()), "{shown}");
    assert!(!shown.contains(field.value.get(20..80).unwrap()), "{shown}");
}

// PROTOCOL 5.6: a key belongs to whoever pays, and payers of one book may use the same.
#[tokio::test]
async fn what_one_payer_bought_is_not_presented_by_another() {
    let bench = Bench::new();
    let key = LocalSigner::from_hex(&bench.chain.accounts()[3].private_key).unwrap();
    let other = bench.build(Payer::builder().signer(key), policy());
    let name = Some("\"k\"");
    let first = bench.payer.charge(&bench.site, &offer("c1"), name).await;
    let first = first.unwrap();
    let found = other.paid_before(&bench.site, "\"k\"").await.unwrap();
    assert!(found.is_none(), "{found:?}");
    // Nor under the challenge that the first one has answered.
    let same = other.charge(&bench.site, &offer("c1"), None).await;
    assert!(same.is_err(), "{same:?}");
    let second = other.charge(&bench.site, &offer("c2"), name).await.unwrap();
    assert_ne!(second.credential().source, first.credential().source);
    assert_eq!(transaction(&second).sender(), other.address());
    let again = bench.payer.paid_before(&bench.site, "\"k\"").await.unwrap();
    assert_eq!(again.unwrap().credential(), first.credential());
}
