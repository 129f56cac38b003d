//! What a route sells and which payment methods it takes.

use std::{fmt, future::Future, net::IpAddr, pin::Pin, sync::Arc};

use alloy_primitives::hex;
use mpp_core::{Challenge, EncodedJson, IntentName, MethodName, Timestamp};

use super::{
    BoundCredential, Purpose, Redeemed, Repeatable,
    body::BodyBinding,
    issuer::{Issuer, Model, Models},
};
use crate::{
    error::{Failure, Misuse},
    random::random,
};

/// A future on the heap, as trait objects need it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One way to pay for a route. Anyone can add one.
///
/// A value is one offer: a method and an intent at a price, which is in the
/// [`request`](Self::request). It is put on a route with [`Offer::new`], beside
/// others or alone. From then on
///
/// 1. the gate issues its challenges, bound to realm, route, terms, body and
///    time;
/// 2. a credential is shown to the offer whose challenge it answers and to no
///    other, after all of that was checked again;
/// 3. [`redeem`](Self::redeem) checks the payment. It trusts nothing in the
///    payload: not amounts, not addresses, not ids. Where one payment is good
///    for one request, it uses the challenge's id up before it grants, in a
///    store that all processes share, and offers with [`Reuse::Once`], so that
///    no two clients are given the same challenge;
/// 4. the handler runs and the receipt goes out with its answer.
///
/// `examples/custom-method` is a complete method with its client. The client's
/// counterpart is `mpp_client::ClientMethod`.
///
/// # Threat model
/// A method decides what is served. A fault in it gives its own route away,
/// never another's: the gate does the binding.
pub trait PaymentMethod: Send + Sync + 'static {
    /// The method's name, such as `tempo`.
    fn method(&self) -> &MethodName;

    /// The intent, such as `session`.
    fn intent(&self) -> &IntentName;

    /// The `request` of every challenge for this offer, which holds its price;
    /// it never changes, and no two offers of a route have the same.
    fn request(&self) -> &EncodedJson;

    /// Text for a person, outside the challenge's binding; it never changes.
    fn description(&self) -> Option<&str>;

    /// How often one challenge of this offer can be answered.
    fn reuse(&self) -> Reuse {
        Reuse::Many
    }

    /// Whether a credential is shown to the method although its challenge has
    /// expired.
    fn late(&self) -> Late {
        Late::Refused
    }

    /// The offer that recognizes a payer of this one, on requests that only
    /// manage a channel (PROTOCOL 5.8).
    fn proof(&self) -> Option<Offer> {
        None
    }

    /// Verifies the payment and makes it durable.
    ///
    /// What was paid is told with [`Grant::paid`](super::Grant::paid).
    ///
    /// # Errors
    /// A [`Rejection`](crate::Rejection) when the payment is no good, a
    /// [`Fault`](crate::Fault) when it could not be looked into.
    ///
    /// # Cancel safety
    /// Dropped, the payment is either not made or durable; never half.
    fn redeem(
        &self,
        credential: BoundCredential,
        visit: Visit,
    ) -> BoxFuture<'_, Result<Redeemed, Failure>>;
}

/// How often a challenge can be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// By many requests; challenges of one moment may be equal.
    Many,
    /// Once, so that each challenge differs from all others.
    Once,
}

/// What becomes of a credential whose challenge has expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// The gate refuses it.
    Refused,
    /// The method sees it. It must take no new payment, but may serve one that
    /// was made in time.
    Shown,
}

/// Facts about the request that a method may need.
#[derive(Clone, Copy, Debug)]
pub struct Visit {
    /// Content or management.
    pub purpose: Purpose,
    /// The sender's address, for limits.
    pub peer: Option<IpAddr>,
    /// When the request came.
    pub now: Timestamp,
    /// What makes the request idempotent, bound to the route.
    pub repeatable: Option<Repeatable>,
}

/// A payment method with its price, ready to be put on a route.
#[derive(Clone)]
pub struct Offer(Arc<dyn PaymentMethod>);

impl Offer {
    /// Wraps a method.
    pub fn new(method: impl PaymentMethod) -> Self {
        Self(Arc::new(method))
    }
}

