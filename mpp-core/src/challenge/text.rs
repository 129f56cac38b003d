//! An echoed challenge as it lies in a credential's text.

use super::{Challenge, CredentialHeader, EncodedJson};
use crate::encoding::flat::{FlatObject, FlatText};
use crate::ids::{ChallengeId, IntentName, MethodName, Realm};

/// The fields of an echoed challenge, borrowed and not yet believed.
///
/// Their grammar is not checked either: the MAC does that for challenges of
/// our own, [`ChallengeText::to_challenge`] for all others.
#[derive(Clone, Copy, Debug)]
pub struct ChallengeText<'t> {
    /// Identifies the challenge.
    pub id: FlatText<'t>,
    /// The protection space.
    pub realm: FlatText<'t>,
    /// The payment method.
    pub method: FlatText<'t>,
    /// The payment intent.
    pub intent: FlatText<'t>,
    /// What is to be paid.
    pub request: FlatText<'t>,
    /// When the challenge becomes void.
    pub expires: Option<FlatText<'t>>,
    /// Digest of the request body.
    pub digest: Option<FlatText<'t>>,
    /// Text for humans.
    pub description: Option<FlatText<'t>>,
    /// The server's correlation data.
    pub opaque: Option<FlatText<'t>>,
    /// Where the credential goes.
    pub header: Option<CredentialHeader>,
}

impl<'t> ChallengeText<'t> {
    /// Picks the fields; `None` without the required ones.
    pub(crate) fn pick(object: FlatObject<'t>) -> Option<Self> {
        let (mut id, mut realm, mut method, mut intent, mut request) = Default::default();
        let (mut expires, mut digest, mut description, mut opaque) = Default::default();
        let mut header = None;
        for (name, value) in object.members() {
            let field = match name {
                b"id" => &mut id,
                b"realm" => &mut realm,
                b"method" => &mut method,
                b"intent" => &mut intent,
                b"request" => &mut request,
                b"expires" => &mut expires,
                b"digest" => &mut digest,
                b"description" => &mut description,
                b"opaque" => &mut opaque,
                b"header" => {
                    header = Some(CredentialHeader::from_name(value.text()?.as_bytes())?);
                    continue;
                }
                // Unknown members are ignored.
                _ => continue,
            };
            *field = Some(value.text()?);
        }
        Some(Self {
            id: id?,
            realm: realm?,
            method: method?,
            intent: intent?,
            request: request?,
            expires,
            digest,
            description,
            opaque,
            header,
        })
    }

    /// The owned form; `None` if a field breaks its grammar.
    #[must_use]
    pub fn to_challenge(&self) -> Option<Challenge> {
        let json = |text: FlatText<'_>| EncodedJson::from_wire(text.as_str().into()).ok();
        let opaque = match self.opaque {
            Some(text) => Some(json(text)?),
            None => None,
        };
        let owned = |text: Option<FlatText<'_>>| text.map(|text| text.as_str().into());
        Some(Challenge {
            id: ChallengeId::new(self.id.as_str()).ok()?,
            realm: Realm::new(self.realm.as_str()).ok()?,
            method: MethodName::new(self.method.as_str()).ok()?,
            intent: IntentName::new(self.intent.as_str()).ok()?,
            request: json(self.request)?,
            expires: owned(self.expires),
            digest: owned(self.digest),
            description: owned(self.description),
            opaque,
            header: self.header,
        })
    }
}
