//! Problems: how a server says what is wrong (RFC 9457).

mod kind;

use alloc::string::{String, ToString};

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use serde_json::Value;

pub use self::kind::ProblemKind;

use crate::amount::Amount;
use crate::encoding::json::{self, JsonError};
use crate::ids::ChallengeId;

/// A problem body, `application/problem+json`.
///
/// Type, title and status come from the kind, so they can not disagree. Reading
/// is lenient, because a problem only informs: unknown members are ignored,
/// members of the wrong type count as absent, and an unknown type is kept in
/// [`Problem::foreign`].
///
/// # Examples
///
/// ```
/// use mpp_core::{Amount, Problem, ProblemKind};
///
/// let problem = Problem::new(ProblemKind::InsufficientBalance, "the balance is used up")
///     .with_channel_id("0xe8d5")
///     .with_required_top_up(Amount::new(1_000));
/// assert_eq!(problem.status(), 402);
///
/// let read = Problem::from_json(problem.to_json().as_bytes())?;
/// assert_eq!(read, problem);
/// # Ok::<(), mpp_core::encoding::json::JsonError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What kind of problem this is.
    pub kind: ProblemKind,
    /// What happened, for people.
    pub detail: String,
    /// The challenge this answer carries or speaks of.
    pub challenge_id: Option<ChallengeId>,
    /// The channel a session problem is about.
    pub channel_id: Option<String>,
    /// How much deposit is missing for the request, in base units.
    pub required_top_up: Option<Amount>,
    /// The voucher amount the request needs, in base units.
    pub required_cumulative: Option<Amount>,
    /// The highest voucher the server holds, in base units.
    pub accepted_cumulative: Option<Amount>,
    /// The channel's deposit, in base units.
    pub deposit: Option<Amount>,
    /// What the peer wrote, when the kind is [`ProblemKind::Unknown`].
    pub foreign: Option<ForeignProblem>,
}

/// Type, title and status of a problem that this crate does not know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForeignProblem {
    /// The type URI; "about:blank" when there is none.
    pub type_uri: String,
    /// The title.
    pub title: Option<String>,
    /// The status.
    pub status: Option<u16>,
}

impl Problem {
    /// A problem without extensions.
    #[must_use]
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            challenge_id: None,
            channel_id: None,
            required_top_up: None,
            required_cumulative: None,
            accepted_cumulative: None,
            deposit: None,
            foreign: None,
        }
    }

    /// Names the challenge.
    #[must_use]
    pub fn with_challenge_id(mut self, id: ChallengeId) -> Self {
        self.challenge_id = Some(id);
        self
    }

    /// Names the channel.
    #[must_use]
    pub fn with_channel_id(mut self, id: impl Into<String>) -> Self {
        self.channel_id = Some(id.into());
        self
    }

    /// Says how much deposit is missing.
    #[must_use]
    pub const fn with_required_top_up(mut self, amount: Amount) -> Self {
        self.required_top_up = Some(amount);
        self
    }

    /// Says which voucher amount the request needs.
    #[must_use]
    pub const fn with_required_cumulative(mut self, amount: Amount) -> Self {
        self.required_cumulative = Some(amount);
        self
    }

    /// Says which voucher amount the server holds.
    #[must_use]
    pub const fn with_accepted_cumulative(mut self, amount: Amount) -> Self {
        self.accepted_cumulative = Some(amount);
        self
    }

    /// Says what the channel's deposit is.
    #[must_use]
    pub const fn with_deposit(mut self, amount: Amount) -> Self {
        self.deposit = Some(amount);
        self
    }

    /// The type URI.
    #[must_use]
    pub fn type_uri(&self) -> &str {
        self.foreign
            .as_ref()
            .map_or(self.kind.type_uri(), |foreign| &foreign.type_uri)
    }

    /// The title.
    #[must_use]
    pub fn title(&self) -> &str {
        let foreign = self
            .foreign
            .as_ref()
            .and_then(|foreign| foreign.title.as_deref());
        foreign.unwrap_or(self.kind.title())
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        let foreign = self.foreign.as_ref().and_then(|foreign| foreign.status);
        foreign.unwrap_or(self.kind.status())
    }

    /// Writes the JSON form.
    #[must_use]
    pub fn to_json(&self) -> String {
        json::to_text(self)
    }

    /// Reads the JSON form.
    ///
    /// # Errors
    /// [`JsonError`] when the text is not a strict JSON object; never for the
    /// members inside.
    pub fn from_json(text: &[u8]) -> Result<Self, JsonError> {
        Self::from_value(&json::parse(text)?)
    }

    /// Reads the JSON form from a value, for bindings that carry it inside another message.
    ///
    /// # Errors
    /// [`JsonError::Shape`] when the value is not an object.
    pub fn from_value(value: &Value) -> Result<Self, JsonError> {
        if !value.is_object() {
            return Err(JsonError::Shape);
        }
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        let amount = |name: &str| text(name).and_then(|digits| digits.parse().ok());
        let status = value
            .get("status")
            .and_then(Value::as_u64)
            .and_then(|status| u16::try_from(status).ok());
        let type_uri = text("type").unwrap_or("about:blank");
        let (kind, foreign) = match ProblemKind::from_type_uri(type_uri) {
            // One type, two statuses: a replayed one-shot proof is final.
            Some(ProblemKind::VerificationFailed)
                if status == Some(ProblemKind::ProofReplayed.status()) =>
            {
                (ProblemKind::ProofReplayed, None)
            }
            Some(kind) => (kind, None),
            None => {
                let title = text("title").map(ToString::to_string);
                let foreign = ForeignProblem {
                    type_uri: type_uri.to_string(),
                    title,
                    status,
                };
                (ProblemKind::Unknown, Some(foreign))
            }
        };
        Ok(Self {
            kind,
            detail: text("detail").unwrap_or_default().to_string(),
            challenge_id: text("challengeId").and_then(|id| id.parse().ok()),
            channel_id: text("channelId").map(ToString::to_string),
            required_top_up: amount("requiredTopUp"),
            required_cumulative: amount("requiredCumulative"),
            accepted_cumulative: amount("acceptedCumulative"),
            deposit: amount("deposit"),
            foreign,
        })
    }
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", self.type_uri())?;
        map.serialize_entry("title", self.title())?;
        map.serialize_entry("status", &self.status())?;
        map.serialize_entry("detail", &self.detail)?;
        if let Some(id) = &self.challenge_id {
            map.serialize_entry("challengeId", id)?;
        }
        if let Some(id) = &self.channel_id {
            map.serialize_entry("channelId", id)?;
        }
        let amounts = [
            ("requiredTopUp", self.required_top_up),
            ("requiredCumulative", self.required_cumulative),
            ("acceptedCumulative", self.accepted_cumulative),
            ("deposit", self.deposit),
        ];
        for (name, amount) in amounts {
            if let Some(amount) = amount {
                map.serialize_entry(name, &amount)?;
            }
        }
        map.end()
    }
}

#[cfg(test)]
mod tests;
