//! Passing an event stream on, and charging for it at its end.

use std::collections::VecDeque;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use mpp_core::Amount;
use mpp_server::session::reserve::Reservation;

use super::{UsageBill, count::Tally, price::TokenPrices};
use crate::sse::{decode::Decoder, encode};

/// A stream on its way. Dropped, it charges for what was taken from it.
struct Passing<S> {
    upstream: S,
    decoder: Decoder,
    ready: VecDeque<Event>,
    tally: Tally,
    /// Gone once it was charged.
    open: Option<(TokenPrices, Reservation)>,
}

struct Event {
    bytes: Bytes,
    data: String,
}

pub(super) fn events<S, E>(
    bill: UsageBill,
    upstream: S,
) -> impl Stream<Item = Result<Bytes, E>> + Send + 'static
where
    S: Stream<Item = Result<Bytes, E>> + Send + Unpin + 'static,
    E: Send + 'static,
{
    let passing = Passing {
        upstream,
        decoder: Decoder::default(),
        ready: VecDeque::new(),
        tally: Tally::default(),
        open: Some((bill.prices, bill.reservation)),
    };
    stream::unfold(passing, |mut passing| async move {
        let bytes = passing.next().await?;
        Some((Ok(bytes), passing))
    })
}

impl<S, E> Passing<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
{
    /// The next event; after the last one, the receipt.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.tally.add(&event.data);
                return Some(event.bytes);
            }
            self.open.as_ref()?;
            match self.upstream.next().await {
                Some(Ok(bytes)) if self.take_in(&bytes) => {}
                // Broken off or over: either way it is charged now.
                Some(_) | None => return self.finish().await,
            }
        }
    }

    fn take_in(&mut self, bytes: &[u8]) -> bool {
        let fits = self.decoder.push(bytes).is_ok();
        while let Some(event) = self.decoder.next_event() {
            // What is relayed can not tell of payments (SECURITY-CASES A23).
            if event.name.starts_with("payment-") {
                continue;
            }
            let bytes = encode::relayed(&event.name, &event.data);
            let data = event.data;
            self.ready.push_back(Event { bytes, data });
        }
        fits
    }

    async fn finish(&mut self) -> Option<Bytes> {
        let (cost, units) = self.due()?;
        let (_, reservation) = self.open.take()?;
        match reservation.finish(cost, units).await {
            Ok(receipt) => Some(encode::receipt(&receipt)),
            Err(failure) => {
                tracing::warn!(
                    error = &failure as &dyn std::error::Error,
                    "a stream ends without a receipt"
                );
                None
            }
        }
    }
}

impl<S> Passing<S> {
    fn due(&self) -> Option<(Amount, u64)> {
        let (prices, reservation) = self.open.as_ref()?;
        let usage = self.tally.usage();
        let cost = prices.cost(usage).min(reservation.max());
        Some((cost, usage.input.saturating_add(usage.output)))
    }
}

impl<S> Drop for Passing<S> {
    fn drop(&mut self) {
        let Some((cost, units)) = self.due() else {
            return;
        };
        if cost.is_zero() && units == 0 {
            // Nothing was delivered, so that a repeat under the same key must be able to get it:
            // the reservation is dropped, not captured.
            return;
        }
        if let Some((_, reservation)) = self.open.take()
            && let Err(over) = reservation.capture(cost, units)
        {
            tracing::error!(error = %over, "a stream could not be charged");
        }
    }
}
