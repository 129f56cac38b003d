//! SECURITY-CASES A3, A4, A35: what is refused before anything is sent.

use alloy_primitives::{Address, B256};
use mpp_core::{Challenge, Credential, problem::ProblemKind};
use mpp_tempo::{
    charge::{ChargeTransfer, ProofTerms},
    wire::{ChargeMode, ChargePayload},
};

use super::shop::*;
use crate::testing::{World, paying, problem};

/// A bent credential is refused, and nothing is sent, kept or granted; the
/// honest one works after it.
async fn check(kind: ProblemKind, bend: impl AsyncFn(&World, &Challenge) -> Credential) {
    let world = World::new();
    let route = shop(offer(&world).split(Address::repeat_byte(0x51), "0.004"));
    let challenge = world.challenge(&route).await;
    let bent = bend(&world, &challenge).await;
    problem(show(&world, &route, &bent).await, kind);
    assert_eq!(mined(&world), 0);
    assert_eq!(record(&world, &challenge).await, None);
    let mut wallet = Wallet::new(&world);
    wallet.context.fees.gas_limit = 1_500_000;
    served(show(&world, &route, &wallet.pay(&challenge).await).await).await;
}

async fn bent(
    world: &World,
    challenge: &Challenge,
    bend: impl FnOnce(&mut Vec<ChargeTransfer>),
) -> Credential {
    let mut transfers = honest(challenge);
    bend(&mut transfers);
    pull(challenge, &Wallet::new(world).sign(&transfers).await)
}

#[tokio::test]
async fn transfers_that_differ_are_refused_unsent() {
    let failed = ProblemKind::VerificationFailed;
    check(failed, async |world, challenge| {
        bent(world, challenge, |all| {
            all[0].amount = crate::testing::amount(1)
        })
        .await
    })
    .await;
    check(failed, async |world, challenge| {
        bent(world, challenge, |all| all[0].to = Address::repeat_byte(9)).await
    })
    .await;
    check(failed, async |world, challenge| {
        bent(world, challenge, |all| all[0].memo = None).await
    })
    .await;
    check(failed, async |world, challenge| {
        bent(world, challenge, |all| {
            all[0].memo = Some(B256::repeat_byte(9))
        })
        .await
    })
    .await;
    check(failed, async |world, challenge| {
        bent(world, challenge, |all| all.truncate(1)).await
    })
    .await;
    check(failed, async |world, challenge| {
        bent(world, challenge, |all| all.push(all[1])).await
    })
    .await;
}

#[tokio::test]
async fn transactions_that_are_not_for_here_are_refused_unsent() {
    let failed = ProblemKind::VerificationFailed;
    check(failed, async |world, challenge| {
        let mut wallet = Wallet::new(world);
        wallet.context.chain_id = 4217;
        wallet.pay(challenge).await
    })
    .await;
    // Fees are not sponsored on this route.
    check(failed, async |world, challenge| {
        Wallet::sponsored(world).pay(challenge).await
    })
    .await;
    check(failed, async |world, challenge| {
        let mut credential = Wallet::new(world).pay(challenge).await;
        credential.source = Some(format!("did:pkh:eip155:42431:{}", world.payee()));
        credential
    })
    .await;
    check(failed, async |world, challenge| {
        let wallet = Wallet::new(world);
        let mut credential = wallet.pay(challenge).await;
        credential.source = Some(wallet.source().replace("42431", "4217"));
        credential
    })
    .await;
    // It could not be mined any more.
    check(failed, async |world, challenge| {
        let mut wallet = Wallet::new(world);
        let now = wallet.context.now.as_secs();
        wallet.context.now = mpp_core::Timestamp::from_secs(now - 60);
        wallet.pay(challenge).await
    })
    .await;
    check(ProblemKind::InvalidPayload, async |_, challenge| {
        let transaction = "0x02c0".parse().unwrap();
        credential(challenge, &ChargePayload::Transaction { transaction })
    })
    .await;
    check(ProblemKind::InvalidPayload, async |world, challenge| {
        let terms = ProofTerms {
            account: mpp_tempo::Signer::address(&world.payer),
            chain_id: 42431,
            challenge_id: challenge.id.as_str(),
            realm: challenge.realm.as_str(),
        };
        let signature = terms.sign(&world.payer).await.unwrap();
        let mut proof = credential(challenge, &ChargePayload::Proof { signature });
        proof.source = Some(Wallet::new(world).source());
        proof
    })
    .await;
    check(ProblemKind::RequestInProgress, async |_, challenge| {
        push(challenge, B256::repeat_byte(7))
    })
    .await;
}

// PROTOCOL 4: supported modes; a hash on a sponsored challenge is refused.
#[tokio::test]
async fn modes_that_are_not_offered_are_refused() {
    let world = World::new();
    let pushed = shop(offer(&world).modes([ChargeMode::Push]));
    let challenge = world.challenge(&pushed).await;
    let credential = Wallet::new(&world).pay(&challenge).await;
    problem(
        show(&world, &pushed, &credential).await,
        ProblemKind::InvalidPayload,
    );
    let pulled = shop(offer(&world).modes([ChargeMode::Pull]));
    let challenge = world.challenge(&pulled).await;
    let (credential, _) = Wallet::new(&world).push(&challenge).await;
    problem(
        show(&world, &pulled, &credential).await,
        ProblemKind::InvalidPayload,
    );
    world.advance(1);
    let sponsored = shop(offer(&world).sponsored());
    let challenge = world.challenge(&sponsored).await;
    let (credential, _) = Wallet::new(&world).push(&challenge).await;
    problem(
        show(&world, &sponsored, &credential).await,
        ProblemKind::InvalidPayload,
    );
}

// SECURITY-CASES A3: route, price, expiry.
#[tokio::test]
async fn challenges_of_elsewhere_and_of_before_are_refused() {
    let world = World::new();
    let route = shop(offer(&world));
    let dear = shop(offer(&world).amount("0.02"));
    let other = crate::testing::route("/other", offer(&world).build().unwrap());
    let challenge = world.challenge(&route).await;
    let mut wallet = Wallet::new(&world);
    wallet.context = world.context(600_000, paying());
    let credential = wallet.pay(&challenge).await;
    for elsewhere in [&dear, &other] {
        problem(
            show(&world, elsewhere, &credential).await,
            ProblemKind::InvalidChallenge,
        );
    }
    world.clock.advance_secs(5 * 60);
    problem(
        show(&world, &route, &credential).await,
        ProblemKind::PaymentExpired,
    );
    assert_eq!(mined(&world), 0);
}

// Naming hashes that are not there costs calls to the node: they run out.
#[tokio::test]
async fn who_guesses_hashes_has_to_wait() {
    let world = World::new();
    let route = shop(offer(&world));
    let challenge = world.challenge(&route).await;
    for _ in 0..20 {
        let guess = push(&challenge, B256::from(rand::random::<[u8; 32]>()));
        problem(
            show(&world, &route, &guess).await,
            ProblemKind::RequestInProgress,
        );
    }
    let calls = world.node.client_calls();
    let guess = push(&challenge, B256::from(rand::random::<[u8; 32]>()));
    problem(show(&world, &route, &guess).await, ProblemKind::RateLimited);
    assert_eq!(world.node.client_calls(), calls);
}
