//! Reading many channels with few calls.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use alloy_primitives::Address;

use super::{RpcChain, malformed};
use crate::chain::{ChainClient, ChainError, ChannelRef};
use crate::channel::{ChannelId, ChannelView, SessionProtocol};
use crate::escrow::{IStreamChannel, ITIP20ChannelReserve};

/// Channels of one call: some 32 KiB of answer, which every node gives.
const AT_ONCE: usize = 128;

impl RpcChain {
    /// The channels asked for, in that order, one escrow at a time.
    pub(super) async fn batch(&self, asked: &[ChannelRef]) -> Result<Vec<ChannelView>, ChainError> {
        let mut by_escrow: BTreeMap<(SessionProtocol, Address), Vec<ChannelId>> = BTreeMap::new();
        for channel in asked {
            let ids = by_escrow
                .entry((channel.protocol, channel.escrow))
                .or_default();
            ids.push(channel.id);
        }
        let mut views = BTreeMap::new();
        for ((protocol, escrow), ids) in by_escrow {
            for ids in ids.chunks(AT_ONCE) {
                let found = self.of_escrow(protocol, escrow, ids).await?;
                if found.len() != ids.len() {
                    return Err(malformed("batch of channels"));
                }
                views.extend(ids.iter().map(|id| (protocol, escrow, *id)).zip(found));
            }
        }
        let view = |channel: &ChannelRef| {
            let key = (channel.protocol, channel.escrow, channel.id);
            views.get(&key).copied()
        };
        asked
            .iter()
            .map(view)
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| malformed("batch of channels"))
    }

    async fn of_escrow(
        &self,
        protocol: SessionProtocol,
        escrow: Address,
        ids: &[ChannelId],
    ) -> Result<Vec<ChannelView>, ChainError> {
        let batch = match protocol {
            SessionProtocol::V1 => {
                let call = IStreamChannel::getChannelsBatchCall {
                    channelIds: ids.to_vec(),
                };
                let found = self.view(escrow, call).await;
                found.map(|found| found.iter().map(Into::into).collect())
            }
            SessionProtocol::V2 => {
                let call = ITIP20ChannelReserve::getChannelStatesBatchCall {
                    channelIds: ids.to_vec(),
                };
                let found = self.view(escrow, call).await;
                found.map(|found| found.iter().map(Into::into).collect())
            }
        };
        match batch {
            // A deployment without the batch function reverts.
            Err(ChainError::Rejected { .. } | ChainError::Malformed { .. }) => {
                let mut views = Vec::with_capacity(ids.len());
                for id in ids {
                    views.push(self.channel(protocol, escrow, *id).await?);
                }
                Ok(views)
            }
            answered => answered,
        }
    }
}
