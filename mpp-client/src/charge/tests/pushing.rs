//! Charges that the client sends itself.

use std::sync::Mutex;

use mpp_devnet::{Outage, Times};
use mpp_tempo::chain::ChainClient;
use mpp_tempo::tx::build::{self, Transfer};
use mpp_tempo::tx::{FeeMode, TxContext, TxFees, gas};
use mpp_tempo::wire::ChargeMode;

use super::*;
use crate::method::BoxFuture;
use crate::offer::Unpayable;
use crate::{ChargeState, ClientError, Wallet, WalletError};

fn pushing() -> Bench {
    Bench::with(policy().charge_by(ChargeMode::Push))
}

fn modes(id: &str, modes: Value) -> ChargeOffer {
    offer_with(id, |request| {
        request["methodDetails"]["supportedModes"] = modes;
    })
}

#[tokio::test]
async fn a_pushed_charge_is_mined_before_the_server_hears_of_it() {
    let bench = pushing();
    let once = bench.pay(&offer("c1")).await;
    let ChargePayload::Hash { hash } = payload(once.credential()) else {
        panic!("no hash");
    };
    assert_eq!(bench.paid(PAYEE), PRICE);
    assert_eq!(bench.only().state, ChargeState::Paid { tx_hash: hash });
    once.confirm(&receipt("c1", hash.to_string())).unwrap();
    assert_eq!(bench.only().state, ChargeState::Served { tx_hash: hash });
}

// PROTOCOL 4, supportedModes; a hash on a sponsored challenge is refused.
#[tokio::test]
async fn the_servers_modes_are_respected() {
    let (pull, push) = (Bench::new(), pushing());
    let is_hash = |once: &Once| matches!(payload(once.credential()), ChargePayload::Hash { .. });
    assert!(is_hash(&pull.pay(&modes("c1", json!(["push"]))).await));
    assert!(!is_hash(&push.pay(&modes("c1", json!(["pull"]))).await));
    assert!(is_hash(
        &push.pay(&modes("c2", json!(["pull", "push"]))).await
    ));
    assert!(!is_hash(
        &pull.pay(&modes("c2", json!(["pull", "push"]))).await
    ));
    let sponsored = offer_with("c3", |request| {
        request["methodDetails"]["feePayer"] = json!(true);
    });
    assert!(!is_hash(&push.pay(&sponsored).await));
    let none = modes("c4", json!([]));
    let refused = push.payer.charge(&push.site, &none, None).await;
    assert!(matches!(
        refused,
        Err(ClientError::Unpayable(Unpayable::Mode))
    ));
}

#[tokio::test]
async fn what_the_chain_refuses_is_not_paid() {
    let cases: [fn(&Bench); 2] = [
        |bench| {
            bench
                .chain
                .faults()
                .revert_calls([0x95, 0x77, 0x7d, 0x59], Times::Once)
        },
        |bench| bench.chain.freeze(bench.payer.address()),
    ];
    for arm in cases {
        let bench = pushing();
        arm(&bench);
        let failed = bench.payer.charge(&bench.site, &offer("c1"), None).await;
        assert!(failed.is_err());
        assert_eq!(bench.only().state, ChargeState::Void);
        assert_eq!(bench.paid(PAYEE), 0);
    }
}

#[tokio::test]
async fn a_pushed_charge_whose_fate_is_not_known_is_found_out() {
    // Mined, and nobody heard of it; or never mined.
    for is_mined in [true, false] {
        let bench = pushing();
        let faults = bench.chain.faults();
        if is_mined {
            faults.lose_responses(Times::Once);
        } else {
            faults.drop_transactions(Times::Once);
        }
        let failed = bench.payer.charge(&bench.site, &offer("c1"), None).await;
        let Err(ClientError::ChargeIndeterminate { charge, .. }) = failed else {
            panic!("{failed:?}");
        };
        assert_eq!(charge.amount, units(PRICE));
        assert_eq!(charge.state, ChargeState::Open);
        let tx_hash = charge.tx_hash.unwrap();
        let known = bench.payer.resolve_charge(&charge.id).await.unwrap();
        if is_mined {
            assert_eq!(known, ChargeState::Paid { tx_hash });
        } else {
            assert_eq!(known, ChargeState::Open);
            bench.pass(31);
            let known = bench.payer.resolve_charge(&charge.id).await.unwrap();
            assert_eq!(known, ChargeState::Void);
        }
        assert_eq!(bench.paid(PAYEE), if is_mined { PRICE } else { 0 });
    }
}

