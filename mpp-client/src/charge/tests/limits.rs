//! What the policy and the budgets allow (SECURITY-CASES A19, A27).

use super::*;
use crate::offer::Unpayable;
use crate::policy::{IntentPolicy, PolicyViolation};
use crate::{ChargeState, ClientError};

#[track_caller]
fn violation(refused: Result<Once, ClientError>) -> PolicyViolation {
    match refused {
        Err(ClientError::Policy(violation)) => violation,
        other => panic!("not a violation: {other:?}"),
    }
}

#[tokio::test]
async fn nothing_is_signed_that_the_policy_does_not_allow() {
    let stranger = Address::repeat_byte(9);
    let split = |request: &mut Value| {
        request["methodDetails"]["splits"] = json!([{"amount": "1", "recipient": stranger}]);
    };
    let cases: [(Policy, ChargeOffer, &str, PolicyViolation); 7] = [
        (
            policy(),
            offer("c"),
            "http://a.example/x",
            PolicyViolation::InsecureTransport,
        ),
        (
            policy(),
            offer_with("c", |request| {
                request["methodDetails"]["chainId"] = json!(4217);
            }),
            "https://a.example/x",
            PolicyViolation::ChainNotAllowed { chain_id: 4217 },
        ),
        (
            policy(),
            offer_with("c", |request| request["currency"] = json!(stranger)),
            "https://a.example/x",
            PolicyViolation::CurrencyNotAllowed { currency: stranger },
        ),
        (
            policy().allow_recipient(stranger),
            offer("c"),
            "https://a.example/x",
            PolicyViolation::RecipientNotAllowed { recipient: PAYEE },
        ),
        (
            policy().allow_recipient(PAYEE),
            offer_with("c", split),
            "https://a.example/x",
            PolicyViolation::RecipientNotAllowed {
                recipient: stranger,
            },
        ),
        (
            policy().max_charge(units(PRICE - 1)),
            offer("c"),
            "https://a.example/x",
            PolicyViolation::ChargeTooHigh {
                amount: units(PRICE),
                limit: units(PRICE - 1),
            },
        ),
        (
            policy().intents(IntentPolicy::SessionOnly),
            offer("c"),
            "https://a.example/x",
            PolicyViolation::ChargesNotAllowed,
        ),
    ];
    for (policy, offer, url, expected) in cases {
        let bench = Bench::with(policy);
        let refused = bench.payer.charge(&site(url), &offer, None).await;
        assert_eq!(violation(refused), expected);
        assert_eq!(bench.signatures(), 0);
        assert!(bench.book.charges().unwrap().is_empty());
    }
}

#[tokio::test]
async fn an_origin_can_not_name_another_payee_later() {
    let bench = Bench::new();
    bench.pay(&offer("c1")).await;
    let recipient = Address::repeat_byte(9);
    let other = offer_with("c2", |request| request["recipient"] = json!(recipient));
    let refused = bench.payer.charge(&bench.site, &other, None).await;
    let expected = PolicyViolation::RecipientChanged {
        pinned: PAYEE,
        recipient,
    };
    assert_eq!(violation(refused), expected);
    // Another origin is another matter.
    let elsewhere = site("https://b.example/x");
    bench.payer.charge(&elsewhere, &other, None).await.unwrap();
}

// Draft-httpauth-payment-00: a description is for people, and says nothing of what is paid.
#[tokio::test]
async fn a_charge_costs_what_its_request_says_and_not_what_it_is_described_as() {
    let bench = Bench::with(policy().max_charge(units(PRICE - 1)));
    let mut described = offer_with("c1", |request| request["description"] = json!("free"))
        .challenge()
        .clone();
    described.description = Some(String::from("free, 0 units"));
    let described = ChargeOffer::read(described).unwrap();
    let refused = bench.payer.charge(&bench.site, &described, None).await;
    let expected = PolicyViolation::ChargeTooHigh {
        amount: units(PRICE),
        limit: units(PRICE - 1),
    };
    assert_eq!(violation(refused), expected);
    assert_eq!(bench.signatures(), 0);
}

fn split_to(id: &str, others: &[Address]) -> ChargeOffer {
    let split = |other: &Address| json!({"amount": "1000", "recipient": other});
    let splits: Vec<_> = others.iter().map(split).collect();
    offer_with(id, |request| {
        request["methodDetails"]["splits"] = json!(splits);
    })
}

