//! Answers that take their time, and readers and servers that do not wait for them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::Request, response::IntoResponse as _, routing::get};
use mpp_client::ClientError;
use mpp_core::Amount;
use mpp_http::ws::Frame;
use mpp_server::{Route, StreamOptions};
use tokio::time::timeout;

use super::{
    between::{Fate, serve_through},
    reading::{app, open, over_socket, texts},
};
use crate::{
    pair::{BOTH, PRICE, Pair},
    shop::{WORDS, words},
};

const NOW: Fate = Fate::After(Duration::ZERO);
/// Nothing takes longer.
const LONG: Duration = Duration::from_secs(90);

/// Words of a server that waits long for a voucher.
fn patient(pair: &Pair) -> Router {
    let options = StreamOptions {
        max_pause: Duration::from_secs(60 * 60),
        ..StreamOptions::default()
    };
    let offer = pair.offer(BOTH[1]).sse(options).build().unwrap();
    let route = Route::new("/words", [offer]).unwrap();
    over_socket(&pair.server, route, get(words))
}

/// Lets a minute pass for both sides as soon as so many of something have come.
async fn a_minute_passes(come: &AtomicU32, enough: u32) {
    while come.load(Ordering::SeqCst) < enough {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(60)).await;
    tokio::time::resume();
}

/// Reads the stream to its end by calls that are given up after a while, over a network on which
/// an answer takes longer than that.
async fn reads_all_by_calls_of(patience: Duration) {
    let pair = Pair::new().await;
    let _shop = serve_through(&pair, app(&pair.server, BOTH[1]), |frame| match frame {
        Frame::Authorization { .. } | Frame::CloseRequest => NOW,
        _ => Fate::After(Duration::from_millis(20)),
    })
    .await;
    let mut stream = open(&pair, &pair.client()).await;
    let mut texts = 0;
    loop {
        match timeout(patience, stream.next()).await {
            Ok(Some(text)) => drop(text.unwrap()),
            Ok(None) => break,
            Err(_) => continue,
        }
        texts += 1;
    }
    assert_eq!(texts, WORDS + 1);
    let receipt = stream.receipt().unwrap();
    assert_eq!(receipt.spent, Amount::new(u128::from(WORDS) * PRICE));
    stream.close().await.unwrap();
}

#[tokio::test]
async fn a_call_that_is_dropped_once_for_each_voucher_loses_nothing() {
    reads_all_by_calls_of(Duration::from_millis(15)).await;
}

#[tokio::test]
async fn a_call_that_is_dropped_again_and_again_loses_nothing() {
    reads_all_by_calls_of(Duration::from_millis(1)).await;
}

#[tokio::test]
async fn a_stream_can_be_ended_while_a_voucher_is_on_its_way() {
    let pair = Pair::new().await;
    let _shop = serve_through(&pair, app(&pair.server, BOTH[1]), |frame| match frame {
        Frame::Receipt { .. } => Fate::After(Duration::from_millis(50)),
        _ => NOW,
    })
    .await;
    let mut stream = open(&pair, &pair.client()).await;
    for _ in 0..2 {
        stream.next().await.unwrap().unwrap();
    }
    let given_up = timeout(Duration::from_millis(20), stream.next()).await;
    assert!(given_up.is_err(), "{given_up:?}");
    stream.finish().await.unwrap();
    let mut unread = 0;
    while let Some(text) = stream.next().await {
        text.unwrap();
        unread += 1;
    }
    let receipt = stream.receipt().unwrap();
    assert_eq!(receipt.units, Some(1 + unread));
    assert!(stream.close().await.unwrap().tx_hash.is_some());
}

// The client asks again after a minute. Both answers come, and each belongs to its question.
#[tokio::test]
async fn an_answer_that_comes_too_late_is_not_taken_for_the_next() {
    let pair = Pair::new().await;
    let receipts = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&receipts);
    let _shop = serve_through(&pair, patient(&pair), move |frame| match frame {
        Frame::Receipt { .. } if seen.fetch_add(1, Ordering::SeqCst) == 1 => {
            Fate::After(Duration::from_secs(61))
        }
        _ => NOW,
    })
    .await;
    let mut stream = open(&pair, &pair.client()).await;
    let (texts, ()) = tokio::join!(texts(&mut stream), a_minute_passes(&receipts, 2));
    assert_eq!(u64::try_from(texts.len()).unwrap(), WORDS + 1);
    assert_eq!(stream.receipt().unwrap().units, Some(WORDS));
}

#[tokio::test]
async fn a_server_that_does_not_end_the_stream_does_not_keep_the_deposit() {
    let pair = Pair::new().await;
    let asked = Arc::new(AtomicU32::new(0));
    let heard = Arc::clone(&asked);
    let _shop = serve_through(&pair, patient(&pair), move |frame| match frame {
        Frame::CloseRequest => {
            heard.fetch_add(1, Ordering::SeqCst);
            Fate::Never
        }
        _ => NOW,
    })
    .await;
    let mut stream = open(&pair, &pair.client()).await;
    for _ in 0..3 {
        stream.next().await.unwrap().unwrap();
    }
    let close = timeout(LONG, stream.close());
    let (closed, ()) = tokio::join!(close, a_minute_passes(&asked, 1));
    // Over HTTP instead.
    let closed = closed.unwrap().unwrap();
    assert!(closed.tx_hash.is_some());
    assert_eq!(closed.spent, Amount::new(2 * PRICE));
}

#[tokio::test]
async fn a_server_that_opens_no_socket_is_not_waited_for() {
    for answered in 0..=1 {
        let pair = Pair::new().await;
        let shop = app(&pair.server, BOTH[0]);
        let asked = Arc::new(AtomicU32::new(0));
        let heard = Arc::clone(&asked);
        pair.socket
            .serve(Router::new().fallback(move |request: Request| {
                let (shop, before) = (shop.clone(), heard.fetch_add(1, Ordering::SeqCst));
                async move {
                    if before >= answered {
                        std::future::pending::<()>().await;
                    }
                    let answer = tower::ServiceExt::oneshot(shop, request).await;
                    answer.into_response()
                }
            }));
        let session = pair.client().session(pair.url("/words")).unwrap();
        let open = timeout(LONG, session.ws("/words"));
        let (opened, ()) = tokio::join!(open, a_minute_passes(&asked, answered + 1));
        let refused = opened.unwrap().unwrap_err();
        assert!(matches!(refused, ClientError::Transport(_)), "{refused:?}");
    }
}
