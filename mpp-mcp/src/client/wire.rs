//! Plain JSON-RPC messages as a wire of `mpp-client`.

use std::{future::Future, time::Duration};

use mpp_client::{
    TransportError,
    credential::CredentialField,
    exchange::{Acquaintance, ManageWire, SendError, Track, Wire},
    flow::{Answer, Probe},
};
use mpp_tempo::ChannelId;
use serde_json::Value;

use super::{
    answer::{self, Verdict},
    call::Credentials,
};
use crate::{
    error::RpcError,
    meta::{self, META, Members},
    operation::Operation,
};

/// How long one management request may take: a top-up or a close waits for the chain.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Moves requests of JSON-RPC and brings their answers.
///
/// An implementation adds version and id, and finds the answer to an id. It
/// must not log or keep requests: they hold credentials.
pub trait Transport: Send + Sync {
    /// Sends a request and waits for its answer.
    ///
    /// `meta` goes to the root of the message, beside `params`.
    ///
    /// # Cancel safety
    /// Dropped, the request may have arrived.
    fn call(
        &self,
        method: &str,
        params: Option<Value>,
        meta: Members,
    ) -> impl Future<Output = Result<Reply, SendError>> + Send;
}

/// An answer of JSON-RPC.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// Its result, or its error.
    pub result: Result<Value, RpcError>,
    /// What stands beside it, at the root of the message.
    pub meta: Members,
}

impl Reply {
    /// Reads a response message.
    ///
    /// # Errors
    /// For what is neither a result nor an error.
    pub fn read(mut message: Value) -> Result<Self, SendError> {
        let mut take = |name: &str| message.get_mut(name).map(Value::take);
        let meta = match take(META) {
            Some(Value::Object(meta)) => meta,
            Some(_) | None => Members::new(),
        };
        let error = take("error").and_then(|error| serde_json::from_value(error).ok());
        let result = match (take("result"), error) {
            (Some(result), None) => Ok(result),
            (None, Some(error)) => Err(error),
            (Some(_), Some(_)) | (None, None) => {
                let what = TransportError::new("the answer is no response of JSON-RPC");
                return Err(SendError::MayHaveArrived(what));
            }
        };
        Ok(Self { result, meta })
    }

    /// Metadata of the answer: nested for MCP, at the root otherwise.
    fn payment(&self, operation: &Operation) -> Option<&Members> {
        match &self.result {
            Ok(result) if operation.is_mcp() => meta::of(result),
            Ok(_) | Err(_) => Some(&self.meta),
        }
    }

    fn answer(&self, operation: &Operation) -> Answer {
        match &self.result {
            Ok(result) => {
                let is_error = result.get("isError") == Some(&Value::Bool(true));
                let verdict = if operation.is_mcp() && is_error {
                    Verdict::Failure
                } else {
                    Verdict::Success
                };
                answer::of_result(self.payment(operation), verdict)
            }
            Err(error) => answer::of_error(error),
        }
    }
}

/// One call of a server, in the types of whoever makes it.
pub(crate) trait Caller: Send + Sync {
    type Reply: Send;

    /// Makes the call, with these members in its metadata.
    fn call(&self, payment: Members)
    -> impl Future<Output = Result<Self::Reply, SendError>> + Send;

    /// What a reply says about payment.
    fn read(&self, reply: &Self::Reply) -> Answer;

    /// The metadata of a reply.
    fn meta_of<'r>(&self, reply: &'r Self::Reply) -> Option<&'r Members>;

    /// Takes note of the channel that pays.
    fn note(&self, channel: ChannelId);
}

/// One call as a wire of `mpp-client`.
pub(crate) struct CallWire<C> {
    pub(crate) caller: C,
    pub(crate) credentials: Credentials,
}

impl<C: Caller> CallWire<C> {
    /// Makes a call without content, in a time that is limited: nobody else opens, refills or closes
    /// channels meanwhile.
    async fn manage_by(&self, payment: Members) -> Result<C::Reply, SendError> {
        let called = tokio::time::timeout(TIMEOUT, self.caller.call(payment)).await;
        called.unwrap_or_else(|_| {
            let late = TransportError::new("the server has not answered in time");
            Err(SendError::MayHaveArrived(late))
        })
    }
}

