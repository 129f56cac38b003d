//! Charges at servers that answer otherwise than they should (SECURITY-CASES A25, A27).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use mpp_client::{ChargeState, ClientError, PolicyViolation};
use mpp_core::header::{challenge, receipt};
use mpp_core::{Challenge, ChallengeId, ChargeReceipt, EncodedJson, IntentName, MethodName};
use mpp_core::{Problem, ProblemKind, Realm, Receipt, Timestamp};
use mpp_devnet::{Devnet, DevnetConfig};
use mpp_http::client::Client;
use mpp_tempo::LocalSigner;
use mpp_tempo::chain::ChainClient;
use mpp_tempo::tx::SignedTx;
use mpp_tempo::wire::ChargePayload;
use serde_json::{Value, json};

use crate::shop::{policy, units};
use crate::wire::{Head, Reply, Request, Server};

/// The price of everything, in base units.
const PRICE: u128 = 1_000;

/// How the next paid request is answered.
#[derive(Clone, Debug)]
enum Answer {
    /// By the rules.
    Honest,
    /// By the rules, and the answer is lost.
    Lost,
    /// Not at all, and nothing is sent to the chain.
    HangUp,
    /// With this problem; nothing is sent to the chain.
    Refuse(ProblemKind),
    /// Served, with a receipt for this reference; nothing is sent to the chain.
    Claim(String),
    /// Served, without a receipt.
    Silent,
    /// The resource fails after the payment.
    Fail,
}

#[derive(Default)]
struct State {
    answers: VecDeque<Answer>,
    log: Vec<Request>,
    request: Value,
    challenges: u32,
}

/// A server that sells for charges.
struct Till {
    chain: Devnet,
    state: Arc<Mutex<State>>,
    server: Server,
}

impl Till {
    async fn open() -> Self {
        let chain = Devnet::new(DevnetConfig::default());
        let state = Arc::new(Mutex::new(State {
            request: json!({
                "amount": PRICE.to_string(),
                "currency": "0x20c0000000000000000000000000000000000000",
                "recipient": chain.accounts()[1].address,
                "methodDetails": { "chainId": 42431 },
            }),
            ..State::default()
        }));
        let (node, shared) = (chain.clone(), Arc::clone(&state));
        let server = Server::start(Arc::new(move |request| {
            let (node, state) = (node.clone(), Arc::clone(&shared));
            Box::pin(async move { answer(&node, &state, request).await })
        }))
        .await;
        Self {
            chain,
            state,
            server,
        }
    }

    fn client(&self) -> Client {
        let key = &self.chain.accounts()[2].private_key;
        Client::builder()
            .signer(LocalSigner::from_hex(key).unwrap())
            .chain(self.chain.clone())
            .policy(policy())
            .http(reqwest::Client::builder().no_proxy())
            .build()
            .unwrap()
    }

    fn url(&self) -> String {
        format!("{}/a", self.server.url)
    }

    fn answers(&self, answers: impl IntoIterator<Item = Answer>) {
        self.state.lock().unwrap().answers.extend(answers);
    }

    fn ask(&self, change: impl FnOnce(&mut Value)) {
        change(&mut self.state.lock().unwrap().request);
    }

    /// The credentials that came, as they came.
    fn credentials(&self) -> Vec<String> {
        let state = self.state.lock().unwrap();
        let fields = state.log.iter().filter_map(|r| r.header("authorization"));
        fields.map(str::to_owned).collect()
    }

    fn earned(&self) -> u128 {
        let token = mpp_tempo::network::PATH_USD;
        let funds = self.chain.balance(token, self.chain.accounts()[5].address);
        let balance = self.chain.balance(token, self.chain.accounts()[1].address);
        balance.base_units().abs_diff(funds.base_units())
    }
}

