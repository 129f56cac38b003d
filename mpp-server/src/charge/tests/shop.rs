//! What the tests of charges share: routes, wallets and credentials.

use std::{net::IpAddr, sync::Arc};

use alloy_primitives::{Address, B256};
use mpp_core::{
    Challenge, Credential,
    header::idempotency_key::IdempotencyKey,
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
    charge::{
        desk::Desk,
        record::{ChargeId, ChargeRecord, ChargeState},
    },
    gate::{Attempt, Decision, Purpose, Repeatable},
    testing::{World, claim_sender, granted, paying, route},
};

/// Price of the routes, in base units.
pub(crate) const PRICE: u128 = 10_000;

pub(crate) fn offer(world: &World) -> ChargeOffer {
    world.server.charge().amount("0.01")
}

pub(crate) fn shop(offer: ChargeOffer) -> Route {
    route("/photo", offer.build().unwrap())
}

pub(crate) fn request(challenge: &Challenge) -> ChargeRequest {
    challenge.request.decode().unwrap()
}

/// The transfers that the challenge asks for, as an honest client makes them.
pub(crate) fn honest(challenge: &Challenge) -> Vec<ChargeTransfer> {
    let transfers = Transfers::try_from(&request(challenge)).unwrap();
    transfers.with_attribution(memo(challenge))
}

pub(crate) fn memo(challenge: &Challenge) -> AttributionMemo {
    AttributionMemo::new(
        challenge.realm.as_str(),
        Some("client"),
        challenge.id.as_str(),
    )
}

/// A wallet's way of paying, which tests bend.
pub(crate) struct Wallet<'a> {
    pub(crate) world: &'a World,
    pub(crate) signer: &'a LocalSigner,
    pub(crate) context: TxContext,
    pub(crate) token: Address,
}

impl<'a> Wallet<'a> {
    pub(crate) fn new(world: &'a World) -> Self {
        Self {
            signer: &world.payer,
            context: world.context(gas::TRANSFER, paying()),
            token: PATH_USD,
            world,
        }
    }

    pub(crate) fn sponsored(world: &'a World) -> Self {
        Self {
            context: world.context(gas::TRANSFER, FeeMode::Sponsored),
            ..Self::new(world)
        }
    }

    pub(crate) async fn sign(&self, transfers: &[ChargeTransfer]) -> SignedTx {
        let calls: Vec<_> = transfers
            .iter()
            .map(|one| Transfer::of_charge(self.token, one))
            .collect();
        let unsigned = build::transfer(&self.context, &calls).unwrap();
        unsigned.sign(self.signer).await.unwrap()
    }

    /// A credential that pays the challenge as it asks.
    pub(crate) async fn pay(&self, challenge: &Challenge) -> Credential {
        let signed = self.sign(&honest(challenge)).await;
        pull(challenge, &signed)
    }

    /// Pays the challenge past the server, and shows the hash.
    pub(crate) async fn push(&self, challenge: &Challenge) -> (Credential, B256) {
        let signed = self.sign(&honest(challenge)).await;
        self.world.node.submit(&signed.encode()).unwrap();
        (push(challenge, signed.hash()), signed.hash())
    }

    pub(crate) fn source(&self) -> String {
        format!("did:pkh:eip155:42431:{}", self.signer.address())
    }
}

/// A challenge of a route, and a credential that pays it as it asks.
pub(crate) struct Sale {
    pub(crate) world: World,
    pub(crate) route: Route,
    pub(crate) challenge: Challenge,
    pub(crate) credential: Credential,
}

impl Sale {
    pub(crate) async fn new() -> Self {
        let world = World::new();
        let route = shop(offer(&world));
        let challenge = world.challenge(&route).await;
        let credential = Wallet::new(&world).pay(&challenge).await;
        Self {
            world,
            route,
            challenge,
            credential,
        }
    }

    /// Shows the credential to the world's server.
    pub(crate) async fn show(&self) -> Decision {
        show(&self.world, &self.route, &self.credential).await
    }

