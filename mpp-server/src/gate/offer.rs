//! What a route sells and which payment methods it takes.

use std::{fmt, future::Future, net::IpAddr, pin::Pin, sync::Arc};

use alloy_primitives::hex;
use mpp_core::{Challenge, EncodedJson, IntentName, MethodName, Timestamp};

use super::{
    BoundCredential, Purpose, Redeemed, Repeatable,
    issuer::{Issuer, Model, Models},
};
use crate::error::{Failure, Misuse};

/// A future on the heap, as trait objects need it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One way to pay for a route.
///
/// The gate has checked the challenge before it calls
/// [`redeem`](Self::redeem); the method checks the payment. A method trusts
/// nothing in the payload: not amounts, not addresses, not ids.
pub trait PaymentMethod: Send + Sync + 'static {
    /// The method's name, such as `tempo`.
    fn method(&self) -> &MethodName;

    /// The intent, such as `session`.
    fn intent(&self) -> &IntentName;

    /// The `request` of every challenge for this offer; it never changes.
    fn request(&self) -> &EncodedJson;

    /// Text for a person, outside the challenge's binding; it never changes.
    fn description(&self) -> Option<&str>;

    /// How often one challenge of this offer can be answered.
    fn reuse(&self) -> Reuse {
        Reuse::Many
    }

    /// The offer that recognizes a payer of this one, on requests that only
    /// manage a channel (PROTOCOL 5.8).
    fn proof(&self) -> Option<Offer> {
        None
    }

    /// Verifies the payment and makes it durable.
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
pub struct Route(Arc<RouteInner>);

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
        Ok(Self(Arc::new(RouteInner {
            scope,
            scope_json,
            offers,
            models: Models::default(),
            proofs,
        })))
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
            let nonce = hex::encode(rand::random::<[u8; 16]>());
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
