//! The three kinds of requests that can be sold, as one.

use std::future::Future;

use ::rmcp::{
    RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ErrorData, GetPromptRequestParams,
        GetPromptResponse, GetPromptResult, MetaObject, ReadResourceRequestParams,
        ReadResourceResponse, ReadResourceResult, RequestMetaObject, ResultType,
    },
    service::RequestContext,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::operation::Operation;

/// A request whose result can be sold.
pub(super) trait Sold: Send + Sized + 'static {
    type Result: Serialize + DeserializeOwned + Into<Self::Response> + Send + Sync;
    type Response: Send;

    fn operation(&self) -> Operation;

    /// What tells it from another request of the same operation.
    fn arguments(&self) -> Value;

    fn meta_mut(&mut self) -> Option<&mut RequestMetaObject>;

    fn run<H: ServerHandler>(
        self,
        handler: &H,
        context: RequestContext<RoleServer>,
    ) -> impl Future<Output = Result<Self::Response, ErrorData>> + Send;

    fn outcome(response: Self::Response) -> Outcome<Self>;

    fn response_meta(response: &mut Self::Response) -> Option<&mut MetaObject>;

    fn result_meta(result: &mut Self::Result) -> &mut Option<MetaObject>;

    /// Marks a result as complete, as newer versions of MCP want it.
    fn complete(result: &mut Self::Result);
}

/// What a handler's response means for its sale.
pub(super) enum Outcome<R: Sold> {
    /// It is what was asked for.
    Complete(R::Result),
    /// It says of itself that it is a failure.
    Failed(R::Response),
    /// It asks for more before there is a result.
    Unfinished(R::Response),
    /// Its result would come later, by another way.
    Unsellable,
}

impl Sold for CallToolRequestParams {
    type Result = CallToolResult;
    type Response = CallToolResponse;

    fn operation(&self) -> Operation {
        Operation::Tool(self.name.clone().into_owned())
    }

    fn arguments(&self) -> Value {
        json!([self.arguments, self.input_responses, self.request_state])
    }

    fn meta_mut(&mut self) -> Option<&mut RequestMetaObject> {
        self.meta.as_mut()
    }

    fn run<H: ServerHandler>(
        self,
        handler: &H,
        context: RequestContext<RoleServer>,
    ) -> impl Future<Output = Result<CallToolResponse, ErrorData>> + Send {
        handler.call_tool(self, context)
    }

    fn outcome(response: CallToolResponse) -> Outcome<Self> {
        match response {
            CallToolResponse::Complete(result) if result.is_error == Some(true) => {
                Outcome::Failed(CallToolResponse::Complete(result))
            }
            CallToolResponse::Complete(result) => Outcome::Complete(result),
            CallToolResponse::InputRequired(_) => Outcome::Unfinished(response),
            _ => Outcome::Unsellable,
        }
    }

    fn response_meta(response: &mut CallToolResponse) -> Option<&mut MetaObject> {
        match response {
            CallToolResponse::Complete(result) => result.meta.as_mut(),
            CallToolResponse::InputRequired(result) => result.meta.as_mut(),
            _ => None,
        }
    }

    fn result_meta(result: &mut CallToolResult) -> &mut Option<MetaObject> {
        &mut result.meta
    }

    fn complete(result: &mut CallToolResult) {
        result.result_type = Some(ResultType::COMPLETE);
    }
}

impl Sold for ReadResourceRequestParams {
    type Result = ReadResourceResult;
    type Response = ReadResourceResponse;

    fn operation(&self) -> Operation {
        Operation::Resource(self.uri.clone())
    }

    fn arguments(&self) -> Value {
        json!([self.uri, self.input_responses, self.request_state])
    }

    fn meta_mut(&mut self) -> Option<&mut RequestMetaObject> {
        self.meta.as_mut()
    }

    fn run<H: ServerHandler>(
        self,
        handler: &H,
        context: RequestContext<RoleServer>,
    ) -> impl Future<Output = Result<ReadResourceResponse, ErrorData>> + Send {
        handler.read_resource(self, context)
    }

    fn outcome(response: ReadResourceResponse) -> Outcome<Self> {
        match response {
            ReadResourceResponse::Complete(result) => Outcome::Complete(result),
            ReadResourceResponse::InputRequired(_) => Outcome::Unfinished(response),
            _ => Outcome::Unsellable,
        }
    }

    fn response_meta(response: &mut ReadResourceResponse) -> Option<&mut MetaObject> {
        match response {
            ReadResourceResponse::Complete(result) => result.meta.as_mut(),
            ReadResourceResponse::InputRequired(result) => result.meta.as_mut(),
            _ => None,
        }
    }

    fn result_meta(result: &mut ReadResourceResult) -> &mut Option<MetaObject> {
        &mut result.meta
    }

    fn complete(result: &mut ReadResourceResult) {
        result.result_type = Some(ResultType::COMPLETE);
    }
}

impl Sold for GetPromptRequestParams {
    type Result = GetPromptResult;
    type Response = GetPromptResponse;

    fn operation(&self) -> Operation {
        Operation::Prompt(self.name.clone())
    }

    fn arguments(&self) -> Value {
        json!([self.arguments, self.input_responses, self.request_state])
    }

    fn meta_mut(&mut self) -> Option<&mut RequestMetaObject> {
        self.meta.as_mut()
    }

    fn run<H: ServerHandler>(
        self,
        handler: &H,
        context: RequestContext<RoleServer>,
    ) -> impl Future<Output = Result<GetPromptResponse, ErrorData>> + Send {
        handler.get_prompt(self, context)
    }

    fn outcome(response: GetPromptResponse) -> Outcome<Self> {
        match response {
            GetPromptResponse::Complete(result) => Outcome::Complete(result),
            GetPromptResponse::InputRequired(_) => Outcome::Unfinished(response),
            _ => Outcome::Unsellable,
        }
    }

    fn response_meta(response: &mut GetPromptResponse) -> Option<&mut MetaObject> {
        match response {
            GetPromptResponse::Complete(result) => result.meta.as_mut(),
            GetPromptResponse::InputRequired(result) => result.meta.as_mut(),
            _ => None,
        }
    }

    fn result_meta(result: &mut GetPromptResult) -> &mut Option<MetaObject> {
        &mut result.meta
    }

    fn complete(result: &mut GetPromptResult) {
        result.result_type = Some(ResultType::COMPLETE);
    }
}
