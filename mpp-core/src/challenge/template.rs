//! Challenges of one offer: everything but the time and the MAC is worked out once.

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use core::fmt;

use super::binding::Midstate;
use super::{
    BindingError, Challenge, ChallengeDraft, ChallengeText, CredentialHeader, EncodedJson, KeyRing,
};
use crate::encoding::base64url;
use crate::encoding::flat::FlatText;
use crate::header::challenge::write_params;
use crate::ids::ChallengeId;
use crate::time::{Timestamp, TimestampText};

/// Issues the challenges of one offer.
///
/// They are those of [`KeyRing::bind`], byte for byte. Cheap to clone.
///
/// # Examples
///
/// ```
/// use mpp_core::{ChallengeDraft, EncodedJson, IntentName, KeyRing, MethodName, Realm};
/// use mpp_core::{SecretKey, Timestamp, header};
///
/// let keys = KeyRing::new(SecretKey::from_bytes(b"4t7w!z%C*F-JaNdRgUkXp2s5v8x/A?D(")?);
/// let draft = ChallengeDraft::new(
///     Realm::new("api.example.com")?,
///     MethodName::tempo(),
///     IntentName::charge(),
///     EncodedJson::from_value(&serde_json::json!({"amount": "1000"}))?,
/// );
/// let template = keys.template(draft.clone());
/// let expires = Timestamp::from_secs(1_795_172_444);
/// let issued = template.issue(Some(expires));
///
/// let challenge = keys.bind(draft.with_expires(expires));
/// assert_eq!(issued.header_value(), header::challenge::encode(&challenge));
/// assert_eq!(issued.to_challenge(), challenge);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ChallengeTemplate(Arc<Parts>);

struct Parts {
    draft: ChallengeDraft,
    digest: Option<String>,
    /// The MAC up to the slot of the time, and the slots behind it.
    mac: Midstate,
    mac_end: String,
    /// The header value behind the id up to the time, and behind that.
    head: String,
    tail: String,
}

/// A fresh challenge, not yet written.
#[derive(Clone)]
pub struct IssuedChallenge {
    template: ChallengeTemplate,
    id: [u8; 43],
    expires: Option<Timestamp>,
}

impl KeyRing {
    /// Works out what the challenges of a draft have in common.
    ///
    /// The draft's `expires` does not count: each challenge has its own.
    #[must_use]
    pub fn template(&self, draft: ChallengeDraft) -> ChallengeTemplate {
        let request = draft.request.as_str();
        let (realm, method, intent) = (&draft.realm, &draft.method, &draft.intent);
        let mac = self.midstate(&alloc::format!("{realm}|{method}|{intent}|{request}|"));
        let digest = draft.digest.as_ref().map(ToString::to_string);
        let opaque = draft.opaque.as_ref().map(EncodedJson::as_str);
        let header = draft.header.map(CredentialHeader::as_str);
        let (digest_slot, opaque_slot) = (
            digest.as_deref().unwrap_or_default(),
            opaque.unwrap_or_default(),
        );
        let mut mac_end = alloc::format!("|{digest_slot}|{opaque_slot}");
        if let Some(header) = header {
            mac_end.extend(["|", header]);
        }
        let (mut head, mut tail) = (String::new(), String::new());
        let before = [
            ("realm", Some(realm.as_str())),
            ("method", Some(method.as_str())),
            ("intent", Some(intent.as_str())),
            ("request", Some(request)),
            ("description", draft.description.as_deref()),
            ("digest", digest.as_deref()),
        ];
        write_params(&mut head, before);
        write_params(&mut tail, [("opaque", opaque), ("header", header)]);
        ChallengeTemplate(Arc::new(Parts {
            digest,
            mac,
            mac_end,
            head,
            tail,
            draft,
        }))
    }
}

impl ChallengeTemplate {
    /// What all challenges of this template have in common.
    #[must_use]
    pub fn draft(&self) -> &ChallengeDraft {
        &self.0.draft
    }

    /// Whether this is the same template, not only an equal one.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// A challenge that becomes void at `expires`; servers always set it.
    ///
    /// Does not allocate.
    #[must_use]
    pub fn issue(&self, expires: Option<Timestamp>) -> IssuedChallenge {
        let time = expires.map(TimestampText::new);
        let time = time.as_ref().map(TimestampText::as_str).unwrap_or_default();
        let mac = self.0.mac.finish([time, &self.0.mac_end]);
        IssuedChallenge {
            template: self.clone(),
            id: base64url::encode_mac(&mac),
            expires,
        }
    }
}