#[tokio::test]
async fn without_a_chain_nothing_is_promised() {
    let bench = pushing();
    bench.chain.faults().set_outage(Outage::Refusing);
    let failed = bench.payer.charge(&bench.site, &offer("c1"), None).await;
    assert!(matches!(failed, Err(ClientError::Chain(_))), "{failed:?}");
    assert!(bench.book.charges().unwrap().is_empty());
    assert_eq!(bench.signatures(), 0);
}

/// A custodian with the key of a dev account.
struct Custodian {
    chain: Devnet,
    key: LocalSigner,
    answers: Mutex<Vec<WalletError>>,
}

impl Custodian {
    async fn transfer(&self, transfers: &[Transfer]) -> B256 {
        let context = TxContext {
            chain_id: self.chain.chain_id(),
            now: Timestamp::from_secs(i64::try_from(self.chain.now()).unwrap()),
            valid_for: Duration::from_secs(25),
            fees: TxFees {
                max_fee_per_gas: 100_000_000_000,
                max_priority_fee_per_gas: 0,
                gas_limit: gas::transfers(transfers.len()),
            },
            fee_mode: FeeMode::SelfPaid {
                fee_token: PATH_USD,
            },
            valid_after: None,
        };
        let unsigned = build::transfer(&context, transfers).unwrap();
        let signed = unsigned.sign(&self.key).await.unwrap();
        let mined = self.chain.send_and_wait(signed.encode()).await.unwrap();
        assert!(mined.success);
        mined.hash
    }
}

impl Wallet for Arc<Custodian> {
    fn address(&self) -> Address {
        self.key.address()
    }

    fn send<'a>(
        &'a self,
        chain_id: u64,
        transfers: &'a [Transfer],
    ) -> BoxFuture<'a, Result<B256, WalletError>> {
        assert_eq!(chain_id, 42_431);
        Box::pin(async move {
            let answer = self.answers.lock().unwrap().pop();
            match answer {
                Some(error @ WalletError::NotSent(_)) => Err(error),
                Some(error) => {
                    self.transfer(transfers).await;
                    Err(error)
                }
                None => Ok(self.transfer(transfers).await),
            }
        })
    }
}

fn custodian(bench: &Bench) -> Arc<Custodian> {
    Arc::new(Custodian {
        chain: bench.chain.clone(),
        key: LocalSigner::from_hex(&bench.chain.accounts()[4].private_key).unwrap(),
        answers: Mutex::default(),
    })
}

#[tokio::test]
async fn an_account_that_can_only_send_pays_by_push() {
    let bench = Bench::new();
    let wallet = custodian(&bench);
    let payer = bench.build(Payer::builder().wallet(wallet.clone()), policy());
    assert_eq!(payer.accept_payment(), "tempo/charge");
    let offer = offer("c1");
    let once = payer.charge(&bench.site, &offer, None).await.unwrap();
    let ChargePayload::Hash { hash } = payload(once.credential()) else {
        panic!("no hash");
    };
    let mined = ChainClient::receipt(&bench.chain, hash).await;
    mpp_tempo::charge::check_receipt(
        &mined.unwrap().unwrap(),
        offer.transfers().unwrap(),
        offer.binding(),
    )
    .unwrap();
    assert_eq!(bench.only().payer, wallet.address());
    // What it can not do, it does not try.
    let zero = offer_with("c2", |request| request["amount"] = json!("0"));
    let pulled = modes("c3", json!(["pull"]));
    for offer in [&zero, &pulled] {
        let refused = payer.charge(&bench.site, offer, None).await;
        assert!(matches!(
            refused,
            Err(ClientError::Unpayable(Unpayable::Mode))
        ));
    }
    let session = crate::testing::challenge(&crate::testing::request());
    let refused = payer.choose(&bench.site, &[session]);
    assert!(matches!(refused, Err(ClientError::Unpayable(_))));
}

