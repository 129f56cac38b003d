//! What is exported adds up to what the chain shows.

use std::time::Duration;

use mpp_core::{Amount, problem::ProblemKind};
use mpp_devnet::{Outage, Times};
use mpp_tempo::{LocalSigner, Signer};

use super::shop::*;
use crate::{
    charge::{export::export, record::ChargeState},
    clock::Clock as _,
    store::{ChannelStore as _, DocumentKind, DocumentPage, export::Format},
    testing::{World, amount, granted, problem, refused},
};

const TRANSFER_WITH_MEMO: [u8; 4] = [0x95, 0x77, 0x7d, 0x59];

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    kind: String,
    state: String,
    external_id: Option<String>,
    transaction: Option<String>,
    received: Amount,
    returned: Amount,
}

async fn exported(world: &World, format: Format) -> String {
    let mut out = Vec::new();
    let count = export(&world.store, format, &mut out).await.unwrap();
    let text = String::from_utf8(out).unwrap();
    let heading = u64::from(format == Format::Csv);
    let lines = u64::try_from(text.lines().count()).unwrap();
    assert_eq!(lines.checked_sub(heading), Some(count));
    text
}

#[tokio::test]
async fn charges_less_refunds_are_what_the_payer_has_lost() {
    let world = World::new();
    // The fees are the sponsor's, so that only prices count.
    let route = shop(offer(&world).sponsored().external_id("a \"quoted\", one"));
    let payer = world.payer.address();
    let before = world.balance(payer);
    let mut receipts = Vec::new();
    for _ in 0..3 {
        world.advance(1);
        let challenge = world.challenge(&route).await;
        let credential = Wallet::sponsored(&world).pay(&challenge).await;
        receipts.push(served(show(&world, &route, &credential).await).await);
    }
    // One is reverted and counts nothing.
    world.advance(1);
    let challenge = world.challenge(&route).await;
    let credential = Wallet::sponsored(&world).pay(&challenge).await;
    world
        .node
        .faults()
        .revert_calls(TRANSFER_WITH_MEMO, Times::Once);
    refused(show(&world, &route, &credential).await);
    world
        .server
        .refund_to(&receipts[0], amount(PRICE))
        .await
        .unwrap();
    let one = amount(1);
    world.server.refund_to(&receipts[1], one).await.unwrap();

    let text = exported(&world, Format::JsonLines).await;
    let lines: Vec<Line> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 6);
    let sum = |part: fn(&Line) -> Amount| -> u128 {
        lines.iter().map(|line| part(line).base_units()).sum()
    };
    let net = sum(|line| line.received) - sum(|line| line.returned);
    assert_eq!(net, before - world.balance(payer));
    assert_eq!(net, 2 * PRICE - 1);
    let of = |kind: &str, state: &str| {
        let lines = lines.iter();
        lines
            .filter(|line| line.kind == kind && line.state == state)
            .count()
    };
    assert_eq!((of("charge", "served"), of("charge", "released")), (3, 1));
    assert_eq!(of("refund", "paid"), 2);
    let named = |line: &Line| line.external_id.as_deref() == Some("a \"quoted\", one");
    assert!(
        lines
            .iter()
            .all(|line| named(line) && line.transaction.is_some())
    );

    let csv = exported(&world, Format::Csv).await;
    assert!(csv.starts_with("at,kind,challengeId,"));
    assert_eq!(csv.matches("\"a \"\"quoted\"\", one\"").count(), 6);
}

async fn kept(world: &World) -> usize {
    let (kind, after, limit) = (DocumentKind::Charge, None, 1_000);
    let page = DocumentPage { kind, after, limit };
    world.store.documents(page).await.unwrap().len()
}

/// Several rounds of the server's own sweeping.
async fn rounds() {
    tokio::time::sleep(Duration::from_secs(60 * 60)).await;
}

// Nobody fills the store with payments that cost nothing.
#[tokio::test(start_paused = true)]
async fn what_was_never_paid_is_removed_with_its_notes() {
    let world = World::new();
    let poor = LocalSigner::from_bytes(&[9; 32]).unwrap();
    let route = shop(offer(&world).sponsored());
    let key = repeatable("k1", "body");
    // Refused under a key, of unknown end, and claimed by a server that has died.
    let refused_one = world.challenge(&route).await;
    let wallet = Wallet {
        signer: &poor,
        ..Wallet::new(&world)
    };
    let credential = wallet.pay(&refused_one).await;
    problem(
        ask(&world, &route, &credential, key).await,
        ProblemKind::VerificationFailed,
    );
    let dropped = world.challenge(&route).await;
    world.node.faults().drop_transactions(Times::Once);
    let credential = Wallet::new(&world).pay(&dropped).await;
    refused(show(&world, &route, &credential).await);
    let claimed = world.challenge(&route).await;
    world.node.faults().set_outage(Outage::Refusing);
    let credential = Wallet::sponsored(&world).pay(&claimed).await;
    refused(show(&world, &route, &credential).await);
    world.node.faults().clear();
    let until = world.clock.now();
    put_state(&world, &claimed, ChargeState::Claimed { until }).await;
    let unpaid = [refused_one, dropped, claimed];
    assert_eq!(kept(&world).await, 4 + 3 + 2);

    // Their challenges end last. By the clock of another server they have not.
    let expires = unpaid.iter().map(|challenge| challenge.expires_at());
    let last = expires.map(Result::unwrap).max().unwrap();
    let left = last.saturating_duration_since(world.clock.now());
    let left = u32::try_from(left.as_secs()).unwrap();
    world.advance(left + 60 * 60 - 1);
    world.node.mine();
    rounds().await;
    assert_eq!(kept(&world).await, 9);
    world.advance(1);
    rounds().await;
    assert_eq!(kept(&world).await, 0);
    for challenge in unpaid {
        assert!(record(&world, &challenge).await.is_none());
    }
    // The key is free, and its charge is on the books for good.
    let fresh = world.challenge(&route).await;
    let credential = Wallet::new(&world).pay(&fresh).await;
    let grant = granted(ask(&world, &route, &credential, key).await);
    grant.capture(None).await.unwrap();
    world.advance(7 * 24 * 60 * 60);
    world.node.mine();
    rounds().await;
    assert_eq!(kept(&world).await, 4);
}

// A charge was given up, and its transaction is mined all the same.
#[tokio::test(start_paused = true)]
async fn what_may_have_been_paid_is_not_removed() {
    let world = World::new();
    let route = shop(offer(&world));
    let mut shown = Vec::new();
    for number in 1..=2 {
        let challenge = world.challenge(&route).await;
        let mut wallet = Wallet::new(&world);
        wallet.context.valid_after = Some(number);
        let signed = wallet.sign(&honest(&challenge)).await;
        world.node.faults().drop_transactions(Times::Once);
        let credential = pull(&challenge, &signed);
        refused(show(&world, &route, &credential).await);
        put_state(&world, &challenge, ChargeState::Released).await;
        shown.push((challenge, signed, credential));
    }
    let (_, signed, _) = &shown[0];
    world.node.submit(&signed.encode()).unwrap();
    // A node that lags behind does not show what is missing.
    world.clock.advance_secs(24 * 60 * 60);
    rounds().await;
    for (challenge, ..) in &shown {
        assert!(record(&world, challenge).await.is_some());
    }
    world.node.advance_time(Duration::from_secs(24 * 60 * 60));
    world.node.mine();
    rounds().await;
    assert!(record(&world, &shown[1].0).await.is_none());
    served(show(&world, &route, &shown[0].2).await).await;
}
