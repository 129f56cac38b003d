//! A server that has lost its store finds its channels on chain.

use std::time::Duration;

use mpp_core::problem::ProblemKind;
use mpp_tempo::{
    ChannelTerms,
    tx::{build, gas},
};

use super::{Adoption, Rescue, Standing};
use crate::{
    MemoryStore, PaymentServer, Route,
    gate::{Attempt, Decision, Purpose},
    session::record::{Phase, Quarantine},
    testing::{
        BOTH, DEPOSIT, PRICE, World, amount, close_payload, key, managed, paying, problem, route,
        served, voucher_payload,
    },
};

const NEVER: Duration = Duration::from_secs(24 * 60 * 60);

/// A server over an empty store, and what it sells.
async fn amnesiac(
    world: &World,
    protocol: mpp_tempo::SessionProtocol,
    adoption: Adoption,
) -> (PaymentServer, Route) {
    let builder = world.configure(MemoryStore::new());
    let server = builder
        .adoption(adoption)
        .watch_every(NEVER)
        .build()
        .unwrap();
    let offer = server.session().amount("0.001").protocol(protocol);
    let route = route("/poem", offer.build().unwrap());
    server.ready().await.unwrap();
    (server, route)
}

/// A channel with `spent` units spent and one settled, and one that has ended.
async fn trade(world: &World, protocol: mpp_tempo::SessionProtocol, spent: u128) -> ChannelTerms {
    let route = world.route(protocol);
    let gone = world.open(&route, protocol, PRICE).await;
    let close = close_payload(&gone, &world.voucher(&gone, 0));
    managed(world.manage(&route, &close).await);
    let terms = world.open(&route, protocol, PRICE).await;
    for units in 1..=spent {
        let payload = voucher_payload(&terms, &world.voucher(&terms, units.saturating_mul(PRICE)));
        served(world.buy(&route, &payload).await).await;
    }
    let context = world.context(gas::SETTLE, paying());
    let unsigned = build::settle(&context, &terms, &world.voucher(&terms, PRICE)).unwrap();
    let signed = unsigned.sign(&key(&world.node, 0)).await.unwrap();
    world.node.submit(&signed.encode()).unwrap();
    terms
}

async fn buy(
    world: &World,
    (server, route): &(PaymentServer, Route),
    terms: &ChannelTerms,
    units: u128,
) -> Decision {
    let payload = voucher_payload(terms, &world.voucher(terms, units));
    let unpaid = Attempt::from_credential(None, Purpose::Content);
    let mut refusal = crate::testing::refused(server.decide(route, unpaid).await);
    let challenge = refusal.challenges.remove(0).to_challenge();
    let credential = mpp_core::Credential::new(challenge, payload.to_value());
    let attempt = Attempt::from_credential(Some(credential), Purpose::Content);
    server.decide(route, attempt).await
}

#[tokio::test(start_paused = true)]
async fn channels_are_found_from_the_chain_alone_and_go_on_with_the_payers_voucher() {
    for protocol in BOTH {
        let world = World::new();
        let terms = trade(&world, protocol, 3).await;
        let next = amnesiac(&world, protocol, Adoption::Voucher).await;
        problem(
            buy(&world, &next, &terms, 4 * PRICE).await,
            ProblemKind::ChannelNotFound,
        );
        let looked = next.0.rescue(Rescue::Look).await.unwrap();
        assert_eq!(looked.len(), 1);
        assert_eq!(
            (looked[0].terms, &looked[0].standing),
            (terms, &Standing::Missing)
        );
        let adopted = next.0.rescue(Rescue::Adopt).await.unwrap();
        assert_eq!(adopted[0].standing, Standing::Adopted);
        assert_eq!(adopted[0].view.settled, amount(PRICE));
        // Up to what was paid out, a voucher shows nothing: the last one is public.
        for units in [PRICE - 1, PRICE] {
            problem(
                buy(&world, &next, &terms, units).await,
                ProblemKind::ServiceUnavailable,
            );
        }
        let receipt = served(buy(&world, &next, &terms, 4 * PRICE).await).await;
        assert_eq!(receipt.spent, amount(4 * PRICE));
        let record = next.0.channel(terms.id()).await.unwrap();
        assert_eq!(
            (&record.phase, record.deposit),
            (&Phase::Open, amount(DEPOSIT))
        );
        let again = next.0.rescue(Rescue::Adopt).await.unwrap();
        let unsettled = amount(3 * PRICE);
        let phase = Box::new(Phase::Open);
        assert_eq!(again[0].standing, Standing::Known { phase, unsettled });
    }
}

#[tokio::test(start_paused = true)]
async fn an_adopted_channel_waits_for_the_operator_unless_configured_otherwise() {
    for protocol in BOTH {
        let world = World::new();
        let terms = trade(&world, protocol, 2).await;
        let next = amnesiac(&world, protocol, Adoption::Operator).await;
        next.0.rescue(Rescue::Adopt).await.unwrap();
        problem(
            buy(&world, &next, &terms, 3 * PRICE).await,
            ProblemKind::ServiceUnavailable,
        );
        let record = next.0.channel(terms.id()).await.unwrap();
        let waiting = Phase::Quarantined {
            reason: Quarantine::Adopted,
            requested_at: None,
            evidence: None,
        };
        assert_eq!(record.phase, waiting);
    }
}

// What the payer has asked the chain for while nobody knew of the channel.
#[tokio::test(start_paused = true)]
async fn an_adopted_channel_with_a_close_request_serves_nothing() {
    for protocol in BOTH {
        let world = World::new();
        let terms = trade(&world, protocol, 2).await;
        world.request_close(&terms).await;
        let next = amnesiac(&world, protocol, Adoption::Voucher).await;
        let adopted = next.0.rescue(Rescue::Adopt).await.unwrap();
        assert!(adopted[0].view.close_requested_at.is_some());
        problem(
            buy(&world, &next, &terms, 3 * PRICE).await,
            ProblemKind::ChannelFinalized,
        );
    }
}
