//! Streams: charged as they are taken, paused when the balance is used up.

use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use mpp_core::{Amount, receipt::SessionReceipt};
use mpp_tempo::{ChannelTerms, SessionProtocol};

use super::*;
use crate::{
    Route, StreamOptions,
    session::record::Phase,
    testing::{
        PRICE, World, amount, close_payload, granted, managed, paying, top_up_payload,
        voucher_payload,
    },
};

const V2: SessionProtocol = SessionProtocol::V2;

struct Shop {
    world: World,
    route: Route,
    terms: ChannelTerms,
}

impl Shop {
    async fn new() -> Self {
        let world = World::new();
        let route = world.route(V2);
        let terms = world.open(&route, V2, 0).await;
        Self {
            world,
            route,
            terms,
        }
    }

    /// Buys with a voucher for so many units in total.
    async fn tab(&self, units: u128) -> Arc<Tab> {
        let voucher = self.world.voucher(&self.terms, PRICE.saturating_mul(units));
        let payload = voucher_payload(&self.terms, &voucher);
        let grant = granted(self.world.buy(&self.route, &payload).await);
        let tab = Arc::clone(grant.tab().unwrap());
        // As the transport does before the head of the stream leaves.
        grant.capture(None).await.unwrap();
        tab
    }

    /// Sends a voucher beside the stream.
    async fn voucher(&self, base_units: u128) {
        let voucher = self.world.voucher(&self.terms, base_units);
        let payload = voucher_payload(&self.terms, &voucher);
        managed(self.world.manage(&self.route, &payload).await);
    }

    async fn spent(&self) -> u128 {
        let record = self.world.record(self.terms.id()).await;
        record.spent.base_units()
    }
}

/// A producer of so many words, each charged before it is sent.
async fn words(mut meter: Meter, count: usize) -> Result<(), StreamEnd> {
    for word in 0..count {
        meter.charge().await?;
        meter.send(format!("word {word}")).await;
    }
    Ok(())
}

fn word(frame: Option<Frame>) -> String {
    match frame {
        Some(Frame::Data(text)) => text,
        other => panic!("no word: {other:?}"),
    }
}

fn need(frame: Option<Frame>) -> NeedVoucher {
    match frame {
        Some(Frame::NeedVoucher(need)) => need,
        other => panic!("no need of a voucher: {other:?}"),
    }
}

fn last(frame: Option<Frame>) -> SessionReceipt {
    match frame {
        Some(Frame::Receipt(receipt)) => receipt,
        other => panic!("no receipt: {other:?}"),
    }
}

/// Whether the stream has nothing to give at this moment.
fn is_paused(stream: &mut MeteredStream) -> bool {
    stream.next().now_or_never().is_none()
}

// PROTOCOL 5.7: the first unit is prepaid by the request; the receipt is the last event.
#[tokio::test(start_paused = true)]
async fn each_unit_is_charged_once_and_the_receipt_comes_last() {
    let shop = Shop::new().await;
    let tab = shop.tab(3).await;
    assert_eq!(shop.spent().await, PRICE);
    let mut stream = tab.stream(|meter| words(meter, 3));
    for index in 0..3 {
        assert_eq!(word(stream.next().await), format!("word {index}"));
        assert_eq!(shop.spent().await, (index + 1) * PRICE);
    }
    let receipt = last(stream.next().await);
    assert_eq!(receipt.spent, amount(3 * PRICE));
    assert_eq!(receipt.accepted_cumulative, amount(3 * PRICE));
    assert_eq!(receipt.units, Some(3));
    assert_eq!(receipt.channel_id, shop.terms.id().to_string());
    assert_eq!(stream.next().await, None);
}

// PROTOCOL 5.7: nothing is charged that is not polled.
#[tokio::test(start_paused = true)]
async fn a_stream_never_charges_ahead_of_its_reader() {
    let shop = Shop::new().await;
    let tab = shop.tab(9).await;
    let mut stream = tab.stream(|meter| words(meter, 9));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(shop.spent().await, PRICE);
    word(stream.next().await);
    word(stream.next().await);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(shop.spent().await, 2 * PRICE);
}

