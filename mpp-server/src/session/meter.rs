//! Metered streams: each unit is charged just before it is handed over.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    task::{Context, Poll, Waker},
};

use futures_util::Stream;
use mpp_core::{Amount, receipt::SessionReceipt};
use mpp_tempo::wire::NeedVoucher;

use super::{command::Charge, receipt::session_receipt, record::StreamEpoch, tab::Tab};
use crate::{
    error::{Failure, Rejection, Shortage},
    event::ServerEvent,
};

impl Tab {
    /// Takes up to `units` of what the request has paid for already.
    fn take_prepaid(&self, units: u64) -> Prepaid<'_> {
        let keep = |prepaid: u64| Some(prepaid.saturating_sub(units));
        let before = self
            .prepaid
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, keep);
        Prepaid {
            tab: self,
            units: before.unwrap_or_default().min(units),
        }
    }

    /// Starts a metered stream. `produce` runs only while the stream is
    /// polled, so nothing is charged that nobody takes.
    pub fn stream<F, Fut>(self: &Arc<Self>, produce: F) -> MeteredStream
    where
        F: FnOnce(Meter) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), StreamEnd>> + Send + 'static,
    {
        let shared = Arc::new(Shared {
            tab: Arc::clone(self),
            slot: Mutex::new(Slot::default()),
            progress: Mutex::new(Progress::default()),
        });
        let meter = Meter {
            shared: Arc::clone(&shared),
        };
        let run = async move {
            match meter.begin().await {
                // The request has paid for what it may still take.
                Err(failure) if meter.shared.tab.prepaid.load(Ordering::Acquire) > 0 => {
                    tracing::debug!(
                        error = &failure as &dyn std::error::Error,
                        "a stream gives no more than what is paid for"
                    );
                }
                begun => {
                    begun?;
                }
            }
            produce(meter).await
        };
        MeteredStream {
            shared,
            stage: Stage::Running(Box::pin(run)),
        }
    }
}

/// Units out of what the request has paid for; given back unless used.
struct Prepaid<'a> {
    tab: &'a Tab,
    units: u64,
}

impl Prepaid<'_> {
    fn used(mut self) {
        self.units = 0;
    }
}

impl Drop for Prepaid<'_> {
    fn drop(&mut self) {
        self.tab.prepaid.fetch_add(self.units, Ordering::AcqRel);
    }
}

/// What a metered stream yields; each transport renders it its own way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Content.
    Data(String),
    /// The balance is used up; the stream waits for a voucher.
    NeedVoucher(NeedVoucher),
    /// The last frame: the committed state at the end.
    Receipt(SessionReceipt),
}

/// Charges units and hands content over, inside a stream's producer.
#[derive(Debug)]
pub struct Meter {
    shared: Arc<Shared>,
}

impl Meter {
    /// Charges one unit. See [`charge_units`](Self::charge_units).
    ///
    /// # Errors
    /// Why the stream has to end.
    ///
    /// # Cancel safety
    /// As [`charge_units`](Self::charge_units).
    pub async fn charge(&mut self) -> Result<(), StreamEnd> {
        self.charge_units(1).await
    }

    /// Charges `units` at the route's price, all or none.
    ///
    /// The unit that the request itself paid for is used up first. When the
    /// balance is short, asks the client for a voucher once and waits for it,
    /// at most for [`StreamOptions::max_pause`](crate::StreamOptions::max_pause). Should other requests on the
    /// channel make the shortage greater meanwhile, that is a new one.
    ///
    /// # Errors
    /// Why the stream has to end. Nothing was charged then.
    ///
    /// # Cancel safety
    /// Dropped before the commit nothing is charged; after it, the charge
    /// stands.
    pub async fn charge_units(&mut self, units: u64) -> Result<(), StreamEnd> {
        if self.shared.with_progress(|progress| progress.stopping) {
            return Err(StreamEnd::Stopped);
        }
        let tab = Arc::clone(&self.shared.tab);
        // What was charged with the request is written, whatever has happened
        // since.
        let prepaid = tab.take_prepaid(units);
        let due = units.saturating_sub(prepaid.units);
        if due > 0 {
            if tab.till.service().is_ending() {
                return Err(StreamEnd::ShuttingDown);
            }
            let cost = tab.price.checked_mul(due).ok_or(StreamEnd::TooExpensive)?;
            self.take(&tab, cost, due).await?;
        }
        prepaid.used();
        self.shared.with_progress(|progress| {
            progress.units = progress.units.saturating_add(units);
            progress.owing = true;
        });
        Ok(())
    }

