//! Times are RFC 3339 and nothing wider.

use alloc::format;
use alloc::string::ToString;
use core::time::Duration;

use proptest::prelude::*;

use super::{Timestamp, TimestampError};
use crate::testing;

#[track_caller]
fn check(text: &str, millis: i64) {
    assert_eq!(
        Timestamp::parse(text).map(Timestamp::as_millis),
        Ok(millis),
        "{text}"
    );
}

#[test]
fn reads_every_form_of_rfc_3339() {
    check("1970-01-01T00:00:00Z", 0);
    check("2025-01-06T12:00:00Z", 1_736_164_800_000);
    check("2026-11-20T11:05:44.030Z", 1_795_172_744_030);
    check("2026-11-20T12:05:44.03+01:00", 1_795_172_744_030);
    check("2026-11-20T05:35:44.030999999-05:30", 1_795_172_744_030);
    check("2026-11-20t11:05:44z", 1_795_172_744_000);
    check("2026-11-20T11:05:44-00:00", 1_795_172_744_000);
    check("1969-12-31T23:59:59.9995Z", -1);
}

// PROTOCOL.md section 1.1: a malformed `expires` is refused (fail closed).
#[test]
fn refuses_everything_else() {
    for text in [
        "",
        "now",
        "1795172744",
        "2026-11-20",
        "2026-11-20T11:05:44",
        "2026-11-20T11:05Z",
        "2026-11-20 11:05:44Z",
        "2026-11-20T11:05:44.Z",
        "2026-11-20T11:05:44,5Z",
        "2026-11-20T11:05:44+01",
        "2026-11-20T11:05:44+0100",
        "2026-11-20T11:05:44+01:00[Europe/Berlin]",
        "2026-11-20T11:05:44Z ",
        " 2026-11-20T11:05:44Z",
        "+002026-11-20T11:05:44Z",
        "2026-13-01T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "2026-11-20T24:00:01Z",
        "2026-11-20T11:60:00Z",
        "20261120T110544Z",
        "2026-11-20T11:05:4\u{0664}Z",
    ] {
        assert_eq!(Timestamp::parse(text), Err(TimestampError), "{text}");
    }
}

#[test]
fn whole_seconds_have_no_fraction() {
    assert_eq!(
        Timestamp::from_secs(1_736_164_800).to_string(),
        "2025-01-06T12:00:00Z"
    );
    assert_eq!(
        Timestamp::from_millis(1_795_172_744_030).to_string(),
        "2026-11-20T11:05:44.030Z"
    );
    assert_eq!(
        Timestamp::from_millis(-1).to_string(),
        "1969-12-31T23:59:59.999Z"
    );
}

#[test]
fn values_beyond_the_calendar_are_clamped() {
    assert_eq!(Timestamp::from_millis(i64::MAX), Timestamp::MAX);
    assert_eq!(Timestamp::from_secs(i64::MIN), Timestamp::MIN);
    for end in [Timestamp::MIN, Timestamp::MAX] {
        assert_eq!(end.to_string().parse(), Ok(end));
    }
}

#[test]
fn arithmetic_stays_in_the_calendar() {
    let time = Timestamp::from_secs(100);
    let minute = Duration::from_secs(60);
    assert_eq!(time.checked_add(minute), Some(Timestamp::from_secs(160)));
    assert_eq!(time.checked_sub(minute), Some(Timestamp::from_secs(40)));
    assert_eq!(Timestamp::MAX.checked_add(Duration::from_millis(1)), None);
    assert_eq!(Timestamp::MIN.checked_sub(Duration::from_millis(1)), None);
    assert_eq!(time.checked_add(Duration::MAX), None);
    assert_eq!(
        Timestamp::from_secs(160).saturating_duration_since(time),
        minute
    );
    assert_eq!(
        time.saturating_duration_since(Timestamp::from_secs(160)),
        Duration::ZERO
    );
    assert_eq!(Timestamp::from_millis(-1).as_secs(), -1);
}

proptest! {
    #[test]
    fn text_round_trips(time in testing::timestamp()) {
        prop_assert_eq!(time.to_string().parse(), Ok(time));
        let json = serde_json::to_string(&time).unwrap();
        prop_assert_eq!(&json, &format!("\"{time}\""));
        prop_assert_eq!(serde_json::from_str::<Timestamp>(&json).unwrap(), time);
    }

    #[test]
    fn text_order_is_time_order(a in testing::timestamp(), b in testing::timestamp()) {
        prop_assert_eq!(Timestamp::from_secs(a.as_secs()) <= a, true);
        let seconds = |time: Timestamp| Timestamp::from_secs(time.as_secs());
        prop_assert_eq!(seconds(a).to_string().cmp(&seconds(b).to_string()), seconds(a).cmp(&seconds(b)));
    }

    #[test]
    fn no_text_panics(text in any::<alloc::string::String>()) {
        if let Ok(time) = Timestamp::parse(&text) {
            prop_assert!(time >= Timestamp::MIN && time <= Timestamp::MAX);
        }
    }
}
