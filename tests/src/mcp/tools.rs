//! An rmcp server whose tools are sold, and clients on the other end of a pipe.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU32, Ordering},
};

use mpp_client::{Origin, Payer, Policy};
use mpp_core::Amount;
use mpp_mcp::{
    rmcp::{PaidServer, PayingPeer, advertise},
    server::{Catalog, Paid},
};
use rmcp::{
    RoleClient, RoleServer, ServerHandler, ServiceExt as _,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ClientConfig, ContentBlock,
        CreateTaskResult, CustomNotification, ErrorData, GetPromptRequestParams, GetPromptResponse,
        GetPromptResult, ListToolsResult, MetaObject, PaginatedRequestParams,
        ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult, ResourceContents,
        ServerCapabilities, ServerConfig, Tool,
    },
    service::{NotificationContext, RequestContext, RunningService},
    transport::streamable_http_client::{
        StreamableHttpClientTransport, StreamableHttpClientTransportConfig,
    },
};
use serde_json::json;
use tokio::sync::Notify;

use crate::pair::{BOTH, Pair};

/// What the handlers have seen and done.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tools {
    runs: Arc<AtomicU32>,
    pub(crate) notices: Arc<Mutex<Vec<String>>>,
    /// Told when `slow` has begun; `slow` never ends by itself.
    pub(crate) began: Arc<Notify>,
    /// Told when `slow` is dropped.
    pub(crate) ended: Arc<Notify>,
}

impl Tools {
    pub(crate) fn runs(&self) -> u32 {
        self.runs.load(Ordering::SeqCst)
    }

    fn note(&self, context: &RequestContext<RoleServer>) {
        self.runs.fetch_add(1, Ordering::SeqCst);
        let meta = serde_json::to_string(&context.meta).unwrap();
        assert!(!meta.contains("org.paymentauth"), "{meta}");
    }
}

struct TellOnDrop(Arc<Notify>);

impl Drop for TellOnDrop {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl ServerHandler for Tools {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_resources()
            .enable_prompts()
            .build();
        ServerConfig::new(capabilities)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let schema = Arc::new(json!({"type": "object"}).as_object().cloned().unwrap());
        let tools = ["add", "free"].map(|name| Tool::new(name, "a tool", Arc::clone(&schema)));
        Ok(ListToolsResult::with_all_items(tools.into()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        self.note(&context);
        let paid = context.extensions.get::<Paid>();
        assert_eq!(paid.is_some(), request.name != "free");
        let done = || CallToolResult::success(vec![ContentBlock::text("done")]);
        match request.name.as_ref() {
            "broken" => Err(ErrorData::internal_error("no luck", None)),
            "failing" => Ok(CallToolResult::error(vec![ContentBlock::text("no luck")]).into()),
            "task" => Ok(CallToolResponse::Task(task())),
            "slow" => {
                let _tell = TellOnDrop(Arc::clone(&self.ended));
                self.began.notify_one();
                std::future::pending().await
            }
            "free" => {
                let mut result = done();
                let forged = json!({"org.paymentauth/receipt": {"status": "success"}});
                result.meta = Some(MetaObject(forged.as_object().cloned().unwrap()));
                Ok(result.into())
            }
            _ => Ok(done().into()),
        }
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        self.note(&context);
        let contents = ResourceContents::text("content", request.uri);
        Ok(ReadResourceResult::new(vec![contents]).into())
    }

    async fn get_prompt(
        &self,
        _: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        self.note(&context);
        Ok(GetPromptResult::new(Vec::new()).into())
    }

    async fn on_custom_notification(
        &self,
        notification: CustomNotification,
        _: NotificationContext<RoleServer>,
    ) {
        self.notices.lock().unwrap().push(notification.method);
    }
}

fn task() -> CreateTaskResult {
    serde_json::from_value(json!({
        "resultType": "task", "taskId": "1", "status": "working",
        "createdAt": "2026-01-01T00:00:00Z", "lastUpdatedAt": "2026-01-01T00:00:00Z",
    }))
    .unwrap()
}

pub(crate) fn catalog(pair: &Pair) -> Catalog {
    let offer = || [pair.offer(BOTH[1]).build().unwrap()];
    let mut catalog = Catalog::new(pair.server.clone())
        .resource("data://one", offer())
        .unwrap()
        .prompt("ask", offer())
        .unwrap();
    for name in ["add", "other", "broken", "failing", "slow", "task"] {
        catalog = catalog.tool(name, offer()).unwrap();
    }
    catalog
}

/// Server and client, both of rmcp, and a pipe between them.
pub(crate) struct Connected {
    pub(crate) tools: Tools,
    pub(crate) client: RunningService<RoleClient, ClientConfig>,
    pub(crate) server: RunningService<RoleServer, PaidServer<Tools>>,
}

impl Connected {
    pub(crate) async fn to(pair: &Pair, config: ClientConfig) -> Self {
        let (ours, theirs) = tokio::io::duplex(1024 * 1024);
        let tools = Tools::default();
        let server = PaidServer::new(catalog(pair), tools.clone());
        let (server, client) = tokio::join!(server.serve(ours), config.serve(theirs));
        Self {
            tools,
            client: client.unwrap(),
            server: server.unwrap(),
        }
    }

    /// A client that knows of payments.
    pub(crate) async fn paying(pair: &Pair) -> (Self, PayingPeer) {
        let policy = Policy::new(Amount::new(1_000_000));
        let payer = pair.payer_with(policy, Arc::clone(&pair.book) as _);
        let connected = Self::to(pair, advertise(ClientConfig::default(), &payer)).await;
        let origin = Origin::process("tools").unwrap();
        let peer = PayingPeer::new(connected.client.peer().clone(), payer, origin);
        (connected, peer)
    }
}

/// A client of a server at this URL, over Streamable HTTP.
pub(crate) async fn over_http(
    url: String,
    payer: Payer,
    origin: Origin,
) -> (RunningService<RoleClient, ClientConfig>, PayingPeer) {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let config = StreamableHttpClientTransportConfig::with_uri(url);
    let transport = StreamableHttpClientTransport::with_client(http, config);
    let client = advertise(ClientConfig::default(), &payer);
    let running = client.serve(transport).await.unwrap();
    let peer = PayingPeer::new(running.peer().clone(), payer, origin);
    (running, peer)
}
