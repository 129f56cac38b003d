//! What tests do to a node beside asking it.

use alloy_primitives::Address;
use mpp_devnet::{Devnet, Outage, Reorged, Times};

use super::{Backing, Node};
use crate::anvil::Anvil;

/// The power over a node that was started here.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Control<'a> {
    Devnet(&'a Devnet),
    Anvil(&'a Anvil),
}

/// A node somewhere else does what it wants.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("only a node that was started here can be told to fail")]
pub(crate) struct Uncontrolled;

impl Node {
    /// What can be done to it.
    ///
    /// # Errors
    /// [`Uncontrolled`] for a node given by URL.
    pub(crate) fn control(&self) -> Result<Control<'_>, Uncontrolled> {
        match &self.backing {
            Backing::Devnet { devnet, .. } => Ok(Control::Devnet(devnet)),
            Backing::Anvil(anvil) => Ok(Control::Anvil(anvil)),
            Backing::Elsewhere => Err(Uncontrolled),
        }
    }

    /// Transactions so far, as far as this node tells.
    pub(crate) fn transactions(&self) -> Option<u64> {
        self.control().ok().map(|control| match control {
            Control::Devnet(devnet) => devnet.transactions_mined(),
            Control::Anvil(anvil) => anvil.sent(),
        })
    }
}

impl Control<'_> {
    /// Requests so far.
    pub(crate) fn requests(self) -> u64 {
        match self {
            Self::Devnet(devnet) => devnet.rpc_calls(),
            Self::Anvil(anvil) => anvil.requests(),
        }
    }

    /// Takes back what was mined last: an empty block replaces it.
    pub(crate) async fn reorganize(self) -> anyhow::Result<()> {
        match self {
            Self::Devnet(devnet) => devnet.faults().reorg(1, Reorged::Lost),
            Self::Anvil(anvil) => anvil.reorganize().await?,
        }
        Ok(())
    }

    /// It refuses all requests, or serves again.
    pub(crate) fn set_outage(self, out: bool) {
        match self {
            Self::Devnet(devnet) if out => devnet.faults().set_outage(Outage::Refusing),
            Self::Devnet(devnet) => devnet.faults().set_outage(Outage::None),
            Self::Anvil(anvil) => anvil.set_outage(out),
        }
    }

    /// The next transaction is taken and never mined.
    pub(crate) fn drop_next(self) {
        match self {
            Self::Devnet(devnet) => devnet.faults().drop_transactions(Times::Once),
            Self::Anvil(anvil) => anvil.drop_next(),
        }
    }

    /// The next transaction with a call of this selector is mined and fails.
    pub(crate) fn revert_next(self, selector: [u8; 4]) {
        match self {
            Self::Devnet(devnet) => devnet.faults().revert_calls(selector, Times::Once),
            Self::Anvil(anvil) => anvil.revert_next(selector),
        }
    }

    /// Nobody can move tokens to or from this account.
    pub(crate) async fn freeze(self, account: Address) -> anyhow::Result<()> {
        match self {
            Self::Devnet(devnet) => devnet.freeze(account),
            Self::Anvil(anvil) => anvil.set_frozen(account, true).await?,
        }
        Ok(())
    }

    /// It may again.
    pub(crate) async fn unfreeze(self, account: Address) -> anyhow::Result<()> {
        match self {
            Self::Devnet(devnet) => devnet.unfreeze(account),
            Self::Anvil(anvil) => anvil.set_frozen(account, false).await?,
        }
        Ok(())
    }
}
