//! Plain JSON-RPC, for what no client library asks.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};
use tokio::time::timeout;

/// A node that has not answered by then never will: anvil keeps silent about some transactions.
const PATIENCE: Duration = Duration::from_secs(20);

/// A JSON-RPC endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Rpc {
    url: String,
    http: reqwest::Client,
}

impl Rpc {
    pub(crate) fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            http: reqwest::Client::new(),
        }
    }

    /// The result of a call; its error is an error.
    pub(crate) async fn call(&self, method: &str, params: Value) -> anyhow::Result<Value> {
        let answer = self.answer(method, params).await?;
        match answer.get("error") {
            Some(error) => anyhow::bail!("{method}: {error}"),
            None => Ok(answer.get("result").cloned().unwrap_or_default()),
        }
    }

    /// The whole answer to a call, whether result or error.
    pub(crate) async fn answer(&self, method: &str, params: Value) -> anyhow::Result<Value> {
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let answer = timeout(PATIENCE, self.forward(&request)).await;
        answer.with_context(|| format!("{method} has no answer"))?
    }

    /// The answer to a request that somebody else has written, however long it takes.
    pub(crate) async fn forward(&self, request: &Value) -> anyhow::Result<Value> {
        let answer = self.http.post(&self.url).json(request).send().await?;
        Ok(answer.json().await?)
    }
}
