//! Payment channels: protocol versions, identity, terms, and what the chain says about one.

mod descriptor;
mod protocol;
mod terms;
mod view;

pub use descriptor::ChannelDescriptor;
pub use protocol::{SessionProtocol, UnknownProtocol};
pub use terms::ChannelTerms;
pub use view::{ChannelView, Existence};

/// The 32 bytes that name a channel, derived from its terms (see [`ChannelTerms::id`]).
pub type ChannelId = alloy_primitives::B256;
