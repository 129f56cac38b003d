//! What is exported adds up to what the chain shows.

use mpp_core::Amount;
use mpp_devnet::Times;
use mpp_tempo::Signer;

use super::shop::*;
use crate::{
    charge::export::export,
    store::export::Format,
    testing::{World, amount, refused},
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
