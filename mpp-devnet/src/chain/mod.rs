//! The chain: transactions in, blocks and state out.

pub(crate) mod block;
pub(crate) mod candidate;
pub(crate) mod control;
pub(crate) mod execute;
pub(crate) mod fee;
pub(crate) mod filter;
pub(crate) mod gas;
pub(crate) mod node;
pub(crate) mod receipt;
pub(crate) mod refusal;
pub(crate) mod simulate;
pub(crate) mod state;
pub(crate) mod table;
pub(crate) mod validity;
