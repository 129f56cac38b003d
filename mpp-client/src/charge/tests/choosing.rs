//! Which offer is paid.

use super::*;
use crate::method::{BoxFuture, ClientMethod, MethodError};
use crate::offer::Unpayable;
use crate::origin::Origin;
use crate::policy::IntentPolicy;
use crate::{Choice, ClientError};

fn session() -> Challenge {
    crate::testing::challenge(&crate::testing::request())
}

fn charge() -> Challenge {
    challenge("c1", &request())
}

fn credit() -> Challenge {
    let mut credit = charge();
    credit.method = MethodName::new("credit").unwrap();
    credit
}

/// Pays with a word.
struct Credit {
    method: MethodName,
    intent: IntentName,
}

impl Credit {
    fn new() -> Self {
        Self {
            method: MethodName::new("credit").unwrap(),
            intent: IntentName::charge(),
        }
    }
}

impl ClientMethod for Credit {
    fn method(&self) -> &MethodName {
        &self.method
    }

    fn intent(&self) -> &IntentName {
        &self.intent
    }

    fn check(&self, _: &Origin, challenge: &Challenge) -> Result<(), MethodError> {
        match challenge.id.as_str() {
            "refused" => Err(MethodError::new("no credit left")),
            _ => Ok(()),
        }
    }

    fn pay<'a>(
        &'a self,
        origin: &'a Origin,
        challenge: &'a Challenge,
    ) -> BoxFuture<'a, Result<Value, MethodError>> {
        let word = format!("{origin} {}", challenge.id);
        Box::pin(std::future::ready(Ok(json!({ "word": word }))))
    }

    fn confirm(&self, _: &Challenge, receipt: &ChargeReceipt) -> Result<(), MethodError> {
        match receipt.reference.as_str() {
            "credit-1" => Ok(()),
            _ => Err(MethodError::new("another credit")),
        }
    }
}

#[track_caller]
fn chosen(bench: &Bench, challenges: &[Challenge]) -> &'static str {
    match bench.payer.choose(&bench.site, challenges).unwrap() {
        Choice::Session(_) => "session",
        Choice::Charge(_) => "charge",
        Choice::Method(..) => "method",
    }
}

#[test]
fn the_owners_preference_counts_and_then_the_servers() {
    let offers = [session(), charge()];
    let turned = [charge(), session()];
    for (intents, expected) in [
        (IntentPolicy::SessionFirst, "session"),
        (IntentPolicy::SessionOnly, "session"),
        (IntentPolicy::ChargeFirst, "charge"),
        (IntentPolicy::ChargeOnly, "charge"),
    ] {
        let bench = Bench::with(policy().intents(intents));
        assert_eq!(chosen(&bench, &offers), expected);
        assert_eq!(chosen(&bench, &turned), expected);
    }
    // Of equals, the first.
    let bench = Bench::new();
    let cheap = challenge("c2", &request());
    let choice = bench.payer.choose(&bench.site, &[cheap.clone(), charge()]);
    assert_eq!(*choice.unwrap().challenge(), cheap);
}

#[test]
fn what_is_not_allowed_or_not_readable_is_passed_over() {
    let mut dear = crate::testing::request();
    dear["amount"] = json!("1000000");
    let dear = crate::testing::challenge(&dear);
    let bench = Bench::new();
    assert_eq!(chosen(&bench, &[dear.clone(), charge()]), "charge");
    let mut endless = session();
    endless.expires = None;
    assert_eq!(chosen(&bench, &[endless, charge()]), "charge");
    let mut foreign = request();
    foreign["currency"] = json!(Address::repeat_byte(3));
    let foreign = challenge("c2", &foreign);
    assert_eq!(chosen(&bench, &[foreign.clone(), charge()]), "charge");
    // When there is nothing else, paying says why.
    assert_eq!(chosen(&bench, &[foreign]), "charge");
    assert_eq!(chosen(&bench, &[dear]), "session");
}

#[test]
fn without_an_offer_that_can_be_paid_the_reason_is_told() {
    let bench = Bench::new();
    let refused = |challenges: &[Challenge]| {
        let refused = bench.payer.choose(&bench.site, challenges);
        match refused {
            Err(ClientError::Unpayable(reason)) => reason,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused(&[]), Unpayable::NoChallenge);
    assert_eq!(refused(&[credit()]), Unpayable::NotOffered);
    let mut endless = session();
    endless.expires = None;
    assert_eq!(refused(&[credit(), endless.clone()]), Unpayable::Expiry);
    assert_eq!(refused(&[endless, credit()]), Unpayable::Expiry);
    let only = Bench::with(policy().intents(IntentPolicy::SessionOnly));
    let refused = only.payer.choose(&only.site, &[charge()]);
    assert!(matches!(
        refused,
        Err(ClientError::Unpayable(Unpayable::NotOffered))
    ));
}

#[tokio::test]
async fn a_method_of_ones_own_comes_first_and_is_asked() {
    let mut bench = Bench::new();
    let builder = Payer::builder()
        .signer(bench.signer.clone())
        .method(Credit::new());
    bench.payer = bench.build(builder, policy());
    let accept = bench.payer.accept_payment();
    assert_eq!(
        accept,
        "credit/charge, tempo/session;q=0.5, tempo/charge;q=0.25"
    );
    assert_eq!(chosen(&bench, &[session(), credit()]), "method");
    let mut refused = credit();
    refused.id = ChallengeId::new("refused").unwrap();
    assert_eq!(chosen(&bench, &[session(), refused.clone()]), "session");
    let alone = bench.payer.choose(&bench.site, &[refused]);
    assert!(matches!(alone, Err(ClientError::Method(_))));
    let pay = async |site: &Site| {
        let choice = bench.payer.choose(&bench.site, &[credit()]).unwrap();
        let Choice::Method(method, challenge) = choice else {
            panic!("{choice:?}");
        };
        bench.payer.pay_by(site, method, *challenge).await
    };
    let once = pay(&bench.site).await.unwrap();
    let word = once.credential().payload["word"].clone();
    assert_eq!(word, "https://a.example:443 c1");
    let mut own = receipt("c1", "credit-1");
    own.method = MethodName::new("credit").unwrap();
    once.confirm(&own).unwrap();
    own.reference = String::from("credit-2");
    let other = pay(&bench.site).await.unwrap().confirm(&own);
    assert!(matches!(other, Err(ClientError::Method(_))), "{other:?}");
    // SECURITY-CASES A19: no credential leaves unencrypted, whoever made it.
    let open = pay(&site("http://a.example/x")).await;
    assert!(matches!(open, Err(ClientError::Policy(_))));
    assert_eq!(bench.signatures(), 0);
}

#[test]
fn a_method_of_ones_own_needs_no_key() {
    let bench = Bench::new();
    let payer = bench.build(Payer::builder().method(Credit::new()), policy());
    assert_eq!(payer.accept_payment(), "credit/charge");
    let chosen = payer.choose(&bench.site, &[charge(), session(), credit()]);
    assert!(matches!(chosen.unwrap(), Choice::Method(..)));
    let refused = payer.choose(&bench.site, &[charge(), session()]);
    assert!(matches!(
        refused,
        Err(ClientError::Unpayable(Unpayable::NotOffered))
    ));
}