// PROTOCOL 5.7: on disconnect charging stops; no extra unit.
#[tokio::test(start_paused = true)]
async fn a_dropped_stream_charges_nothing_more() {
    let shop = Shop::new().await;
    let tab = shop.tab(9).await;
    let mut stream = tab.stream(|meter| words(meter, 9));
    for _ in 0..3 {
        word(stream.next().await);
    }
    drop(stream);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(shop.spent().await, 3 * PRICE);
}

// PROTOCOL 5.7: need-voucher once per shortage; resume on a voucher.
#[tokio::test(start_paused = true)]
async fn a_shortage_is_announced_once_and_a_voucher_resumes() {
    let shop = Shop::new().await;
    let tab = shop.tab(2).await;
    let mut stream = tab.stream(|meter| words(meter, 4));
    word(stream.next().await);
    word(stream.next().await);
    let asked = need(stream.next().await);
    assert_eq!(asked.channel_id, shop.terms.id());
    assert_eq!(asked.required_cumulative, amount(3 * PRICE));
    assert_eq!(asked.accepted_cumulative, amount(2 * PRICE));
    assert_eq!(asked.deposit, amount(10 * PRICE));
    assert!(is_paused(&mut stream));
    // Too little does not resume it, and is no new shortage.
    shop.voucher(3 * PRICE - 1).await;
    assert!(is_paused(&mut stream));
    shop.voucher(3 * PRICE).await;
    assert_eq!(word(stream.next().await), "word 2");
    let again = need(stream.next().await);
    assert_eq!(again.required_cumulative, amount(4 * PRICE));
    shop.voucher(4 * PRICE).await;
    assert_eq!(word(stream.next().await), "word 3");
    assert_eq!(last(stream.next().await).units, Some(4));
}

// A voucher that arrives while the stream sleeps wakes it: no wake-up is lost.
#[tokio::test(start_paused = true)]
async fn a_voucher_wakes_a_sleeping_stream() {
    let shop = Shop::new().await;
    let tab = shop.tab(1).await;
    let mut stream = tab.stream(|meter| words(meter, 2));
    word(stream.next().await);
    need(stream.next().await);
    let send = async {
        tokio::time::sleep(Duration::from_secs(59)).await;
        shop.voucher(2 * PRICE).await;
    };
    let (frame, ()) = tokio::join!(stream.next(), send);
    assert_eq!(word(frame), "word 1");
}

// When something else uses up the balance that was asked for, the client has to be told the
// new amount, or it would wait for the stream and the stream for it.
#[tokio::test(start_paused = true)]
async fn a_grown_shortage_is_announced_again() {
    let shop = Shop::new().await;
    let tab = shop.tab(1).await;
    let mut stream = tab.stream(|meter| words(meter, 2));
    word(stream.next().await);
    let asked = need(stream.next().await);
    assert_eq!(asked.required_cumulative, amount(2 * PRICE));
    // Another request on the channel takes the unit.
    shop.tab(2).await;
    let again = need(stream.next().await);
    assert_eq!(again.required_cumulative, amount(3 * PRICE));
    shop.voucher(3 * PRICE).await;
    assert_eq!(word(stream.next().await), "word 1");
}

// PROTOCOL 5.7: at most 60 s, then end with the receipt event.
#[tokio::test(start_paused = true)]
async fn a_pause_ends_after_its_limit_with_the_receipt() {
    let shop = Shop::new().await;
    let tab = shop.tab(1).await;
    let mut stream = tab.stream(|meter| words(meter, 5));
    word(stream.next().await);
    need(stream.next().await);
    let paused = tokio::time::Instant::now();
    // Idle commits on the channel do not prolong it.
    let nudge = async {
        tokio::time::sleep(Duration::from_secs(30)).await;
        shop.voucher(PRICE + 1).await;
    };
    let (frame, ()) = tokio::join!(stream.next(), nudge);
    let receipt = last(frame);
    assert_eq!(paused.elapsed(), Duration::from_secs(60));
    assert_eq!(receipt.spent, amount(PRICE));
    assert_eq!(receipt.units, Some(1));
    assert_eq!(stream.next().await, None);
}

