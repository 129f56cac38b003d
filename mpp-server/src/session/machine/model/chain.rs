//! What the chain of the model does.

use super::*;

/// What the events of one step of the chain say.
pub(super) fn facts_between(before: &ChannelView, after: &ChannelView) -> Facts {
    let close = match (before.close_requested_at, after.close_requested_at) {
        (before, at) if before == at => None,
        (_, Some(at)) => Some(CloseNews::Requested { at }),
        (_, None) => Some(CloseNews::Cancelled),
    };
    Facts {
        deposit: (before.deposit != after.deposit).then_some(after.deposit),
        settled: (before.settled != after.settled).then_some(after.settled),
        close,
    }
}

/// A finalized channel reads as zeros.
pub(super) fn finalize(view: &mut ChannelView) {
    *view = ChannelView {
        existence: Existence::Finalized,
        ..ChannelView::unknown()
    };
}
