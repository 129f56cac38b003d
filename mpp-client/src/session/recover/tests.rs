use super::*;
use crate::testing::units;

fn view(existence: Existence, deposit: u128, close_requested_at: Option<u64>) -> ChannelView {
    ChannelView {
        deposit: units(deposit),
        settled: Amount::ZERO,
        close_requested_at,
        existence,
    }
}

// SECURITY-CASES: a rejected open kept as a live channel, or a live one forgotten.
#[test]
fn an_open_is_given_up_only_when_it_can_not_be_mined_anymore() {
    let unknown = ChannelView::unknown();
    assert_eq!(judge_open(unknown, 99, 100), Fate::Undecided);
    assert_eq!(judge_open(unknown, 104, 100), Fate::Undecided);
    assert_eq!(judge_open(unknown, 105, 100), Fate::NeverHappens);
    let open = view(Existence::Open, 5, None);
    assert_eq!(judge_open(open, 0, 100), Fate::Happened(open));
    assert_eq!(judge_open(open, 999, 100), Fate::Happened(open));
    assert_eq!(judge_open(unknown, u64::MAX, u64::MAX), Fate::NeverHappens);
}

// SECURITY-CASES: a committed top-up lost because a later step failed.
#[test]
fn a_top_up_is_judged_by_the_deposit() {
    let judge = |deposit, now| {
        let view = view(Existence::Open, deposit, None);
        judge_top_up(view, units(10), now, 100)
    };
    assert!(matches!(judge(10, 0), Fate::Happened(_)));
    assert!(matches!(judge(11, 999), Fate::Happened(_)));
    assert_eq!(judge(9, 104), Fate::Undecided);
    assert_eq!(judge(9, 105), Fate::NeverHappens);
}

#[test]
fn the_phase_follows_the_chain() {
    #[track_caller]
    fn check(phase: &Phase, fate: Fate, next: &Phase) {
        assert_eq!(next_phase(phase, fate), *next);
    }
    use crate::session::book::StaleReason;

    let open = Fate::Happened(view(Existence::Open, 5, None));
    let closing = Fate::Happened(view(Existence::Open, 5, Some(7)));
    let finalized = Fate::Happened(view(Existence::Finalized, 5, None));
    let stale = Phase::Stale {
        reason: StaleReason::NotFound,
    };
    let closed = Phase::Closed { tx_hash: None };
    check(&Phase::Opening, Fate::NeverHappens, &Phase::NeverOpened);
    check(&Phase::Opening, Fate::Undecided, &Phase::Opening);
    // The chain alone does not say that the server serves the channel.
    check(&Phase::Opening, open, &Phase::Opening);
    check(&stale, open, &stale);
    check(&stale, Fate::NeverHappens, &closed);
    check(&stale, finalized, &closed);
    check(&Phase::Open, closing, &Phase::CloseRequested { at: 7 });
    check(&Phase::Closing, Fate::NeverHappens, &closed);
    // What has ended does not come back, whatever an older look shows.
    let withdrawn = Phase::Closed {
        tx_hash: Some(ChannelId::repeat_byte(5)),
    };
    for fate in [open, closing, finalized, Fate::NeverHappens] {
        check(&withdrawn, fate, &withdrawn);
        check(&Phase::NeverOpened, fate, &Phase::NeverOpened);
    }
}
