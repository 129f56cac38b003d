//! Money is neither made nor lost, whatever the order of things.

use futures_util::StreamExt as _;
use mpp_client::{ClientError, Policy, TopUpPolicy};
use mpp_core::Amount;
use mpp_devnet::Times;
use mpp_http::client::Session;
use mpp_tempo::{SessionProtocol, network::PATH_USD};
use proptest::prelude::*;

use crate::pair::{BOTH, DEPOSIT, PRICE, Pair};

/// One thing that happens.
#[derive(Clone, Copy, Debug)]
enum Event {
    Buy,
    BuyAtOnce(u8),
    /// Reads so many words of a stream, then hangs up.
    Read(u8),
    TopUp,
    Close,
    Wait(u16),
    LoseAnswer,
    DropTransaction,
    RestartClient,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => Just(Event::Buy),
        2 => (2_u8..6).prop_map(Event::BuyAtOnce),
        2 => (0_u8..24).prop_map(Event::Read),
        1 => Just(Event::TopUp),
        1 => Just(Event::Close),
        1 => (1_u16..400).prop_map(Event::Wait),
        1 => Just(Event::LoseAnswer),
        1 => Just(Event::DropTransaction),
        1 => Just(Event::RestartClient),
    ];
    proptest::collection::vec(event, 4..14)
}

/// A run of events and what to check after each.
struct Run {
    pair: Pair,
    session: Session,
    supply: Amount,
    outside: u128,
}

impl Run {
    async fn new(protocol: SessionProtocol) -> Self {
        let pair = Pair::trading(protocol).await;
        let supply = pair.chain.total_supply(PATH_USD);
        Self {
            session: session(&pair),
            outside: pair.balance(pair.payer()) + pair.balance(pair.payee()),
            supply,
            pair,
        }
    }

    async fn happen(&mut self, event: Event) {
        let (pair, session) = (&self.pair, &self.session);
        match event {
            Event::Buy => drop(session.get("/photo").send().await),
            Event::BuyAtOnce(count) => {
                let sends = (0..count).map(|_| session.get("/photo").send());
                drop(futures_util::future::join_all(sends).await);
            }
            Event::Read(words) => {
                if let Ok(mut stream) = session.sse("/words").await {
                    for _ in 0..words {
                        if stream.next().await.is_none_or(|word| word.is_err()) {
                            break;
                        }
                    }
                }
            }
            Event::TopUp => drop(session.top_up(Amount::new(DEPOSIT)).await),
            Event::Close => {
                let closed = session.close().await;
                let is_expected = !matches!(closed, Err(ClientError::Discrepancy(_)));
                assert!(is_expected, "{closed:?}");
            }
            Event::Wait(seconds) => {
                pair.advance(seconds.into());
                pair.chain.mine();
            }
            Event::LoseAnswer => pair.chain.faults().lose_responses(Times::Once),
            Event::DropTransaction => pair.chain.faults().drop_transactions(Times::Once),
            Event::RestartClient => self.session = crate::conservation::session(&self.pair),
        }
    }

    /// payer + payee + escrow + fees is constant, in every channel what was
    /// spent is covered, and a closed one paid out exactly that.
    async fn check(&self) -> Result<(), TestCaseError> {
        let (pair, chain) = (&self.pair, &self.pair.chain);
        prop_assert_eq!(chain.sum_of_balances(PATH_USD), self.supply);
        prop_assert_eq!(chain.total_supply(PATH_USD), self.supply);
        let mut locked = 0;
        let mut settled = 0;
        for channel in pair.client().channels().unwrap() {
            let Ok(record) = pair.server.channel(channel.channel_id).await else {
                // A channel that no request has reached the server with.
                continue;
            };
            let opened = !record.deposit.is_zero();
            let on_chain = chain.channel(record.terms.protocol, record.id);
            match on_chain.filter(|on_chain| !on_chain.finalized) {
                Some(on_chain) => {
                    locked += on_chain.deposit.base_units() - on_chain.settled.base_units();
                    prop_assert!(record.deposit <= on_chain.deposit);
                    settled += on_chain.settled.base_units();
                }
                // Closed, whether or not the server has heard of it.
                None if opened => settled += record.spent.base_units(),
                None => {}
            }
            prop_assert!(record.spent <= record.accepted() || !opened);
            prop_assert!(record.accepted() <= record.deposit || !opened);
            prop_assert_eq!(record.spent.base_units(), u128::from(record.units) * PRICE);
            prop_assert!(channel.signed >= record.accepted());
            if record.settled > Amount::ZERO {
                prop_assert_eq!(record.settled, record.spent);
            }
        }
        let escrow = escrow_balance(pair);
        prop_assert_eq!(escrow, locked);
        let held = pair.balance(pair.payer()) + pair.balance(pair.payee());
        let fees = self.outside - held - escrow;
        // Fees are paid and never more than a cent for each transaction.
        let mined = u128::from(chain.transactions_mined());
        prop_assert!(fees <= mined * 10_000, "{fees} for {mined} transactions");
        prop_assert!((fees == 0) == (mined == 0));
        let payee_started = self.outside / 2;
        let gross = pair.balance(pair.payee()) + fees;
        prop_assert!(gross >= payee_started + settled);
        prop_assert!(pair.balance(pair.payee()) <= payee_started + settled);
        Ok(())
    }
}

fn session(pair: &Pair) -> Session {
    let policy = Policy::new(Amount::new(3 * DEPOSIT))
        .max_locked_per_origin(Amount::new(100 * DEPOSIT))
        .top_up(TopUpPolicy::Auto { amount: None });
    pair.client_with(policy)
        .session(pair.url("/photo"))
        .unwrap()
}

fn escrow_balance(pair: &Pair) -> u128 {
    let escrows = BOTH.map(|protocol| protocol.default_escrow(42_431).unwrap());
    escrows.into_iter().map(|escrow| pair.balance(escrow)).sum()
}

fn check(protocol: SessionProtocol, events: &[Event]) -> Result<(), TestCaseError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut run = Run::new(protocol).await;
        for event in events {
            run.happen(*event).await;
            run.check().await?;
        }
        Ok(())
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        max_shrink_iters: 64,
        failure_persistence: None,
        ..ProptestConfig::with_cases(12)
    })]

    #[test]
    fn no_schedule_makes_or_loses_money_v1(events in events()) {
        check(SessionProtocol::V1, &events)?;
    }

    #[test]
    fn no_schedule_makes_or_loses_money_v2(events in events()) {
        check(SessionProtocol::V2, &events)?;
    }
}