    /// What the server has recorded of the charge.
    pub(crate) async fn state(&self) -> ChargeState {
        let recorded = record(&self.world, &self.challenge).await;
        recorded.unwrap().state
    }
}

/// A credential whose transaction's signer claims to be an access key of another account. Only the
/// chain knows whether it is.
pub(crate) async fn claimed_for(
    account: Address,
    wallet: &Wallet<'_>,
    challenge: &Challenge,
) -> Credential {
    let own = wallet.sign(&honest(challenge)).await;
    let transaction = claim_sender(&own, account);
    credential(challenge, &ChargePayload::Transaction { transaction })
}

pub(crate) fn pull(challenge: &Challenge, signed: &SignedTx) -> Credential {
    credential(
        challenge,
        &ChargePayload::Transaction {
            transaction: signed.encode(),
        },
    )
}

pub(crate) fn push(challenge: &Challenge, hash: B256) -> Credential {
    credential(challenge, &ChargePayload::Hash { hash })
}

pub(crate) fn credential(challenge: &Challenge, payload: &ChargePayload) -> Credential {
    Credential::new(challenge.clone(), serde_json::to_value(payload).unwrap())
}

/// Shows a credential to the world's server.
pub(crate) async fn show(world: &World, route: &Route, credential: &Credential) -> Decision {
    world
        .decide(route, credential.clone(), Purpose::Content)
        .await
}

/// As [`show`], at another server.
pub(crate) async fn show_at(
    server: &crate::PaymentServer,
    route: &Route,
    credential: &Credential,
) -> Decision {
    let attempt = Attempt::from_credential(Some(credential.clone()), Purpose::Content);
    server.decide(route, attempt).await
}

/// As [`show`], from an address.
pub(crate) async fn show_from(
    world: &World,
    route: &Route,
    credential: &Credential,
    peer: [u8; 4],
) -> Decision {
    let attempt = Attempt::from_credential(Some(credential.clone()), Purpose::Content);
    let attempt = attempt.peer(Some(IpAddr::from(peer)));
    world.server.decide(route, attempt).await
}

pub(crate) fn repeatable(key: &str, body: &str) -> Repeatable {
    Repeatable::new(&IdempotencyKey::parse(key).unwrap(), &[body.as_bytes()])
}

/// As [`show`], of an idempotent request.
pub(crate) async fn ask(
    world: &World,
    route: &Route,
    credential: &Credential,
    asked: Repeatable,
) -> Decision {
    let attempt = Attempt::from_credential(Some(credential.clone()), Purpose::Content);
    let attempt = attempt.repeatable(Some(asked));
    world.server.decide(route, attempt).await
}

/// Captures a grant, as a transport does whose handler has succeeded.
pub(crate) async fn served(decision: Decision) -> ChargeReceipt {
    charge_receipt(granted(decision).capture(None).await.unwrap())
}

pub(crate) fn charge_receipt(receipt: Receipt) -> ChargeReceipt {
    match receipt {
        Receipt::Charge(receipt) => receipt,
        Receipt::Session(_) => panic!("a session receipt"),
    }
}

pub(crate) async fn record(world: &World, challenge: &Challenge) -> Option<ChargeRecord> {
    world.server.charge_of(&challenge.id).await.unwrap()
}

/// Puts a charge where a server that has died left it.
pub(crate) async fn put_state(world: &World, challenge: &Challenge, state: ChargeState) {
    let desk = Desk::new(Arc::new(world.store.clone()));
    let id = ChargeId::of(&challenge.id);
    let found = desk.load(id).await.unwrap().unwrap();
    let next = ChargeRecord {
        state,
        ..found.value
    };
    let put = desk.put(next, Some(found.version), Vec::new()).await;
    assert!(put.unwrap().is_some());
}

/// How many transactions the chain holds.
pub(crate) fn mined(world: &World) -> u64 {
    world.node.transactions_mined()
}
