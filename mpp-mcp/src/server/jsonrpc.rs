//! Serving plain JSON-RPC: a message in, its answer out.

use std::{future::Future, net::IpAddr};

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::{Admission, Call, Catalog, Paid};
use crate::{
    error::{self, INVALID_REQUEST, RpcError},
    meta::{META, Members},
    operation::Operation,
};

/// Requests that one batch may hold.
const MAX_BATCH: usize = 64;

/// A request as its handler sees it: nothing in it is about payment.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: String,
    /// Its parameters.
    pub params: Option<Value>,
    /// How it was paid; `None` for a free one.
    pub paid: Option<Paid>,
}

/// A message that may be answered.
struct Message {
    /// Absent in a notification.
    id: Option<Value>,
    method: String,
    params: Option<Value>,
    meta: Members,
}

impl Message {
    fn read(message: Value) -> Result<Self, Value> {
        let Value::Object(mut members) = message else {
            return Err(Value::Null);
        };
        let id = members.remove("id");
        let is_id = matches!(
            id,
            None | Some(Value::Null | Value::String(_) | Value::Number(_))
        );
        // What is no id is not repeated: it may hold anything, a credential too.
        let known = id.clone().filter(|_| is_id).unwrap_or_default();
        let is_version = members.get("jsonrpc") == Some(&json!("2.0"));
        let Some(Value::String(method)) = members.remove("method") else {
            return Err(known);
        };
        let params = members.remove("params");
        let is_params = matches!(params, None | Some(Value::Object(_) | Value::Array(_)));
        if !is_id || !is_version || !is_params {
            return Err(known);
        }
        let meta = match members.remove(META) {
            Some(Value::Object(meta)) => meta,
            _ => Members::new(),
        };
        Ok(Self {
            id,
            method,
            params,
            meta,
        })
    }

    /// The call, with everything about payment taken out of the message.
    fn call(&mut self, peer: Option<IpAddr>) -> Call {
        let operation = Operation::of(&self.method, self.params.as_ref());
        let mut call = Call::new(operation).take_from(&mut self.meta);
        let nested = self.params.as_mut().and_then(|params| params.get_mut(META));
        if let Some(Value::Object(meta)) = nested {
            call = call.take_from(meta);
        }
        call.with_arguments(&Arguments(self.params.as_ref()))
            .with_peer(peer)
    }
}

/// What an operation is to be done with: its parameters without their
/// metadata, which tells of one sending of the request and not of the request
/// (an SDK stamps each with a progress token of its own).
struct Arguments<'a>(Option<&'a Value>);

impl Serialize for Arguments<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(Value::Object(members)) => {
                serializer.collect_map(members.iter().filter(|(name, _)| *name != META))
            }
            other => other.serialize(serializer),
        }
    }
}

impl Catalog {
    /// Answers one message, or one batch of them, of a server of JSON-RPC.
    ///
    /// `handler` runs for free operations, and for paid ones once they are
    /// paid. `None` when there is nothing to answer. Requests of a batch are
    /// served one after the other.
    ///
    /// # Cancel safety
    /// Dropped, the request that was being served is not charged.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(catalog: mpp_mcp::server::Catalog) {
    /// use mpp_mcp::{RpcError, server::Request};
    /// use serde_json::json;
    ///
    /// let call = json!({"jsonrpc": "2.0", "id": 1, "method": "eth_blockNumber"});
    /// let answer = catalog
    ///     .serve(call, None, |request: Request| async move {
    ///         match &*request.method {
    ///             "eth_blockNumber" => Ok(json!("0x10")),
    ///             _ => Err(RpcError::method_not_found()),
    ///         }
    ///     })
    ///     .await;
    /// # drop(answer);
    /// # }
    /// ```
    pub async fn serve<F, Fut>(
        &self,
        message: Value,
        peer: Option<IpAddr>,
        handler: F,
    ) -> Option<Value>
    where
        F: Fn(Request) -> Fut,
        Fut: Future<Output = Result<Value, RpcError>>,
    {
        let Value::Array(batch) = message else {
            return self.answer(message, peer, &handler).await;
        };
        if batch.is_empty() || batch.len() > MAX_BATCH {
            return Some(failure(&Value::Null, &invalid()));
        }
        let mut answers = Vec::new();
        for message in batch {
            answers.extend(self.answer(message, peer, &handler).await);
        }
        (!answers.is_empty()).then_some(Value::Array(answers))
    }

    async fn answer<F, Fut>(
        &self,
        message: Value,
        peer: Option<IpAddr>,
        handler: &F,
    ) -> Option<Value>
    where
        F: Fn(Request) -> Fut,
        Fut: Future<Output = Result<Value, RpcError>>,
    {
        let mut message = match Message::read(message) {
            Ok(message) => message,
            Err(id) => return Some(failure(&id, &invalid())),
        };
        let call = message.call(peer);
        let Message {
            id, method, params, ..
        } = message;
        let request = |paid| Request {
            method,
            params,
            paid,
        };
        let Some(id) = id else {
            // A challenge could not be answered, so nothing is processed
            // (draft-payment-transport-mcp-00, Notifications).
            if self.sells(&call.operation) {
                tracing::debug!("a notification of a paid operation was dropped");
            } else {
                drop(handler(request(None)).await);
            }
            return None;
        };
        let answer = match self.admit(call).await {
            Admission::Free => {
                let result = handler(request(None)).await;
                result.map(|result| (result, Members::new()))
            }
            Admission::Granted(sale) => {
                let outcome = handler(request(Some(sale.paid()))).await;
                let settled = sale.settle(outcome).await;
                settled.map(super::Success::into_parts)
            }
            Admission::Answered(success) => Ok(success.into_parts()),
            Admission::Refused(error) => Err(error),
        };
        Some(match answer {
            Ok((result, meta)) => success(&id, &result, meta),
            Err(error) => failure(&id, &error),
        })
    }
}

fn invalid() -> RpcError {
    RpcError::new(INVALID_REQUEST, error::message(INVALID_REQUEST))
}

fn success(id: &Value, result: &Value, meta: Members) -> Value {
    let mut answer = json!({ "jsonrpc": "2.0", "id": id, "result": result });
    if let (Value::Object(members), false) = (&mut answer, meta.is_empty()) {
        members.insert(META.into(), Value::Object(meta));
    }
    answer
}

fn failure(id: &Value, error: &RpcError) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "error": error })
}

#[cfg(test)]
mod tests;
