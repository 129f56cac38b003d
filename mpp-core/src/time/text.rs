//! The text of a point in time, without allocating.

use super::Timestamp;

const MILLIS_PER_DAY: i64 = 86_400_000;
/// Days from the first of March of the year 0 to the Unix epoch.
const EPOCH_DAYS: i64 = 719_468;
/// Days in 400 years, after which the calendar repeats itself.
const ERA_DAYS: i64 = 146_097;

/// `YYYY-MM-DDThh:mm:ss[.mmm]Z`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimestampText {
    bytes: [u8; 24],
    length: usize,
}

impl TimestampText {
    pub(crate) fn new(time: Timestamp) -> Self {
        let days = time.as_millis().div_euclid(MILLIS_PER_DAY);
        let millis = time.as_millis().rem_euclid(MILLIS_PER_DAY);
        let (year, month, day) = civil_date(days);
        let mut text = Self {
            bytes: *b"0000-00-00T00:00:00.000Z",
            length: 24,
        };
        text.put::<4>(0, year);
        text.put::<2>(5, month);
        text.put::<2>(8, day);
        text.put::<2>(11, millis / 3_600_000);
        text.put::<2>(14, millis / 60_000 % 60);
        text.put::<2>(17, millis / 1_000 % 60);
        match millis % 1_000 {
            0 => {
                text.bytes[19] = b'Z';
                text.length = 20;
            }
            fraction => text.put::<3>(20, fraction),
        }
        text
    }

    pub(crate) fn as_str(&self) -> &str {
        let text = self.bytes.get(..self.length).unwrap_or_default();
        // Digits and separators only.
        core::str::from_utf8(text).unwrap_or_default()
    }

    /// Writes the last `DIGITS` decimal digits of `number` at `place`.
    fn put<const DIGITS: usize>(&mut self, place: usize, mut number: i64) {
        let Some(target) = self.bytes.get_mut(place..) else {
            return;
        };
        for digit in target.iter_mut().take(DIGITS).rev() {
            *digit = b'0' | u8::try_from(number % 10).unwrap_or(0);
            number /= 10;
        }
    }
}

/// Year, month and day of a day counted from the Unix epoch.
///
/// Years are counted from March here, so that the leap day is the last one;
/// then the months up to a given one have 30.6 days each, rounded.
#[expect(
    clippy::arithmetic_side_effects,
    reason = "a day of the years 0 to 9999 keeps every intermediate value small"
)]
fn civil_date(days: i64) -> (i64, i64, i64) {
    let days = days.saturating_add(EPOCH_DAYS);
    let era = days.div_euclid(ERA_DAYS);
    let day_of_era = days.rem_euclid(ERA_DAYS);
    // Every 4 years have one day more, every 100 years one less, every 400 one more.
    let leap_days = |day: i64| day / 1_460 - day / 36_524 + day / 146_096;
    let year_of_era = (day_of_era - leap_days(day_of_era)) / 365;
    let year_start = year_of_era * 365 + year_of_era / 4 - year_of_era / 100;
    let day_of_year = day_of_era - year_start;
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year_of_era;
    if month < 10 {
        (year, month + 3, day)
    } else {
        (year + 1, month - 9, day)
    }
}

/// Milliseconds of a time in the form that [`TimestampText`] writes.
///
/// `None` leaves every other text to the calendar library: it never refuses.
#[expect(
    clippy::arithmetic_side_effects,
    reason = "numbers of at most four digits keep every intermediate value small"
)]
pub(super) fn read(text: &[u8]) -> Option<i64> {
    let (date_time, rest) = text.split_first_chunk::<19>()?;
    let millis = match rest {
        [b'Z'] => 0,
        [b'.', digits @ .., b'Z'] if digits.len() == 3 => number(digits)?,
        _ => return None,
    };
    let separators = [
        date_time[4],
        date_time[7],
        date_time[10],
        date_time[13],
        date_time[16],
    ];
    if separators != *b"--T::" {
        return None;
    }
    let (year, month, day) = (
        number(&date_time[..4])?,
        number(&date_time[5..7])?,
        number(&date_time[8..10])?,
    );
    let (hour, minute, second) = (
        number(&date_time[11..13])?,
        number(&date_time[14..16])?,
        number(&date_time[17..])?,
    );
    // Days that not every month has are for the library, and so are leap seconds.
    let in_range = (1..=12).contains(&month)
        && (1..=28).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    let seconds = hour * 3_600 + minute * 60 + second;
    in_range.then(|| civil_days(year, month, day) * MILLIS_PER_DAY + seconds * 1_000 + millis)
}

/// The number that these digits write.
#[expect(
    clippy::arithmetic_side_effects,
    reason = "at most four digits are passed"
)]
fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |number, digit| {
        let digit = digit.wrapping_sub(b'0');
        (digit < 10).then(|| number * 10 + i64::from(digit))
    })
}

/// The day of a date, counted from the Unix epoch: what [`civil_date`] undoes.
#[expect(
    clippy::arithmetic_side_effects,
    reason = "a date of the years 0 to 9999 keeps every intermediate value small"
)]
fn civil_days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let leap_days = year_of_era / 4 - year_of_era / 100;
    era * ERA_DAYS + year_of_era * 365 + leap_days + day_of_year - EPOCH_DAYS
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;

    use proptest::prelude::*;

    use super::*;
    use crate::testing::timestamp;

    /// The calendar library is the reference.
    #[track_caller]
    fn check(time: Timestamp) {
        let instant = jiff::Timestamp::from_millisecond(time.as_millis()).unwrap();
        let expected = match time.as_millis().rem_euclid(1_000) {
            0 => format!("{instant:.0}"),
            _ => format!("{instant:.3}"),
        };
        assert_eq!(TimestampText::new(time).as_str(), expected);
        let read = read(expected.as_bytes());
        assert!(
            read.is_none_or(|millis| millis == time.as_millis()),
            "{expected}"
        );
        // Three days of most months are left to the library.
        assert_eq!(
            read.is_some(),
            expected.get(8..10).unwrap().parse::<u8>().unwrap() <= 28
        );
    }

    // The calendar repeats itself after 400 years.
    #[test]
    fn every_day_of_a_cycle_is_right() {
        for day in 0..=ERA_DAYS {
            check(Timestamp::from_millis(day * MILLIS_PER_DAY));
        }
    }

    #[test]
    fn the_ends_of_the_calendar_are_right() {
        for time in [Timestamp::MIN, Timestamp::MAX, Timestamp::from_millis(-1)] {
            check(time);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        // Whatever is read here, the library reads alike.
        #[test]
        fn damaged_texts_are_read_alike_or_left(
            time in timestamp(),
            place in any::<prop::sample::Index>(),
            byte in b' '..=b'~',
        ) {
            let mut text = String::from(TimestampText::new(time).as_str()).into_bytes();
            let place = place.index(text.len());
            text[place] = byte;
            if let Some(millis) = read(&text) {
                let text = String::from_utf8(text).unwrap();
                let instant: jiff::Timestamp = text.parse().unwrap();
                prop_assert_eq!(instant.as_millisecond(), millis);
            }
        }

        #[test]
        fn every_moment_is_right(time in timestamp()) {
            check(time);
        }
    }
}
