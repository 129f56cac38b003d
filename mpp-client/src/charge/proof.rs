//! Proofs of identity, which answer charges of zero (PROTOCOL 4).

use mpp_core::Credential;
use mpp_tempo::Signer as _;
use mpp_tempo::charge::ProofTerms;
use mpp_tempo::wire::ChargePayload;

use super::ChargeOffer;
use super::pay::payload;
use crate::credential;
use crate::error::ClientError;
use crate::offer::check_time;
use crate::origin::Site;
use crate::payer::Payer;

impl Payer {
    /// Proves who is asking. It pays nothing, and tells the server the payer's address.
    pub(crate) async fn prove(
        &self,
        site: &Site,
        offer: &ChargeOffer,
    ) -> Result<Credential, ClientError> {
        self.check_charge(site, offer)?;
        self.mode_for(offer)?;
        check_time(offer.expires(), self.now())?;
        let challenge = offer.challenge();
        let account = self.signer().address();
        let terms = ProofTerms {
            account,
            chain_id: offer.chain_id(),
            challenge_id: challenge.id.as_str(),
            realm: challenge.realm.as_str(),
        };
        let signature = terms
            .sign(self.signer())
            .await
            .map_err(ClientError::Signer)?;
        let proof = payload(ChargePayload::Proof { signature })?;
        credential::of_account(challenge, (offer.chain_id(), &account), proof)
    }
}
