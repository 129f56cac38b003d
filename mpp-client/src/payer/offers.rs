//! Challenges that are good for further requests, so that these take one round trip.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use mpp_core::Timestamp;

use crate::offer::Offer;
use crate::origin::Site;
use crate::sync::lock;

/// Offers kept at most.
const CAPACITY: usize = 256;
/// How long an offer must be good yet: a request takes its time, and clocks differ.
const MARGIN: Duration = Duration::from_secs(10);

/// The latest reusable offer of each site.
#[derive(Debug, Default)]
pub(super) struct Offers(Mutex<HashMap<Site, Offer>>);

impl Offers {
    pub(super) fn get(&self, site: &Site, now: Timestamp) -> Option<Offer> {
        let offers = lock(&self.0);
        offers.get(site).filter(|offer| lasts(offer, now)).cloned()
    }

    pub(super) fn put(&self, site: &Site, offer: &Offer, now: Timestamp) {
        let mut offers = lock(&self.0);
        if !offer.is_reusable() || !lasts(offer, now) {
            offers.remove(site);
            return;
        }
        if offers.len() >= CAPACITY && !offers.contains_key(site) {
            offers.retain(|_, offer| lasts(offer, now));
        }
        // Still full: the one that ends first goes.
        if offers.len() >= CAPACITY && !offers.contains_key(site) {
            let first = offers
                .iter()
                .min_by_key(|(_, offer)| offer.expires())
                .map(|(site, _)| site.clone());
            if let Some(first) = first {
                offers.remove(&first);
            }
        }
        offers.insert(site.clone(), offer.clone());
    }
}

fn lasts(offer: &Offer, now: Timestamp) -> bool {
    now.checked_add(MARGIN)
        .is_some_and(|soon| soon < offer.expires())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{offer_until, site};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_secs(seconds)
    }

    #[test]
    fn an_offer_is_reused_until_shortly_before_it_expires() {
        let offers = Offers::default();
        let (site, offer) = (site("https://a.example/x"), offer_until(at(100)));
        offers.put(&site, &offer, at(0));
        assert_eq!(offers.get(&site, at(89)), Some(offer));
        assert_eq!(offers.get(&site, at(90)), None);
        assert_eq!(offers.get(&self::site("https://a.example/y"), at(0)), None);
    }

    fn self_site(n: usize) -> Site {
        site(&format!("https://a.example/{n}"))
    }

    #[test]
    fn the_memory_is_bounded_and_keeps_what_lasts_longest() {
        let offers = Offers::default();
        for n in 0..300 {
            let until = at(1_000 + i64::try_from(n).unwrap());
            offers.put(&self_site(n), &offer_until(until), at(0));
        }
        assert_eq!(lock(&offers.0).len(), CAPACITY);
        assert_eq!(offers.get(&self_site(0), at(0)), None);
        assert!(offers.get(&self_site(299), at(0)).is_some());
    }
}
