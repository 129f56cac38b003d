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

/// What is particular to one kind of request.
pub(super) trait Kind {
    type Result;

    fn operation(&self) -> Operation;

    /// What tells it from another request of the same operation.
    fn arguments(&self) -> Value;

    /// Whether a result says of itself that it is a failure.
    fn is_failure(_: &Self::Result) -> bool {
        false
    }
}

impl Kind for CallToolRequestParams {
    type Result = CallToolResult;

    fn operation(&self) -> Operation {
        Operation::Tool(self.name.clone().into_owned())
    }

    fn arguments(&self) -> Value {
        json!([self.arguments, self.input_responses, self.request_state])
    }

    fn is_failure(result: &CallToolResult) -> bool {
        result.is_error == Some(true)
    }
}

impl Kind for ReadResourceRequestParams {
    type Result = ReadResourceResult;

    fn operation(&self) -> Operation {
        Operation::Resource(self.uri.clone())
    }

    fn arguments(&self) -> Value {
        json!([self.uri, self.input_responses, self.request_state])
    }
}

impl Kind for GetPromptRequestParams {
    type Result = GetPromptResult;

    fn operation(&self) -> Operation {
        Operation::Prompt(self.name.clone())
    }

    fn arguments(&self) -> Value {
        json!([self.arguments, self.input_responses, self.request_state])
    }
}

/// A request whose result can be sold.
pub(super) trait Sold:
    Kind<Result: Serialize + DeserializeOwned + Into<Self::Response> + Send + Sync>
    + Send
    + Sized
    + 'static
{
    type Response: Send;

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

/// The types of rmcp for each kind have equal fields and variants, and no trait that says so.
macro_rules! sold {
    ($($request:ty: $run:ident -> $response:ident;)*) => {
        $(
            impl Sold for $request {
                type Response = $response;

                fn meta_mut(&mut self) -> Option<&mut RequestMetaObject> {
                    self.meta.as_mut()
                }

                fn run<H: ServerHandler>(
                    self,
                    handler: &H,
                    context: RequestContext<RoleServer>,
                ) -> impl Future<Output = Result<$response, ErrorData>> + Send {
                    handler.$run(self, context)
                }

                fn outcome(response: $response) -> Outcome<Self> {
                    match response {
                        $response::Complete(result) if Self::is_failure(&result) => {
                            Outcome::Failed(result.into())
                        }
                        $response::Complete(result) => Outcome::Complete(result),
                        $response::InputRequired(_) => Outcome::Unfinished(response),
                        _ => Outcome::Unsellable,
                    }
                }

                fn response_meta(response: &mut $response) -> Option<&mut MetaObject> {
                    match response {
                        $response::Complete(result) => result.meta.as_mut(),
                        $response::InputRequired(result) => result.meta.as_mut(),
                        _ => None,
                    }
                }

                fn result_meta(result: &mut Self::Result) -> &mut Option<MetaObject> {
                    &mut result.meta
                }

                fn complete(result: &mut Self::Result) {
                    result.result_type = Some(ResultType::COMPLETE);
                }
            }
        )*
    };
}

sold! {
    CallToolRequestParams: call_tool -> CallToolResponse;
    ReadResourceRequestParams: read_resource -> ReadResourceResponse;
    GetPromptRequestParams: get_prompt -> GetPromptResponse;
}
