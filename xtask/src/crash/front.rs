//! Where the server is, for its buyers.

use tokio::sync::watch;

/// The server as its buyers see it.
#[derive(Clone, Debug, Default)]
pub(super) struct Front {
    /// Where it listens; `None` while it is dead.
    pub(super) url: Option<String>,
    /// How often it was started.
    pub(super) cycle: u32,
    /// Nobody is to begin another purchase.
    pub(super) last: bool,
}

/// Tells the buyers.
#[derive(Debug)]
pub(super) struct Gate(watch::Sender<Front>);

impl Gate {
    pub(super) fn closed() -> Self {
        Self(watch::Sender::default())
    }

    pub(super) fn front(&self) -> watch::Receiver<Front> {
        self.0.subscribe()
    }

    pub(super) fn open(&self, url: &str, cycle: u32) {
        self.set(Some(url), cycle, false);
    }

    /// As [`open`](Self::open), for purchases that have begun.
    pub(super) fn open_for_the_last(&self, url: &str, cycle: u32) {
        self.set(Some(url), cycle, true);
    }

    pub(super) fn close(&self) {
        self.0.send_modify(|front| front.url = None);
    }

    fn set(&self, url: Option<&str>, cycle: u32, last: bool) {
        self.0.send_replace(Front {
            url: url.map(str::to_owned),
            cycle,
            last,
        });
    }
}