#[tokio::test]
async fn a_wallet_that_does_not_say_is_found_out_by_the_memo() {
    let bench = Bench::new();
    let wallet = custodian(&bench);
    let payer = bench.build(Payer::builder().wallet(wallet.clone()), policy());
    let not_sent = WalletError::NotSent(String::from("locked"));
    wallet.answers.lock().unwrap().push(not_sent);
    let failed = payer.charge(&bench.site, &offer("c1"), None).await;
    assert!(matches!(failed, Err(ClientError::Wallet(_))), "{failed:?}");
    assert_eq!(bench.only().state, ChargeState::Void);
    let unknown = WalletError::Unknown {
        tx_hash: None,
        message: String::from("timeout"),
    };
    wallet.answers.lock().unwrap().push(unknown);
    let failed = payer.charge(&bench.site, &offer("c2"), None).await;
    let Err(ClientError::ChargeIndeterminate { charge, .. }) = failed else {
        panic!("{failed:?}");
    };
    assert_eq!(charge.tx_hash, None);
    let known = payer.resolve_charge(&charge.id).await.unwrap();
    assert!(matches!(known, ChargeState::Paid { .. }), "{known:?}");
}

// The wallet has paid and could not say so: the payment is found, and the server is shown it.
#[tokio::test]
async fn a_payment_that_the_wallet_could_not_confirm_is_presented() {
    for told in [None, Some(B256::repeat_byte(7))] {
        let bench = Bench::new();
        let wallet = custodian(&bench);
        let payer = bench.build(Payer::builder().wallet(wallet.clone()), policy());
        let unknown = WalletError::Unknown {
            tx_hash: told,
            message: String::from("timeout"),
        };
        wallet.answers.lock().unwrap().push(unknown);
        let failed = payer.charge(&bench.site, &offer("c1"), Some("\"k\"")).await;
        assert!(
            matches!(failed, Err(ClientError::ChargeIndeterminate { .. })),
            "{failed:?}"
        );
        // Under the same key, and for the same challenge.
        let again = payer.paid_before(&bench.site, "\"k\"").await.unwrap();
        let again = again.expect("nothing is presented");
        let ChargePayload::Hash { hash } = payload(again.credential()) else {
            panic!("no hash");
        };
        for id in ["c1", "c2"] {
            let once = payer.charge(&bench.site, &offer(id), Some("\"k\"")).await;
            assert_eq!(once.unwrap().credential(), again.credential());
        }
        let record = bench.only();
        assert_eq!(record.tx_hash, Some(hash));
        // A wallet that was wrong about the hash has paid all the same.
        assert_eq!(record.state, ChargeState::Paid { tx_hash: hash });
        assert_ne!(Some(hash), told);
        assert_eq!(bench.paid(PAYEE), PRICE, "paid twice");
    }
}

// What the wallet says is shown as long as the chain does not tell more.
#[tokio::test]
async fn a_payment_under_another_hash_is_presented_once_the_chain_shows_it() {
    let bench = Bench::new();
    let wallet = custodian(&bench);
    let payer = bench.build(Payer::builder().wallet(wallet.clone()), policy());
    let told = B256::repeat_byte(7);
    wallet.answers.lock().unwrap().push(WalletError::Unknown {
        tx_hash: Some(told),
        message: String::from("timeout"),
    });
    let offer = offer("c1");
    let failed = payer.charge(&bench.site, &offer, Some("\"k\"")).await;
    assert!(failed.is_err());
    let shown = |once: &Once| match payload(once.credential()) {
        ChargePayload::Hash { hash } => hash,
        other => panic!("no hash: {other:?}"),
    };
    bench.chain.faults().set_outage(Outage::Refusing);
    let blind = payer.paid_before(&bench.site, "\"k\"").await.unwrap();
    assert_eq!(shown(&blind.unwrap()), told);
    assert_eq!(bench.only().state, ChargeState::Open);
    bench.chain.faults().set_outage(Outage::None);
    // For the same challenge, and under the same key.
    let once = payer.charge(&bench.site, &offer, None).await.unwrap();
    let tx_hash = shown(&once);
    assert_eq!(bench.only().state, ChargeState::Paid { tx_hash });
    let again = payer.paid_before(&bench.site, "\"k\"").await.unwrap();
    assert_eq!(shown(&again.unwrap()), tx_hash);
    once.confirm(&receipt("c1", tx_hash.to_string())).unwrap();
}