// PROTOCOL 5.7: a top-up mid-stream, then a voucher within the new deposit.
#[tokio::test(start_paused = true)]
async fn a_top_up_beside_the_stream_lets_it_go_on() {
    let shop = Shop::new().await;
    let tab = shop.tab(10).await;
    let mut stream = tab.stream(|meter| words(meter, 11));
    for _ in 0..10 {
        word(stream.next().await);
    }
    let asked = need(stream.next().await);
    assert!(asked.required_cumulative > asked.deposit);
    let signed = shop.world.sign_top_up(&shop.terms, PRICE, paying()).await;
    let payload = top_up_payload(&shop.terms, signed.encode(), PRICE);
    managed(shop.world.manage(&shop.route, &payload).await);
    assert!(is_paused(&mut stream));
    shop.voucher(11 * PRICE).await;
    word(stream.next().await);
    assert_eq!(last(stream.next().await).spent, amount(11 * PRICE));
}

// PROTOCOL 5.7: a new stream on a channel ends the previous one; no unit is spent twice.
#[tokio::test(start_paused = true)]
async fn a_newer_stream_ends_the_older() {
    let shop = Shop::new().await;
    let older = shop.tab(5).await;
    let mut first = older.stream(|meter| words(meter, 9));
    word(first.next().await);
    let newer = shop.tab(5).await;
    let mut second = newer.stream(|meter| words(meter, 3));
    word(second.next().await);
    // Its body ends properly, with the committed numbers.
    let receipt = last(first.next().await);
    assert_eq!(receipt.spent, amount(2 * PRICE));
    assert_eq!(first.next().await, None);
    word(second.next().await);
    word(second.next().await);
    assert_eq!(last(second.next().await).spent, amount(4 * PRICE));
}

// A paused older stream ends too, at once.
#[tokio::test(start_paused = true)]
async fn a_newer_stream_ends_a_paused_one() {
    let shop = Shop::new().await;
    let mut first = shop.tab(1).await.stream(|meter| words(meter, 9));
    word(first.next().await);
    need(first.next().await);
    let newer = shop.tab(3).await;
    let mut second = newer.stream(|meter| words(meter, 2));
    word(second.next().await);
    last(first.next().await);
    word(second.next().await);
}

