//! A server whose tools, resources and prompts can have a price.

mod handler;
mod sold;

use std::{fmt, net::IpAddr};

use ::rmcp::{
    RoleServer, ServerHandler,
    model::{
        CustomNotification, CustomRequest, ErrorData, ExperimentalCapabilities, Extensions,
        MetaObject,
    },
    service::RequestContext,
};

use self::sold::{Outcome, Sold};
use crate::{
    Capability, RpcError,
    capability::PAYMENT,
    meta,
    operation::Operation,
    server::{Admission, Call, Catalog, Sale},
};

/// Finds the sender's address in the extensions of a request.
type FindPeer = fn(&Extensions) -> Option<IpAddr>;

/// A server that is paid for what its catalog lists, over any transport.
///
/// The handler runs only after the payment is verified and durable, and finds
/// a [`Paid`](crate::server::Paid) among the extensions of its context. Its
/// result leaves only after the charge is committed. A call that fails, by an
/// error or by a result that says so, and one that is cancelled, is not
/// charged. Notifications of paid operations are dropped.
///
/// A paid tool can not answer with a task, whose result would come later.
///
/// # Examples
///
/// ```
/// # async fn example(
/// #     payments: mpp_server::PaymentServer,
/// #     handler: impl rmcp::ServerHandler,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// use mpp_mcp::{rmcp::PaidServer, server::Catalog};
/// use rmcp::ServiceExt as _;
///
/// let cent = payments.session().amount("0.01").unit_type("call").build()?;
/// let catalog = Catalog::new(payments).tool("search", [cent])?;
/// let (ours, theirs) = tokio::io::duplex(4096);
/// PaidServer::new(catalog, handler).serve(ours).await?;
/// # drop(theirs);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct PaidServer<H> {
    catalog: Catalog,
    handler: H,
    find_peer: FindPeer,
}

impl<H: ServerHandler> PaidServer<H> {
    /// Puts a price on what `catalog` lists of `handler`.
    pub fn new(catalog: Catalog, handler: H) -> Self {
        Self {
            catalog,
            handler,
            find_peer: |_| None,
        }
    }

    /// How to find the sender's address, by which bad signatures are counted.
    /// Over Streamable HTTP, the extensions hold the `http::request::Parts`.
    #[must_use]
    pub fn peer_by(mut self, find_peer: FindPeer) -> Self {
        self.find_peer = find_peer;
        self
    }

    /// Runs a request as far as it is paid.
    async fn sell<R: Sold>(
        &self,
        mut request: R,
        mut context: RequestContext<RoleServer>,
    ) -> Result<R::Response, ErrorData> {
        let capability = context.client_capabilities().and_then(|capabilities| {
            let payment = capabilities.experimental?.remove(PAYMENT)?;
            Capability::read(&payment.into())
        });
        let mut call = Call::new(request.operation()).take_from(&mut context.meta.0.0);
        if let Some(nested) = request.meta_mut() {
            call = call.take_from(&mut nested.0.0);
        }
        let call = call
            .with_arguments(&request.arguments())
            .with_capability(capability.as_ref())
            .with_peer((self.find_peer)(&context.extensions));
        match self.catalog.admit(call).await {
            Admission::Free => {
                let mut response = request.run(&self.handler, context).await?;
                strip::<R>(&mut response);
                Ok(response)
            }
            Admission::Granted(sale) => self.run(request, context, sale).await,
            Admission::Answered(success) => {
                let (result, _) = success.into_parts();
                let mut result: R::Result =
                    serde_json::from_value(result).map_err(|_| RpcError::internal())?;
                R::complete(&mut result);
                Ok(result.into())
            }
            Admission::Refused(error) => Err(error.into()),
        }
    }

    /// Runs a request that was paid, and charges for its result.
    async fn run<R: Sold>(
        &self,
        request: R,
        mut context: RequestContext<RoleServer>,
        sale: Sale,
    ) -> Result<R::Response, ErrorData> {
        context.extensions.insert(sale.paid());
        let cancelled = context.ct.clone();
        let ran = tokio::select! {
            biased;
            () = cancelled.cancelled() => None,
            ran = request.run(&self.handler, context) => Some(ran),
        };
        let mut response = match ran {
            Some(Ok(response)) if !cancelled.is_cancelled() => response,
            Some(Err(error)) => {
                let refused = sale.release().await;
                return Err(refused.map_or(error, ErrorData::from));
            }
            // Nobody waits for the result: it is not charged.
            Some(Ok(_)) | None => {
                drop(sale.release().await);
                return Err(RpcError::internal().into());
            }
        };
        // What a handler passes on from elsewhere does not speak for us.
        strip::<R>(&mut response);
        let mut result = match R::outcome(response) {
            Outcome::Complete(result) => result,
            Outcome::Failed(response) | Outcome::Unfinished(response) => {
                let refused = sale.release().await;
                return refused.map_or(Ok(response), |error| Err(error.into()));
            }
            Outcome::Unsellable => {
                tracing::error!("a paid tool answers with a task, which can not be charged");
                drop(sale.release().await);
                return Err(RpcError::internal().into());
            }
        };
        let receipt = sale.capture(&result).await?;
        let meta = R::result_meta(&mut result).get_or_insert_default();
        meta.0.extend(receipt);
        Ok(result.into())
    }

    /// Adds what can be paid with to the server's capabilities.
    fn advertise(&self, experimental: &mut Option<ExperimentalCapabilities>) {
        let capability = self.catalog.capability().members();
        experimental
            .get_or_insert_default()
            .insert(PAYMENT.to_owned(), capability);
    }

    /// Whether a notification invokes what is sold: nobody could be told what
    /// that costs (draft-payment-transport-mcp-00, Notifications).
    fn is_paid(&self, notification: &CustomNotification) -> bool {
        let params = notification.params.as_ref();
        let operation = Operation::of(&notification.method, params);
        self.catalog.sells(&operation)
    }

    /// Refuses what is sold and can not be charged here.
    fn check_custom(&self, request: &CustomRequest) -> Result<(), ErrorData> {
        let operation = Operation::of(&request.method, request.params.as_ref());
        if self.catalog.sells(&operation) {
            tracing::error!("rmcp can not carry the receipt of a method that is not MCP's");
            return Err(RpcError::internal().into());
        }
        Ok(())
    }
}

/// Takes out of a response whatever speaks of payments.
fn strip<R: Sold>(response: &mut R::Response) {
    if let Some(MetaObject(members)) = R::response_meta(response) {
        meta::strip(members);
    }
}

impl<H: fmt::Debug> fmt::Debug for PaidServer<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PaidServer")
            .field("catalog", &self.catalog)
            .field("handler", &self.handler)
            .finish_non_exhaustive()
    }
}
