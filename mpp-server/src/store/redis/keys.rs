//! Where everything is kept under one prefix.

use mpp_tempo::channel::ChannelId;

use crate::store::{ClaimKey, OutcomeKey, shared::claim_name};

/// ```text
/// form             string   number of the stored form
/// channel:<id>     hash     version, record, stamps
/// all, live        zset     ids, all with the score 0: read in their order
/// number           string   the last number of the ledger
/// ledger           stream   entries under the id <number>-0
/// ledger:<id>      stream   which numbers belong to the channel
/// outcome:<key>    string   outcome
/// outcomes:<id>    zset     keys of the channel's outcomes by their number
/// claim:<name>     string   value, stamp, end
/// changed          pub/sub  id and version of every change
/// ```
#[derive(Debug)]
pub(super) struct Keys {
    prefix: Vec<u8>,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.into(),
        }
    }

    pub(super) fn form(&self) -> Vec<u8> {
        self.key(b"form", b"")
    }

    pub(super) fn channels(&self) -> Vec<u8> {
        self.key(b"channel:", b"")
    }

    pub(super) fn channel(&self, id: ChannelId) -> Vec<u8> {
        self.key(b"channel:", id.as_slice())
    }

    pub(super) fn all(&self) -> Vec<u8> {
        self.key(b"all", b"")
    }

    pub(super) fn live(&self) -> Vec<u8> {
        self.key(b"live", b"")
    }

    pub(super) fn number(&self) -> Vec<u8> {
        self.key(b"number", b"")
    }

    pub(super) fn ledger(&self) -> Vec<u8> {
        self.key(b"ledger", b"")
    }

    pub(super) fn ledger_of(&self, id: ChannelId) -> Vec<u8> {
        self.key(b"ledger:", id.as_slice())
    }

    pub(super) fn outcomes(&self) -> Vec<u8> {
        self.key(b"outcome:", b"")
    }

    pub(super) fn outcome(&self, key: OutcomeKey) -> Vec<u8> {
        self.key(b"outcome:", key.0.as_slice())
    }

    pub(super) fn outcomes_of(&self, id: ChannelId) -> Vec<u8> {
        self.key(b"outcomes:", id.as_slice())
    }

    pub(super) fn claim(&self, key: &ClaimKey) -> Vec<u8> {
        self.key(b"claim:", claim_name(key).as_bytes())
    }

    pub(super) fn changed(&self) -> Vec<u8> {
        self.key(b"changed", b"")
    }

    fn key(&self, kind: &[u8], of: &[u8]) -> Vec<u8> {
        [&self.prefix, kind, of].concat()
    }
}
