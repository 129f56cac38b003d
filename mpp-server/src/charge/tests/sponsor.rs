//! SECURITY-CASES A15: fees are paid within policy, simulation and budget.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use alloy_primitives::{Address, B256, U256};
use mpp_core::problem::ProblemKind;
use mpp_devnet::Times;
use mpp_tempo::{
    LocalSigner, Signer,
    network::PATH_USD,
    tx::{CosignError, FeePayer, SignedTx, cosign, gas},
};

use super::shop::*;
use crate::{
    Route, ServerEvent, SponsorBudget,
    gate::Decision,
    testing::{Flawed, World, amount, key, problem},
};

/// Gas limit times fee limit of the wallets here.
fn most() -> U256 {
    U256::from(1_200_000_000_000_000_u64)
}

fn budget(per_payer: u64, per_range: u64, total: u64) -> SponsorBudget {
    let times = |count: u64| most().saturating_mul(U256::from(count));
    SponsorBudget {
        per_payer: times(per_payer),
        per_range: times(per_range),
        total: times(total),
        ..SponsorBudget::default()
    }
}

#[tokio::test]
async fn the_sponsor_pays_the_fee_and_the_payer_the_price() {
    let world = World::new();
    let route = shop(offer(&world).sponsored());
    let payer = world.payer.address();
    let before = (world.balance(payer), world.balance(world.sponsor()));
    let challenge = world.challenge(&route).await;
    assert_eq!(request(&challenge).method_details.fee_payer, Some(true));
    let credential = Wallet::sponsored(&world).pay(&challenge).await;
    served(show(&world, &route, &credential).await).await;
    assert_eq!(before.0 - world.balance(payer), PRICE);
    assert!(world.balance(world.sponsor()) < before.1);
}

// PROTOCOL 4: up to ten splits, each to an account that may be new.
#[tokio::test]
async fn a_charge_of_many_transfers_is_sponsored() {
    let world = World::new();
    let recipients = (1..=10).map(Address::repeat_byte);
    let split = |offer: crate::ChargeOffer, to| offer.split(to, "0.0005");
    let route = shop(recipients.clone().fold(offer(&world).sponsored(), split));
    let challenge = world.challenge(&route).await;
    let pay = async |gas_limit| {
        let mut wallet = Wallet::sponsored(&world);
        wallet.context.fees.gas_limit = gas_limit;
        show(&world, &route, &wallet.pay(&challenge).await).await
    };
    let most = gas::transfers(11);
    problem(pay(most + 1).await, ProblemKind::VerificationFailed);
    served(pay(most).await).await;
    assert!(
        recipients
            .clone()
            .all(|recipient| world.balance(recipient) == 500)
    );
}

// PROTOCOL 4: servers accept unsponsored transactions too.
#[tokio::test]
async fn a_payer_may_pay_its_own_fee() {
    let world = World::new();
    let route = shop(offer(&world).sponsored());
    let before = world.balance(world.sponsor());
    let challenge = world.challenge(&route).await;
    let credential = Wallet::new(&world).pay(&challenge).await;
    served(show(&world, &route, &credential).await).await;
    assert_eq!(world.balance(world.sponsor()), before);
}

#[tokio::test]
async fn what_would_revert_is_neither_signed_nor_sent() {
    let world = World::new();
    let route = shop(offer(&world).sponsored());
    let challenge = world.challenge(&route).await;
    let wallet = Wallet {
        signer: &world.stranger,
        ..Wallet::sponsored(&world)
    };
    world.node.freeze(world.stranger.address());
    let before = world.balance(world.sponsor());
    let refused = show(&world, &route, &wallet.pay(&challenge).await).await;
    let problem = problem(refused, ProblemKind::VerificationFailed);
    assert!(
        problem.detail.contains("would revert"),
        "{}",
        problem.detail
    );
    assert_eq!((mined(&world), world.balance(world.sponsor())), (0, before));
    // The challenge is still good for who can pay.
    let honest = Wallet::sponsored(&world).pay(&challenge).await;
    served(show(&world, &route, &honest).await).await;
}

/// A fee payer that counts what it was asked to sign.
struct Counted(LocalSigner, Arc<AtomicU32>);

impl FeePayer for Counted {
    fn address(&self) -> Option<Address> {
        Some(self.0.address())
    }

    async fn cosign(&self, asked: SignedTx, token: Address) -> Result<SignedTx, CosignError> {
        self.1.fetch_add(1, Ordering::SeqCst);
        cosign(asked, &self.0, token).await
    }
}

