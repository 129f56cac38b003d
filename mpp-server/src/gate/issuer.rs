//! Who issues challenges: a realm and its keys.

use std::{
    ops::Deref,
    sync::{Arc, OnceLock},
};

use mpp_core::{
    BodyDigest, ChallengeDraft, ChallengeTemplate, IssuedChallenge, KeyRing, Realm, Timestamp,
};

use super::{Offer, Reuse, Route, known::KnownChallenges};

/// One realm and one key ring, which stay what they are.
///
/// Other keys or another realm are another issuer. So what has been worked out
/// with an issuer holds as long as it lives, and is compared by identity.
#[derive(Clone, Debug)]
pub(crate) struct Issuer(Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    realm: Realm,
    keys: KeyRing,
    known: KnownChallenges,
}

impl Issuer {
    pub(crate) fn new(realm: Realm, keys: KeyRing) -> Self {
        Self(Arc::new(Inner {
            realm,
            keys,
            known: KnownChallenges::default(),
        }))
    }

    /// A challenge for an offer or proof of the route.
    pub(super) fn issue(
        &self,
        offer: &Offer,
        route: &Route,
        digest: Option<BodyDigest>,
        expires: Option<Timestamp>,
    ) -> IssuedChallenge {
        // What one answer uses up has a text of its own each time, and so has
        // what is good for one body.
        if offer.reuse() == Reuse::Once || digest.is_some() {
            return self.template(offer, route, digest).issue(expires);
        }
        let place = route
            .offers()
            .iter()
            .position(|other| std::ptr::eq(other, offer));
        let templates = route.templates(self);
        match place.and_then(|place| templates.get(place)) {
            Some(template) => template.issue(expires),
            None => self.template(offer, route, None).issue(expires),
        }
    }

    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Deref for Issuer {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Inner {
    pub(crate) fn realm(&self) -> &Realm {
        &self.realm
    }

    pub(crate) fn keys(&self) -> &KeyRing {
        &self.keys
    }

    /// The challenges that were verified under these keys.
    pub(super) fn known(&self) -> &KnownChallenges {
        &self.known
    }

    fn template(
        &self,
        offer: &Offer,
        route: &Route,
        digest: Option<BodyDigest>,
    ) -> ChallengeTemplate {
        let mut draft = ChallengeDraft::new(
            self.realm.clone(),
            offer.method().clone(),
            offer.intent().clone(),
            offer.request().clone(),
        );
        draft.description = offer.description().map(str::to_owned);
        draft.digest = digest;
        draft.opaque = Some(route.opaque(offer.reuse()));
        self.keys.template(draft)
    }
}

/// What a route's first issuer worked out; it is rarely shared by two.
#[derive(Debug, Default)]
pub(super) struct Templates(OnceLock<(Issuer, Arc<[ChallengeTemplate]>)>);

impl Templates {
    /// One template per offer of the route, in order.
    pub(super) fn of(&self, issuer: &Issuer, route: &Route) -> Arc<[ChallengeTemplate]> {
        let make = || {
            let offers = route.offers().iter();
            offers
                .map(|offer| issuer.template(offer, route, None))
                .collect()
        };
        let (first, templates) = self.0.get_or_init(|| (issuer.clone(), make()));
        if first.is(issuer) {
            Arc::clone(templates)
        } else {
            make()
        }
    }
}
