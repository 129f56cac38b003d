//! Nothing is charged that is not taken, and idle streams show life.

use std::time::Duration;

use axum::{Router, routing::get};
use futures_util::StreamExt as _;
use mpp_http::server::{Metered, PaidSession};
use mpp_server::StreamOptions;

use super::{Reading, final_receipt, spent};
use crate::{
    pair::{BOTH, DEPOSIT, PRICE, Pair},
    shop::{WORDS, sell, words},
};

fn stall(pair: &Pair, handler: axum::routing::MethodRouter) -> Router {
    let offer = pair.offer(BOTH[1]).build().unwrap();
    sell(&pair.server, "/stream", [offer], handler)
}

// PROTOCOL 5.7: each unit is charged immediately before it is written, and
// only as the connection takes it.
#[tokio::test(start_paused = true)]
async fn each_word_is_charged_when_it_is_taken_and_not_before() {
    let pair = Pair::new().await;
    let app = stall(&pair, get(words));
    let wallet = pair.wallet();
    let (mut reading, opened) = Reading::start(&app, &wallet, DEPOSIT).await;
    // The request has paid for the first word; nobody has polled the body.
    assert_eq!(spent(&pair, &opened).await, PRICE);
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!(spent(&pair, &opened).await, PRICE);

    assert_eq!(
        reading.next().await.unwrap(),
        "event: message\ndata: title\n\n"
    );
    assert_eq!(spent(&pair, &opened).await, PRICE);
    for number in 1..=5_u64 {
        let frame = reading.next().await.unwrap();
        assert_eq!(frame, format!("event: message\ndata: word{number}\n\n"));
        assert_eq!(spent(&pair, &opened).await, u128::from(number) * PRICE);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(spent(&pair, &opened).await, u128::from(number) * PRICE);
    }
    // Gone in the middle: not one unit more.
    drop(reading);
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!(spent(&pair, &opened).await, 5 * PRICE);
}

// PROTOCOL 5.7: a comment every 15 s while idle.
#[tokio::test(start_paused = true)]
async fn an_idle_stream_sends_a_comment_every_15_seconds() {
    async fn silent(session: PaidSession) -> Metered {
        session.stream(|mut stream| async move {
            stream.send("first").await;
            tokio::time::sleep(Duration::from_secs(40)).await;
            stream.charge().await?;
            stream.send("last").await;
            Ok(())
        })
    }
    let pair = Pair::new().await;
    let app = stall(&pair, get(silent));
    let (mut reading, _) = Reading::start(&app, &pair.wallet(), PRICE).await;
    let start = tokio::time::Instant::now();
    let mut seen = Vec::new();
    while let Some(frame) = reading.next().await {
        seen.push((start.elapsed().as_secs(), frame));
    }
    let comment = String::from(": keep-alive\n\n");
    assert_eq!(seen.len(), 5, "{seen:?}");
    assert_eq!(seen[1..3], [(15, comment.clone()), (30, comment)]);
    assert_eq!(
        seen[3],
        (40, String::from("event: message\ndata: last\n\n"))
    );
    assert!(seen[4].1.starts_with("event: payment-receipt\n"));
}

// PROTOCOL 5.7: one need-voucher per shortage, a bounded pause, then the
// receipt event as the last one. The connection is kept alive meanwhile.
#[tokio::test(start_paused = true)]
async fn a_pause_lasts_60_seconds_and_ends_with_the_receipt() {
    let pair = Pair::new().await;
    let app = stall(&pair, get(words));
    let (reading, opened) = Reading::start(&app, &pair.wallet(), 2 * PRICE).await;
    let start = tokio::time::Instant::now();
    let frames = reading.rest().await;
    let waited = start.elapsed().as_secs();
    assert!((60..=61).contains(&waited), "{waited}");
    assert_eq!(frames.len(), 3 + 1 + 3 + 1, "{frames:?}");
    assert!(frames[3].starts_with("event: payment-need-voucher\n"));
    assert!(frames[3].contains(r#""requiredCumulative":"3000""#));
    assert!(frames[3].contains(r#""acceptedCumulative":"2000""#));
    assert!(frames[3].contains(&format!(r#""deposit":"{DEPOSIT}""#)));
    for frame in &frames[4..7] {
        assert_eq!(frame, ": keep-alive\n\n");
    }
    let receipt = final_receipt(&frames[7]);
    assert_eq!(receipt.spent.base_units(), 2 * PRICE);
    assert_eq!(spent(&pair, &opened).await, 2 * PRICE);
}

// PROTOCOL 5.7: the limit of a pause is configurable.
#[tokio::test(start_paused = true)]
async fn a_route_sets_its_own_pause_and_heartbeat() {
    let pair = Pair::new().await;
    let options = StreamOptions {
        max_pause: Duration::from_secs(5),
        heartbeat: Duration::from_secs(2),
    };
    let offer = pair.offer(BOTH[1]).sse(options).build().unwrap();
    let app = sell(&pair.server, "/stream", [offer], get(words));
    let (reading, _) = Reading::start(&app, &pair.wallet(), PRICE).await;
    let start = tokio::time::Instant::now();
    let frames = reading.rest().await;
    assert_eq!(start.elapsed().as_secs(), 5);
    // Title, word, need, two comments, receipt.
    assert_eq!(frames.len(), 6, "{frames:?}");
}

// A producer may drive its parts with wakers of their own.
#[tokio::test(start_paused = true)]
async fn a_producer_that_polls_only_what_was_woken_goes_on() {
    async fn woken(session: PaidSession) -> Metered {
        session.stream(|mut stream| async move {
            let mut parts = futures_util::stream::FuturesUnordered::new();
            parts.push(async move {
                for number in 1..=3 {
                    stream.charge().await?;
                    stream.send(format!("word{number}")).await;
                }
                Ok(())
            });
            parts.next().await.unwrap_or(Ok(()))
        })
    }
    let pair = Pair::new().await;
    let app = stall(&pair, get(woken));
    let (reading, opened) = Reading::start(&app, &pair.wallet(), DEPOSIT).await;
    let rest = tokio::time::timeout(Duration::from_secs(600), reading.rest());
    let frames = rest.await.expect("the stream hangs");
    assert_eq!(frames.len(), 4, "{frames:?}");
    assert_eq!(spent(&pair, &opened).await, 3 * PRICE);
}

// The same by real sockets and the paying client, which signs as it reads.
#[tokio::test]
async fn a_slow_reader_gets_every_word_and_pays_each_once() {
    for protocol in BOTH {
        let pair = Pair::trading(protocol).await;
        let client = pair.client();
        let session = client.session(pair.url("/words")).unwrap();
        let mut stream = session.sse("/words").await.unwrap();
        let mut seen = Vec::new();
        while let Some(word) = stream.next().await {
            seen.push(word.unwrap());
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        let words = (1..=WORDS).map(|number| format!("word{number}"));
        let expected: Vec<_> = std::iter::once(String::from("title"))
            .chain(words)
            .collect();
        assert_eq!(seen, expected);
        let receipt = stream.receipt().unwrap().clone();
        let record = pair.record(pair.only_channel()).await;
        assert_eq!(receipt.spent, record.spent);
        assert_eq!(receipt.accepted_cumulative, record.accepted());
        assert_eq!(receipt.units, Some(WORDS));
        assert_eq!(record.spent.base_units(), u128::from(WORDS) * PRICE);
        assert_eq!(record.units, WORDS);
    }
}
