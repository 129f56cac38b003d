//! What keeps the server's picture of the chain true.

pub(crate) mod reconcile;
pub(crate) mod watch;
