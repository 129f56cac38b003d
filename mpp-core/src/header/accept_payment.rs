//! `Accept-Payment`: the client's preferences among methods and intents.
//!
//! ```abnf
//! Accept-Payment = #( range [ OWS ";" OWS "q=" qvalue ] )
//! range          = ( method / "*" ) "/" ( intent / "*" )
//! qvalue         = ( "0" [ "." *3DIGIT ] ) / ( "1" [ "." *3"0" ] )
//! ```

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::fmt;

use super::HeaderError;
use super::cursor::Cursor;
use super::limits::{MAX_RANGES, MAX_VALUE};
use crate::ids::{IntentName, MethodName};

/// The preferences of a client.
///
/// ```
/// use mpp_core::header::accept_payment::{AcceptPayment, Weight, encode, parse};
/// use mpp_core::{IntentName, MethodName};
///
/// let accept = AcceptPayment::new()
///     .accept(Some(MethodName::tempo()), Some(IntentName::session()), Weight::ONE)
///     .accept(None, None, Weight::from_thousandths(100).unwrap());
/// assert_eq!(encode(&accept), "tempo/session, */*;q=0.1");
/// assert_eq!(parse(&encode(&accept)), Ok(accept));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AcceptPayment {
    ranges: Vec<Range>,
}

/// A preference from 0 ("not acceptable") to 1, in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Weight(u16);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Range {
    method: Option<MethodName>,
    intent: Option<IntentName>,
    weight: Weight,
}

impl Weight {
    /// Not acceptable.
    pub const ZERO: Self = Self(0);
    /// The default.
    pub const ONE: Self = Self(1_000);

    /// A weight of `thousandths`, or `None` above 1000.
    #[must_use]
    pub const fn from_thousandths(thousandths: u16) -> Option<Self> {
        if thousandths <= Self::ONE.0 {
            Some(Self(thousandths))
        } else {
            None
        }
    }
}

impl AcceptPayment {
    /// No preferences, which accepts everything.
    #[must_use]
    pub const fn new() -> Self {
        Self { ranges: Vec::new() }
    }

    /// Adds a range; `None` stands for any method or any intent.
    #[must_use]
    pub fn accept(
        mut self,
        method: Option<MethodName>,
        intent: Option<IntentName>,
        weight: Weight,
    ) -> Self {
        self.ranges.push(Range {
            method,
            intent,
            weight,
        });
        self
    }

    /// Whether there are no ranges.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Filters and orders what a server offers.
    ///
    /// Offers keep the server's order within one weight. Offers with weight 0 or
    /// without a range are left out, unless that leaves nothing: then the
    /// preferences are ignored (draft-httpauth-payment-00, Client Payment
    /// Preferences).
    #[must_use]
    pub fn rank<T>(
        &self,
        offers: Vec<T>,
        key: impl Fn(&T) -> (&MethodName, &IntentName),
    ) -> Vec<T> {
        let weigh = |offer: &T| {
            let (method, intent) = key(offer);
            self.weight(method, intent)
        };
        if offers.iter().all(|offer| weigh(offer) == Weight::ZERO) {
            return offers;
        }
        let mut ranked = offers;
        ranked.retain(|offer| weigh(offer) > Weight::ZERO);
        ranked.sort_by_key(|offer| Reverse(weigh(offer)));
        ranked
    }

    /// The weight of one combination: that of the most specific range, else 0.
    #[must_use]
    pub fn weight(&self, method: &MethodName, intent: &IntentName) -> Weight {
        let matching = self
            .ranges
            .iter()
            .filter(|range| range.matches(method, intent));
        // `min_by_key` keeps the first of equals, and the first range a client names wins.
        let best = matching.min_by_key(|range| Reverse(range.specificity()));
        best.map_or(Weight::ZERO, |range| range.weight)
    }
}