    /// Hands content over, and returns when the transport has taken it.
    ///
    /// # Cancel safety
    /// Dropped, the content may or may not have been taken.
    pub async fn send(&mut self, text: impl Into<String>) {
        self.shared.with_progress(|progress| progress.owing = false);
        self.put(Frame::Data(text.into())).await;
    }

    /// The number of this stream. A new stream on a channel ends the one before
    /// it (PROTOCOL 5.7).
    async fn begin(&self) -> Result<StreamEpoch, Failure> {
        let begun = self.shared.with_progress(|progress| progress.epoch);
        if let Some(epoch) = begun {
            return Ok(epoch);
        }
        let tab = &self.shared.tab;
        let epoch = tab.till.begin_stream(tab.channel_id).await?;
        self.shared
            .with_progress(|progress| progress.epoch = Some(epoch));
        Ok(epoch)
    }

    async fn take(&self, tab: &Tab, cost: Amount, units: u64) -> Result<(), StreamEnd> {
        let charge = Charge {
            cost,
            units,
            challenge_id: tab.challenge_id.clone(),
            stream: Some(self.begin().await?),
        };
        let mut asked = None;
        loop {
            // Read before the attempt, so that no voucher slips in between
            // unnoticed.
            let version = tab.till.version(tab.channel_id).await?;
            self.shared.with_progress(|progress| progress.owing = true);
            let charged = tab.till.charge(tab.channel_id, charge.clone()).await;
            self.shared
                .with_progress(|progress| progress.owing = charged.is_ok());
            let shortage = match charged {
                Ok(()) => return Ok(()),
                Err(Failure::Rejected(Rejection::InsufficientBalance(shortage))) => shortage,
                Err(failure) => return Err(failure.into()),
            };
            let required = shortage.required_cumulative;
            let until = match asked {
                Some((before, until)) if before == required => until,
                _ => {
                    self.announce(tab, &shortage).await;
                    let until = tokio::time::sleep(tab.options.max_pause).deadline();
                    asked = Some((required, until));
                    until
                }
            };
            let waited = tab.till.changed(tab.channel_id, version);
            let waited = tokio::time::timeout_at(until, waited);
            tokio::select! {
                biased;
                () = tab.till.service().ended() => return Err(StreamEnd::ShuttingDown),
                waited = waited => waited.map_err(|_| StreamEnd::NoVoucher)??,
            }
        }
    }

    /// Once per shortage (PROTOCOL 5.7).
    async fn announce(&self, tab: &Tab, shortage: &Shortage) {
        tab.till.tell(ServerEvent::NeedVoucher {
            channel_id: tab.channel_id,
            required: shortage.required_cumulative,
        });
        self.put(Frame::NeedVoucher(NeedVoucher {
            channel_id: shortage.channel_id,
            required_cumulative: shortage.required_cumulative,
            accepted_cumulative: shortage.accepted,
            deposit: shortage.deposit,
        }))
        .await;
    }