fn issue(state: &Mutex<State>) -> Challenge {
    let mut state = state.lock().unwrap();
    state.challenges = state.challenges.checked_add(1).unwrap();
    Challenge {
        id: ChallengeId::new(format!("challenge-{}", state.challenges)).unwrap(),
        realm: Realm::new("till").unwrap(),
        method: MethodName::tempo(),
        intent: IntentName::charge(),
        request: EncodedJson::from_value(&state.request).unwrap(),
        expires: Some("2099-01-01T00:00:00Z".to_owned()),
        digest: None,
        description: None,
        opaque: None,
        header: None,
    }
}

fn refuse(state: &Mutex<State>, kind: ProblemKind) -> Reply {
    let problem = Problem::new(kind, "pay");
    let field = challenge::encode(&issue(state));
    let head = Head::new(problem.status()).with("www-authenticate", field);
    Reply::Full(head, problem.to_json().into_bytes())
}

fn served(challenge: &Challenge, reference: &str) -> Reply {
    let at = Timestamp::from_secs(1_800_000_000);
    let mut paid = ChargeReceipt::new(MethodName::tempo(), at, reference);
    paid.challenge_id = Some(challenge.id.clone());
    let field = receipt::encode(&Receipt::Charge(paid));
    let head = Head::new(200).with("payment-receipt", field);
    Reply::Full(head, b"goods".to_vec())
}

async fn answer(chain: &Devnet, state: &Mutex<State>, request: Request) -> Reply {
    state.lock().unwrap().log.push(request.clone());
    let Some(credential) = request.credential() else {
        return refuse(state, ProblemKind::PaymentRequired);
    };
    let next = state.lock().unwrap().answers.pop_front();
    let next = next.unwrap_or(Answer::Honest);
    match &next {
        Answer::HangUp => return Reply::HangUp,
        Answer::Refuse(kind) => return refuse(state, *kind),
        Answer::Claim(reference) => return served(&credential.challenge, reference),
        Answer::Honest | Answer::Lost | Answer::Silent | Answer::Fail => {}
    }
    let payload: ChargePayload = serde_json::from_value(credential.payload).unwrap();
    let ChargePayload::Transaction { transaction } = payload else {
        panic!("not a transaction");
    };
    let tx = SignedTx::decode(&transaction).unwrap();
    let mined = chain.send_and_wait(tx.encode()).await.unwrap();
    assert!(mined.success);
    match next {
        Answer::Lost => Reply::HangUp,
        Answer::Silent => Reply::Full(Head::new(200), b"goods".to_vec()),
        Answer::Fail => Reply::Full(Head::new(500), Vec::new()),
        _ => served(&credential.challenge, &mined.hash.to_string()),
    }
}

