//! What keeps the server's picture of the chain true, and collects what was
//! earned.
//!
//! The watcher learns what happens on chain. The scheduler decides what is
//! worth collecting (`schedule::plan`, a pure function), the outbox
//! writes down what is to happen, sends it and follows it to its end, and the
//! lease says which of several processes does so.

mod chosen;
pub(crate) mod collect;
mod deadline;
mod demand;
mod desk;
mod fitness;
mod lease;
pub(crate) mod outbox;
mod policy;
pub(crate) mod reconcile;
pub(crate) mod rescue;
pub(crate) mod schedule;
pub(crate) mod sight;
mod standing;
pub(crate) mod watch;

pub(crate) use self::desk::Settlement;
pub use self::{
    collect::Collected,
    deadline::Deadlines,
    policy::{FeeLimits, OnShutdown, SettlePolicy},
    rescue::{Adoption, Rescue, Rescued, Standing as RescueStanding},
    schedule::{Collect, Reason},
    sight::FollowPolicy,
};
