//! An rmcp peer as a wire of `mpp-client`.

use std::time::Duration;

use ::rmcp::{
    Peer, RoleClient,
    model::{ErrorData, ServerResult},
    service::ServiceError,
};
use mpp_client::{
    TransportError,
    credential::CredentialField,
    exchange::{Acquaintance, ManageWire, SendError, Track, Wire},
    flow::{Answer, Probe},
};
use mpp_tempo::ChannelId;

use super::order::Order;
use crate::{
    RpcError,
    client::{
        Credentials,
        answer::{self, Verdict},
    },
    meta::Members,
};

/// A result or an error: both are answers.
type Reply = Result<ServerResult, ErrorData>;

/// One request to a peer.
pub(super) struct PeerWire<'a> {
    peer: &'a Peer<RoleClient>,
    order: &'a Order,
    credentials: Credentials,
    track: &'a Track<Order>,
}

impl<'a> PeerWire<'a> {
    pub(super) const fn new(
        peer: &'a Peer<RoleClient>,
        order: &'a Order,
        credentials: Credentials,
        track: &'a Track<Order>,
    ) -> Self {
        Self {
            peer,
            order,
            credentials,
            track,
        }
    }

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
}

fn meta_of(reply: &Reply) -> Option<&Members> {
    let meta = match reply.as_ref().ok()? {
        ServerResult::CallToolResult(result) => result.meta.as_ref(),
        ServerResult::ReadResourceResult(result) => result.meta.as_ref(),
        ServerResult::GetPromptResult(result) => result.meta.as_ref(),
        _ => None,
    };
    meta.map(|meta| &meta.0)
}

fn read(reply: &Reply) -> Answer {
    let result = match reply {
        Ok(result) => result,
        Err(error) => return answer::of_error(&RpcError::from(error)),
    };
    let verdict = match result {
        ServerResult::CallToolResult(result) if result.is_error == Some(true) => Verdict::Failure,
        ServerResult::CallToolResult(_)
        | ServerResult::ReadResourceResult(_)
        | ServerResult::GetPromptResult(_) => Verdict::Success,
        // It asks for more before there is a result.
        _ => Verdict::Failure,
    };
    answer::of_result(meta_of(reply), verdict)
}

impl ManageWire for PeerWire<'_> {
    async fn manage(
        &mut self,
        _: Probe,
        field: Option<&CredentialField>,
    ) -> Result<Answer, SendError> {
        let payment = Credentials::management(field).map_err(SendError::Unsendable)?;
        Ok(read(&self.call(payment).await?))
    }
}

impl Wire for PeerWire<'_> {
    type Content = Reply;

    async fn send(
        &mut self,
        field: Option<&CredentialField>,
    ) -> Result<(Answer, Reply), SendError> {
        let payment = self
            .credentials
            .content(field)
            .map_err(SendError::Unsendable)?;
        let reply = self.call(payment).await?;
        Ok((read(&reply), reply))
    }

    async fn introduce(
        &mut self,
        proof: Option<&CredentialField>,
    ) -> Result<Acquaintance, SendError> {
        let payment = Credentials::introduction(proof).map_err(SendError::Unsendable)?;
        let reply = self.call(payment).await?;
        Ok(answer::acquaintance(read(&reply), meta_of(&reply)))
    }

    async fn pause(&mut self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    fn paid_by(&mut self, channel: ChannelId) {
        self.track.note(channel, self.order.clone());
    }
}
