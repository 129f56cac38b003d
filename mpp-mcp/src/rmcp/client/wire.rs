//! Requests to an rmcp peer, for the wire of `mpp-client`.

use ::rmcp::{
    Peer, RoleClient,
    model::{ErrorData, ServerResult},
    service::ServiceError,
};
use mpp_client::{
    TransportError,
    exchange::{SendError, Track},
    flow::Answer,
};
use mpp_tempo::ChannelId;

use super::order::Order;
use crate::{
    RpcError,
    client::{
        Caller,
        answer::{self, Verdict},
    },
    meta::Members,
};

/// A result or an error: both are answers.
type Reply = Result<ServerResult, ErrorData>;

/// One request to a peer.
pub(super) struct PeerCall<'a> {
    pub(super) peer: &'a Peer<RoleClient>,
    pub(super) order: &'a Order,
    pub(super) track: &'a Track<Order>,
}

impl Caller for PeerCall<'_> {
    type Reply = Reply;

    async fn call(&self, payment: Members) -> Result<Reply, SendError> {
        match self.order.with(payment).send(self.peer).await {
            Ok(result) => Ok(Ok(result)),
            Err(ServiceError::McpError(error)) => Ok(Err(error)),
            Err(error) => {
                let what = TransportError::caused("no answer came", error);
                Err(SendError::MayHaveArrived(what))
            }
        }
    }

    fn read(&self, reply: &Reply) -> Answer {
        let result = match reply {
            Ok(result) => result,
            Err(error) => return answer::of_error(&RpcError::from(error)),
        };
        let verdict = match result {
            ServerResult::CallToolResult(result) if result.is_error == Some(true) => {
                Verdict::Failure
            }
            ServerResult::CallToolResult(_)
            | ServerResult::ReadResourceResult(_)
            | ServerResult::GetPromptResult(_) => Verdict::Success,
            // It asks for more before there is a result.
            _ => Verdict::Failure,
        };
        answer::of_result(self.meta_of(reply), verdict)
    }

    fn meta_of<'r>(&self, reply: &'r Reply) -> Option<&'r Members> {
        let meta = match reply.as_ref().ok()? {
            ServerResult::CallToolResult(result) => result.meta.as_ref(),
            ServerResult::ReadResourceResult(result) => result.meta.as_ref(),
            ServerResult::GetPromptResult(result) => result.meta.as_ref(),
            _ => None,
        };
        meta.map(|meta| &meta.0)
    }

    fn note(&self, channel: ChannelId) {
        self.track.note(channel, self.order.clone());
    }
}
