//! Challenges of one template, recognized by how a client writes them.

use core::fmt;

use super::{BindingError, Challenge, ChallengeTemplate, KnownChallenge};
use crate::credential::{CredentialText, FormedText};
use crate::encoding::form::Form;
use crate::ids::ChallengeId;

/// How one kind of client writes the challenges of one template.
///
/// They differ in id and expiry only. Where everything else is written as it
/// was in a credential whose challenge was verified, those two are all that is
/// left to read, and all that the MAC is about.
pub struct ChallengeForm {
    template: ChallengeTemplate,
    /// A challenge in this form.
    first: Challenge,
    /// Id and expiry.
    form: Form<2>,
}

impl ChallengeTemplate {
    /// Learns the form of a credential that answers a challenge of this
    /// template.
    ///
    /// `None` if it does not, or writes its challenge in an unusual order: such
    /// credentials are read as any other.
    #[must_use]
    pub fn learn(&self, text: &CredentialText<'_>) -> Option<ChallengeForm> {
        self.verify_text(&text.challenge).ok()?;
        let values = [text.challenge.id, text.challenge.expires?];
        Some(ChallengeForm {
            template: self.clone(),
            first: text.challenge.to_challenge()?,
            form: Form::learn(text.opening()?, values)?,
        })
    }
}

impl ChallengeForm {
    /// What the challenges have in common.
    #[must_use]
    pub const fn template(&self) -> &ChallengeTemplate {
        &self.template
    }

    pub(crate) const fn form(&self) -> &Form<2> {
        &self.form
    }

    /// Checks that this server has issued the challenge of a credential in
    /// this form. Does not allocate.
    ///
    /// Realm, method, intent, request and scope are those of the template;
    /// expiry and everything else is checked by the caller.
    ///
    /// # Errors
    /// [`BindingError`], also for a challenge bound with the secret before.
    pub fn verify(&self, text: &FormedText<'_>) -> Result<(), BindingError> {
        self.template
            .verify_mac(text.expires.as_str(), text.id.as_bytes())
    }

    /// Verifies a credential's challenge and keeps it with its text.
    #[must_use]
    pub fn recognize(&self, text: &FormedText<'_>) -> Option<KnownChallenge> {
        self.verify(text).ok()?;
        let challenge = Challenge {
            id: ChallengeId::new(text.id.as_str()).ok()?,
            expires: Some(text.expires.as_str().into()),
            ..self.first.clone()
        };
        KnownChallenge::keep(challenge, text.place())
    }
}

impl fmt::Debug for ChallengeForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChallengeForm")
            .field("template", &self.template)
            .finish_non_exhaustive()
    }
}