/// A world whose fee payer counts, or another account in its place.
fn counting(other: Option<LocalSigner>) -> (World, Arc<AtomicU32>) {
    let (mut world, count) = (World::new(), Arc::default());
    let signer = other.unwrap_or_else(|| key(&world.node, 3));
    let counted = Counted(signer, Arc::clone(&count));
    world.server = world.again(|builder| builder.fee_payer_service(counted));
    (world, count)
}

// Whoever leaves it too little gas burns it all, and it would be ours.
#[tokio::test]
async fn what_would_run_out_of_gas_is_not_signed() {
    let (world, signed) = counting(None);
    // Of one memo, so that all transactions use the same.
    let route = shop(offer(&world).sponsored().memo(B256::repeat_byte(9)));
    let challenge = world.challenge(&route).await;
    let credential = Wallet::sponsored(&world).pay(&challenge).await;
    let receipt = served(show(&world, &route, &credential).await).await;
    let hash = receipt.reference.parse().unwrap();
    let used = world.node.receipt(hash).unwrap().gas_used;

    let pay = async |gas_limit, valid_after| {
        let challenge = world.challenge(&route).await;
        let mut wallet = Wallet::sponsored(&world);
        wallet.context.fees.gas_limit = gas_limit;
        wallet.context.valid_after = Some(valid_after);
        show(&world, &route, &wallet.pay(&challenge).await).await
    };
    let before = world.balance(world.sponsor());
    for gas_limit in [used - 1, used / 2] {
        let refused = problem(
            pay(gas_limit, gas_limit).await,
            ProblemKind::VerificationFailed,
        );
        assert!(refused.detail.contains("gas"), "{}", refused.detail);
        assert_eq!(world.balance(world.sponsor()), before);
    }
    served(pay(used, 1).await).await;
    assert_eq!(signed.load(Ordering::SeqCst), 2);
}

// Nobody mines it: it would only hold the budget, or nothing of it.
#[tokio::test]
async fn a_fee_limit_below_the_base_fee_is_not_signed() {
    let (world, signed) = counting(None);
    let route = shop(offer(&world).sponsored());
    let base_fee = u128::from(world.node.config().base_fee);
    for max_fee_per_gas in [0, base_fee - 1] {
        let challenge = world.challenge(&route).await;
        let mut wallet = Wallet::sponsored(&world);
        wallet.context.fees.max_fee_per_gas = max_fee_per_gas;
        let refused = show(&world, &route, &wallet.pay(&challenge).await).await;
        problem(refused, ProblemKind::VerificationFailed);
    }
    assert_eq!(signed.load(Ordering::SeqCst), 0);
    let challenge = world.challenge(&route).await;
    let mut wallet = Wallet::sponsored(&world);
    wallet.context.fees.max_fee_per_gas = base_fee;
    served(show(&world, &route, &wallet.pay(&challenge).await).await).await;
}

// A node that can not simulate tells nothing of a payer without money.
#[tokio::test]
async fn a_payer_that_does_not_hold_the_amount_is_not_sponsored() {
    let (mut world, signed) = counting(None);
    let flawed = Flawed::new(world.node.clone());
    let counted = Counted(key(&world.node, 3), Arc::clone(&signed));
    world.server = world.again(|builder| {
        let chain = builder.chain(flawed.clone());
        chain.fee_payer_service(counted)
    });
    flawed.set_credulous();
    let route = shop(offer(&world).sponsored());
    let poor = LocalSigner::from_bytes(&[9; 32]).unwrap();
    let challenge = world.challenge(&route).await;
    let wallet = Wallet {
        signer: &poor,
        ..Wallet::sponsored(&world)
    };
    let held = amount(PRICE - 1);
    world.node.mint(PATH_USD, poor.address(), held).unwrap();
    let before = world.balance(world.sponsor());
    let credential = wallet.pay(&challenge).await;
    let refused = show(&world, &route, &credential).await;
    problem(refused, ProblemKind::VerificationFailed);
    assert_eq!(world.balance(world.sponsor()), before);
    assert_eq!(signed.load(Ordering::SeqCst), 0);
    world
        .node
        .mint(PATH_USD, poor.address(), amount(1))
        .unwrap();
    served(show(&world, &route, &credential).await).await;
}

