//! The HTTP binding of the server (PROTOCOL 1 and 5.5).

mod bodies;
mod charges;
mod credentials;
mod headers;
mod hostile;
mod management;
mod offers;
mod once;
mod paid_once;
mod usage;
