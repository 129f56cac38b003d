//! What the tests of charges share: routes, wallets and credentials.

use alloy_primitives::{Address, B256};
use mpp_core::{
    Challenge, Credential,
    receipt::{ChargeReceipt, Receipt},
};
use mpp_tempo::{
    LocalSigner, Signer,
    charge::{AttributionMemo, ChargeTransfer, Transfers},
    network::PATH_USD,
    tx::{FeeMode, SignedTx, TxContext, build, build::Transfer, gas},
    wire::{ChargePayload, ChargeRequest},
};

use crate::{
    ChargeOffer, Route,
    charge::record::ChargeRecord,
    gate::{Attempt, Decision, Purpose},
    testing::{World, granted, paying, route},
};

/// Price of the routes, in base units.
pub(super) const PRICE: u128 = 10_000;

pub(super) fn offer(world: &World) -> ChargeOffer {
    world.server.charge().amount("0.01")
}

pub(super) fn shop(offer: ChargeOffer) -> Route {
    route("/photo", offer.build().unwrap())
}

pub(super) fn request(challenge: &Challenge) -> ChargeRequest {
    challenge.request.decode().unwrap()
}

/// The transfers that the challenge asks for, as an honest client makes them.
pub(super) fn honest(challenge: &Challenge) -> Vec<ChargeTransfer> {
    let transfers = Transfers::try_from(&request(challenge)).unwrap();
    transfers.with_attribution(memo(challenge))
}

pub(super) fn memo(challenge: &Challenge) -> AttributionMemo {
    AttributionMemo::new(
        challenge.realm.as_str(),
        Some("client"),
        challenge.id.as_str(),
    )
}

/// A wallet's way of paying, which tests bend.
pub(super) struct Wallet<'a> {
    pub(super) world: &'a World,
    pub(super) signer: &'a LocalSigner,
    pub(super) context: TxContext,
    pub(super) token: Address,
}

impl<'a> Wallet<'a> {
    pub(super) fn new(world: &'a World) -> Self {
        Self {
            signer: &world.payer,
            context: world.context(gas::TRANSFER, paying()),
            token: PATH_USD,
            world,
        }
    }

    pub(super) fn sponsored(world: &'a World) -> Self {
        Self {
            context: world.context(gas::TRANSFER, FeeMode::Sponsored),
            ..Self::new(world)
        }
    }

    pub(super) async fn sign(&self, transfers: &[ChargeTransfer]) -> SignedTx {
        let calls: Vec<_> = transfers
            .iter()
            .map(|one| Transfer::of_charge(self.token, one))
            .collect();
        let unsigned = build::transfer(&self.context, &calls).unwrap();
        unsigned.sign(self.signer).await.unwrap()
    }

    /// A credential that pays the challenge as it asks.
    pub(super) async fn pay(&self, challenge: &Challenge) -> Credential {
        let signed = self.sign(&honest(challenge)).await;
        pull(challenge, &signed)
    }

    /// Pays the challenge past the server, and shows the hash.
    pub(super) async fn push(&self, challenge: &Challenge) -> (Credential, B256) {
        let signed = self.sign(&honest(challenge)).await;
        self.world.node.submit(&signed.encode()).unwrap();
        (push(challenge, signed.hash()), signed.hash())
    }

    pub(super) fn source(&self) -> String {
        format!("did:pkh:eip155:42431:{}", self.signer.address())
    }
}

pub(super) fn pull(challenge: &Challenge, signed: &SignedTx) -> Credential {
    credential(
        challenge,
        &ChargePayload::Transaction {
            transaction: signed.encode(),
        },
    )
}

pub(super) fn push(challenge: &Challenge, hash: B256) -> Credential {
    credential(challenge, &ChargePayload::Hash { hash })
}

pub(super) fn credential(challenge: &Challenge, payload: &ChargePayload) -> Credential {
    Credential::new(challenge.clone(), serde_json::to_value(payload).unwrap())
}

/// Shows a credential to the world's server.
pub(super) async fn show(world: &World, route: &Route, credential: &Credential) -> Decision {
    world
        .decide(route, credential.clone(), Purpose::Content)
        .await
}

/// As [`show`], at another server.
pub(super) async fn show_at(
    server: &crate::PaymentServer,
    route: &Route,
    credential: &Credential,
) -> Decision {
    let attempt = Attempt::from_credential(Some(credential.clone()), Purpose::Content);
    server.decide(route, attempt).await
}

/// Captures a grant, as a transport does whose handler has succeeded.
pub(super) async fn served(decision: Decision) -> ChargeReceipt {
    charge_receipt(granted(decision).capture(None).await.unwrap())
}

pub(super) fn charge_receipt(receipt: Receipt) -> ChargeReceipt {
    match receipt {
        Receipt::Charge(receipt) => receipt,
        Receipt::Session(_) => panic!("a session receipt"),
    }
}

pub(super) async fn record(world: &World, challenge: &Challenge) -> Option<ChargeRecord> {
    world.server.charge_of(&challenge.id).await.unwrap()
}

/// How many transactions the chain holds.
pub(super) fn mined(world: &World) -> u64 {
    world.node.transactions_mined()
}