impl<C: Caller> ManageWire for CallWire<C> {
    async fn manage(
        &mut self,
        _: Probe,
        field: Option<&CredentialField>,
    ) -> Result<Answer, SendError> {
        let payment = Credentials::management(field).map_err(SendError::Unsendable)?;
        let reply = self.manage_by(payment).await?;
        Ok(self.caller.read(&reply))
    }
}

impl<C: Caller> Wire for CallWire<C> {
    type Content = C::Reply;

    async fn send(
        &mut self,
        field: Option<&CredentialField>,
    ) -> Result<(Answer, C::Reply), SendError> {
        let payment = self.credentials.content(field);
        let payment = payment.map_err(SendError::Unsendable)?;
        let reply = self.caller.call(payment).await?;
        Ok((self.caller.read(&reply), reply))
    }

    async fn introduce(
        &mut self,
        proof: Option<&CredentialField>,
    ) -> Result<Acquaintance, SendError> {
        let payment = Credentials::introduction(proof).map_err(SendError::Unsendable)?;
        let reply = self.manage_by(payment).await?;
        let answer = self.caller.read(&reply);
        let meta = self.caller.meta_of(&reply);
        Ok(answer::acquaintance(answer, meta))
    }

    async fn pause(&mut self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    fn paid_by(&mut self, channel: ChannelId) {
        self.caller.note(channel);
    }
}

/// One call over a transport of plain messages.
pub(super) struct RpcCall<'a, T> {
    pub(super) transport: &'a T,
    pub(super) operation: &'a Operation,
    pub(super) params: Option<&'a Value>,
    pub(super) track: &'a Track<(Operation, Option<Value>)>,
}

impl<T: Transport> Caller for RpcCall<'_, T> {
    type Reply = Reply;

    async fn call(&self, payment: Members) -> Result<Reply, SendError> {
        let mut params = self.params.cloned();
        let mut root = Members::new();
        if self.operation.is_mcp() {
            let nested = params.get_or_insert_with(|| Value::Object(Members::new()));
            meta::add(nested, payment);
        } else {
            root = payment;
        }
        self.transport
            .call(self.operation.method(), params, root)
            .await
    }

    fn read(&self, reply: &Reply) -> Answer {
        reply.answer(self.operation)
    }

    fn meta_of<'r>(&self, reply: &'r Reply) -> Option<&'r Members> {
        reply.payment(self.operation)
    }

    fn note(&self, channel: ChannelId) {
        let call = (self.operation.clone(), self.params.cloned());
        self.track.note(channel, call);
    }
}

#[cfg(test)]
mod tests {
    use super::super::CallOptions;
    use super::*;

    /// A server that never answers.
    struct Silent;

    impl Caller for Silent {
        type Reply = ();

        async fn call(&self, _: Members) -> Result<(), SendError> {
            std::future::pending().await
        }

        fn read(&self, (): &()) -> Answer {
            Answer::default()
        }

        fn meta_of<'r>(&self, (): &'r ()) -> Option<&'r Members> {
            None
        }

        fn note(&self, _: ChannelId) {}
    }

    // Whoever manages a channel keeps others from doing so, and must come to an end.
    #[tokio::test(start_paused = true)]
    async fn only_a_call_for_content_waits_as_long_as_the_server_likes() {
        let operation = Operation::Tool(String::from("search"));
        let credentials = Credentials::of(&operation, &CallOptions::default(), "tempo/session");
        let mut wire = CallWire {
            caller: Silent,
            credentials: credentials.unwrap(),
        };
        let limit = TIMEOUT + Duration::from_secs(1);
        let managed = tokio::time::timeout(limit, wire.manage(Probe::Head, None)).await;
        assert!(matches!(managed, Ok(Err(SendError::MayHaveArrived(_)))));
        let known = tokio::time::timeout(limit, wire.introduce(None)).await;
        assert!(matches!(known, Ok(Err(SendError::MayHaveArrived(_)))));
        let sent = tokio::time::timeout(limit, wire.send(None)).await;
        assert!(sent.is_err());
    }
}
