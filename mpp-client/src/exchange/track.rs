//! The channel that a client used last, and for which call.

use std::fmt;
use std::sync::{Arc, Mutex};

use mpp_tempo::ChannelId;

use crate::sync::lock;

/// Remembers the last paid call, because a channel is managed by calls of what
/// it pays for. Clones are the same.
pub struct Track<C>(Arc<Mutex<Option<(ChannelId, C)>>>);

impl<C> Track<C> {
    /// Takes note of a call, and of the channel that pays for it.
    pub fn note(&self, channel: ChannelId, call: C) {
        *lock(&self.0) = Some((channel, call));
    }
}

impl<C: Clone> Track<C> {
    /// The last call that was noted, and its channel.
    #[must_use]
    pub fn last(&self) -> Option<(ChannelId, C)> {
        lock(&self.0).clone()
    }
}

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

impl<C> fmt::Debug for Track<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let channel = lock(&self.0).as_ref().map(|(channel, _)| *channel);
        f.debug_tuple("Track").field(&channel).finish()
    }
}