// SECURITY-CASES A12: nothing is sold once a close is under way.
#[tokio::test(start_paused = true)]
async fn a_closed_channel_ends_its_stream() {
    let shop = Shop::new().await;
    let tab = shop.tab(5).await;
    let mut stream = tab.stream(|meter| words(meter, 9));
    word(stream.next().await);
    let close = close_payload(&shop.terms, &shop.world.voucher(&shop.terms, 5 * PRICE));
    managed(shop.world.manage(&shop.route, &close).await);
    let receipt = last(stream.next().await);
    assert_eq!(receipt.spent, amount(PRICE));
    let record = shop.world.record(shop.terms.id()).await;
    assert_eq!(record.settled, amount(PRICE));
    assert!(matches!(record.phase, Phase::Closed { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_paused_stream_ends_when_its_channel_closes() {
    let shop = Shop::new().await;
    let tab = shop.tab(1).await;
    let mut stream = tab.stream(|meter| words(meter, 9));
    word(stream.next().await);
    need(stream.next().await);
    shop.world.request_close(&shop.terms).await;
    let begun = tokio::time::Instant::now();
    last(stream.next().await);
    // The watcher looks every five seconds.
    assert!(begun.elapsed() <= Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn several_units_are_charged_all_or_none() {
    let shop = Shop::new().await;
    let tab = shop.tab(4).await;
    let mut stream = tab.stream(async |mut meter: Meter| {
        meter.charge_units(3).await?;
        meter.send("three").await;
        meter.charge_units(u64::MAX).await?;
        Ok(())
    });
    assert_eq!(word(stream.next().await), "three");
    assert_eq!(shop.spent().await, 3 * PRICE);
    let asked = need(stream.next().await);
    let required = amount(3 * PRICE).checked_add(amount(PRICE).checked_mul(u64::MAX).unwrap());
    assert_eq!(Some(asked.required_cumulative), required);
    assert_eq!(shop.spent().await, 3 * PRICE);
    assert_eq!(last(stream.next().await).units, Some(3));
}

// The unit that the request has paid for is not lost with a charge that fails or is given up.
#[tokio::test(start_paused = true)]
async fn the_prepaid_unit_survives_a_charge_that_does_not_happen() {
    let shop = Shop::new().await;
    let tab = shop.tab(1).await;
    let mut stream = tab.stream(async |mut meter: Meter| {
        let hasty = tokio::time::timeout(Duration::from_secs(1), meter.charge_units(2));
        assert!(hasty.await.is_err());
        assert!(matches!(
            meter.charge_units(2).await,
            Err(StreamEnd::NoVoucher)
        ));
        meter.charge().await?;
        meter.send("prepaid").await;
        Ok(())
    });
    need(stream.next().await);
    need(stream.next().await);
    assert_eq!(word(stream.next().await), "prepaid");
    let receipt = last(stream.next().await);
    assert_eq!((receipt.spent, receipt.units), (amount(PRICE), Some(1)));
}

// PROTOCOL 5.7: two streams never spend the same voucher, nor the same prepaid unit.
#[tokio::test(start_paused = true)]
async fn one_prepaid_unit_serves_one_stream() {
    let shop = Shop::new().await;
    let tab = shop.tab(3).await;
    let mut first = tab.stream(|meter| words(meter, 1));
    word(first.next().await);
    assert_eq!(shop.spent().await, PRICE);
    let mut second = tab.stream(|meter| words(meter, 1));
    word(second.next().await);
    assert_eq!(shop.spent().await, 2 * PRICE);
}

// A producer may drive its work with any combinator, or on a task of its own.
#[tokio::test(start_paused = true)]
async fn a_producer_may_be_driven_by_other_wakers() {
    let shop = Shop::new().await;
    let tab = shop.tab(5).await;
    let mut stream = tab.stream(async |meter: Meter| {
        let mut set = FuturesUnordered::new();
        set.push(words(meter, 3));
        while let Some(end) = set.next().await {
            end?;
        }
        Ok(())
    });
    let all = async {
        for _ in 0..3 {
            word(stream.next().await);
        }
        last(stream.next().await)
    };
    let receipt = tokio::time::timeout(Duration::from_secs(5), all).await;
    assert_eq!(receipt.unwrap().units, Some(3));

    let mut stream = tab.stream(async |meter: Meter| {
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(words(meter, 2));
        let end = tasks.join_next().await.unwrap();
        end.map_err(StreamEnd::producer)?
    });
    let all = async {
        word(stream.next().await);
        word(stream.next().await);
        last(stream.next().await)
    };
    let receipt = tokio::time::timeout(Duration::from_secs(5), all).await;
    assert_eq!(receipt.unwrap().spent, amount(5 * PRICE));
}

#[tokio::test(start_paused = true)]
async fn a_failing_producer_ends_with_the_receipt() {
    let shop = Shop::new().await;
    let tab = shop.tab(2).await;
    let mut stream = tab.stream(async |mut meter: Meter| {
        meter.charge().await?;
        meter.send("half a").await;
        Err(StreamEnd::producer("the model is gone"))
    });
    word(stream.next().await);
    assert_eq!(last(stream.next().await).spent, amount(PRICE));
    assert_eq!(stream.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn text_that_is_not_charged_is_free() {
    let shop = Shop::new().await;
    let tab = shop.tab(1).await;
    let mut stream = tab.stream(async |mut meter: Meter| {
        meter.send("title").await;
        meter.send("author").await;
        words(meter, 1).await
    });
    for expected in ["title", "author", "word 0"] {
        assert_eq!(word(stream.next().await), expected);
    }
    assert_eq!(last(stream.next().await).spent, amount(PRICE));
    assert_ne!(shop.spent().await, Amount::ZERO.base_units());
}

// A shutdown lets a stream go on for a while, then ends it with its receipt.
#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_streams_with_a_receipt() {
    let shop = Shop::new().await;
    let tab = shop.tab(9).await;
    let mut stream = tab.stream(|meter| words(meter, 1_000));
    drop(tab);
    let server = shop.world.server.clone();
    let reading = async {
        let mut read = 0_u128;
        loop {
            match stream.next().await {
                Some(Frame::Data(_)) => read += 1,
                Some(Frame::NeedVoucher(_)) => {}
                Some(Frame::Receipt(receipt)) => break (read, receipt),
                None => panic!("no receipt"),
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let started = tokio::time::Instant::now();
    let ending = async {
        tokio::time::sleep(Duration::from_secs(4)).await;
        server.shutdown().await;
    };
    let ((read, receipt), ()) = tokio::join!(reading, ending);
    // All that was paid for was read, and the pause for a voucher was cut short.
    assert_eq!((read, receipt.spent), (9, amount(9 * PRICE)));
    assert_eq!(receipt.units, Some(9));
    assert!(started.elapsed() < StreamOptions::default().max_pause);
}

// PROTOCOL 5.7: a unit is charged immediately before it is written. The first one was charged with
// the request, so it is written, whatever has happened since.
#[tokio::test(start_paused = true)]
async fn the_prepaid_unit_is_served_while_the_server_shuts_down() {
    let shop = Shop::new().await;
    let tab = shop.tab(9).await;
    let mut stream = tab.stream(|meter| words(meter, 9));
    drop(tab);
    let server = shop.world.server.clone();
    let reading = async {
        tokio::time::sleep(Duration::from_secs(12)).await;
        assert_eq!(word(stream.next().await), "word 0");
        let receipt = last(stream.next().await);
        assert_eq!((receipt.spent, receipt.units), (amount(PRICE), Some(1)));
    };
    tokio::join!(reading, server.shutdown());
}

#[tokio::test(start_paused = true)]
async fn the_prepaid_unit_is_served_when_the_payer_asks_the_chain_to_close() {
    let shop = Shop::new().await;
    let tab = shop.tab(9).await;
    shop.world.request_close(&shop.terms).await;
    shop.world.server.refresh(shop.terms.id()).await.unwrap();
    let mut stream = tab.stream(|meter| words(meter, 9));
    assert_eq!(word(stream.next().await), "word 0");
    let receipt = last(stream.next().await);
    assert_eq!((receipt.spent, receipt.units), (amount(PRICE), Some(1)));
    // Once.
    let mut second = tab.stream(|meter| words(meter, 9));
    assert_eq!(last(second.next().await).units, Some(0));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_cuts_a_stream_that_would_not_end() {
    let shop = Shop::new().await;
    let tab = shop.tab(10).await;
    let mut stream = tab.stream(|meter| words(meter, 1_000));
    drop(tab);
    word(stream.next().await);
    let reading = async {
        let mut read = 1_u128;
        loop {
            tokio::time::sleep(Duration::from_secs(3)).await;
            match stream.next().await {
                Some(Frame::Data(_)) => read += 1,
                Some(Frame::Receipt(receipt)) => break (read, receipt),
                other => panic!("{other:?}"),
            }
        }
    };
    let ((read, receipt), ()) = tokio::join!(reading, shop.world.server.shutdown());
    assert!(read < 8, "{read} words");
    assert_eq!(receipt.spent, amount(read.saturating_mul(PRICE)));
}

// PROTOCOL 5.7, cooperative close.
#[tokio::test(start_paused = true)]
async fn a_stopped_stream_charges_nothing_more_and_ends_with_its_receipt() {
    let shop = Shop::new().await;
    let tab = shop.tab(9).await;
    let mut stream = tab.stream(|meter| words(meter, 9));
    word(stream.next().await);
    word(stream.next().await);
    stream.stop();
    assert_eq!(last(stream.next().await).spent, amount(2 * PRICE));
    assert_eq!(stream.next().await, None);
    assert_eq!(shop.spent().await, 2 * PRICE);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_waits_for_a_voucher_stops_at_once() {
    let shop = Shop::new().await;
    let tab = shop.tab(1).await;
    let mut stream = tab.stream(|meter| words(meter, 9));
    word(stream.next().await);
    need(stream.next().await);
    assert!(is_paused(&mut stream));
    stream.stop();
    assert_eq!(last(stream.next().await).spent, amount(PRICE));
}

#[tokio::test(start_paused = true)]
async fn a_stopped_stream_still_hands_over_what_was_charged() {
    let shop = Shop::new().await;
    let tab = shop.tab(9).await;
    let ready = Arc::new(tokio::sync::Notify::new());
    let waiting = Arc::clone(&ready);
    let mut stream = tab.stream(|mut meter| async move {
        loop {
            meter.charge_units(2).await?;
            waiting.notified().await;
            meter.send("late").await;
        }
    });
    assert!(is_paused(&mut stream));
    assert_eq!(shop.spent().await, 2 * PRICE);
    stream.stop();
    assert!(is_paused(&mut stream));
    ready.notify_one();
    assert_eq!(word(stream.next().await), "late");
    assert_eq!(last(stream.next().await).units, Some(2));
    assert_eq!(shop.spent().await, 2 * PRICE);
}
