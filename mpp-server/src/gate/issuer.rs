//! Who issues challenges: a realm and its keys.

use std::{
    ops::Deref,
    sync::{Arc, OnceLock},
};

use mpp_core::{
    BodyDigest, ChallengeDraft, ChallengeForm, ChallengeTemplate, IssuedChallenge, KeyRing, Realm,
    Timestamp,
};

use super::{Offer, Reuse, Route, known::Known};

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
    known: Known,
}

impl Issuer {
    pub(crate) fn new(realm: Realm, keys: KeyRing) -> Self {
        Self(Arc::new(Inner {
            realm,
            keys,
            known: Known::default(),
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
        let models = route.models(self);
        match place.and_then(|place| models.get(place)) {
            Some(model) => model.template.issue(expires),
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

    /// What was verified under these keys.
    pub(super) fn known(&self) -> &Known {
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

/// How many forms of a challenge are known: about as many kinds of clients.
const FORMS: usize = 4;

/// What the challenges of an offer have in common, and how clients write them.
#[derive(Debug)]
pub(super) struct Model {
    template: ChallengeTemplate,
    forms: [OnceLock<ChallengeForm>; FORMS],
}

impl Model {
    fn new(template: ChallengeTemplate) -> Self {
        Self {
            template,
            forms: Default::default(),
        }
    }

    pub(super) fn template(&self) -> &ChallengeTemplate {
        &self.template
    }

    /// The forms in which clients have written these challenges.
    pub(super) fn forms(&self) -> impl Iterator<Item = &ChallengeForm> {
        self.forms.iter().map_while(OnceLock::get)
    }

    /// Keeps one more form, while there is room. Only of credentials that have
    /// paid, so that nobody takes the room for free.
    pub(super) fn keep(&self, mut form: ChallengeForm) {
        for place in &self.forms {
            match place.set(form) {
                Ok(()) => return,
                Err(back) => form = back,
            }
        }
    }
}

/// What a route's first issuer worked out; it is rarely shared by two.
#[derive(Debug, Default)]
pub(super) struct Models(OnceLock<(Issuer, Arc<[Model]>)>);

impl Models {
    /// One model per offer of the route, in order.
    pub(super) fn of(&self, issuer: &Issuer, route: &Route) -> Arc<[Model]> {
        let make = || {
            let offers = route.offers().iter();
            let templates = offers.map(|offer| issuer.template(offer, route, None));
            templates.map(Model::new).collect()
        };
        let (first, models) = self.0.get_or_init(|| (issuer.clone(), make()));
        if first.is(issuer) {
            Arc::clone(models)
        } else {
            make()
        }
    }
}
