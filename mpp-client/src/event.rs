//! What happens in a client, told to whoever listens and never waited for.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, Waker};

use alloy_primitives::B256;
use futures_util::Stream;
use mpp_core::{Amount, ChargeReceipt, SessionReceipt};
use mpp_tempo::ChannelId;

use crate::sync::lock;

/// Events that one subscription holds before the oldest is dropped.
const CAPACITY: usize = 1_024;

/// Something that happened. Never carries a credential, a signature or a key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientEvent {
    /// A server asked for payment.
    ChallengeReceived {
        /// The origin, `scheme://host:port`.
        origin: String,
        /// The price of one unit or of a charge, in base units.
        price: Amount,
    },
    /// A server confirmed a new channel.
    ChannelOpened {
        /// The channel.
        channel_id: ChannelId,
        /// Its deposit, in base units.
        deposit: Amount,
    },
    /// A channel that the book had lost was taken over from the server's snapshot.
    ChannelResumed {
        /// The channel.
        channel_id: ChannelId,
        /// Its deposit, in base units.
        deposit: Amount,
        /// What was spent on it before, in base units.
        spent: Amount,
    },
    /// A voucher was signed.
    VoucherSigned {
        /// The channel.
        channel_id: ChannelId,
        /// The cumulative amount, in base units.
        cumulative: Amount,
    },
    /// A server confirmed a top-up.
    ToppedUp {
        /// The channel.
        channel_id: ChannelId,
        /// What was added, in base units.
        additional: Amount,
        /// The deposit now, in base units.
        deposit: Amount,
    },
    /// A receipt was checked and booked.
    Charged(SessionReceipt),
    /// A charge was written down and is about to be paid.
    ChargeBegun {
        /// The origin, `scheme://host:port`.
        origin: String,
        /// What it is, in base units.
        amount: Amount,
        /// The transaction, unless others have a part in it.
        tx_hash: Option<B256>,
    },
    /// The receipt of a one-time payment was checked and booked.
    Paid {
        /// The origin, `scheme://host:port`.
        origin: String,
        /// What was paid in base units; zero for a proof of identity, `None` by a method of one's
        /// own.
        amount: Option<Amount>,
        /// The receipt.
        receipt: ChargeReceipt,
    },
    /// A stream paused for a higher voucher.
    NeedVoucher {
        /// The channel.
        channel_id: ChannelId,
        /// The cumulative amount that the stream needs, in base units.
        required: Amount,
    },
    /// A channel was closed: so says its server, or the deposit was withdrawn.
    Closed {
        /// The channel.
        channel_id: ChannelId,
        /// The settlement transaction, when the server named one.
        tx_hash: Option<B256>,
    },
    /// A payment, a receipt or a channel was refused by either side.
    Rejected {
        /// The channel, when one is concerned.
        channel_id: Option<ChannelId>,
        /// Why, safe to print.
        reason: String,
    },
}

/// Where events go out. Cheap to clone.
#[derive(Clone, Default)]
pub struct Events(Arc<Mutex<Vec<Weak<Mutex<Queue>>>>>);

impl Events {
    /// Begins to listen: events from now on.
    #[must_use]
    pub fn subscribe(&self) -> Subscription {
        let queue = Arc::new(Mutex::new(Queue::default()));
        lock(&self.0).push(Arc::downgrade(&queue));
        Subscription(queue)
    }

    /// Tells all listeners, without waiting for any.
    ///
    /// A listener that is [`CAPACITY`] events behind loses the oldest one and sees the loss in
    /// [`Subscription::lagged`].
    pub(crate) fn emit(&self, event: &ClientEvent) {
        let mut wakers = Vec::new();
        lock(&self.0).retain(|listener| match listener.upgrade() {
            None => false,
            Some(queue) => {
                let mut queue = lock(&queue);
                queue.push(event.clone());
                wakers.extend(queue.waker.take());
                true
            }
        });
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

/// A listener's end: a stream of events that lasts as long as the listener wants.
///
/// It holds at most 1,024 events. The request path never waits for a slow listener: the oldest
/// events are dropped instead, and counted.
pub struct Subscription(Arc<Mutex<Queue>>);

impl Subscription {
    /// The next event, if there is one already.
    #[must_use]
    pub fn try_next(&mut self) -> Option<ClientEvent> {
        lock(&self.0).events.pop_front()
    }

    /// The next event.
    ///
    /// # Cancel safety
    /// Dropping the future loses no event.
    pub async fn next(&mut self) -> ClientEvent {
        std::future::poll_fn(|context| self.poll_event(context)).await
    }

    /// How many events were dropped because this listener was too slow.
    #[must_use]
    pub fn lagged(&self) -> u64 {
        lock(&self.0).lagged
    }

    fn poll_event(&self, context: &Context<'_>) -> Poll<ClientEvent> {
        let mut queue = lock(&self.0);
        match queue.events.pop_front() {
            Some(event) => Poll::Ready(event),
            None => {
                queue.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Stream for Subscription {
    type Item = ClientEvent;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<ClientEvent>> {
        self.poll_event(context).map(Some)
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("lagged", &self.lagged())
            .finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Queue {
    events: VecDeque<ClientEvent>,
    lagged: u64,
    waker: Option<Waker>,
}

impl Queue {
    fn push(&mut self, event: ClientEvent) {
        if self.events.len() >= CAPACITY {
            self.events.pop_front();
            self.lagged = self.lagged.saturating_add(1);
        }
        self.events.push_back(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(cumulative: u128) -> ClientEvent {
        ClientEvent::VoucherSigned {
            channel_id: ChannelId::ZERO,
            cumulative: Amount::new(cumulative),
        }
    }

    #[tokio::test]
    async fn every_listener_hears_everything_from_then_on() {
        let events = Events::default();
        events.emit(&event(0));
        let mut first = events.subscribe();
        events.emit(&event(1));
        let mut second = events.subscribe();
        events.emit(&event(2));
        assert_eq!(first.next().await, event(1));
        assert_eq!(first.next().await, event(2));
        assert_eq!(second.try_next(), Some(event(2)));
        assert_eq!(second.try_next(), None);
    }

    #[tokio::test]
    async fn a_waiting_listener_is_woken() {
        let events = Events::default();
        let mut listener = events.subscribe();
        let (heard, ()) = tokio::join!(listener.next(), async {
            tokio::task::yield_now().await;
            events.emit(&event(7));
        });
        assert_eq!(heard, event(7));
    }

    #[test]
    fn a_slow_listener_loses_the_oldest_events_and_knows_how_many() {
        let events = Events::default();
        let mut listener = events.subscribe();
        for n in 0..1_030 {
            events.emit(&event(n));
        }
        assert_eq!(listener.lagged(), 6);
        assert_eq!(listener.try_next(), Some(event(6)));
    }

    #[test]
    fn a_listener_that_left_is_forgotten() {
        let events = Events::default();
        drop(events.subscribe());
        events.emit(&event(1));
        assert!(lock(&events.0).is_empty());
    }
}
