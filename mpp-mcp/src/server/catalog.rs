//! What a server sells, and the decision about one call.

use std::{collections::HashMap, sync::Arc};

use mpp_core::ChallengeId;
use mpp_server::{
    Failure, Misuse, Offer, PaymentServer, Rejection, Route,
    gate::{Attempt, Decision, Refusal, RequestBody},
};

use super::{Call, Sale, Success, render};
use crate::{
    Capability,
    error::{RpcError, VERIFICATION_FAILED},
    operation::Operation,
};

/// The paid operations of a server. Cheap to clone.
///
/// # Examples
///
/// ```
/// # fn example(server: mpp_server::PaymentServer) -> Result<(), mpp_server::Misuse> {
/// use mpp_mcp::server::Catalog;
///
/// let cent = server.session().amount("0.01").build()?;
/// let catalog = Catalog::new(server)
///     .tool("search", [cent.clone()])?
///     .resources_under("data://premium/", [cent])?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Catalog {
    server: PaymentServer,
    goods: Arc<Goods>,
}

#[derive(Clone, Debug, Default)]
struct Goods {
    exact: HashMap<Operation, Route>,
    /// Beginnings of resource URIs, the longest first.
    resources: Vec<(String, Route)>,
    capability: Capability,
}

/// What the answer to a call is made from, beside the decision.
struct Asked {
    operation: Operation,
    /// The challenge that its credential answers.
    challenge_id: Option<ChallengeId>,
}

/// What becomes of a call.
#[derive(Debug)]
pub enum Admission {
    /// The operation costs nothing: run it.
    Free,
    /// Paid for and durable: run the operation, then capture the sale.
    Granted(Box<Sale>),
    /// Answer with this, and run nothing.
    Answered(Success),
    /// Answer with this error, and run nothing.
    Refused(RpcError),
}

impl Catalog {
    /// A server that sells nothing yet.
    #[must_use]
    pub fn new(server: PaymentServer) -> Self {
        Self {
            server,
            goods: Arc::default(),
        }
    }

    /// Sells calls of an MCP tool.
    ///
    /// # Errors
    /// As [`Catalog::sell`].
    pub fn tool(
        self,
        name: impl Into<String>,
        offers: impl IntoIterator<Item = Offer>,
    ) -> Result<Self, Misuse> {
        self.sell(Operation::Tool(name.into()), offers)
    }

    /// Sells reading of an MCP resource.
    ///
    /// # Errors
    /// As [`Catalog::sell`].
    pub fn resource(
        self,
        uri: impl Into<String>,
        offers: impl IntoIterator<Item = Offer>,
    ) -> Result<Self, Misuse> {
        self.sell(Operation::Resource(uri.into()), offers)
    }

    /// Sells reading of all resources whose URI begins so, unless they are
    /// sold by a longer beginning or by their whole URI. One challenge is good
    /// for all of them.
    ///
    /// # Errors
    /// As [`Catalog::sell`].
    pub fn resources_under(
        mut self,
        beginning: impl Into<String>,
        offers: impl IntoIterator<Item = Offer>,
    ) -> Result<Self, Misuse> {
        let beginning = beginning.into();
        let scope = Operation::Resource(format!("{beginning}*")).scope();
        let route = self.route_of(scope, offers)?;
        let goods = Arc::make_mut(&mut self.goods);
        goods.resources.retain(|(known, _)| *known != beginning);
        goods.resources.push((beginning, route));
        goods
            .resources
            .sort_by_key(|(beginning, _)| std::cmp::Reverse(beginning.len()));
        Ok(self)
    }

    /// Sells an MCP prompt.
    ///
    /// # Errors
    /// As [`Catalog::sell`].
    pub fn prompt(
        self,
        name: impl Into<String>,
        offers: impl IntoIterator<Item = Offer>,
    ) -> Result<Self, Misuse> {
        self.sell(Operation::Prompt(name.into()), offers)
    }

    /// Sells calls of a JSON-RPC method.
    ///
    /// # Errors
    /// As [`Catalog::sell`].
    pub fn method(
        self,
        name: impl Into<String>,
        offers: impl IntoIterator<Item = Offer>,
    ) -> Result<Self, Misuse> {
        self.sell(Operation::Method(name.into()), offers)
    }

