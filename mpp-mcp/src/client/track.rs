//! The channel that a client used last, and for which operation.

use std::sync::{Arc, Mutex, PoisonError};

use mpp_tempo::ChannelId;

/// Remembers the last paid call, because a channel is managed by calls of an
/// operation that it pays for.
#[derive(Debug)]
pub(crate) struct Track<C>(Arc<Mutex<Option<(ChannelId, C)>>>);

impl<C> Clone for Track<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C> Default for Track<C> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<C: Clone> Track<C> {
    pub(crate) fn note(&self, channel: ChannelId, call: C) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((channel, call));
    }

    pub(crate) fn get(&self) -> Option<(ChannelId, C)> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