// Draft-tempo-charge-00: all split recipients are expected. A payee that is pinned would be worth
// nothing if the rest could go to anybody.
#[tokio::test]
async fn splits_go_to_those_that_the_first_payment_named() {
    let [friend, other, stranger] = [1, 2, 9].map(Address::repeat_byte);
    let refused = PolicyViolation::SplitNotExpected {
        recipient: stranger,
    };
    let bench = Bench::new();
    bench.pay(&split_to("c1", &[friend, other])).await;
    // Any of them, in whatever order, and the payee itself.
    bench.pay(&split_to("c2", &[other])).await;
    bench.pay(&split_to("c3", &[PAYEE, other, friend])).await;
    bench.pay(&offer("c4")).await;
    let signed = bench.signatures();
    let charged = split_to("c5", &[friend, stranger]);
    let charged = bench.payer.charge(&bench.site, &charged, None).await;
    assert_eq!(violation(charged), refused);
    // None of them becomes the payee by that.
    let payee = offer_with("c6", |request| request["recipient"] = json!(friend));
    let charged = bench.payer.charge(&bench.site, &payee, None).await;
    assert_eq!(
        violation(charged),
        PolicyViolation::RecipientChanged {
            pinned: PAYEE,
            recipient: friend,
        }
    );
    assert_eq!(bench.signatures(), signed);
}

#[tokio::test]
async fn a_server_that_was_paid_without_splits_adds_none_later() {
    let [friend, stranger] = [1, 9].map(Address::repeat_byte);
    let bench = Bench::new();
    bench.pay(&offer("c1")).await;
    let charge = split_to("c2", &[stranger]);
    let charged = bench.payer.charge(&bench.site, &charge, None).await;
    let refused = PolicyViolation::SplitNotExpected {
        recipient: stranger,
    };
    assert_eq!(violation(charged), refused);
    // A list says who is trusted, pinned or not.
    let listed = policy().allow_recipient(PAYEE).allow_recipient(friend);
    let listed = bench.build(Payer::builder().signer(bench.signer.clone()), listed);
    let allowed = split_to("c3", &[friend]);
    listed.charge(&bench.site, &allowed, None).await.unwrap();
    let charged = listed.charge(&bench.site, &charge, None).await;
    assert_eq!(
        violation(charged),
        PolicyViolation::RecipientNotAllowed {
            recipient: stranger,
        }
    );
}

// The first payments of two requests at once: one of them is the first.
#[tokio::test]
async fn a_server_that_names_other_splits_at_once_is_paid_one_of_them() {
    let bench = Bench::new();
    let offers = [1, 9].map(|byte| split_to(&format!("c{byte}"), &[Address::repeat_byte(byte)]));
    let [first, second] = offers
        .each_ref()
        .map(|offer| bench.payer.charge(&bench.site, offer, None));
    let (first, second) = tokio::join!(first, second);
    assert_ne!(first.is_ok(), second.is_ok(), "{first:?} {second:?}");
    assert_eq!(bench.book.charges().unwrap().len(), 1);
}

// Draft-httpauth-payment-00: clients must not answer an expired challenge.
#[tokio::test]
async fn an_expired_challenge_is_not_answered_with_a_proof() {
    let bench = Bench::new();
    let zero = offer_with("c1", |request| request["amount"] = json!("0"));
    bench.pass(300);
    let refused = bench.payer.charge(&bench.site, &zero, None).await;
    let refused = refused.map(|once| once.sent());
    assert!(
        matches!(refused, Err(ClientError::Unpayable(Unpayable::Expired))),
        "{refused:?}"
    );
    assert_eq!(bench.signatures(), 0);
}

// A proof pays nobody, but it tells who asks: it does not go out unencrypted or for any chain.
#[tokio::test]
async fn proofs_go_where_credentials_may_go() {
    let bench = Bench::with(policy().max_charge(units(0)));
    let zero = |id| offer_with(id, |request| request["amount"] = json!("0"));
    let open = site("http://a.example/x");
    let refused = bench.payer.charge(&open, &zero("c1"), None).await;
    assert_eq!(violation(refused), PolicyViolation::InsecureTransport);
    bench.pay(&zero("c1")).await;
}

