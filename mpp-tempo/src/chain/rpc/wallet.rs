//! Accounts whose key a wallet or a node holds.

use core::fmt;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use alloy_primitives::{Address, B256};
use alloy_provider::ProviderBuilder;
use serde_json::{Value, json};
use tempo_alloy::TempoNetwork;
use tokio::time::{sleep, timeout};
use url::Url;

use super::request::Failure;
use super::simulate::is_unsupported;
use super::{RpcChain, RpcTimeouts, read};
use crate::chain::{ChainClient, ChainError};
use crate::tx::build::{Transfer, transfer_call};

/// Codes by which wallets and nodes say that they have not sent anything: the user refused, an
/// account is not connected, the chain or the request is not known (EIP-1193, EIP-1474), or the
/// batch is not taken (EIP-5792).
const NOT_SENT: [i64; 15] = [
    4001, 4100, 4200, 4900, 4901, 5700, 5710, 5720, 5740, 5750, 5760, -32600, -32601, -32602,
    -32700,
];

/// States of a batch (EIP-5792, `wallet_getCallsStatus`).
mod status {
    pub(super) const CONFIRMED: u64 = 200;
    pub(super) const NOT_SENT: u64 = 400;
    pub(super) const REVERTED: u64 = 500;
}

/// An account that a wallet or a node sends for, over JSON-RPC.
///
/// Transfers go out as one batch by `wallet_sendCalls` (EIP-5792), as wallets on Tempo speak it.
/// A single transfer goes out by `eth_sendTransaction` where that method is not known, as by
/// nodes that hold development keys; several transfers are then refused, since such nodes do not
/// make them all or none.
///
/// # Threat model
/// Whoever can reach the endpoint can spend what the account owns: keep it on the same machine
/// or behind authentication. What it answers about the outcome is checked with the receipt.
#[derive(Clone)]
pub struct RpcAccount {
    service: RpcChain,
    account: Address,
}

/// Why an account did not say that it has sent. Holds no part of the endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// Nothing was and will be sent, or what was sent was reverted.
    #[error("nothing was sent: {0}")]
    NotSent(String),
    /// It may have been sent.
    #[error("it may have been sent: {message}")]
    Unknown {
        /// The transaction, if it is known.
        tx_hash: Option<B256>,
        /// What happened.
        message: String,
    },
}

impl RpcAccount {
    /// Uses the account at the endpoint `url`. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ChainError::Rejected`] if it is not a URL.
    pub fn new(url: &str, account: Address) -> Result<Self, ChainError> {
        let url = Url::parse(url).map_err(|_| ChainError::rejected("endpoint is not a URL"))?;
        let provider = ProviderBuilder::<_, _, TempoNetwork>::default().connect_http(url);
        Ok(Self {
            service: RpcChain::new(provider, 0),
            account,
        })
    }

    /// Replaces the timeouts: `send` is for the request that sends, which may wait for a person,
    /// `resolve` for the receipt after it, and `poll` the pause between two looks.
    #[must_use]
    pub fn with_timeouts(mut self, timeouts: RpcTimeouts) -> Self {
        self.service = self.service.with_timeouts(timeouts);
        self
    }

    /// The account.
    #[must_use]
    pub const fn address(&self) -> Address {
        self.account
    }

    /// Makes all transfers in one transaction on the chain of this id, and waits until that is
    /// mined.
    ///
    /// # Errors
    /// [`SendError::NotSent`] only when nothing was and will be sent, or it was reverted.
    ///
    /// # Cancel safety
    /// Dropped, the transaction may have been sent.
    pub async fn send(&self, chain_id: u64, transfers: &[Transfer]) -> Result<B256, SendError> {
        self.check(chain_id).await?;
        let calls: Vec<Value> = transfers.iter().map(call).collect();
        let batch = json!([{
            "version": "2.0.0",
            "chainId": format!("{chain_id:#x}"),
            "from": self.account,
            "atomicRequired": calls.len() > 1,
            "calls": calls,
        }]);
        match self.ask("wallet_sendCalls", batch).await? {
            Ok(answer) => self.follow_batch(&answer).await,
            Err((code, message)) if is_unsupported(code, &message) => {
                self.send_alone(chain_id, calls).await
            }
            Err((code, message)) => Err(refused(code, message)),
        }
    }

    /// The endpoint must be on the chain, and have the account.
    async fn check(&self, chain_id: u64) -> Result<(), SendError> {
        let not_sent = |error: ChainError| SendError::NotSent(format!("{error}"));
        let answer = self.service.request("eth_chainId", json!([])).await;
        if read::quantity(&answer.map_err(not_sent)?) != Some(chain_id) {
            return Err(SendError::NotSent("it is on another chain".into()));
        }
        let answer = self.service.request("eth_accounts", json!([])).await;
        let accounts = answer.map_err(not_sent)?;
        let mut accounts = accounts.as_array().into_iter().flatten();
        if accounts.any(|account| read::address(account) == Some(self.account)) {
            return Ok(());
        }
        Err(SendError::NotSent("it does not have the account".into()))
    }

