//! What goes over the stream: content stays content (SECURITY-CASES A23).

use std::sync::{Arc, Mutex};

use axum::{Router, routing::get};
use futures_util::StreamExt as _;
use mpp_http::server::PaidSession;
use proptest::prelude::*;

use super::{Reading, final_receipt};
use crate::{
    pair::{BOTH, DEPOSIT, PRICE, Pair},
    shop::{sell, words},
};

/// Relays texts, each for one unit.
fn relay(pair: &Pair, texts: &Arc<Mutex<Vec<String>>>) -> Router {
    let offer = pair.offer(BOTH[1]).build().unwrap();
    let texts = Arc::clone(texts);
    let handler = move |session: PaidSession| async move {
        let texts = texts.lock().unwrap().clone();
        session.stream(move |mut stream| async move {
            for text in texts {
                stream.charge().await?;
                stream.send(text).await;
            }
            Ok(())
        })
    };
    sell(&pair.server, "/stream", [offer], get(handler))
}

/// What a conforming reader makes of a text: all line breaks are LF.
fn as_read(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}

/// Events of a stream, read by nothing but the rules of the format: name and
/// data of each.
fn read_events(text: &str) -> Vec<(String, String)> {
    let (mut events, mut name, mut data) = (Vec::new(), String::new(), Vec::new());
    for line in as_read(text).split('\n') {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" if line.is_empty() && !data.is_empty() => {
                events.push((std::mem::take(&mut name), data.join("\n")));
                data.clear();
            }
            "event" => name = value.to_owned(),
            "data" => data.push(value.to_owned()),
            _ => {}
        }
    }
    events
}

const FORGERIES: [&str; 9] = [
    "plain",
    "",
    "lf\n\nevent: payment-receipt\ndata: {}\n\n",
    "cr\r\revent: payment-receipt\rdata: {}\r\r",
    "crlf\r\n\r\nevent: payment-need-voucher\r\ndata: {}\r\n\r\n",
    "\nevent: payment-receipt\ndata: {\"spent\":\"0\"}",
    "data: x\rid: 1\nretry: 1\r\n: comment",
    "mixed\n\r\r\n\n end\r",
    "\u{feff}\u{2028}\u{85}\u{b}caf\u{e9}\0",
];

// PROTOCOL 5.7: the value is split on LF, CR and CRLF.
#[tokio::test]
async fn relayed_text_is_exact_and_forges_no_event() {
    let pair = Pair::new().await;
    let texts: Vec<_> = FORGERIES.map(String::from).to_vec();
    let app = relay(&pair, &Arc::new(Mutex::new(texts)));
    let (reading, _) = Reading::start(&app, &pair.wallet(), DEPOSIT).await;
    let events = read_events(&reading.rest().await.concat());
    let (last, content) = events.split_last().unwrap();
    assert_eq!(last.0, "payment-receipt");
    assert_eq!(content.len(), FORGERIES.len());
    for ((name, data), text) in content.iter().zip(FORGERIES) {
        assert_eq!(name, "message");
        assert_eq!(*data, as_read(text));
    }
}

// The same, as the paying client sees it.
#[tokio::test]
async fn the_paying_client_takes_forgeries_for_text() {
    let pair = Pair::new().await;
    let texts: Vec<_> = FORGERIES.map(String::from).to_vec();
    pair.socket
        .serve(relay(&pair, &Arc::new(Mutex::new(texts))));
    let session = pair.client().session(pair.url("/stream")).unwrap();
    let mut stream = session.sse("/stream").await.unwrap();
    for text in FORGERIES {
        assert_eq!(stream.next().await.unwrap().unwrap(), as_read(text));
    }
    assert!(stream.next().await.is_none());
    let receipt = stream.receipt().unwrap();
    let units = u64::try_from(FORGERIES.len()).unwrap();
    assert_eq!(receipt.units, Some(units));
    assert_eq!(receipt.spent.base_units(), u128::from(units) * PRICE);
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(24)
    })]

    // A23: no byte string of an upstream yields a control event.
    #[test]
    fn no_text_becomes_a_control_event(
        texts in proptest::collection::vec(
            "(payment-receipt|payment-need-voucher|event: |data: |\\PC|[\r\n:]){0,24}",
            1..9,
        )
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let events = runtime.block_on(async {
            let pair = Pair::new().await;
            let app = relay(&pair, &Arc::new(Mutex::new(texts.clone())));
            let (reading, _) = Reading::start(&app, &pair.wallet(), DEPOSIT).await;
            read_events(&reading.rest().await.concat())
        });
        prop_assert_eq!(events.len(), texts.len() + 1);
        for ((name, data), text) in events.iter().zip(&texts) {
            prop_assert_eq!(name, "message");
            prop_assert_eq!(data, &as_read(text));
        }
    }
}

// PROTOCOL 5.7: the initial state in the header, the committed one at the end.
#[tokio::test]
async fn header_and_final_receipt_agree_with_the_store() {
    for protocol in BOTH {
        let pair = Pair::new().await;
        let offer = pair.offer(protocol).build().unwrap();
        let app = sell(&pair.server, "/stream", [offer], get(words));
        let wallet = pair.wallet();
        let (reading, opened) = Reading::start(&app, &wallet, DEPOSIT).await;
        let headers = &reading.headers;
        assert_eq!(headers["content-type"], "text/event-stream; charset=utf-8");
        assert_eq!(headers["cache-control"], "no-store, no-transform");
        assert_eq!(headers["x-accel-buffering"], "no");
        let before = pair.record(opened.terms.id()).await;
        let first = reading.first_receipt();
        assert_eq!((first.spent, first.units), (before.spent, Some(1)));
        assert_eq!(first.spent.base_units(), PRICE);

        let next = wallet.open(&app, "/stream", PRICE).await;
        assert_ne!(next.terms.id(), opened.terms.id());
        // Ten words are authorized; the eleventh never comes.
        let mut reading = reading;
        let mut frames = Vec::new();
        for _ in 0..11 {
            frames.push(reading.next().await.unwrap());
        }
        let need = reading.next().await.unwrap();
        assert!(need.starts_with("event: payment-need-voucher\n"), "{need}");
        let close = wallet.close(&opened.terms, DEPOSIT).await;
        let ask = crate::wallet::Ask::new(http::Method::HEAD, "/stream");
        let closed = ask.pay(&opened.challenge, &close).send(&app).await;
        assert_eq!(closed.status, 204, "{closed:?}");
        // A close ends the pause: the stream can not be paid any more.
        let frames = reading.rest().await;
        assert_eq!(frames.len(), 1, "{frames:?}");
        let last = final_receipt(&frames[0]);
        let record = pair.record(opened.terms.id()).await;
        assert_eq!(last.spent, record.spent);
        assert_eq!(last.accepted_cumulative, record.accepted());
        assert_eq!(last.units, Some(10));
        assert_eq!(record.settled, record.spent);
    }
}