/// Writes preferences as a header value; empty for no preferences.
#[must_use]
pub fn encode(preferences: &AcceptPayment) -> String {
    preferences.to_string()
}

/// Reads a header value. Several fields are joined with commas first.
///
/// # Errors
/// [`HeaderError`] when it is malformed; servers then ignore the field.
pub fn parse(value: &str) -> Result<AcceptPayment, HeaderError> {
    if value.len() > MAX_VALUE {
        return Err(HeaderError::TooLarge);
    }
    let mut ranges = Vec::new();
    let mut cursor = Cursor::new(value);
    loop {
        cursor.skip_blanks();
        if cursor.is_at_end() {
            return Ok(AcceptPayment { ranges });
        }
        if cursor.eat(',') {
            continue;
        }
        if ranges.len() >= MAX_RANGES {
            return Err(HeaderError::TooManyEntries);
        }
        ranges.push(Range::read(&mut cursor)?);
    }
}

impl core::str::FromStr for AcceptPayment {
    type Err = HeaderError;

    fn from_str(value: &str) -> Result<Self, Self::Err> {
        parse(value)
    }
}

impl fmt::Display for AcceptPayment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, range) in self.ranges.iter().enumerate() {
            let separator = if index > 0 { ", " } else { "" };
            write!(f, "{separator}{range}")?;
        }
        Ok(())
    }
}

impl Range {
    fn matches(&self, method: &MethodName, intent: &IntentName) -> bool {
        self.method.as_ref().is_none_or(|wanted| wanted == method)
            && self.intent.as_ref().is_none_or(|wanted| wanted == intent)
    }

    /// A named method outweighs a named intent, as in media ranges the type the subtype.
    const fn specificity(&self) -> (bool, bool) {
        (self.method.is_some(), self.intent.is_some())
    }

    fn read(cursor: &mut Cursor<'_>) -> Result<Self, HeaderError> {
        let method = wildcard(cursor.take_token())?;
        if !cursor.eat('/') {
            return Err(HeaderError::Syntax);
        }
        let intent = wildcard(cursor.take_token())?;
        let mut weight = Weight::ONE;
        if !cursor.ends_element() {
            weight = read_weight(cursor)?;
        }
        if !cursor.ends_element() {
            return Err(HeaderError::Syntax);
        }
        Ok(Self {
            method,
            intent,
            weight,
        })
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let method = self.method.as_ref().map_or("*", MethodName::as_str);
        let intent = self.intent.as_ref().map_or("*", IntentName::as_str);
        write!(f, "{method}/{intent}")?;
        match self.weight {
            Weight::ONE => Ok(()),
            Weight::ZERO => f.write_str(";q=0"),
            Weight(thousandths) => {
                let digits = alloc::format!("{thousandths:03}");
                write!(f, ";q=0.{}", digits.trim_end_matches('0'))
            }
        }
    }
}

fn wildcard<T: core::str::FromStr>(token: &str) -> Result<Option<T>, HeaderError> {
    match token {
        "*" => Ok(None),
        name => name.parse().map(Some).map_err(|_| HeaderError::Syntax),
    }
}

fn read_weight(cursor: &mut Cursor<'_>) -> Result<Weight, HeaderError> {
    if !cursor.eat(';') {
        return Err(HeaderError::Syntax);
    }
    cursor.skip_blanks();
    if !(cursor.eat('q') || cursor.eat('Q')) || !cursor.eat('=') {
        return Err(HeaderError::Syntax);
    }
    let text = cursor.take_while(|byte| byte.is_ascii_digit() || byte == b'.');
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !matches!(whole, "0" | "1") || fraction.len() > 3 {
        return Err(HeaderError::Syntax);
    }
    let thousandths = alloc::format!("{whole}{fraction:0<3}");
    thousandths
        .parse()
        .ok()
        .and_then(Weight::from_thousandths)
        .ok_or(HeaderError::Syntax)
}

#[cfg(test)]
mod tests;