    async fn send_alone(&self, chain_id: u64, calls: Vec<Value>) -> Result<B256, SendError> {
        let [call] = calls.as_slice() else {
            let why = "it can not make several transfers at once";
            return Err(SendError::NotSent(why.into()));
        };
        let mut transaction = call.clone();
        if let Some(members) = transaction.as_object_mut() {
            members.insert("from".into(), json!(self.account));
            members.insert("chainId".into(), json!(format!("{chain_id:#x}")));
        }
        let sent = self
            .ask("eth_sendTransaction", json!([transaction]))
            .await?;
        let answer = sent.map_err(|(code, message)| refused(code, message))?;
        let hash = hash(&answer).ok_or_else(|| unknown(None, "it answered with no hash"))?;
        self.judge(hash).await
    }

    /// The answer to a request that sends, or the error that came instead.
    async fn ask(
        &self,
        method: &'static str,
        params: Value,
    ) -> Result<Result<Value, (i64, String)>, SendError> {
        let limit = self.service.timeouts.send;
        match timeout(limit, self.service.raw(method, params)).await {
            Ok(Ok(answer)) => Ok(Ok(answer)),
            Ok(Err(Failure::Refused { code, message })) => Ok(Err((code, message))),
            Ok(Err(Failure::NotSent(message))) => Err(SendError::NotSent(message)),
            Ok(Err(Failure::NoAnswer(message) | Failure::Malformed(message))) => {
                Err(unknown(None, &message))
            }
            Err(_) => Err(unknown(None, "no answer in time")),
        }
    }

    /// Waits until a batch has ended.
    async fn follow_batch(&self, answer: &Value) -> Result<B256, SendError> {
        // Wallets of the first version answered with the id alone.
        let id = answer.get("id").unwrap_or(answer).as_str();
        let id = id.ok_or_else(|| unknown(None, "it answered with no id"))?;
        let timeouts = self.service.timeouts;
        let ended = async {
            loop {
                let asked = self.service.request("wallet_getCallsStatus", json!([id]));
                if let Ok(batch) = asked.await
                    && let Some(ended) = Batch::ended(&batch)
                {
                    return ended;
                }
                sleep(timeouts.poll).await;
            }
        };
        let waited = timeout(timeouts.send.saturating_add(timeouts.resolve), ended).await;
        match waited.map_err(|_| unknown(None, "the batch has not ended in time"))? {
            Batch::NotSent => Err(SendError::NotSent("the wallet did not send it".into())),
            Batch::Reverted => Err(SendError::NotSent("the transaction was reverted".into())),
            Batch::Mined(hash) => self.judge(hash).await,
            Batch::Torn(hash) => Err(unknown(hash, "it was not sent as one transaction")),
        }
    }

    /// What the receipt says is what has happened.
    async fn judge(&self, hash: B256) -> Result<B256, SendError> {
        let timeouts = self.service.timeouts;
        let look = async {
            loop {
                if let Ok(Some(receipt)) = self.service.receipt(hash).await {
                    return receipt;
                }
                sleep(timeouts.poll).await;
            }
        };
        let receipt = timeout(timeouts.resolve, look).await;
        let receipt = receipt.map_err(|_| unknown(Some(hash), "it was not mined in time"))?;
        if receipt.from != self.account {
            return Err(unknown(Some(hash), "it was sent from another account"));
        }
        if receipt.success {
            Ok(hash)
        } else {
            Err(SendError::NotSent("the transaction was reverted".into()))
        }
    }
}

impl fmt::Debug for RpcAccount {
    /// The endpoint is left out: it may carry a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RpcAccount")
            .field("account", &self.account)
            .finish_non_exhaustive()
    }
}

/// How a batch has ended.
enum Batch {
    NotSent,
    Reverted,
    Mined(B256),
    /// In several transactions, or in part.
    Torn(Option<B256>),
}

impl Batch {
    /// `None`: not yet, or the answer says nothing.
    fn ended(answer: &Value) -> Option<Self> {
        let empty = Vec::new();
        let receipts = answer.get("receipts").and_then(Value::as_array);
        let receipts = receipts.unwrap_or(&empty);
        let first = receipts
            .first()
            .and_then(|receipt| receipt.get("transactionHash"));
        let first = first.and_then(hash);
        match read::quantity(answer.get("status")?)? {
            code if code < status::CONFIRMED => None,
            status::CONFIRMED => Some(match (receipts.len(), first) {
                (1, Some(hash)) => Self::Mined(hash),
                (_, first) => Self::Torn(first),
            }),
            status::NOT_SENT => Some(Self::NotSent),
            status::REVERTED => Some(Self::Reverted),
            _ => Some(Self::Torn(first)),
        }
    }
}

fn refused(code: i64, message: String) -> SendError {
    if NOT_SENT.contains(&code) {
        SendError::NotSent(message)
    } else {
        unknown(None, &message)
    }
}

fn unknown(tx_hash: Option<B256>, message: &str) -> SendError {
    SendError::Unknown {
        tx_hash,
        message: message.into(),
    }
}

fn hash(value: &Value) -> Option<B256> {
    let bytes = read::bytes(value)?;
    B256::try_from(bytes.as_ref()).ok()
}

fn call(transfer: &Transfer) -> Value {
    let data = transfer_call(transfer).input;
    json!({"to": transfer.token, "data": data, "value": "0x0"})
}