// The draft: servers reject new payment requests when the sponsor's balance is insufficient.
#[tokio::test]
async fn a_fee_payer_without_money_signs_nothing_and_blames_nobody() {
    let broke = LocalSigner::from_bytes(&[8; 32]).unwrap();
    let account = broke.address();
    let (world, signed) = counting(Some(broke));
    let route = shop(offer(&world).sponsored());
    let challenge = world.challenge(&route).await;
    let credential = Wallet::sponsored(&world).pay(&challenge).await;
    let peer = [192, 0, 2, 1];
    // More often than a payer may show what pays nothing.
    for _ in 0..25 {
        let refused = show_from(&world, &route, &credential, peer).await;
        problem(refused, ProblemKind::ServiceUnavailable);
    }
    // The most that the fee can be, in base units.
    let most = 1_200;
    world
        .node
        .mint(PATH_USD, account, amount(most - 1))
        .unwrap();
    let refused = show_from(&world, &route, &credential, peer).await;
    problem(refused, ProblemKind::ServiceUnavailable);
    assert_eq!((signed.load(Ordering::SeqCst), mined(&world)), (0, 0));
    // It is seen at once.
    world.node.mint(PATH_USD, account, amount(1)).unwrap();
    served(show_from(&world, &route, &credential, peer).await).await;
}

#[tokio::test]
async fn a_payer_beyond_its_budget_waits_and_others_do_not() {
    // The real fee is below the most that is reserved, so what comes back is spent again.
    let world = World::with(|builder| builder.sponsor_budget(budget(1, 100, 100)));
    let route = shop(offer(&world).sponsored());
    let mut paid = 0;
    let refusal = loop {
        world.advance(1);
        let challenge = world.challenge(&route).await;
        let credential = Wallet::sponsored(&world).pay(&challenge).await;
        match show(&world, &route, &credential).await {
            Decision::Grant(grant) => drop(grant.capture(None).await.unwrap()),
            other => break other,
        }
        paid += 1;
        assert!(paid < 100);
    };
    problem(refusal, ProblemKind::RateLimited);
    assert_eq!(mined(&world), paid);
    assert!(paid >= 1);
    let challenge = world.challenge(&route).await;
    let other = Wallet {
        signer: &world.stranger,
        ..Wallet::sponsored(&world)
    };
    served(show(&world, &route, &other.pay(&challenge).await).await).await;
    // The next window.
    world.advance(60 * 60);
    let challenge = world.challenge(&route).await;
    let credential = Wallet::sponsored(&world).pay(&challenge).await;
    served(show(&world, &route, &credential).await).await;
}

#[tokio::test]
async fn many_payers_of_one_network_share_its_budget() {
    let world = World::with(|builder| builder.sponsor_budget(budget(9, 1, 100)));
    let route = shop(offer(&world).sponsored());
    let first = world.challenge(&route).await;
    let second = world.challenge(&route).await;
    let one = Wallet::sponsored(&world).pay(&first).await;
    let other = Wallet {
        signer: &world.stranger,
        ..Wallet::sponsored(&world)
    };
    let two = other.pay(&second).await;
    served(show_from(&world, &route, &one, [192, 0, 2, 1]).await).await;
    problem(
        show_from(&world, &route, &two, [192, 0, 2, 200]).await,
        ProblemKind::RateLimited,
    );
    assert_eq!(mined(&world), 1);
    served(show_from(&world, &route, &two, [192, 0, 3, 1]).await).await;
}

// N in parallel multiply nothing: what is reserved counts at once, at every server.
#[tokio::test(flavor = "multi_thread")]
async fn parallel_requests_never_exceed_the_total() {
    let world = World::with(|builder| builder.sponsor_budget(budget(100, 100, 3)));
    let route = shop(offer(&world).sponsored());
    world
        .node
        .faults()
        .delay_transactions(Duration::from_secs(3_600), Times::Always);
    let signers: Vec<_> = (1..=8_u8)
        .map(|seed| LocalSigner::from_bytes(&[seed; 32]).unwrap())
        .collect();
    let mut credentials = Vec::new();
    for signer in &signers {
        world
            .node
            .mint(PATH_USD, signer.address(), amount(PRICE))
            .unwrap();
        let challenge = world.challenge(&route).await;
        let wallet = Wallet {
            signer,
            ..Wallet::sponsored(&world)
        };
        credentials.push(wallet.pay(&challenge).await);
    }
    let all = credentials
        .iter()
        .map(|credential| show(&world, &route, credential));
    let all = tokio::time::timeout(Duration::from_secs(60), futures_util::future::join_all(all));
    let limited = all.await.unwrap().into_iter().filter(|decision| {
        matches!(decision, Decision::Refuse(refusal) if refusal.problem.kind == ProblemKind::RateLimited)
    });
    assert_eq!(limited.count(), 5);
    assert_eq!(world.node.pending_transactions().len(), 3);
}