#[tokio::test]
async fn charges_of_a_day_stay_within_the_budgets_of_origin_and_of_all() {
    let limited = policy()
        .max_charged_per_origin(units(2 * PRICE))
        .max_charged_per_day(units(3 * PRICE));
    let bench = Bench::with(limited);
    for id in ["c1", "c2"] {
        let once = bench.pay(&offer(id)).await;
        let hash = transaction(&once).hash().to_string();
        once.confirm(&receipt(id, hash)).unwrap();
    }
    let signed = bench.signatures();
    let refused = bench.payer.charge(&bench.site, &offer("c3"), None).await;
    let here = PolicyViolation::ChargedTooMuch {
        charged: units(3 * PRICE),
        limit: units(2 * PRICE),
    };
    assert_eq!(violation(refused), here);
    let elsewhere = site("https://b.example/x");
    let charge = |id| {
        let (payer, offer, site) = (bench.payer.clone(), offer(id), elsewhere.clone());
        async move { payer.charge(&site, &offer, None).await }
    };
    charge("c4").await.unwrap();
    let everywhere = PolicyViolation::ChargedTooMuch {
        charged: units(4 * PRICE),
        limit: units(3 * PRICE),
    };
    assert_eq!(violation(charge("c5").await), everywhere);
    assert_eq!(bench.signatures(), signed + 1);
}

#[tokio::test]
async fn what_was_never_paid_gives_its_budget_back() {
    let bench = Bench::with(policy().max_charged_per_origin(units(PRICE)));
    bench.pay(&offer("c1")).await;
    let refused = bench.payer.charge(&bench.site, &offer("c2"), None).await;
    violation(refused);
    // The server never sent it, and from now on nobody can.
    bench.pass(31);
    bench.pay(&offer("c2")).await;
    let states: Vec<_> = bench.book.charges().unwrap();
    assert_eq!(states[0].state, ChargeState::Void);
    assert_eq!(states[1].state, ChargeState::Open);
}

#[tokio::test]
async fn a_day_later_the_budget_is_whole_again() {
    let bench = Bench::with(policy().max_charged_per_origin(units(PRICE)));
    let once = bench.pay(&offer("c1")).await;
    let hash = transaction(&once).hash().to_string();
    once.confirm(&receipt("c1", hash)).unwrap();
    bench.pass(24 * 60 * 60);
    let mut later = challenge("c2", &request());
    later.expires = Some(String::from("2099-01-01T00:00:00Z"));
    bench.pay(&ChargeOffer::read(later).unwrap()).await;
}

#[tokio::test]
async fn two_payers_of_one_book_share_its_budgets() {
    let limited = policy().max_charged_per_origin(units(5 * PRICE));
    let bench = Bench::with(limited.clone());
    let twin = bench.build(Payer::builder().signer(bench.signer.clone()), limited);
    let offers: Vec<_> = (0..10).map(|number| offer(&format!("c{number}"))).collect();
    let payers = [&bench.payer, &twin];
    let paying = offers.iter().zip(payers.iter().cycle());
    let paying = paying.map(|(offer, payer)| payer.charge(&bench.site, offer, None));
    let paid = futures_util::future::join_all(paying).await;
    assert_eq!(paid.iter().filter(|paid| paid.is_ok()).count(), 5);
    assert_eq!(bench.signatures(), 5);
}

#[tokio::test]
async fn a_server_that_names_two_payees_at_once_pays_one() {
    let bench = Bench::new();
    let offers = [
        offer("c1"),
        offer_with("c2", |request| {
            request["recipient"] = json!(bench.payer.address());
        }),
    ];
    bench.chain.faults().set_outage(mpp_devnet::Outage::Hanging);
    let charge = |offer| Box::pin(bench.payer.charge(&bench.site, offer, None));
    let mut charges = offers.each_ref().map(charge);
    for charge in &mut charges {
        assert!(futures_util::poll!(charge.as_mut()).is_pending());
    }
    bench.chain.faults().set_outage(mpp_devnet::Outage::None);
    let [paid, refused] = charges;
    paid.await.unwrap();
    let refused = violation(refused.await);
    assert!(matches!(refused, PolicyViolation::RecipientChanged { .. }));
    assert_eq!(bench.only().amount, units(PRICE));
}

// The transaction would be signed for the chain that is connected, whatever the policy allows.
#[tokio::test]
async fn a_charge_on_a_chain_that_is_not_connected_is_refused() {
    let allowed = policy()
        .allow_chain(42_431)
        .allow_chain(4217)
        .allow_currency(offer("c").currency());
    let bench = Bench::with(allowed);
    let elsewhere = |amount: &'static str| {
        offer_with("c1", |request| {
            request["amount"] = json!(amount);
            request["methodDetails"]["chainId"] = json!(4217);
        })
    };
    let refused = bench.payer.charge(&bench.site, &elsewhere("1"), None).await;
    let not_allowed = PolicyViolation::ChainNotAllowed { chain_id: 4217 };
    assert_eq!(violation(refused), not_allowed);
    assert!(bench.book.charges().unwrap().is_empty());
    // A proof moves nothing, on whatever chain.
    let proof = bench.payer.charge(&bench.site, &elsewhere("0"), None).await;
    proof.unwrap();
}
