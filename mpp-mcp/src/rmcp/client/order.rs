//! What a client asks for, in rmcp's types.

use ::rmcp::{
    Peer, RoleClient,
    model::{
        CallToolRequestParams, CallToolResponse, ClientRequest, GetPromptRequestParams,
        GetPromptResponse, ReadResourceRequest, ReadResourceRequestParams, RequestMetaObject,
        ServerResult,
    },
    service::ServiceError,
};

use crate::{meta::Members, operation::Operation};

/// A request for something that may have a price.
#[derive(Clone, Debug)]
pub(super) enum Order {
    Tool(CallToolRequestParams),
    Resource(ReadResourceRequestParams),
    Prompt(GetPromptRequestParams),
}

impl Order {
    pub(super) fn operation(&self) -> Operation {
        match self {
            Self::Tool(params) => Operation::Tool(params.name.clone().into_owned()),
            Self::Resource(params) => Operation::Resource(params.uri.clone()),
            Self::Prompt(params) => Operation::Prompt(params.name.clone()),
        }
    }

    /// The request with these members in its metadata.
    pub(super) fn with(&self, payment: Members) -> Self {
        let mut order = self.clone();
        let meta = match &mut order {
            Self::Tool(params) => &mut params.meta,
            Self::Resource(params) => &mut params.meta,
            Self::Prompt(params) => &mut params.meta,
        };
        meta.get_or_insert_with(RequestMetaObject::new)
            .0
            .0
            .extend(payment);
        order
    }

    /// Sends the request once.
    ///
    /// Resources go past rmcp's cache: a kept result has a receipt of its own
    /// time, which would confuse the accounts.
    pub(super) async fn send(self, peer: &Peer<RoleClient>) -> Result<ServerResult, ServiceError> {
        match self {
            Self::Tool(params) => match peer.call_tool_once(params).await? {
                CallToolResponse::Complete(result) => Ok(ServerResult::CallToolResult(result)),
                CallToolResponse::InputRequired(result) => {
                    Ok(ServerResult::InputRequiredResult(result))
                }
                CallToolResponse::Task(result) => Ok(ServerResult::CreateTaskResult(result)),
                _ => Err(ServiceError::UnexpectedResponse),
            },
            Self::Prompt(params) => match peer.get_prompt_once(params).await? {
                GetPromptResponse::Complete(result) => Ok(ServerResult::GetPromptResult(result)),
                GetPromptResponse::InputRequired(result) => {
                    Ok(ServerResult::InputRequiredResult(result))
                }
                _ => Err(ServiceError::UnexpectedResponse),
            },
            Self::Resource(params) => {
                let request = ReadResourceRequest::new(params);
                peer.send_request(ClientRequest::ReadResourceRequest(request))
                    .await
            }
        }
    }
}