/// Long enough for the sponsor to look after what it has signed.
const A_WHILE: Duration = Duration::from_secs(60);

/// Shows a sponsored payment of a new challenge.
async fn pay(world: &World, route: &Route) -> Decision {
    let challenge = world.challenge(route).await;
    let credential = Wallet::sponsored(world).pay(&challenge).await;
    show(world, route, &credential).await
}

// Nobody shows the payment again: what is set aside for it comes back all the same.
#[tokio::test(start_paused = true)]
async fn what_is_set_aside_comes_back_when_a_transaction_is_never_mined() {
    let world = World::with(|builder| builder.sponsor_budget(budget(1, 1, 1)));
    let route = shop(offer(&world).sponsored());
    world.node.faults().drop_transactions(Times::Once);
    problem(pay(&world, &route).await, ProblemKind::ServiceUnavailable);
    // It may still be mined, or may have been: the node's last block does not tell.
    tokio::time::sleep(A_WHILE).await;
    problem(pay(&world, &route).await, ProblemKind::RateLimited);
    world.advance(60);
    tokio::time::sleep(A_WHILE).await;
    problem(pay(&world, &route).await, ProblemKind::RateLimited);
    world.node.mine();
    tokio::time::sleep(A_WHILE).await;
    served(pay(&world, &route).await).await;
    assert_eq!(mined(&world), 1);
}

/// How many payments are mined before the budget is used up, when the answer to
/// the first of them is lost, or none.
async fn afforded(is_lost: bool) -> u64 {
    let world = World::with(|builder| builder.sponsor_budget(budget(2, 2, 2)));
    let route = shop(offer(&world).sponsored());
    if is_lost {
        world.node.faults().lose_responses(Times::Once);
        problem(pay(&world, &route).await, ProblemKind::ServiceUnavailable);
        world.advance(60);
        tokio::time::sleep(A_WHILE).await;
    }
    while let Decision::Grant(grant) = pay(&world, &route).await {
        grant.capture(None).await.unwrap();
        world.advance(1);
        assert!(mined(&world) < 100);
    }
    mined(&world)
}

// As much as when the answer has come, and no less: it was paid.
#[tokio::test(start_paused = true)]
async fn what_a_transaction_has_cost_is_booked_when_its_answer_is_lost() {
    assert_eq!(afforded(true).await, afforded(false).await);
}

/// A fee payer that answers with somebody else's transaction.
struct Liar(LocalSigner, SignedTx);

impl FeePayer for Liar {
    fn address(&self) -> Option<Address> {
        None
    }

    async fn cosign(&self, _: SignedTx, token: Address) -> Result<SignedTx, CosignError> {
        cosign(self.1.clone(), &self.0, token).await
    }
}

#[tokio::test]
async fn what_a_remote_fee_payer_answers_is_verified() {
    let before = World::new();
    let route = shop(offer(&before).sponsored());
    let challenge = before.challenge(&route).await;
    let other = Wallet::sponsored(&before).sign(&honest(&challenge)).await;
    let signer = key(&before.node, 3);
    let world = World::with(|builder| builder.fee_payer_service(Liar(signer, other)));
    let route = shop(offer(&world).sponsored());
    let challenge = world.challenge(&route).await;
    let credential = Wallet::sponsored(&world).pay(&challenge).await;
    problem(
        show(&world, &route, &credential).await,
        ProblemKind::Internal,
    );
    assert_eq!(mined(&world), 0);
}

#[tokio::test]
async fn a_fee_payer_that_runs_dry_is_seen() {
    let world = World::new();
    let health = world.server.sponsor_health().await.unwrap().unwrap();
    assert_eq!(health.account, Some(world.sponsor()));
    assert!(!health.is_low());

    let rich = health.balance.unwrap();
    let world = World::with(|builder| builder.sponsor_low_balance(rich));
    let mut events = world.server.subscribe();
    let route = shop(offer(&world).sponsored());
    let challenge = world.challenge(&route).await;
    let credential = Wallet::sponsored(&world).pay(&challenge).await;
    served(show(&world, &route, &credential).await).await;
    // Tasks that are under way come to their end before this does.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut low = false;
    while let Ok(event) = events.try_recv() {
        low |= matches!(event, ServerEvent::SponsorLow { balance } if balance < rich);
    }
    assert!(low);
    let health = world.server.sponsor_health().await.unwrap().unwrap();
    assert!(health.is_low());
}
