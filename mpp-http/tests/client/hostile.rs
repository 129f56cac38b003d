//! Servers that mean harm (SECURITY-CASES A18, A19, A27).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mpp_client::{ClientError, ClientEvent, Policy, PolicyViolation};
use mpp_core::header::receipt;
use mpp_core::{Amount, Problem, ProblemKind, Receipt};
use serde_json::{Value, json};

use crate::shop::{PRICE, Shop, does, policy, units};
use crate::wire::{Head, Reply};

/// A policy is asked before anything is signed: nothing leaves, nothing is opened.
async fn refused(policy: Policy, change: impl FnOnce(&mut Value)) -> PolicyViolation {
    let shop = Shop::open().await;
    shop.change(|manners| change(&mut manners.request));
    let client = shop.client_with(policy);
    let error = client.get(shop.at("/a")).send().await.unwrap_err();
    assert_eq!(shop.story(), ["GET"]);
    assert!(client.channels().unwrap().is_empty());
    match error {
        ClientError::Policy(violation) => violation,
        other => panic!("not refused by the policy: {other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_terms_are_refused_before_anything_is_signed() {
    let other = "0x1111111111111111111111111111111111111111";
    let price = refused(policy().max_unit_price(units(500)), |_| ()).await;
    assert!(matches!(price, PolicyViolation::PriceTooHigh { .. }));
    let huge = refused(policy(), |r| r["amount"] = json!("1000000000")).await;
    assert!(matches!(huge, PolicyViolation::DepositTooLarge { .. }));
    let escrow = |r: &mut Value| r["methodDetails"]["escrowContract"] = json!(other);
    let escrow = refused(policy(), escrow).await;
    assert!(matches!(escrow, PolicyViolation::EscrowNotAllowed { .. }));
    let chain = refused(policy(), |r| r["methodDetails"]["chainId"] = json!(1)).await;
    assert!(matches!(chain, PolicyViolation::ChainNotAllowed { .. }));
    let token = refused(policy(), |r| r["currency"] = json!(other)).await;
    assert!(matches!(token, PolicyViolation::CurrencyNotAllowed { .. }));
    let payee = other.parse().unwrap();
    let payee = refused(policy().allow_recipient(payee), |_| ()).await;
    assert!(matches!(payee, PolicyViolation::RecipientNotAllowed { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payee_that_changes_is_refused() {
    let shop = Shop::open().await;
    let client = shop.client();
    client.get(shop.at("/a")).send().await.unwrap();
    shop.change(|m| m.request["recipient"] = json!("0x1111111111111111111111111111111111111111"));
    let refused = client.get(shop.at("/b")).send().await;
    assert!(matches!(
        refused,
        Err(ClientError::Policy(
            PolicyViolation::RecipientChanged { .. }
        ))
    ));
    assert_eq!(shop.story().last().unwrap(), "GET");
}

// A19: nothing is sent to a host that is neither encrypted nor this machine. The name resolves to
// this machine, and is treated like any other name.
#[tokio::test(flavor = "multi_thread")]
async fn no_credential_travels_unencrypted() {
    let shop = Shop::open().await;
    let address = shop.url.strip_prefix("http://").unwrap().parse().unwrap();
    let http = || {
        reqwest::Client::builder()
            .no_proxy()
            .resolve("shop.example", address)
    };
    let url = format!("http://shop.example:{}/a", address.port());
    let client = |policy| {
        let key = &shop.chain.accounts()[2].private_key;
        mpp_http::client::Client::builder()
            .signer(mpp_tempo::LocalSigner::from_hex(key).unwrap())
            .chain(shop.chain.clone())
            .policy(policy)
            .http(http())
            .build()
            .unwrap()
    };
    let refused = client(policy()).get(&url).send().await;
    assert!(matches!(
        refused,
        Err(ClientError::Policy(PolicyViolation::InsecureTransport))
    ));
    assert_eq!(shop.story(), ["GET"]);
    let allowed = client(policy().allow_plain_http_host("shop.example"));
    assert_eq!(allowed.get(&url).send().await.unwrap().status(), 200);
}

// A18: a credential is never carried along a redirect.
#[tokio::test(flavor = "multi_thread")]
async fn redirects_are_not_followed() {
    let shop = Shop::open().await;
    let elsewhere = Shop::open().await;
    let client = shop.client();
    client.get(shop.at("/a")).send().await.unwrap();
    for status in [301, 302, 307, 308] {
        let target = elsewhere.at("/steal");
        shop.trick(does("voucher"), move |_, _| async move {
            Reply::Full(Head::new(status).with("location", target), Vec::new())
        });
        let response = client.get(shop.at("/a")).send().await.unwrap();
        assert_eq!(response.status(), status);
    }
    assert!(elsewhere.log().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lying_receipt_is_an_error_and_an_event() {
    type Lie = fn(&mut mpp_core::SessionReceipt);
    let lies: [Lie; 4] = [
        |r| r.spent = Amount::new(50 * PRICE),
        |r| r.accepted_cumulative = Amount::new(9 * PRICE),
        |r| r.spent = Amount::ZERO,
        |r| r.channel_id = format!("0x{}", "11".repeat(32)),
    ];
    for lie in lies {
        let shop = Shop::open().await;
        let client = shop.client();
        client.get(shop.at("/a")).send().await.unwrap();
        shop.trick(does("voucher"), move |shop, request| async move {
            let id = request.payload().unwrap().channel_id();
            shop.charge(id);
            let mut receipt = shop.receipt(id);
            lie(&mut receipt);
            let field = receipt::encode(&Receipt::Session(receipt));
            Reply::Full(Head::new(200).with("payment-receipt", field), Vec::new())
        });
        let mut events = client.events();
        let refused = client.get(shop.at("/a")).send().await;
        assert!(
            matches!(refused, Err(ClientError::Discrepancy(_))),
            "{refused:?}"
        );
        let heard: Vec<_> = std::iter::from_fn(|| events.try_next()).collect();
        let rejected = |event: &ClientEvent| matches!(event, ClientEvent::Rejected { .. });
        assert!(heard.iter().any(rejected));
        // It raised nothing: the channel goes on at its price.
        client.get(shop.at("/a")).send().await.unwrap();
        assert_eq!(shop.only().accepted, units(3 * PRICE));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_beyond_the_orders_is_refused() {
    let shop = Shop::open().await;
    let client = shop.client();
    client.get(shop.at("/a")).send().await.unwrap();
    shop.trick(does("voucher"), |shop, _| async move {
        let problem = Problem::new(ProblemKind::InsufficientBalance, "more");
        shop.refuse(problem.with_required_cumulative(units(9 * PRICE)))
    });
    let refused = client.get(shop.at("/a")).send().await;
    assert!(matches!(refused, Err(ClientError::Discrepancy(_))));
    assert_eq!(client.channels().unwrap()[0].signed, units(2 * PRICE));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_forgets_every_channel_is_stopped() {
    let shop = Shop::open().await;
    let client = shop.client_with(crate::shop::policy_of(units(10_000)));
    let mut opened = 0;
    let error = loop {
        shop.forget();
        match client.get(shop.at("/a")).send().await {
            Ok(_) => opened = client.channels().unwrap().len(),
            Err(error) => break error,
        }
    };
    assert!(matches!(
        error,
        ClientError::Policy(PolicyViolation::TooMuchLocked { .. })
    ));
    assert_eq!(opened, 4);
}

// A27: terminal escapes in text.
#[tokio::test(flavor = "multi_thread")]
async fn a_servers_text_is_escaped_in_errors_and_events() {
    let shop = Shop::open().await;
    let client = shop.client();
    client.get(shop.at("/a")).send().await.unwrap();
    shop.trick(does("voucher"), |shop, _| async move {
        shop.refuse(Problem::new(
            ProblemKind::InvalidSignature,
            "\u{1b}[2J\r\nok",
        ))
    });
    let mut events = client.events();
    let error = client.get(shop.at("/a")).send().await.unwrap_err();
    assert!(error.to_string().ends_with("\\u{1b}[2J\\r\\nok"), "{error}");
    let shown = std::iter::from_fn(|| events.try_next()).find_map(|event| match event {
        ClientEvent::Rejected { reason, .. } => Some(reason),
        _ => None,
    });
    assert!(!shown.unwrap().contains('\u{1b}'));
}

/// A problem that never ends; counts its pieces of 16 KiB.
fn endless(written: Arc<AtomicUsize>) -> Reply {
    let (pieces, body) = tokio::sync::mpsc::channel(1);
    #[expect(
        clippy::disallowed_methods,
        reason = "ends when the client has hung up"
    )]
    tokio::spawn(async move {
        let start = br#"{"type":"about:blank","detail":""#.to_vec();
        let mut sent = pieces.send(start).await;
        while sent.is_ok() {
            sent = pieces.send(vec![b'x'; 16 * 1024]).await;
            written.fetch_add(1, Ordering::SeqCst);
        }
    });
    let head = Head::new(402).with("content-type", "application/problem+json");
    Reply::Pieces(head, body)
}

// A7: what a server has to say about a refusal is bounded; the rest is not waited for.
#[tokio::test(flavor = "multi_thread")]
async fn an_endless_problem_is_not_read_to_its_end() {
    let shop = Shop::open().await;
    let client = shop.client();
    client.get(shop.at("/a")).send().await.unwrap();
    let written = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&written);
    shop.trick(does("voucher"), |_, _| async move { endless(counted) });
    let refused = client.get(shop.at("/a")).send().await;
    assert!(
        matches!(refused, Err(ClientError::Unpayable(_))),
        "{refused:?}"
    );
    // 64 KiB are read; what buffers of the connection take comes on top.
    let pieces = written.load(Ordering::SeqCst);
    assert!(pieces < 2_000, "{pieces} pieces");
    // And the channel goes on.
    let response = client.get(shop.at("/a")).send().await.unwrap();
    assert_eq!(response.status(), 200);
}

// A7: 20 bytes that stand for one; of a bomb they would be a thousandth.
const GZIP: [u8; 21] = [
    0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03, 0xab, 0x00, 0x00, 0x83, 0x16, 0xdc,
    0x8c, 0x01, 0x00, 0x00, 0x00,
];

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_inflated() {
    let shop = Shop::open().await;
    let client = shop.client();
    client.get(shop.at("/a")).send().await.unwrap();
    shop.trick(does("voucher"), |shop, request| async move {
        let id = request.payload().unwrap().channel_id();
        shop.charge(id);
        let field = receipt::encode(&Receipt::Session(shop.receipt(id)));
        let head = Head::new(200).with("payment-receipt", field);
        Reply::Full(head.with("content-encoding", "gzip"), GZIP.to_vec())
    });
    let response = client.get(shop.at("/a")).send().await.unwrap();
    assert_eq!(response.bytes().await.unwrap(), GZIP.as_slice());
    for request in shop.log() {
        assert_eq!(request.header("accept-encoding"), None);
    }
}

// A20: no credential in what a program may log.
#[tokio::test(flavor = "multi_thread")]
async fn no_credential_shows_in_debug() {
    let shop = Shop::open().await;
    let client = shop.client();
    let response = client.get(shop.at("/a")).send().await.unwrap();
    let request = client.get(shop.at("/a"));
    let shown = format!("{client:?} {response:?} {request:?}");
    let key = &shop.chain.accounts()[2].private_key;
    assert!(!shown.contains(key.trim_start_matches("0x")));
    let sent = shop.log().pop().unwrap();
    let credential = sent.header("authorization").unwrap();
    assert!(!shown.contains(credential.trim_start_matches("Payment ")));
}