impl std::ops::Deref for Offer {
    type Target = dyn PaymentMethod;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl fmt::Debug for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Offer({}/{})", self.method(), self.intent())
    }
}

/// A paid route: its scope and its offers, in the server's preference.
///
/// The scope is bound into every challenge, so that a credential for one
/// route never opens another (SECURITY-CASES A3). All methods of a path
/// share one scope.
#[derive(Clone, Debug)]
pub struct Route(Arc<RouteInner>, BodyBinding);

#[derive(Debug)]
struct RouteInner {
    scope: String,
    scope_json: EncodedJson,
    offers: Vec<Offer>,
    models: Models,
    /// What recognizes payers of the offers, each once.
    proofs: Vec<Offer>,
}

impl Route {
    /// A route that takes any of `offers`.
    ///
    /// # Errors
    /// When there is no offer, or two that could not be told apart.
    pub fn new(
        scope: impl Into<String>,
        offers: impl IntoIterator<Item = Offer>,
    ) -> Result<Self, Misuse> {
        let scope = scope.into();
        let offers: Vec<_> = offers.into_iter().collect();
        if offers.is_empty() {
            return Err(Misuse::Missing("offers"));
        }
        for (index, offer) in offers.iter().enumerate() {
            let same = |other: &&Offer| {
                other.method() == offer.method()
                    && other.intent() == offer.intent()
                    && other.request() == offer.request()
            };
            if offers.iter().take(index).any(|other| same(&other)) {
                return Err(Misuse::Invalid("two offers of a route are the same"));
            }
        }
        let mut proofs: Vec<Offer> = Vec::new();
        for proof in offers.iter().filter_map(|offer| offer.proof()) {
            if proofs
                .iter()
                .all(|other| other.request() != proof.request())
            {
                proofs.push(proof);
            }
        }
        let scope_json = EncodedJson::from_value(&serde_json::json!({ "scope": scope }))
            .map_err(|_| Misuse::Invalid("the scope can not be encoded"))?;
        let inner = RouteInner {
            scope,
            scope_json,
            offers,
            models: Models::default(),
            proofs,
        };
        Ok(Self(Arc::new(inner), BodyBinding::Free))
    }

    /// Binds each payment to the body of its request: the challenge carries
    /// the body's digest, and a credential pays for that body only
    /// (PROTOCOL 1.1).
    ///
    /// The transport then reads a body before it asks for payment, up to a
    /// limit of its own. Requests without a body are not concerned.
    #[must_use]
    pub fn bind_body(mut self) -> Self {
        self.1 = BodyBinding::Bound;
        self
    }

    /// Whether [`bind_body`](Self::bind_body) was called, so that the
    /// transport has to read bodies.
    #[must_use]
    pub fn binds_body(&self) -> bool {
        self.1 == BodyBinding::Bound
    }

    pub(super) fn body_binding(&self) -> BodyBinding {
        self.1
    }

    /// The scope, such as the route's path.
    #[must_use]
    pub fn scope(&self) -> &str {
        &self.0.scope
    }

    /// The offers.
    #[must_use]
    pub fn offers(&self) -> &[Offer] {
        &self.0.offers
    }

    pub(super) fn proofs(&self) -> &[Offer] {
        &self.0.proofs
    }

    /// The scope as challenges carry it.
    pub(super) fn opaque(&self, reuse: Reuse) -> EncodedJson {
        let scope = &self.0.scope;
        let once = || {
            let nonce = hex::encode(random::<[u8; 16]>());
            EncodedJson::from_value(&serde_json::json!({ "nonce": nonce, "scope": scope })).ok()
        };
        match reuse {
            Reuse::Many => None,
            Reuse::Once => once(),
        }
        .unwrap_or_else(|| self.0.scope_json.clone())
    }

    /// Whether a challenge of ours was issued for this route.
    pub(super) fn has_issued(&self, ours: &Challenge) -> bool {
        ours.opaque.as_ref() == Some(&self.0.scope_json)
            || ours
                .correlation()
                .is_ok_and(|pairs| pairs.get("scope") == Some(&self.0.scope))
    }

    /// What this issuer's challenges for the offers have in common.
    pub(super) fn models(&self, issuer: &Issuer) -> Arc<[Model]> {
        self.0.models.of(issuer, self)
    }
}