    /// Places a frame and waits until it was taken.
    async fn put(&self, frame: Frame) {
        let mut frame = Some(frame);
        std::future::poll_fn(|cx| {
            let mut slot = self.shared.lock_slot();
            if slot.frame.is_none() {
                let Some(ready) = frame.take() else {
                    return Poll::Ready(());
                };
                slot.frame = Some(ready);
                if let Some(reader) = slot.reader.take() {
                    reader.wake();
                }
            }
            slot.writer = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// Why a stream ended before its producer was done.
#[derive(Debug, thiserror::Error)]
pub enum StreamEnd {
    /// No voucher came in time.
    #[error("no voucher arrived in time")]
    NoVoucher,
    /// The server is being shut down.
    #[error("the server is being shut down")]
    ShuttingDown,
    /// Whoever reads the stream has asked it to end.
    #[error("the reader has asked the stream to end")]
    Stopped,
    /// More units were charged at once than an amount can hold.
    #[error("the charge exceeds what an amount can hold")]
    TooExpensive,
    /// The channel can no longer pay, or the store failed.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The producer gave up.
    #[error("the producer of the stream failed")]
    Producer(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl StreamEnd {
    /// Wraps an error of the producer.
    pub fn producer(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Producer(error.into())
    }
}

#[derive(Debug)]
struct Shared {
    tab: Arc<Tab>,
    slot: Mutex<Slot>,
    progress: Mutex<Progress>,
}

/// The one frame between producer and stream.
///
/// The stream usually polls the producer itself and finds the frame. The
/// wakers are for producers that are driven by something else.
#[derive(Debug, Default)]
struct Slot {
    frame: Option<Frame>,
    /// Waits for the frame to be taken.
    writer: Option<Waker>,
    /// Waits for a frame.
    reader: Option<Waker>,
}

impl Slot {
    /// Takes the frame, and has the producer polled if `reader` does not.
    fn take(&mut self, reader: &Waker) -> Option<Frame> {
        self.reader = None;
        let frame = self.frame.take()?;
        match self.writer.take() {
            Some(writer) if !writer.will_wake(reader) => writer.wake(),
            Some(_) | None => {}
        }
        Some(frame)
    }
}

#[derive(Debug, Default)]
struct Progress {
    /// `None`: the channel could not pay for a stream when it was to begin.
    epoch: Option<StreamEpoch>,
    /// Units this stream has consumed.
    units: u64,
    /// Whether something was, or may just have been, charged whose content is
    /// not handed over yet.
    owing: bool,
    /// Whether the reader has asked for the end.
    stopping: bool,
}

impl Shared {
    fn lock_slot(&self) -> std::sync::MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_progress<T>(&self, act: impl FnOnce(&mut Progress) -> T) -> T {
        act(&mut self.progress.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The committed state at the end of the stream.
    async fn receipt(self: Arc<Self>) -> Option<SessionReceipt> {
        let tab = &self.tab;
        match tab.till.record(tab.channel_id).await {
            Ok(record) => Some(session_receipt(
                &record,
                &tab.challenge_id,
                Some(self.with_progress(|progress| progress.units)),
                None,
                tab.till.now(),
            )),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a stream ends without a receipt"
                );
                None
            }
        }
    }
}

/// A stream of frames that ends with a receipt.
///
/// Dropping it stops charging at once: the producer runs inside
/// [`poll_next`](Stream::poll_next) and nowhere else.
pub struct MeteredStream {
    shared: Arc<Shared>,
    stage: Stage,
}

enum Stage {
    Running(Pin<Box<dyn Future<Output = Result<(), StreamEnd>> + Send>>),
    Closing(Pin<Box<dyn Future<Output = Option<SessionReceipt>> + Send>>),
    Done,
}

impl MeteredStream {
    /// Asks the stream to end.
    ///
    /// Nothing more is charged. What was charged is still handed over, then
    /// comes the receipt.
    pub fn stop(&mut self) {
        self.shared
            .with_progress(|progress| progress.stopping = true);
    }
}

impl Stream for MeteredStream {
    type Item = Frame;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Frame>> {
        loop {
            if let Some(frame) = self.shared.lock_slot().take(cx.waker()) {
                return Poll::Ready(Some(frame));
            }
            match &mut self.stage {
                Stage::Running(produce) => match produce.as_mut().poll(cx) {
                    Poll::Ready(end) => {
                        if let Err(reason) = end {
                            tracing::debug!(
                                reason = &reason as &dyn std::error::Error,
                                "a metered stream ended early"
                            );
                        }
                        let receipt = Arc::clone(&self.shared).receipt();
                        self.stage = Stage::Closing(Box::pin(receipt));
                    }
                    Poll::Pending => {
                        let mut slot = self.shared.lock_slot();
                        if slot.frame.is_some() {
                            continue;
                        }
                        let may_end =
                            |progress: &mut Progress| progress.stopping && !progress.owing;
                        if !self.shared.with_progress(may_end) {
                            slot.reader = Some(cx.waker().clone());
                            return Poll::Pending;
                        }
                        drop(slot);
                        let receipt = Arc::clone(&self.shared).receipt();
                        self.stage = Stage::Closing(Box::pin(receipt));
                    }
                },
                Stage::Closing(receipt) => {
                    let receipt = std::task::ready!(receipt.as_mut().poll(cx));
                    self.stage = Stage::Done;
                    return Poll::Ready(receipt.map(Frame::Receipt));
                }
                Stage::Done => return Poll::Ready(None),
            }
        }
    }
}

impl fmt::Debug for MeteredStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeteredStream")
            .field("tab", &self.shared.tab)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
