//! Frames of one socket, put where they belong.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use mpp_client::credential::CredentialField;
use mpp_client::exchange::{ManageWire, SendError, refusal};
use mpp_client::flow::{Answer, Probe, ReceiptField};
use mpp_client::{ClientError, TransportError};
use mpp_core::{Problem, SessionReceipt};
use mpp_tempo::wire::NeedVoucher;
use tokio_tungstenite::tungstenite::Message;

use super::broken;
use super::connect::Socket;
use crate::client::wire::{Resource, TIMEOUT};
use crate::ws::{Frame, unheard};

/// Memory for texts that wait while something else is read, in bytes. What was authorized ahead
/// of need comes as fast as the socket takes it, so their number says nothing.
const MAX_WAITING: usize = 16 * 1024 * 1024;
/// What keeping a text takes beside its bytes.
const TEXT_OVERHEAD: usize = 64;
/// How long saying goodbye may take.
const FAREWELL: Duration = Duration::from_secs(5);

/// A socket and what has come over it.
pub(super) struct Line {
    resource: Resource,
    socket: Socket,
    /// Content that nobody has read yet.
    ready: VecDeque<String>,
    /// The memory that it takes, in bytes.
    waiting: usize,
    /// The voucher that the stream waits for.
    pub(super) need: Option<NeedVoucher>,
    /// The receipt that the stream has ended with.
    pub(super) ended: Option<SessionReceipt>,
    /// Credentials that were sent and not answered yet. The answers come in the same order.
    unanswered: u32,
}

/// What is no content.
enum Word {
    Receipt(SessionReceipt),
    Error(u16, String),
}

impl Line {
    pub(super) const fn new(resource: Resource, socket: Socket) -> Self {
        Self {
            resource,
            socket,
            ready: VecDeque::new(),
            waiting: 0,
            need: None,
            ended: None,
            unanswered: 0,
        }
    }

    /// A text that has come already.
    pub(super) fn ready(&mut self) -> Option<String> {
        let text = self.ready.pop_front()?;
        self.waiting = self.waiting.saturating_sub(memory(&text));
        Some(text)
    }

    /// Reads one frame. A receipt that nobody waits for is returned.
    pub(super) async fn read(&mut self) -> Result<Option<SessionReceipt>, ClientError> {
        let is_late = self.unanswered > 0;
        match self.frame().await.map_err(ClientError::Transport)? {
            None => Ok(None),
            Some(Word::Receipt(receipt)) => Ok(Some(receipt)),
            // Who has sent what is refused here has given it up.
            Some(Word::Error(..)) if is_late => Ok(None),
            Some(Word::Error(status, message)) => {
                Err(refusal(status, problem(&message).map(Box::new)))
            }
        }
    }

    /// Asks for the end of the stream, unless it has come, and reads on to it.
    pub(super) async fn finish(&mut self) -> Result<(), ClientError> {
        if self.ended.is_some() {
            return Ok(());
        }
        let end = async {
            let asked = self.say(&Frame::CloseRequest).await;
            asked.map_err(ClientError::Transport)?;
            while self.ended.is_none() {
                // Nothing more is signed for a stream that is to end.
                self.need = None;
                self.read().await?;
            }
            Ok(())
        };
        tokio::time::timeout(TIMEOUT, end)
            .await
            .unwrap_or_else(|_| {
                let late = TransportError::new("the stream did not end in time");
                Err(ClientError::Transport(late))
            })
    }

    pub(super) async fn hang_up(&mut self) {
        // Who does not answer is left alone.
        let _late = tokio::time::timeout(FAREWELL, unheard(self.socket.close(None))).await;
    }

    /// Sends a credential, and reads on to its answer.
    async fn ask(&mut self, field: &CredentialField) -> Result<Word, TransportError> {
        let authorization = field.value.clone();
        self.unanswered = self.unanswered.saturating_add(1);
        let answer = async {
            self.say(&Frame::Authorization { authorization }).await?;
            loop {
                match self.frame().await? {
                    Some(word) if self.unanswered == 0 => return Ok(word),
                    // The answer to an earlier one, which has come too late.
                    Some(_) | None => {}
                }
            }
        };
        tokio::time::timeout(TIMEOUT, answer)
            .await
            .unwrap_or_else(|_| Err(TransportError::new("the answer did not come in time")))
    }

    async fn say(&mut self, frame: &Frame) -> Result<(), TransportError> {
        let text = Message::Text(frame.to_json().into());
        unheard(self.socket.send(text)).await.map_err(broken)
    }

    /// Reads one frame, and keeps it unless it is an answer.
    async fn frame(&mut self) -> Result<Option<Word>, TransportError> {
        // Before a frame is taken in, so that no text is lost.
        if self.waiting >= MAX_WAITING {
            return Err(TransportError::new(
                "more of its content waits than can be kept",
            ));
        }
        let text = match unheard(self.socket.next()).await {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Close(_))) | None => {
                return Err(TransportError::new("the server has closed the socket"));
            }
            Some(Ok(_)) => return Ok(None),
            Some(Err(error)) => return Err(broken(error)),
        };
        match Frame::from_json(text.as_bytes()) {
            Ok(Frame::Message { data }) => {
                self.waiting = self.waiting.saturating_add(memory(&data));
                self.ready.push_back(data);
                Ok(None)
            }
            Ok(Frame::NeedVoucher { data }) => {
                self.need = Some(data);
                Ok(None)
            }
            Ok(Frame::CloseReady { data }) => {
                self.need = None;
                self.ended = Some(data);
                Ok(None)
            }
            Ok(Frame::Receipt { data }) => {
                self.unanswered = self.unanswered.saturating_sub(1);
                Ok(Some(Word::Receipt(data)))
            }
            Ok(Frame::Error { status, message }) => {
                self.unanswered = self.unanswered.saturating_sub(1);
                Ok(Some(Word::Error(status, message)))
            }
            Ok(Frame::Authorization { .. } | Frame::CloseRequest) | Err(_) => {
                Err(TransportError::new("one of its frames can not be read"))
            }
        }
    }
}

impl ManageWire for Line {
    async fn manage(
        &mut self,
        _: Probe,
        field: Option<&CredentialField>,
    ) -> Result<Answer, SendError> {
        let Some(field) = field else {
            return self.resource.get().await;
        };
        let word = self.ask(field).await.map_err(SendError::MayHaveArrived)?;
        Ok(match word {
            Word::Receipt(receipt) => Answer {
                status: 200,
                receipt: ReceiptField::Session(Box::new(receipt)),
                ..Answer::default()
            },
            Word::Error(status, message) => Answer {
                status,
                problem: problem(&message),
                challenges: match status {
                    // A frame has no room for a fresh challenge.
                    402 | 410 => self.resource.get().await?.challenges,
                    _ => Vec::new(),
                },
                ..Answer::default()
            },
        })
    }
}

/// What keeping a text takes, in bytes.
const fn memory(text: &str) -> usize {
    text.len().saturating_add(TEXT_OVERHEAD)
}

/// Servers write the problem; some only a sentence.
fn problem(message: &str) -> Option<Problem> {
    Problem::from_json(message.as_bytes()).ok()
}
