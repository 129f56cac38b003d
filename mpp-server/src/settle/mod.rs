//! What keeps the server's picture of the chain true.

pub(crate) mod logs;
pub(crate) mod reconcile;
pub(crate) mod sight;
pub(crate) mod watch;
