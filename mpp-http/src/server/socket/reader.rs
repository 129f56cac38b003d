//! What a client says over a socket.

use std::time::Duration;

use axum::extract::ws::{Message, WebSocket};
use futures_util::{StreamExt as _, stream::SplitStream};
use http::{Request, Response, StatusCode};
use mpp_core::Receipt;
use mpp_server::{
    Failure,
    gate::{Attempt, Decision, Grant, Purpose, Refusal, RequestBody},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tower_service::Service;

use super::{Handed, Seller, writer::Order};
use crate::{
    server::{PaymentBody, reserve::Unaffordable},
    ws::{Frame, unheard},
};

/// How long a client may take to its first authorization, and to the next one
/// when the handler asks for more than was paid.
const PATIENCE: Duration = Duration::from_secs(30);
/// Refusals in a row after which a socket is closed. A client learns from a
/// refusal that its challenge has run out or that its voucher was overtaken,
/// so a socket that lives long has many of them in all.
const MAX_REFUSALS: u32 = 16;
/// RFC 6455, 7.4.1: the message violates the policy.
const POLICY: u16 = 1008;
/// RFC 6455, 7.4.1: the server could not do what was asked.
const FAILED: u16 = 1011;

/// Reads frames, has the gate decide, and gives the writer its orders.
pub(super) struct Reader<S, B> {
    seller: Seller<S, B>,
    orders: mpsc::Sender<Order>,
    stage: Stage,
    /// In a row.
    refusals: u32,
    /// When a client that has not paid for a stream is shown out.
    deadline: Instant,
}

fn later() -> Instant {
    let now = Instant::now();
    now.checked_add(PATIENCE).unwrap_or(now)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The next authorization buys content.
    Waiting,
    /// Authorizations only manage the channel.
    Streaming,
}

impl<S, B, R> Reader<S, B>
where
    S: Service<Request<PaymentBody<B>>, Response = Response<R>>,
{
    pub(super) fn new(seller: Seller<S, B>, orders: mpsc::Sender<Order>) -> Self {
        Self {
            seller,
            orders,
            stage: Stage::Waiting,
            refusals: 0,
            deadline: later(),
        }
    }

    /// Reads until the client is gone.
    pub(super) async fn run(&mut self, mut source: SplitStream<WebSocket>) {
        loop {
            let next = tokio::select! {
                next = unheard(source.next()) => next,
                // No sign of life extends it.
                () = sleep_until(self.deadline), if self.stage == Stage::Waiting => {
                    return self.close(POLICY).await;
                }
            };
            match next {
                Some(Ok(Message::Text(text))) => self.on_text(text.as_bytes()).await,
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Binary(_))) => {
                    self.refuse(400, "frames are JSON text".into()).await;
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
            }
        }
    }

    async fn on_text(&mut self, text: &[u8]) {
        match Frame::from_json(text) {
            Ok(Frame::Authorization { authorization }) => self.authorize(&authorization).await,
            Ok(Frame::CloseRequest) => self.order(Order::Stop).await,
            Ok(_) | Err(_) => {
                self.refuse(400, "a client sends no such frame".into())
                    .await
            }
        }
    }

    /// Has the gate decide, as about a request for content, or later on as
    /// about one that manages a channel.
    async fn authorize(&mut self, authorization: &str) {
        let purpose = match self.stage {
            Stage::Waiting => Purpose::Content,
            Stage::Streaming => Purpose::Management,
        };
        let attempt = Attempt::from_headers([authorization], [], purpose)
            .body(RequestBody::Empty)
            .peer(self.seller.peer);
        let layer = &self.seller.layer;
        match layer.server.decide(&layer.route, attempt).await {
            Decision::Grant(grant) => self.start(grant).await,
            Decision::Respond(receipt) => self.confirm(receipt).await,
            Decision::Refuse(refusal) => self.refused(&refusal).await,
            // Neither a key nor a proof comes this way.
            Decision::Replay(_) | Decision::Recognize(_) => {
                self.refuse(400, "this is not for a socket".into()).await;
            }
        }
    }

    /// Runs the handler, and starts the stream that it answers with. One that
    /// was not paid enough runs again when the client has paid what is missing.
    async fn start(&mut self, grant: Grant) {
        let answer = self.seller.serve(grant.access()).await;
        let Ok(mut response) = answer else {
            grant.release().await;
            return self.fail("the handler failed").await;
        };
        if let Some(unaffordable) = response.extensions_mut().remove::<Unaffordable>() {
            grant.release().await;
            // The chain and the handler have had their time, and not the client's.
            self.deadline = later();
            return self.decline(unaffordable.failure()).await;
        }
        let handed = response.extensions_mut().remove::<Handed>();
        let Some(stream) = handed.and_then(|handed| handed.take()) else {
            grant.release().await;
            if response.status().is_success() {
                tracing::error!("a handler answers a socket with something that is no stream");
            }
            return self.fail("the route has no stream").await;
        };
        match grant.capture(None).await {
            Ok(receipt) => {
                self.stage = Stage::Streaming;
                self.confirm(receipt).await;
                self.order(Order::Start(stream)).await;
            }
            Err(failure) => self.decline(&failure).await,
        }
    }

    async fn confirm(&mut self, receipt: Receipt) {
        self.refusals = 0;
        match receipt {
            Receipt::Session(data) => self.say(Frame::Receipt { data }).await,
            // Only sessions have streams, and only they are managed.
            Receipt::Charge(_) => self.fail("the route takes no sessions").await,
        }
    }

    /// What the gate says about a payment that could not be taken after all.
    async fn decline(&mut self, failure: &Failure) {
        let layer = &self.seller.layer;
        let refusal = layer
            .server
            .refusal(&layer.route, failure, RequestBody::Empty);
        self.refused(&refusal).await;
    }

    async fn refused(&mut self, refusal: &Refusal) {
        let problem = &refusal.problem;
        self.refuse(problem.status(), problem.to_json()).await;
    }

    /// Says no. The client may try again, a few times.
    async fn refuse(&mut self, status: u16, message: String) {
        self.say(Frame::Error { status, message }).await;
        self.refusals = self.refusals.saturating_add(1);
        if self.refusals >= MAX_REFUSALS {
            self.close(POLICY).await;
        }
    }

    async fn fail(&mut self, message: &str) {
        let status = StatusCode::INTERNAL_SERVER_ERROR.as_u16();
        let message = message.to_owned();
        self.say(Frame::Error { status, message }).await;
        self.close(FAILED).await;
    }

    async fn say(&mut self, frame: Frame) {
        self.order(Order::Say(frame)).await;
    }

    /// Has the socket closed, and reads no more.
    async fn close(&mut self, code: u16) {
        self.order(Order::Close(code)).await;
        // The writer ends, and this with it.
        std::future::pending().await
    }

    async fn order(&mut self, order: Order) {
        // A writer that is gone ends this as well.
        drop(self.orders.send(order).await);
    }
}
