//! Bad signatures cost the sender's quota before they cost ours.

use std::{
    net::{IpAddr, Ipv6Addr},
    num::NonZeroUsize,
    sync::{Mutex, PoisonError},
};

use lru::LruCache;
use mpp_core::Timestamp;
use mpp_tempo::channel::ChannelId;

/// How many invalid signatures are checked per channel and sender, and how many
/// transactions are tried per signer and sender that nothing comes of: for
/// charges, opens and top-ups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadSignatureLimit {
    /// So many in a row are answered with a curve operation each.
    pub burst: u32,
    /// After that, one more every so many milliseconds.
    pub refill_millis: u32,
}

impl Default for BadSignatureLimit {
    /// 20 at once, then one a second.
    fn default() -> Self {
        Self {
            burst: 20,
            refill_millis: 1_000,
        }
    }
}

/// Remembers who sent bad signatures, for at most [`TRACKED`] senders.
///
/// Only failures count, and they count per channel *and* sender: a stranger
/// who floods a channel can not make its owner wait (SECURITY-CASES A8).
///
/// Behind a proxy that the server takes for the sender, all its clients are one.
#[derive(Debug)]
pub(crate) struct BadSignatures {
    limit: BadSignatureLimit,
    senders: Mutex<LruCache<Sender, Bucket>>,
}

type Sender = (ChannelId, Option<IpAddr>);

const TRACKED: NonZeroUsize = NonZeroUsize::new(65_536).unwrap();

#[derive(Clone, Copy, Debug)]
struct Bucket {
    failures: u32,
    since: Timestamp,
}

impl BadSignatures {
    pub(crate) fn new(limit: BadSignatureLimit) -> Self {
        Self {
            limit,
            senders: Mutex::new(LruCache::new(TRACKED)),
        }
    }

    /// Whether this sender may have another signature checked.
    pub(crate) fn admits(&self, channel: ChannelId, peer: Option<IpAddr>, now: Timestamp) -> bool {
        let mut senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner);
        senders
            .get_mut(&(channel, peer.map(network)))
            .is_none_or(|bucket| self.refilled(bucket, now) < self.limit.burst)
    }

    /// Counts a failed check, up to the burst: many that were under way when the
    /// node was lost shut nobody out for longer than a few do.
    pub(crate) fn failed(&self, channel: ChannelId, peer: Option<IpAddr>, now: Timestamp) {
        let mut senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = senders.get_or_insert_mut((channel, peer.map(network)), || Bucket {
            failures: 0,
            since: now,
        });
        let failures = self.refilled(bucket, now).saturating_add(1);
        bucket.failures = failures.min(self.limit.burst);
        bucket.since = now;
    }

    /// Failures that still count at `now`.
    fn refilled(&self, bucket: &Bucket, now: Timestamp) -> u32 {
        let elapsed = now.as_millis().saturating_sub(bucket.since.as_millis());
        let forgiven = elapsed
            .checked_div(i64::from(self.limit.refill_millis))
            .unwrap_or(i64::MAX);
        bucket
            .failures
            .saturating_sub(u32::try_from(forgiven.max(0)).unwrap_or(u32::MAX))
    }
}

/// Who has one IPv6 address has all of its /64.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(peer) => peer.into(),
        IpAddr::V6(peer) => {
            let [a, b, c, d, ..] = peer.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn a_flood_stops_at_the_burst_and_resumes_with_time() {
        let limit = BadSignatures::new(BadSignatureLimit::default());
        let channel = ChannelId::repeat_byte(1);
        for _ in 0..20 {
            assert!(limit.admits(channel, None, at(0)));
            limit.failed(channel, None, at(0));
        }
        assert!(!limit.admits(channel, None, at(999)));
        assert!(limit.admits(channel, None, at(1_000)));
        limit.failed(channel, None, at(1_000));
        assert!(!limit.admits(channel, None, at(1_000)));
    }

    // Many may be under way when a node is lost.
    #[test]
    fn no_more_failures_count_than_the_burst() {
        let limit = BadSignatures::new(BadSignatureLimit::default());
        let channel = ChannelId::repeat_byte(1);
        for _ in 0..300 {
            limit.failed(channel, None, at(0));
        }
        assert!(!limit.admits(channel, None, at(999)));
        assert!(limit.admits(channel, None, at(2_000)));
    }

    #[test]
    fn a_stranger_does_not_use_up_the_owners_quota() {
        let limit = BadSignatures::new(BadSignatureLimit::default());
        let channel = ChannelId::repeat_byte(1);
        let stranger = Some(IpAddr::from([192, 0, 2, 1]));
        for _ in 0..100 {
            limit.failed(channel, stranger, at(0));
        }
        assert!(!limit.admits(channel, stranger, at(0)));
        assert!(limit.admits(channel, Some(IpAddr::from([192, 0, 2, 2])), at(0)));
        assert!(limit.admits(ChannelId::repeat_byte(2), stranger, at(0)));
    }

    #[test]
    fn addresses_of_one_ipv6_network_share_a_quota() {
        let limit = BadSignatures::new(BadSignatureLimit::default());
        let channel = ChannelId::repeat_byte(1);
        let peer = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        for host in 1..=20 {
            let peer = peer(&format!("2001:db8::{host:x}"));
            assert!(limit.admits(channel, peer, at(0)));
            limit.failed(channel, peer, at(0));
        }
        assert!(!limit.admits(channel, peer("2001:db8::ffff:1"), at(0)));
        assert!(limit.admits(channel, peer("2001:db8:0:1::1"), at(0)));
        // The two ways to write an IPv4 address are one.
        for _ in 0..20 {
            limit.failed(channel, peer("::ffff:192.0.2.1"), at(0));
        }
        assert!(!limit.admits(channel, peer("192.0.2.1"), at(0)));
    }
}