    /// Sells an operation for any of `offers`.
    ///
    /// # Errors
    /// As [`Route::new`].
    pub fn sell(
        mut self,
        operation: Operation,
        offers: impl IntoIterator<Item = Offer>,
    ) -> Result<Self, Misuse> {
        let route = self.route_of(operation.scope(), offers)?;
        let goods = Arc::make_mut(&mut self.goods);
        goods.exact.insert(operation, route);
        Ok(self)
    }

    fn route_of(
        &mut self,
        scope: String,
        offers: impl IntoIterator<Item = Offer>,
    ) -> Result<Route, Misuse> {
        let route = Route::new(scope, offers)?;
        let goods = Arc::make_mut(&mut self.goods);
        for offer in route.offers() {
            goods.capability.add(offer.method(), offer.intent());
        }
        Ok(route)
    }

    /// What can be paid with, for the handshake.
    #[must_use]
    pub fn capability(&self) -> &Capability {
        &self.goods.capability
    }

    /// The server behind it.
    #[must_use]
    pub const fn server(&self) -> &PaymentServer {
        &self.server
    }

    /// Whether an operation is sold. Notifications of such are dropped: nobody
    /// could be told what they cost (draft-payment-transport-mcp-00,
    /// Notifications).
    #[must_use]
    pub fn sells(&self, operation: &Operation) -> bool {
        self.route(operation).is_some()
    }

    pub(super) fn route(&self, operation: &Operation) -> Option<&Route> {
        let exact = self.goods.exact.get(operation);
        exact.or_else(|| {
            let Operation::Resource(uri) = operation else {
                return None;
            };
            let mut resources = self.goods.resources.iter();
            let found = resources.find(|(beginning, _)| uri.starts_with(beginning.as_str()));
            found.map(|(_, route)| route)
        })
    }

    /// Decides about a call.
    ///
    /// # Cancel safety
    /// As [`PaymentServer::decide`]; a dropped [`Sale`] charges nothing.
    pub async fn admit(&self, mut call: Call) -> Admission {
        let Some(route) = self.route(&call.operation) else {
            return Admission::Free;
        };
        let read = call.credential();
        let (credential, repeatable) = match read.and_then(|read| Ok((read, call.repeatable()?))) {
            Ok(read) => read,
            Err(rejection) => return Admission::Refused(self.refuse(route, &rejection.into())),
        };
        let paid = credential.as_ref().map(|read| read.challenge.id.clone());
        let attempt = Attempt::from_credential(credential, call.purpose())
            .accept_payment(call.accept_payment())
            .repeatable(repeatable)
            .peer(call.peer());
        let asked = Asked {
            operation: call.operation.clone(),
            challenge_id: paid,
        };
        let decision = self.server.decide(route, attempt).await;
        self.admission(route, asked, decision)
    }

    fn admission(&self, route: &Route, asked: Asked, decision: Decision) -> Admission {
        let Asked {
            operation,
            challenge_id: paid,
        } = asked;
        match decision {
            Decision::Grant(grant) => Admission::Granted(Box::new(Sale::new(
                self.clone(),
                route.clone(),
                operation.is_mcp(),
                paid,
                grant,
            ))),
            Decision::Replay(before) => {
                Admission::Answered(render::replayed(&operation, &before, paid.as_ref()))
            }
            Decision::Respond(receipt) => {
                let receipt = render::receipt(&receipt, paid.as_ref());
                Admission::Answered(render::managed(&operation, receipt))
            }
            Decision::Recognize(payer) => {
                let receipt = render::receipt(&payer.receipt, paid.as_ref());
                Admission::Answered(render::recognized(&operation, receipt, &payer))
            }
            Decision::Refuse(refusal) => Admission::Refused(self.refused(route, refusal)),
        }
    }

    fn refused(&self, route: &Route, mut refusal: Refusal) -> RpcError {
        let code = refusal.problem.kind.mcp_code();
        // Every failed verification comes with a challenge
        // (draft-payment-transport-mcp-00, Payment Verification Failure).
        if code == VERIFICATION_FAILED && refusal.challenges.is_empty() {
            let required = Rejection::PaymentRequired.into();
            refusal.challenges = self
                .server
                .refusal(route, &required, RequestBody::Unread)
                .challenges;
        }
        render::refusal(&refusal)
    }

    pub(super) fn refuse(&self, route: &Route, failure: &Failure) -> RpcError {
        let refusal = self.server.refusal(route, failure, RequestBody::Unread);
        self.refused(route, refusal)
    }
}
