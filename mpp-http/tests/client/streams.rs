//! Paid event streams.

use std::time::Duration;

use futures_util::StreamExt;
use mpp_client::{ClientError, ClientEvent, TopUpPolicy};
use mpp_core::{Problem, ProblemKind};
use mpp_http::client::SseStream;
use mpp_http::sse::encode;
use mpp_tempo::SessionProtocol;
use mpp_tempo::wire::NeedVoucher;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::shop::{PRICE, Shop, does, policy, units};
use crate::wire::{Head, Reply, Request};

async fn words(stream: &mut SseStream) -> Vec<String> {
    stream.map(Result::unwrap).collect().await
}

fn expected(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("word {number}")).collect()
}

// PROTOCOL 5.7: vouchers and the top-up go beside the stream, which is never opened again.
#[tokio::test(flavor = "multi_thread")]
async fn vouchers_and_top_up_go_beside_the_stream() {
    for protocol in [SessionProtocol::V1, SessionProtocol::V2] {
        let shop = Shop::of(protocol).await;
        shop.change(|m| m.request["suggestedDeposit"] = json!("3000"));
        let client = shop.client();
        let mut events = client.events();
        let session = client.session(shop.at("/")).unwrap();
        let mut stream = session.sse("/stream/7").await.unwrap();
        assert!(stream.receipt().is_none());
        assert_eq!(words(&mut stream).await, expected(7));
        let receipt = stream.receipt().unwrap();
        assert_eq!(receipt.spent, units(7 * PRICE));
        let account = shop.only();
        assert_eq!(account.spent, units(7 * PRICE));
        // Signed exactly as far as the stream needed it.
        assert_eq!(account.accepted, units(7 * PRICE));
        assert_eq!(account.deposit, units(9_000));
        let log = shop.log();
        let gets: Vec<_> = log.iter().filter(|r| r.method == "GET").collect();
        assert_eq!(gets.len(), 2);
        let opened = gets[1];
        assert_eq!(opened.header("accept"), Some("text/event-stream"));
        let beside: Vec<&Request> = log.iter().filter(|r| r.method == "HEAD").collect();
        assert_eq!(beside.len(), 6 + 2);
        assert!(beside.iter().all(|r| r.connection != opened.connection));
        let heard: Vec<_> = std::iter::from_fn(|| events.try_next()).collect();
        let count = |fits: fn(&ClientEvent) -> bool| heard.iter().filter(|e| fits(e)).count();
        assert_eq!(count(|e| matches!(e, ClientEvent::NeedVoucher { .. })), 6);
        assert_eq!(count(|e| matches!(e, ClientEvent::ToppedUp { .. })), 2);
        assert_eq!(count(|e| matches!(e, ClientEvent::ChannelOpened { .. })), 1);
        assert_eq!(count(|e| matches!(e, ClientEvent::Charged(_))), 1);
    }
}

