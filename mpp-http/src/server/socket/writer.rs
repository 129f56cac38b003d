//! What a client hears over a socket.

use std::time::Duration;

use axum::{
    Error,
    extract::ws::{CloseFrame, Message, WebSocket},
};
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _, stream::SplitSink};
use mpp_server::session::meter::{self, MeteredStream};
use tokio::sync::mpsc;

use crate::ws::{Frame, unheard};

/// Idle time after which the client gets a sign of life.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Signs of life after a stream has ended and before the socket is closed: a
/// client that closes its channel waits for the chain.
const LINGER: u32 = 8;
/// How long the last frames may take.
const FAREWELL: Duration = Duration::from_secs(10);
/// RFC 6455, 7.4.1: all is done.
const NORMAL: u16 = 1000;
/// RFC 6455, 7.4.1: the server could not go on.
const FAILED: u16 = 1011;

/// What is to be sent, or done.
pub(super) enum Order {
    /// Send this.
    Say(Frame),
    /// Send this stream, as far as the client takes it.
    Start(MeteredStream),
    /// End the stream, with its receipt.
    Stop,
    /// Close the socket.
    Close(u16),
}

/// Writes frames as the client takes them: that is the back-pressure which
/// keeps anything that nobody takes from being charged.
pub(super) struct Writer {
    sink: SplitSink<WebSocket, Message>,
    orders: mpsc::Receiver<Order>,
    stream: Content,
}

enum Content {
    /// Nothing was streamed yet.
    None,
    Running(Box<MeteredStream>),
    /// The stream is over; so many signs of life ago.
    Over(u32),
}

/// What happens next.
enum Next {
    Order(Order),
    Frame(Option<meter::Frame>),
    Idle,
}

impl Writer {
    pub(super) const fn new(
        sink: SplitSink<WebSocket, Message>,
        orders: mpsc::Receiver<Order>,
    ) -> Self {
        Self {
            sink,
            orders,
            stream: Content::None,
        }
    }

    /// Writes until the socket is closed.
    pub(super) async fn run(&mut self) {
        while let Ok(None) = self.step().await {}
    }

    /// Does one thing; a code when the socket was closed with it.
    async fn step(&mut self) -> Result<Option<u16>, Error> {
        match self.next().await {
            Next::Order(Order::Say(frame)) => self.say(&frame).await?,
            Next::Order(Order::Start(stream)) => self.stream = Content::Running(Box::new(stream)),
            Next::Order(Order::Stop) => match &mut self.stream {
                Content::Running(stream) => stream.stop(),
                // Nothing runs that could be ended.
                Content::None | Content::Over(_) => return self.close(NORMAL).await,
            },
            Next::Order(Order::Close(code)) => return self.close(code).await,
            Next::Frame(Some(frame)) => self.say(&translate(frame)).await?,
            Next::Frame(None) => self.stream = Content::Over(0),
            Next::Idle => {
                if let Content::Over(signs) = &mut self.stream {
                    *signs = signs.saturating_add(1);
                    if *signs > LINGER {
                        return self.close(NORMAL).await;
                    }
                }
                unheard(self.sink.send(Message::Ping(Bytes::new()))).await?;
            }
        }
        Ok(None)
    }

    async fn next(&mut self) -> Next {
        let frame = async {
            match &mut self.stream {
                Content::Running(stream) => stream.next().await,
                Content::None | Content::Over(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            order = self.orders.recv() => Next::Order(order.unwrap_or(Order::Close(FAILED))),
            frame = frame => Next::Frame(frame),
            () = tokio::time::sleep(HEARTBEAT) => Next::Idle,
        }
    }

    async fn say(&mut self, frame: &Frame) -> Result<(), Error> {
        unheard(self.sink.send(Message::Text(frame.to_json().into()))).await
    }

    async fn close(&mut self, code: u16) -> Result<Option<u16>, Error> {
        let reason = axum::extract::ws::Utf8Bytes::from_static("");
        let farewell = Message::Close(Some(CloseFrame { code, reason }));
        // Who does not take it is left alone.
        let sent = tokio::time::timeout(FAREWELL, unheard(self.sink.send(farewell))).await;
        sent.unwrap_or(Ok(()))?;
        Ok(Some(code))
    }
}

/// The last frame of a stream tells that it is over.
fn translate(frame: meter::Frame) -> Frame {
    match frame {
        meter::Frame::Data(data) => Frame::Message { data },
        meter::Frame::NeedVoucher(data) => Frame::NeedVoucher { data },
        meter::Frame::Receipt(data) => Frame::CloseReady { data },
    }
}
