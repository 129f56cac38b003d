//! Points in time as RFC 3339 text; the caller brings the clock.

mod text;

pub(crate) use self::text::TimestampText;

use alloc::string::{String, ToString};
use core::fmt;
use core::str::FromStr;
use core::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A point in time with millisecond resolution, in the years 0000 to 9999.
///
/// Text and JSON form are RFC 3339 with `Z`: `2026-11-20T11:05:44.030Z`, or
/// without a fraction when the milliseconds are zero. Reading accepts any
/// offset and normalizes it; finer fractions are cut off.
///
/// # Examples
///
/// ```
/// use mpp_core::Timestamp;
///
/// let expires: Timestamp = "2026-11-20T12:05:44.03+01:00".parse()?;
/// assert_eq!(expires.to_string(), "2026-11-20T11:05:44.030Z");
/// assert!(Timestamp::from_secs(1_700_000_000) < expires);
/// # Ok::<(), mpp_core::TimestampError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The first millisecond of the year 0.
    pub const MIN: Self = Self(-62_167_219_200_000);
    /// Shortly before the end of the year 9999, where RFC 3339 ends; the last
    /// hours are left out so that the value exists at every offset.
    pub const MAX: Self = Self(253_402_207_199_999);

    /// `millis` since the Unix epoch, clamped to [`Self::MIN`] and [`Self::MAX`].
    #[must_use]
    pub fn from_millis(millis: i64) -> Self {
        Self(millis.clamp(Self::MIN.0, Self::MAX.0))
    }

    /// `secs` since the Unix epoch, clamped to [`Self::MIN`] and [`Self::MAX`].
    #[must_use]
    pub fn from_secs(secs: i64) -> Self {
        Self::from_millis(secs.saturating_mul(1_000))
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down.
    #[must_use]
    pub const fn as_secs(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// The time `duration` later, or `None` past [`Self::MAX`].
    #[must_use]
    pub fn checked_add(self, duration: Duration) -> Option<Self> {
        let millis = i64::try_from(duration.as_millis()).ok()?;
        let sum = self.0.checked_add(millis)?;
        (sum <= Self::MAX.0).then_some(Self(sum))
    }

    /// The time `duration` earlier, or `None` before [`Self::MIN`].
    #[must_use]
    pub fn checked_sub(self, duration: Duration) -> Option<Self> {
        let millis = i64::try_from(duration.as_millis()).ok()?;
        let difference = self.0.checked_sub(millis)?;
        (difference >= Self::MIN.0).then_some(Self(difference))
    }

    /// How long after `earlier` this is; zero when it is not after.
    #[must_use]
    pub fn saturating_duration_since(self, earlier: Self) -> Duration {
        let millis = self.0.saturating_sub(earlier.0);
        Duration::from_millis(u64::try_from(millis).unwrap_or(0))
    }

    /// Reads an RFC 3339 date-time.
    ///
    /// # Errors
    /// [`TimestampError`] for every other form, in particular other ISO 8601
    /// profiles, missing offsets and impossible dates.
    pub fn parse(text: &str) -> Result<Self, TimestampError> {
        if let Some(millis) = text::read(text.as_bytes()) {
            return Ok(Self(millis));
        }
        if !has_rfc3339_shape(text) {
            return Err(TimestampError);
        }
        let instant: jiff::Timestamp = text.parse().map_err(|_| TimestampError)?;
        let millis = instant
            .as_nanosecond()
            .checked_div_euclid(1_000_000)
            .and_then(|millis| i64::try_from(millis).ok())
            .ok_or(TimestampError)?;
        (Self::MIN.0..=Self::MAX.0)
            .contains(&millis)
            .then_some(Self(millis))
            .ok_or(TimestampError)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(TimestampText::new(*self).as_str())
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl From<Timestamp> for String {
    fn from(timestamp: Timestamp) -> Self {
        timestamp.to_string()
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// A text is not an RFC 3339 date-time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an RFC 3339 date-time")]
pub struct TimestampError;

/// Holds the text against `YYYY-MM-DDThh:mm:ss[.f](Z|+hh:mm)`.
///
/// The calendar library reads several wider profiles (blanks for `T`, missing
/// seconds, bracketed zones), none of which may stand in a challenge.
fn has_rfc3339_shape(text: &str) -> bool {
    let Some((date_time, rest)) = text.split_at_checked(19) else {
        return false;
    };
    let rest = match rest.strip_prefix('.') {
        Some(fraction) => {
            let offset = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            if offset.len() == fraction.len() {
                return false;
            }
            offset
        }
        None => rest,
    };
    fits(date_time, "0000-00-00T00:00:00")
        && (fits(rest, "Z") || fits(rest, "+00:00") || fits(rest, "-00:00"))
}

/// Whether the text has a digit for each `0` of the pattern and its letters elsewhere.
fn fits(text: &str, pattern: &str) -> bool {
    text.len() == pattern.len()
        && text
            .bytes()
            .zip(pattern.bytes())
            .all(|(byte, want)| match want {
                b'0' => byte.is_ascii_digit(),
                letter => byte.eq_ignore_ascii_case(&letter),
            })
}

#[cfg(test)]
mod tests;
