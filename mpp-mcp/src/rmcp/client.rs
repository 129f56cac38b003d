//! A client whose calls pay when they must.

mod order;
mod wire;

use ::rmcp::{
    Peer, RoleClient,
    model::{
        CallToolRequestParams, CallToolResult, ClientConfig, ErrorData, GetPromptRequestParams,
        GetPromptResult, ReadResourceRequestParams, ReadResourceResult, ServerResult,
    },
};
use mpp_client::{
    ClientError, Origin, Payer, Site,
    exchange::{Exchange, Track},
};
use mpp_core::{Amount, Receipt, SessionReceipt};
use mpp_tempo::ChannelId;

use self::{order::Order, wire::PeerCall};
use crate::{
    capability::PAYMENT,
    client::{CallOptions, CallWire, Credentials, capability},
};

/// What a call brought, and its receipt if it was paid.
#[derive(Clone, Debug, PartialEq)]
pub struct Bought<T> {
    /// The result, as rmcp gives it.
    pub result: T,
    /// The receipt, checked against the client's own accounts.
    pub receipt: Option<Receipt>,
}

/// Why a call brought no result.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// It could not be paid, or not be sent.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The server answered with an error that is not about payment.
    #[error("the server answered with error {}", .0.code.0)]
    Server(ErrorData),
    /// The server asks for input before there is a result, or answers with
    /// something else that is none; it was not charged.
    #[error("the server's answer is not complete")]
    Incomplete(Box<ServerResult>),
}

/// The peer of a client, with a purse. Cheap to clone.
///
/// All calls of one origin share its channels: the first paid call opens one,
/// later calls only sign vouchers, of whatever tool.
///
/// # Examples
///
/// ```
/// # async fn example(
/// #     peer: rmcp::Peer<rmcp::RoleClient>,
/// #     payer: mpp_client::Payer,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// use mpp_client::Origin;
/// use mpp_mcp::rmcp::PayingPeer;
/// use rmcp::model::CallToolRequestParams;
///
/// let tools = PayingPeer::new(peer, payer, Origin::process("search")?);
/// let found = tools.call_tool(CallToolRequestParams::new("search")).await?;
/// println!("{:?} {:?}", found.result.content, found.receipt);
/// tools.close().await?; // the rest of the deposit comes back
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct PayingPeer {
    peer: Peer<RoleClient>,
    payer: Payer,
    origin: Origin,
    last: Track<Order>,
}

impl PayingPeer {
    /// A purse for the server at `origin`: its URL's, or
    /// [`Origin::process`] for one that was started here.
    #[must_use]
    pub fn new(peer: Peer<RoleClient>, payer: Payer, origin: Origin) -> Self {
        Self {
            peer,
            payer,
            origin,
            last: Track::default(),
        }
    }

    /// The peer, for everything that is free.
    #[must_use]
    pub const fn peer(&self) -> &Peer<RoleClient> {
        &self.peer
    }

    /// Calls a tool.
    ///
    /// # Errors
    /// [`CallError`]. A result that says of itself that it is an error is a
    /// result.
    ///
    /// # Cancel safety
    /// Dropped, the server is told; the call may still be charged. The
    /// accounts keep covering it.
    pub async fn call_tool(
        &self,
        params: CallToolRequestParams,
    ) -> Result<Bought<CallToolResult>, CallError> {
        self.call_tool_with(params, &CallOptions::default()).await
    }

    /// Calls a tool, with options.
    ///
    /// # Errors
    /// As [`PayingPeer::call_tool`].
    ///
    /// # Cancel safety
    /// As [`PayingPeer::call_tool`].
    pub async fn call_tool_with(
        &self,
        params: CallToolRequestParams,
        options: &CallOptions,
    ) -> Result<Bought<CallToolResult>, CallError> {
        match self.buy(Order::Tool(params), options).await? {
            (ServerResult::CallToolResult(result), receipt) => Ok(Bought { result, receipt }),
            (other, _) => Err(CallError::Incomplete(Box::new(other))),
        }
    }

    /// Reads a resource.
    ///
    /// # Errors
    /// As [`PayingPeer::call_tool`].
    ///
    /// # Cancel safety
    /// Dropped, the resource may have been read and charged. The accounts keep
    /// covering it.
    pub async fn read_resource(
        &self,
        params: ReadResourceRequestParams,
    ) -> Result<Bought<ReadResourceResult>, CallError> {
        let options = CallOptions::default();
        match self.buy(Order::Resource(params), &options).await? {
            (ServerResult::ReadResourceResult(result), receipt) => Ok(Bought { result, receipt }),
            (other, _) => Err(CallError::Incomplete(Box::new(other))),
        }
    }

    /// Gets a prompt.
    ///
    /// # Errors
    /// As [`PayingPeer::call_tool`].
    ///
    /// # Cancel safety
    /// As [`PayingPeer::call_tool`].
    pub async fn get_prompt(
        &self,
        params: GetPromptRequestParams,
    ) -> Result<Bought<GetPromptResult>, CallError> {
        let options = CallOptions::default();
        match self.buy(Order::Prompt(params), &options).await? {
            (ServerResult::GetPromptResult(result), receipt) => Ok(Bought { result, receipt }),
            (other, _) => Err(CallError::Incomplete(Box::new(other))),
        }
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
        let (channel, order) = self.last()?;
        let mut wire = self.wire(&order, Credentials::none());
        self.payer
            .top_up_over(&self.site(&order), &mut wire, channel, additional)
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
        let (channel, order) = self.last()?;
        let mut wire = self.wire(&order, Credentials::none());
        self.payer
            .close_over(&self.site(&order), &mut wire, channel)
            .await
    }

    /// The channel that paid last.
    #[must_use]
    pub fn channel_id(&self) -> Option<ChannelId> {
        self.last.last().map(|(channel, _)| channel)
    }

    async fn buy(
        &self,
        order: Order,
        options: &CallOptions,
    ) -> Result<(ServerResult, Option<Receipt>), CallError> {
        let accept = self.payer.accept_payment();
        let credentials = Credentials::of(&order.operation(), options, accept)?;
        let (key, repeats) = (credentials.key.clone(), credentials.repeats);
        let mut wire = self.wire(&order, credentials);
        let delivered = Exchange::new(&self.payer, self.site(&order), &mut wire)
            .repeats(repeats)
            .key(key)
            .run()
            .await?;
        let result = delivered.content.map_err(CallError::Server)?;
        Ok((result, delivered.receipt))
    }

    fn last(&self) -> Result<(ChannelId, Order), ClientError> {
        let none = ClientError::Misuse("the client has paid for nothing yet");
        self.last.last().ok_or(none)
    }

    fn site(&self, order: &Order) -> Site {
        Site::operation(self.origin.clone(), order.operation().scope())
    }

    fn wire<'a>(&'a self, order: &'a Order, credentials: Credentials) -> CallWire<PeerCall<'a>> {
        let caller = PeerCall {
            peer: &self.peer,
            order,
            track: &self.last,
        };
        CallWire {
            caller,
            credentials,
        }
    }
}

/// Says in the handshake what a client can pay with.
#[must_use]
pub fn advertise(mut config: ClientConfig, payer: &Payer) -> ClientConfig {
    let experimental = &mut config.capabilities.experimental;
    experimental
        .get_or_insert_default()
        .insert(PAYMENT.to_owned(), capability(payer).members());
    config
}

impl std::fmt::Debug for PayingPeer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PayingPeer")
            .field("payer", &self.payer)
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}