#[track_caller]
fn all_equal(credentials: &[String], count: usize) {
    assert_eq!(credentials.len(), count);
    assert!(credentials.iter().all(|one| *one == credentials[0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_charge_takes_two_requests_and_one_payment() {
    let till = Till::open().await;
    let client = till.client();
    for number in 1..=3 {
        let response = client.get(till.url()).send().await.unwrap();
        assert!(matches!(response.receipt(), Some(Receipt::Charge(_))));
        assert_eq!(response.text().await.unwrap(), "goods");
        assert_eq!(till.earned(), number * PRICE);
    }
    let log = till.state.lock().unwrap().log.clone();
    assert_eq!(log.len(), 6);
    let accept = log[0].header("accept-payment").unwrap();
    assert_eq!(accept, "tempo/session, tempo/charge;q=0.5");
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_answers_are_followed_by_the_same_credential() {
    let till = Till::open().await;
    till.answers([Answer::HangUp, Answer::Lost]);
    let client = till.client();
    let response = client.post(till.url()).body("x").send().await.unwrap();
    assert_eq!(response.status(), 200);
    all_equal(&till.credentials(), 3);
    assert_eq!(till.earned(), PRICE);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_never_comes_leaves_one_open_charge() {
    let till = Till::open().await;
    till.answers([Answer::HangUp, Answer::HangUp, Answer::HangUp]);
    let client = till.client();
    let lost = client.get(till.url()).send().await.unwrap_err();
    let ClientError::ChargeIndeterminate { charge, source } = lost else {
        panic!("{lost}");
    };
    assert!(matches!(*source, ClientError::Transport(_)));
    assert_eq!(charge.amount, units(PRICE));
    assert_eq!(charge.state, ChargeState::Open);
    all_equal(&till.credentials(), 3);
    let known = client.resolve_charge(&charge.id).await.unwrap();
    assert_eq!(known, ChargeState::Open, "it may still be mined");
}

// SECURITY-CASES A27: a server that refuses every payment gets one transaction.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_charge_is_never_paid_a_second_time() {
    for kind in [
        ProblemKind::InvalidChallenge,
        ProblemKind::PaymentExpired,
        ProblemKind::PaymentRequired,
        ProblemKind::VerificationFailed,
        ProblemKind::PaymentInsufficient,
    ] {
        let till = Till::open().await;
        till.answers(vec![Answer::Refuse(kind); 5]);
        let client = till.client();
        let refused = client.get(till.url()).send().await;
        assert!(
            matches!(&refused, Err(ClientError::Problem(problem)) if problem.kind == kind),
            "{refused:?}"
        );
        assert_eq!(till.credentials().len(), 1);
        assert_eq!(client.charges().unwrap().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_for_another_transaction_is_not_believed() {
    for claim in ["0x01", "challenge-1", &format!("0x{}", "11".repeat(32))] {
        let till = Till::open().await;
        till.answers([Answer::Claim(claim.to_owned())]);
        let client = till.client();
        let refused = client.get(till.url()).send().await;
        assert!(
            matches!(refused, Err(ClientError::Discrepancy(_))),
            "{refused:?}"
        );
        assert_eq!(client.charges().unwrap()[0].state, ChargeState::Open);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_receipt_the_chain_tells_what_was_paid() {
    for (trick, status) in [(Answer::Silent, 200), (Answer::Fail, 500)] {
        let till = Till::open().await;
        till.answers([trick]);
        let client = till.client();
        let response = client.get(till.url()).send().await.unwrap();
        assert_eq!(response.status(), status);
        assert!(response.receipt().is_none());
        let charge = client.charges().unwrap().remove(0);
        assert_eq!(charge.state, ChargeState::Open);
        let known = client.resolve_charge(&charge.id).await.unwrap();
        assert_eq!(known.tx_hash(), charge.tx_hash);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_hostile_server_asks_for_is_not_signed() {
    let till = Till::open().await;
    let client = till.client();
    client.get(till.url()).send().await.unwrap();
    let honest = till.state.lock().unwrap().request.clone();
    let mut asked = Vec::new();
    let tricks: [fn(&mut Value); 4] = [
        |request| request["amount"] = json!("100001"),
        |request| request["recipient"] = json!("0x00000000000000000000000000000000000000aa"),
        |request| request["currency"] = json!("0x20c0000000000000000000000000000000000003"),
        |request| request["methodDetails"]["chainId"] = json!(4217),
    ];
    for trick in tricks {
        till.ask(|request| {
            request.clone_from(&honest);
            trick(request);
        });
        match client.get(till.url()).send().await {
            Err(ClientError::Policy(violation)) => asked.push(violation),
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(asked[0], PolicyViolation::ChargeTooHigh { .. }));
    assert!(matches!(asked[1], PolicyViolation::RecipientChanged { .. }));
    assert!(matches!(
        asked[2],
        PolicyViolation::CurrencyNotAllowed { .. }
    ));
    assert!(matches!(asked[3], PolicyViolation::ChainNotAllowed { .. }));
    assert_eq!(till.credentials().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_challenge_that_comes_twice_is_paid_once() {
    let till = Till::open().await;
    let client = till.client();
    client.get(till.url()).send().await.unwrap();
    till.state.lock().unwrap().challenges = 0;
    client.get(till.url()).send().await.unwrap();
    all_equal(&till.credentials(), 2);
    assert_eq!(till.earned(), PRICE);
}
