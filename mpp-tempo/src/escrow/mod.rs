//! The ABIs of both escrows and of TIP-20, and their events.

mod convert;
mod event;
mod news;
mod stream_channel;
mod typed_data;

pub use convert::DescriptorRange;
#[cfg(feature = "tx")]
pub(crate) use convert::from_uint96;
pub(crate) use convert::to_uint96;
pub use event::EscrowEvent;
pub use news::{ChannelEnd, ChannelNews, CloseNews};
pub use stream_channel::IStreamChannel;
pub use tempo_contracts::precompiles::{ITIP20, ITIP20ChannelReserve};
pub(crate) use typed_data::voucher_digest;

#[cfg(test)]
mod tests;