// Deployed servers begin a stream without a receipt in the header (see the recordings).
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_may_begin_without_a_receipt() {
    let shop = Shop::open().await;
    shop.change(|m| m.stream_receipt = false);
    let client = shop.client();
    let session = client.session(shop.at("/")).unwrap();
    for round in 1..=2 {
        let mut stream = session.sse("/stream/3").await.unwrap();
        assert_eq!(words(&mut stream).await, expected(3));
        assert!(stream.receipt().is_some());
        assert_eq!(shop.only().spent, units(3 * round * PRICE));
    }
    assert_eq!(client.channels().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_head_is_unknown_vouchers_go_by_post() {
    let shop = Shop::open().await;
    shop.change(|m| m.head = false);
    let client = shop.client();
    let session = client.session(shop.at("/")).unwrap();
    let mut stream = session.sse("/stream/3?lang=en").await.unwrap();
    assert_eq!(words(&mut stream).await, expected(3));
    // The vouchers beside the stream bought nothing.
    assert_eq!(shop.only().spent, units(3 * PRICE));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_go_on_beside_a_stream() {
    let shop = Shop::open().await;
    shop.change(|m| m.request["suggestedDeposit"] = json!("100000"));
    let client = shop.client();
    let session = client.session(shop.at("/")).unwrap();
    let mut stream = session.sse("/stream/20").await.unwrap();
    let requests = async {
        for _ in 0..20 {
            session.get("/photo").send().await.unwrap();
        }
    };
    let (heard, ()) = tokio::join!(words(&mut stream), requests);
    assert_eq!(heard, expected(20));
    let account = shop.only();
    assert_eq!(account.spent, units(40 * PRICE));
    let state = session.state().unwrap().unwrap();
    assert_eq!(state.spent, units(40 * PRICE));
    // Afterwards the accounts are exact again: one more request needs one more unit at most.
    session.get("/photo").send().await.unwrap();
    assert_eq!(shop.only().spent, units(41 * PRICE));
}

// Back-pressure: who does not read does not pay.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_not_polled_signs_nothing() {
    let shop = Shop::open().await;
    let client = shop.client();
    let session = client.session(shop.at("/")).unwrap();
    let mut stream = session.sse("/stream/5").await.unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap(), "word 0");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(client.channels().unwrap()[0].signed, units(PRICE));
}

// SECURITY-CASES: one extra unit charged after a disconnect.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_dropped_is_settled_by_the_next_receipt() {
    let shop = Shop::open().await;
    let client = shop.client();
    let session = client.session(shop.at("/")).unwrap();
    let mut stream = session.sse("/stream/5").await.unwrap();
    for _ in 0..3 {
        stream.next().await.unwrap().unwrap();
    }
    drop(stream);
    session.get("/a").send().await.unwrap();
    let account = shop.only();
    let state = session.state().unwrap().unwrap();
    assert_eq!(state.spent, account.spent);
    session.get("/a").send().await.unwrap();
    assert_eq!(session.state().unwrap().unwrap().spent, shop.only().spent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_never_refills_ends_the_stream_with_the_reason() {
    let shop = Shop::open().await;
    shop.change(|m| m.request["suggestedDeposit"] = json!("2000"));
    let client = shop.client_with(policy().top_up(TopUpPolicy::Never));
    let session = client.session(shop.at("/")).unwrap();
    let mut stream = session.sse("/stream/5").await.unwrap();
    let mut heard = Vec::new();
    let error = loop {
        match stream.next().await.unwrap() {
            Ok(word) => heard.push(word),
            Err(error) => break error,
        }
    };
    assert_eq!(heard, expected(2));
    assert!(matches!(error, ClientError::InsufficientDeposit { .. }));
    assert!(stream.next().await.is_none());
    assert_eq!(shop.only().accepted, units(2_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voucher_beside_the_stream_survives_a_lost_answer_and_a_stale_challenge() {
    let shop = Shop::open().await;
    let client = shop.client();
    let session = client.session(shop.at("/")).unwrap();
    let mut stream = session.sse("/stream/4").await.unwrap();
    shop.trick(does("voucher"), |_, _| async { Reply::HangUp });
    shop.trick(does("voucher"), |shop, _| async move {
        shop.refuse(Problem::new(ProblemKind::PaymentExpired, "again"))
    });
    assert_eq!(words(&mut stream).await, expected(4));
    assert_eq!(shop.only().accepted, units(4 * PRICE));
}

/// A stream of the test's own making, on a channel that is open.
async fn scripted(script: impl FnOnce(NeedVoucher) -> Vec<u8>) -> (Shop, SseStream) {
    let (send, pieces) = mpsc::channel(1);
    let (shop, need, stream) = supplied(pieces).await;
    send.try_send(script(need)).unwrap();
    (shop, stream)
}

/// A stream that asks for another unit as soon as it has been paid for one.
async fn asking() -> (Shop, SseStream) {
    let (send, pieces) = mpsc::channel(1);
    let (shop, mut need, stream) = supplied(pieces).await;
    let asker = shop.clone();
    let asking = async move {
        loop {
            let event = encode::need_voucher(&need);
            if send.send(event.to_vec()).await.is_err() {
                return;
            }
            while asker.account(need.channel_id).accepted < need.required_cumulative {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            need.accepted_cumulative = need.required_cumulative;
            need.required_cumulative = need.required_cumulative.checked_add(units(100)).unwrap();
        }
    };
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(asking);
    tasks.detach_all();
    (shop, stream)
}

/// A stream of these pieces on a channel that is open, and what it may ask for first.
async fn supplied(pieces: mpsc::Receiver<Vec<u8>>) -> (Shop, NeedVoucher, SseStream) {
    let shop = Shop::open().await;
    let client = shop.client();
    let session = client.session(shop.at("/")).unwrap();
    session.get("/a").send().await.unwrap();
    let need = NeedVoucher {
        channel_id: client.channels().unwrap()[0].channel_id,
        required_cumulative: units(3 * PRICE),
        accepted_cumulative: units(2 * PRICE),
        deposit: units(10_000),
    };
    shop.trick(does("voucher"), |shop, request| async move {
        shop.obey(request).await;
        let head = Head::new(200).with("content-type", "text/event-stream");
        Reply::Pieces(head, pieces)
    });
    let stream = session.sse("/a").await.unwrap();
    (shop, need, stream)
}

// Each request beside a stream raises what the stream needs. The needs that are overtaken before
// they are answered cost no voucher, and are no sign of a server that delivers nothing.
#[tokio::test(flavor = "multi_thread")]
async fn needs_that_are_overtaken_do_not_end_the_stream() {
    let (_shop, mut stream) = scripted(|need| {
        let needs = (0..20).flat_map(|further| {
            let required = need.required_cumulative.base_units() + further * 100;
            let need = NeedVoucher {
                required_cumulative: units(required),
                ..need
            };
            encode::need_voucher(&need).to_vec()
        });
        let words = (0..2).flat_map(|number| encode::message(&format!("word {number}")).to_vec());
        needs.chain(words).collect()
    })
    .await;
    assert_eq!(words(&mut stream).await, expected(2));
}

async fn ends_with(script: impl FnOnce(NeedVoucher) -> Vec<u8>) -> ClientError {
    let (_shop, mut stream) = scripted(script).await;
    let first = stream.next().await.unwrap();
    assert!(stream.next().await.is_none(), "the stream went on");
    first.unwrap_err()
}

// SECURITY-CASES A27: endless or nonsensical need-voucher.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_streams_are_ended() {
    let foreign = ends_with(|mut need| {
        need.channel_id = mpp_tempo::ChannelId::repeat_byte(1);
        encode::need_voucher(&need).to_vec()
    });
    assert!(matches!(foreign.await, ClientError::Discrepancy(_)));
    let greedy = ends_with(|mut need| {
        need.required_cumulative = units(2_000_000);
        encode::need_voucher(&need).to_vec()
    });
    assert!(matches!(greedy.await, ClientError::Policy(_)));
    let paid = ends_with(|mut need| {
        need.accepted_cumulative = need.required_cumulative;
        encode::need_voucher(&need).to_vec()
    });
    assert!(matches!(paid.await, ClientError::Protocol(_)));
    let unreadable = ends_with(|_| b"event: payment-need-voucher\ndata: {}\n\n".to_vec());
    assert!(matches!(unreadable.await, ClientError::Protocol(_)));
    let receipt = ends_with(|_| b"event: payment-receipt\ndata: {}\n\n".to_vec());
    assert!(matches!(receipt.await, ClientError::Protocol(_)));
}

// SECURITY-CASES A27: a server that takes voucher after voucher and delivers nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_only_asks_is_ended() {
    let (shop, mut stream) = asking().await;
    let error = stream.next().await.unwrap().unwrap_err();
    assert!(matches!(error, ClientError::Protocol(_)), "{error:?}");
    assert!(stream.next().await.is_none());
    let beside = shop.log().iter().filter(|r| r.method == "HEAD").count();
    assert_eq!(beside, 16);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lying_final_receipt_ends_the_stream_with_an_error() {
    let error = ends_with(|need| {
        let mut receipt = mpp_core::SessionReceipt::new(
            mpp_core::MethodName::tempo(),
            mpp_core::Timestamp::from_secs(1_800_000_000),
            mpp_core::ChallengeId::new("x").unwrap(),
            need.channel_id.to_string(),
            units(2 * PRICE),
            units(2 * PRICE),
        );
        receipt.spent = units(50 * PRICE);
        encode::receipt(&receipt).to_vec()
    });
    assert!(matches!(error.await, ClientError::Discrepancy(_)));
}

// A23: events of the payment's name space that we do not know are not content.
#[tokio::test(flavor = "multi_thread")]
async fn only_content_is_yielded() {
    let (_shop, mut stream) = scripted(|_| {
        b": hello\n\nevent: payment-future\ndata: x\n\nevent: delta\ndata: a\ndata: b\n\ndata: c\n\n"
            .to_vec()
    })
    .await;
    assert_eq!(words(&mut stream).await, ["a\nb", "c"]);
    assert!(stream.receipt().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_no_stream_is_an_error() {
    let shop = Shop::open().await;
    let client = shop.client();
    let session = client.session(shop.at("/")).unwrap();
    let plain = session.sse("/photo").await;
    assert!(matches!(plain, Err(ClientError::Protocol(_))));
    shop.trick(does("voucher"), |_, _| async {
        Reply::Full(Head::new(404), Vec::new())
    });
    let missing = session.sse("/photo").await;
    assert!(matches!(missing, Err(ClientError::Status { status: 404 })));
}

// The stream of a deployed server, byte for byte, up to its first need of a voucher.
#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_stream_is_understood() {
    let recorded = include_str!("../../../mpp-client/testdata/recorded.json");
    let recorded: Value = serde_json::from_str(recorded).unwrap();
    let events = recorded["exchanges"]["v2"]["events"].as_array().unwrap();
    let mut decoder = mpp_http::sse::decode::Decoder::default();
    for event in events {
        decoder.push(event.as_str().unwrap().as_bytes()).unwrap();
    }
    let events: Vec<_> = std::iter::from_fn(|| decoder.next_event()).collect();
    let words: Vec<_> = events
        .iter()
        .filter(|event| event.name == "message")
        .map(|event| event.data.as_str())
        .collect();
    assert_eq!(words, ["the", "quick", "brown", "fox", "jumps"]);
    let needs: Vec<NeedVoucher> = events
        .iter()
        .filter(|event| event.name == "payment-need-voucher")
        .map(|event| serde_json::from_str(&event.data).unwrap())
        .collect();
    assert_eq!(needs.len(), 4);
    assert_eq!(needs[3].required_cumulative, units(5_000));
    let last = events.last().unwrap();
    assert_eq!(last.name, "payment-receipt");
    assert!(mpp_core::Receipt::from_json(last.data.as_bytes()).is_ok());
}