impl ChallengeTemplate {
    /// Checks that an echoed challenge is one of this template, unchanged.
    ///
    /// What all of them share is compared, so that only the rest goes through
    /// the MAC. A challenge of another template, or one that was bound with
    /// the secret before, is an error here; [`KeyRing::verify_text`] decides
    /// about all of them.
    ///
    /// # Errors
    /// [`BindingError`], which does not say what is wrong.
    pub fn verify_text(&self, echoed: &ChallengeText<'_>) -> Result<(), BindingError> {
        let (parts, draft) = (&*self.0, &self.0.draft);
        let opaque = draft.opaque.as_ref().map(EncodedJson::as_str);
        let shared = echoed.request.as_bytes() == draft.request.as_str().as_bytes()
            && echoed.realm.as_bytes() == draft.realm.as_str().as_bytes()
            && echoed.method.as_bytes() == draft.method.as_str().as_bytes()
            && echoed.intent.as_bytes() == draft.intent.as_str().as_bytes()
            && same(echoed.digest, parts.digest.as_deref())
            && same(echoed.opaque, opaque)
            && echoed.header == draft.header;
        if !shared {
            return Err(BindingError);
        }
        let expires = echoed.expires.map(FlatText::as_str).unwrap_or_default();
        self.verify_mac(expires, echoed.id.as_bytes())
    }

    /// Checks the id of a challenge that is of this template but for its time.
    pub(super) fn verify_mac(&self, expires: &str, id: &[u8]) -> Result<(), BindingError> {
        // A separator inside of the slot would make two challenges share a MAC.
        if expires.contains('|') {
            return Err(BindingError);
        }
        self.0.mac.verify([expires, &self.0.mac_end], id)
    }
}

/// Whether a slot holds this text. An empty slot is an absent one.
///
/// Nothing is compared with an empty slice that lies nowhere: the C library
/// does that by a fault that the processor suppresses, in a hundred times the
/// time.
fn same(slot: Option<FlatText<'_>>, text: Option<&str>) -> bool {
    let slot = slot.map(FlatText::as_bytes).filter(|slot| !slot.is_empty());
    let text = text.map(str::as_bytes).filter(|text| !text.is_empty());
    match (slot, text) {
        (Some(slot), Some(text)) => slot == text,
        (None, None) => true,
        _ => false,
    }
}

impl IssuedChallenge {
    /// The id.
    #[must_use]
    pub fn id(&self) -> ChallengeId {
        ChallengeId::from_mac_text(self.id_text())
    }

    /// The time from which the challenge is void.
    #[must_use]
    pub const fn expires(&self) -> Option<Timestamp> {
        self.expires
    }

    /// What the challenge has in common with others of its template.
    #[must_use]
    pub fn draft(&self) -> &ChallengeDraft {
        self.template.draft()
    }

    /// The challenge in parts.
    #[must_use]
    pub fn to_challenge(&self) -> Challenge {
        let parts = &*self.template.0;
        let draft = parts.draft.clone();
        Challenge {
            id: self.id(),
            realm: draft.realm,
            method: draft.method,
            intent: draft.intent,
            request: draft.request,
            expires: self.expires.map(String::from),
            digest: parts.digest.clone(),
            description: draft.description,
            opaque: draft.opaque,
            header: draft.header,
        }
    }

    /// The challenge as a header value: that of
    /// [`header::challenge::encode`](crate::header::challenge::encode).
    #[must_use]
    pub fn header_value(&self) -> String {
        /// The id and the time with what stands around them.
        const OWN_BYTES: usize = 100;
        let parts = &*self.template.0;
        let common = parts.head.len().saturating_add(parts.tail.len());
        let mut out = String::with_capacity(common.saturating_add(OWN_BYTES));
        self.write_header_value(&mut out);
        out
    }

    /// Appends the header value to `out`.
    pub fn write_header_value(&self, out: &mut String) {
        let parts = &*self.template.0;
        out.push_str("Payment id=\"");
        out.push_str(self.id_text());
        out.push('"');
        out.push_str(&parts.head);
        if let Some(expires) = self.expires {
            out.push_str(", expires=\"");
            out.push_str(TimestampText::new(expires).as_str());
            out.push('"');
        }
        out.push_str(&parts.tail);
    }

    fn id_text(&self) -> &str {
        // Base64 is ASCII.
        core::str::from_utf8(&self.id).unwrap_or_default()
    }
}

impl fmt::Debug for ChallengeTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChallengeTemplate")
            .field("draft", &self.0.draft)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for IssuedChallenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedChallenge")
            .field("id", &self.id_text())
            .field("draft", self.draft())
            .field("expires", &self.expires)
            .finish()
    }
}

#[cfg(test)]
mod tests;
