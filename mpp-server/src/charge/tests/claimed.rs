//! Whom an access key only claims to act for: what it does counts for the key.

use std::time::Duration;

use alloy_primitives::{Address, U256};
use mpp_core::problem::ProblemKind;
use mpp_tempo::{
    LocalSigner, Signer,
    network::PATH_USD,
    tx::{CosignError, FeePayer, SignedTx, cosign},
};

use super::shop::*;
use crate::{
    Route, SponsorBudget,
    gate::Decision,
    testing::{World, amount, problem, sponsoring_access_keys},
};

const HERE: [u8; 4] = [192, 0, 2, 1];

fn thief(seed: u8) -> LocalSigner {
    LocalSigner::from_bytes(&[seed; 32]).unwrap()
}

/// Shows a transaction of this key that names an account as its sender.
async fn forge(world: &World, route: &Route, key: &LocalSigner, account: Address) -> Decision {
    let challenge = world.challenge(route).await;
    let wallet = Wallet {
        signer: key,
        ..Wallet::new(world)
    };
    let forged = claimed_for(account, &wallet, &challenge).await;
    show_from(world, route, &forged, HERE).await
}

// ADR 8: who holds what is asked for waits for nobody, and for no forgery either.
#[tokio::test(start_paused = true)]
async fn forged_pulls_do_not_make_the_account_wait_that_they_name() {
    let world = World::new();
    let route = shop(offer(&world));
    let victim = world.payer.address();
    for seed in 9..29 {
        let refused = forge(&world, &route, &thief(seed), victim).await;
        problem(refused, ProblemKind::VerificationFailed);
    }
    let challenge = world.challenge(&route).await;
    let own = Wallet::new(&world).pay(&challenge).await;
    served(show_from(&world, &route, &own, HERE).await).await;
    assert_eq!(mined(&world), 1);
}

// Who names others that hold what is asked for does not hold it.
#[tokio::test(start_paused = true)]
async fn names_of_rich_accounts_are_no_way_around_the_limit() {
    let forge_25 = async |key: fn(u8) -> LocalSigner| {
        let world = World::new();
        let route = shop(offer(&world));
        for number in 1..=25 {
            let rich = Address::repeat_byte(number);
            world.node.mint(PATH_USD, rich, amount(PRICE)).unwrap();
            let refused = forge(&world, &route, &key(number), rich).await;
            problem(
                refused,
                match number {
                    ..=20 => ProblemKind::VerificationFailed,
                    _ => ProblemKind::RateLimited,
                },
            );
        }
    };
    forge_25(|_| thief(99)).await;
    forge_25(|number| thief(100 + number)).await;
}

/// A fee payer that takes its time.
struct Slow(LocalSigner);

impl FeePayer for Slow {
    fn address(&self) -> Option<Address> {
        Some(self.0.address())
    }

    async fn cosign(&self, signed: SignedTx, token: Address) -> Result<SignedTx, CosignError> {
        tokio::time::sleep(Duration::from_secs(2)).await;
        cosign(signed, &self.0, token).await
    }
}

// What is set aside for a forgery is not of the budget of the account that it names.
#[tokio::test(start_paused = true)]
async fn a_forgery_holds_nothing_of_the_budget_of_the_account_that_it_names() {
    let world = World::with(|builder| {
        let fee_payer = Slow(LocalSigner::from_bytes(&[7; 32]).unwrap());
        sponsoring_access_keys(builder)
            .fee_payer_service(fee_payer)
            .sponsor_budget(SponsorBudget {
                per_payer: U256::from(1_200_000_000_000_000_u64),
                ..SponsorBudget::default()
            })
    });
    let sponsor = LocalSigner::from_bytes(&[7; 32]).unwrap().address();
    let funds = amount(1_000_000_000);
    world.node.mint(PATH_USD, sponsor, funds).unwrap();
    let route = shop(offer(&world).sponsored());
    let key = thief(9);
    let wallet = Wallet {
        signer: &key,
        ..Wallet::sponsored(&world)
    };
    let challenge = world.challenge(&route).await;
    let forged = claimed_for(world.payer.address(), &wallet, &challenge).await;
    let challenge = world.challenge(&route).await;
    let own = Wallet::sponsored(&world).pay(&challenge).await;
    let later = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        show(&world, &route, &own).await
    };
    let (refused, granted) = tokio::join!(show(&world, &route, &forged), later);
    problem(refused, ProblemKind::VerificationFailed);
    served(granted).await;
}
