//! A JSON-RPC client that pays.

use mpp_client::{
    ClientError, Origin, Payer, Site,
    exchange::{Exchange, Track},
};
use mpp_core::{Amount, Receipt, SessionReceipt};
use mpp_tempo::ChannelId;
use serde_json::Value;

use super::{
    CallOptions, CallWire, Credentials,
    wire::{RpcCall, Transport},
};
use crate::{error::RpcError, operation::Operation};

/// What a call brought, and its receipt if it was paid.
#[derive(Clone, Debug, PartialEq)]
pub struct PaidReply {
    /// The result, or the server's error.
    pub result: Result<Value, RpcError>,
    /// The receipt, checked against the client's own accounts.
    pub receipt: Option<Receipt>,
}

/// Calls operations of one server, and pays when it must.
///
/// All calls of an origin share its channels, over whatever transport.
#[derive(Debug)]
pub struct PayingClient<T> {
    payer: Payer,
    origin: Origin,
    transport: T,
    last: Track<(Operation, Option<Value>)>,
}

impl<T: Transport> PayingClient<T> {
    /// A client of the server at `origin`.
    #[must_use]
    pub fn new(payer: Payer, origin: Origin, transport: T) -> Self {
        Self {
            payer,
            origin,
            transport,
            last: Track::default(),
        }
    }

    /// Calls a method.
    ///
    /// # Errors
    /// [`ClientError`] when it could not be paid or sent; an error of the
    /// server is a reply.
    ///
    /// # Cancel safety
    /// As [`Exchange::run`].
    pub async fn call(
        &self,
        method: &str,
        params: Option<Value>,
    ) -> Result<PaidReply, ClientError> {
        self.call_with(method, params, &CallOptions::default())
            .await
    }

    /// Calls a method, with options.
    ///
    /// # Errors
    /// As [`PayingClient::call`].
    ///
    /// # Cancel safety
    /// As [`Exchange::run`].
    pub async fn call_with(
        &self,
        method: &str,
        params: Option<Value>,
        options: &CallOptions,
    ) -> Result<PaidReply, ClientError> {
        let operation = Operation::of(method, params.as_ref());
        let credentials = Credentials::of(&operation, options, self.payer.accept_payment())?;
        let (key, repeats) = (credentials.key.clone(), credentials.repeats);
        let site = self.site(&operation);
        let mut wire = self.wire(&operation, params.as_ref(), credentials);
        let delivered = Exchange::new(&self.payer, site, &mut wire)
            .repeats(repeats)
            .key(key)
            .run()
            .await?;
        Ok(PaidReply {
            result: delivered.content.result,
            receipt: delivered.receipt,
        })
    }

    /// Adds `additional` base units to the channel that paid last.
    ///
    /// # Errors
    /// [`ClientError::Misuse`] before the first paid call; as
    /// [`Payer::top_up_over`].
    ///
    /// # Cancel safety
    /// As [`Payer::top_up_over`].
    pub async fn top_up(&self, additional: Amount) -> Result<SessionReceipt, ClientError> {
        let (channel, (operation, params)) = self.last()?;
        let site = self.site(&operation);
        let mut wire = self.wire(&operation, params.as_ref(), Credentials::none());
        self.payer
            .top_up_over(&site, &mut wire, channel, additional)
            .await
    }

    /// Closes the channel that paid last: the rest of its deposit comes back.
    ///
    /// # Errors
    /// [`ClientError::Misuse`] before the first paid call; as
    /// [`Payer::close_over`].
    ///
    /// # Cancel safety
    /// As [`Payer::close_over`].
    pub async fn close(&self) -> Result<SessionReceipt, ClientError> {
        let (channel, (operation, params)) = self.last()?;
        let site = self.site(&operation);
        let mut wire = self.wire(&operation, params.as_ref(), Credentials::none());
        self.payer.close_over(&site, &mut wire, channel).await
    }

    /// The channel that paid last.
    #[must_use]
    pub fn channel_id(&self) -> Option<ChannelId> {
        self.last.last().map(|(channel, _)| channel)
    }

    fn last(&self) -> Result<(ChannelId, (Operation, Option<Value>)), ClientError> {
        let none = ClientError::Misuse("the client has paid for nothing yet");
        self.last.last().ok_or(none)
    }

    fn site(&self, operation: &Operation) -> Site {
        Site::operation(self.origin.clone(), operation.scope())
    }

    fn wire<'a>(
        &'a self,
        operation: &'a Operation,
        params: Option<&'a Value>,
        credentials: Credentials,
    ) -> CallWire<RpcCall<'a, T>> {
        let caller = RpcCall {
            transport: &self.transport,
            operation,
            params,
            track: &self.last,
        };
        CallWire {
            caller,
            credentials,
        }
    }
}
