//! An MCP tool that explains the words of the protocol: $0.01 per call.
//!
//! The list of words is a tool of its own, and free. A word that is not in the
//! list is a failed call, and costs nothing.

#![forbid(unsafe_code)]

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{Router, extract::ConnectInfo, http::request::Parts};
use mpp_mcp::{rmcp::PaidServer, server::Catalog};
use mpp_server::{Misuse, PaymentServer, SessionOffer};
use rmcp::{
    RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData,
        Extensions, ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig,
        Tool,
    },
    service::RequestContext,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
    },
};
use serde_json::json;

/// Price of a call in the currency of the offer.
pub const PRICE_PER_CALL: &str = "0.01";

/// The words, with what they mean.
const GLOSSARY: [(&str, &str); 6] = [
    ("challenge", "what a server asks for before it serves"),
    ("channel", "a deposit on chain that vouchers are drawn on"),
    (
        "credential",
        "a challenge, answered with a proof of payment",
    ),
    ("receipt", "what a server says about a payment it has taken"),
    ("settle", "to have a voucher paid out by the chain"),
    ("voucher", "a signed promise over all that is owed so far"),
];

/// The words that can be explained.
pub fn words() -> impl Iterator<Item = &'static str> + Clone {
    GLOSSARY.into_iter().map(|(word, _)| word)
}

/// The tools.
#[derive(Clone, Copy, Debug, Default)]
pub struct Glossary;

/// The tool's offer, before anything is set that depends on the server.
pub fn offer(server: &PaymentServer) -> SessionOffer {
    server
        .session()
        .amount(PRICE_PER_CALL)
        .unit_type("call")
        .suggested_deposit("0.10")
        .description("Words of the protocol, explained")
}

/// The tools, of which `explain` and `recite` are paid. One line each says so.
///
/// # Errors
/// When the offer does not hold together.
pub fn tools(server: &PaymentServer, offer: SessionOffer) -> Result<PaidServer<Glossary>, Misuse> {
    let cent = offer.build()?;
    let catalog = Catalog::new(server.clone())
        .tool("explain", [cent.clone()])?
        .tool("recite", [cent])?;
    Ok(PaidServer::new(catalog, Glossary).peer_by(peer))
}

/// A router with the tools at `/mcp`, over Streamable HTTP.
///
/// # Errors
/// As [`tools`].
pub fn router(server: &PaymentServer, offer: SessionOffer) -> Result<Router, Misuse> {
    let tools = tools(server, offer)?;
    let service = StreamableHttpService::new(
        move || Ok(tools.clone()),
        Arc::new(LocalSessionManager::default()),
        StreamableHttpServerConfig::default(),
    );
    Ok(Router::new().nest_service("/mcp", service))
}

/// Who is asking, over HTTP.
fn peer(extensions: &Extensions) -> Option<IpAddr> {
    let request = extensions.get::<Parts>()?;
    let ConnectInfo(address) = request.extensions.get::<ConnectInfo<SocketAddr>>()?;
    Some(address.ip())
}

impl ServerHandler for Glossary {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let schema = |value: serde_json::Value| {
            let object = value.as_object().cloned();
            Arc::new(object.unwrap_or_default())
        };
        let word = json!({
            "type": "object", "required": ["word"],
            "properties": {"word": {"type": "string"}},
        });
        Ok(ListToolsResult::with_all_items(vec![
            Tool::new(
                "words",
                "The words that can be explained",
                schema(json!({"type": "object"})),
            ),
            Tool::new("explain", "Explains a word of the protocol", schema(word)),
            Tool::new(
                "recite",
                "Explains all of them at once",
                schema(json!({"type": "object"})),
            ),
        ]))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = request.arguments.unwrap_or_default();
        let asked = arguments.get("word").and_then(|word| word.as_str());
        let text = |text: &str| vec![ContentBlock::text(text)];
        let result = match (request.name.as_ref(), asked) {
            ("words", _) => CallToolResult::success(text(&words().collect::<Vec<_>>().join(", "))),
            ("recite", _) => {
                let lines = GLOSSARY.map(|(word, meaning)| format!("{word}: {meaning}"));
                CallToolResult::success(text(&lines.join("\n")))
            }
            ("explain", Some(asked)) => match GLOSSARY.iter().find(|(word, _)| *word == asked) {
                Some((_, meaning)) => CallToolResult::success(text(meaning)),
                None => CallToolResult::error(text("nobody knows this word")),
            },
            ("explain", None) => {
                return Err(ErrorData::invalid_params("`word` is missing", None));
            }
            (unknown, _) => {
                let message = format!("no tool has the name {unknown}");
                return Err(ErrorData::invalid_params(message, None));
            }
        };
        Ok(result.into())
    }
}
