//! The stored form of an effect.
//!
//! The order of members and variants is the format: it never changes.

use alloy_primitives::B256;
use bytes::Bytes;
use mpp_core::{Amount, Timestamp};
use serde::{Deserialize, Serialize};

use super::effect::{self, Effect, Inclusion, TxResult};
use crate::{
    settle::schedule,
    store::{
        DocumentKind,
        codec::{CodecError, StoredVoucher, decode_document, encode_document},
    },
};

type Hash = [u8; 32];

#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    id: Hash,
    reason: Reason,
    items: Vec<Item>,
    attempts: Vec<Attempt>,
    state: State,
    created_at: i64,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Reason {
    CloseRequest,
    Payer,
    ChannelAmount,
    PayerAmount,
    TokenAmount,
    TotalAmount,
    Units,
    Age,
    Idle,
    Demand,
    Shutdown,
}

#[derive(Debug, Serialize, Deserialize)]
struct Item {
    channel: Hash,
    collect: Collect,
    voucher: StoredVoucher,
    amount: u128,
    before: Option<Hash>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Collect {
    Settle,
    Close,
}

#[derive(Debug, Serialize, Deserialize)]
struct Attempt {
    hash: Hash,
    valid_before: u64,
    max_fee_per_gas: u128,
    raw: Option<Bytes>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum State {
    Prepared,
    Broadcast,
    Unknown,
    Mined {
        transaction: Hash,
        block: u64,
        reverted: bool,
    },
    Final(Hash),
    Reverted(Hash),
    Refused,
    Expired,
    Superseded,
}

/// The stored form of an effect of this kind: under way, or finished.
pub(super) fn encode(kind: DocumentKind, effect: &Effect) -> Result<Bytes, CodecError> {
    encode_document(kind, &Stored::from(effect))
}

/// Reads an effect.
pub(super) fn decode(kind: DocumentKind, bytes: &[u8]) -> Result<Effect, CodecError> {
    Effect::try_from(decode_document::<Stored>(kind, bytes)?)
}

impl From<&Effect> for Stored {
    fn from(effect: &Effect) -> Self {
        Self {
            id: effect.id.into(),
            reason: effect.reason.into(),
            items: effect.items.iter().map(Into::into).collect(),
            attempts: effect.attempts.iter().map(Into::into).collect(),
            state: effect.state.into(),
            created_at: effect.created_at.as_millis(),
        }
    }
}

impl TryFrom<Stored> for Effect {
    type Error = CodecError;

    fn try_from(stored: Stored) -> Result<Self, CodecError> {
        let items = stored.items.into_iter().map(TryInto::try_into);
        Ok(Self {
            id: stored.id.into(),
            reason: stored.reason.into(),
            items: items.collect::<Result<_, _>>()?,
            attempts: stored.attempts.into_iter().map(Into::into).collect(),
            state: stored.state.into(),
            created_at: Timestamp::from_millis(stored.created_at),
        })
    }
}

impl From<&effect::Item> for Item {
    fn from(item: &effect::Item) -> Self {
        Self {
            channel: item.channel.into(),
            collect: match item.collect {
                schedule::Collect::Settle => Collect::Settle,
                schedule::Collect::Close => Collect::Close,
            },
            voucher: (&item.voucher).into(),
            amount: item.amount.base_units(),
            before: item.before.map(Into::into),
        }
    }
}

impl TryFrom<Item> for effect::Item {
    type Error = CodecError;

    fn try_from(stored: Item) -> Result<Self, CodecError> {
        let channel = stored.channel.into();
        Ok(Self {
            channel,
            collect: match stored.collect {
                Collect::Settle => schedule::Collect::Settle,
                Collect::Close => schedule::Collect::Close,
            },
            voucher: stored.voucher.of(channel)?,
            amount: Amount::new(stored.amount),
            before: stored.before.map(B256::new),
        })
    }
}

impl From<&effect::Attempt> for Attempt {
    fn from(attempt: &effect::Attempt) -> Self {
        Self {
            hash: attempt.hash.into(),
            valid_before: attempt.valid_before,
            max_fee_per_gas: attempt.max_fee_per_gas,
            raw: attempt.raw.as_ref().map(|raw| raw.0.clone()),
        }
    }
}

impl From<Attempt> for effect::Attempt {
    fn from(stored: Attempt) -> Self {
        Self {
            hash: stored.hash.into(),
            valid_before: stored.valid_before,
            max_fee_per_gas: stored.max_fee_per_gas,
            raw: stored.raw.map(Into::into),
        }
    }
}

impl From<effect::State> for State {
    fn from(state: effect::State) -> Self {
        match state {
            effect::State::Prepared => Self::Prepared,
            effect::State::Broadcast => Self::Broadcast,
            effect::State::Unknown => Self::Unknown,
            effect::State::Mined(found) => Self::Mined {
                transaction: found.transaction.into(),
                block: found.block,
                reverted: found.result == TxResult::Reverted,
            },
            effect::State::Final(transaction) => Self::Final(transaction.into()),
            effect::State::Failed(why) => match why {
                effect::Why::Reverted(transaction) => Self::Reverted(transaction.into()),
                effect::Why::Refused => Self::Refused,
                effect::Why::Expired => Self::Expired,
                effect::Why::Superseded => Self::Superseded,
            },
        }
    }
}

impl From<State> for effect::State {
    fn from(stored: State) -> Self {
        match stored {
            State::Prepared => Self::Prepared,
            State::Broadcast => Self::Broadcast,
            State::Unknown => Self::Unknown,
            State::Mined {
                transaction,
                block,
                reverted,
            } => Self::Mined(Inclusion {
                transaction: transaction.into(),
                block,
                result: if reverted {
                    TxResult::Reverted
                } else {
                    TxResult::Done
                },
            }),
            State::Final(transaction) => Self::Final(transaction.into()),
            State::Reverted(transaction) => Self::Failed(effect::Why::Reverted(transaction.into())),
            State::Refused => Self::Failed(effect::Why::Refused),
            State::Expired => Self::Failed(effect::Why::Expired),
            State::Superseded => Self::Failed(effect::Why::Superseded),
        }
    }
}

/// Both ways, variant by variant.
macro_rules! same_reasons {
    ($($variant:ident),+ $(,)?) => {
        impl From<schedule::Reason> for Reason {
            fn from(reason: schedule::Reason) -> Self {
                match reason {
                    $(schedule::Reason::$variant => Self::$variant,)+
                }
            }
        }

        impl From<Reason> for schedule::Reason {
            fn from(stored: Reason) -> Self {
                match stored {
                    $(Reason::$variant => Self::$variant,)+
                }
            }
        }
    };
}

same_reasons!(
    CloseRequest,
    Payer,
    ChannelAmount,
    PayerAmount,
    TokenAmount,
    TotalAmount,
    Units,
    Age,
    Idle,
    Demand,
    Shutdown,
);
