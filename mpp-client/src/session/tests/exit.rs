use mpp_tempo::tx::{FeeMode, TxContext, TxFees, build};

use super::*;
use crate::error::ClientError;
use crate::session::book::Phase;
use crate::testing::offer;

// PROTOCOL 5.3: requestClose, 900 s, withdraw, in both versions.
#[tokio::test]
async fn a_deposit_comes_back_without_the_server() {
    for offer in offers() {
        let bench = Bench::new();
        let id = bench.open(&offer).await;
        let token = offer.currency();
        let payer = bench.payer.address();
        let early = bench.payer.withdraw(&id).await;
        assert!(matches!(early, Err(ClientError::Misuse(_))));

        let from = bench.payer.request_close(&id).await.unwrap();
        let at = from - 900;
        assert_eq!(bench.record(id).phase, Phase::CloseRequested { at });
        assert!(bench.record(id).phase.may_hold_money());
        // Asked again, nothing is sent.
        let block = bench.chain.block_number();
        assert_eq!(bench.payer.request_close(&id).await.unwrap(), from);
        assert_eq!(bench.chain.block_number(), block);
        let early = bench.payer.withdraw(&id).await;
        assert!(matches!(early, Err(ClientError::Misuse(_))));

        bench.pass(901);
        let before = bench.chain.balance(token, payer);
        let tx_hash = bench.payer.withdraw(&id).await.unwrap();
        assert!(tx_hash.is_some());
        assert_eq!(bench.record(id).phase, Phase::Closed { tx_hash });
        let back = bench.chain.balance(token, payer).checked_sub(before);
        // The deposit less the fee.
        assert!(back.unwrap() > units(8_000), "{back:?}");
        let again = bench.payer.request_close(&id).await;
        assert!(matches!(again, Err(ClientError::Misuse(_))));
    }
}

#[tokio::test]
async fn a_request_that_closes_takes_no_payments() {
    let bench = Bench::new();
    let id = bench.open(&offer()).await;
    bench.payer.request_close(&id).await.unwrap();
    let payment = bench.begin(&offer()).await;
    assert_ne!(payment.channel_id(), id);
}

#[tokio::test]
async fn a_lost_answer_of_the_chain_is_found_again() {
    let bench = Bench::new();
    let id = bench.open(&offer()).await;
    bench.chain.faults().lose_responses(mpp_devnet::Times::Once);
    let lost = bench.payer.request_close(&id).await;
    assert!(matches!(lost, Err(ClientError::Chain(_))));
    let block = bench.chain.block_number();
    bench.payer.request_close(&id).await.unwrap();
    assert_eq!(bench.chain.block_number(), block);
}

#[tokio::test]
async fn a_reverted_transaction_is_an_error() {
    let bench = Bench::new();
    let id = bench.open(&offer()).await;
    let selector = [0x67, 0x54, 0x02, 0xe5];
    bench
        .chain
        .faults()
        .revert_calls(selector, mpp_devnet::Times::Once);
    let reverted = bench.payer.request_close(&id).await;
    assert!(matches!(reverted, Err(ClientError::Payment(_))));
    assert_eq!(bench.record(id).phase, Phase::Open);
}

// A payee that settles in the grace period: nothing is left to withdraw, and that is no error.
#[tokio::test]
async fn a_channel_that_the_payee_closed_needs_no_withdrawal() {
    let bench = Bench::new();
    let payee = &bench.chain.accounts()[1];
    let offer = offer_with(|request| request["recipient"] = json!(payee.address));
    let id = bench.open(&offer).await;
    bench.payer.request_close(&id).await.unwrap();
    let record = bench.record(id);
    let context = TxContext {
        chain_id: 42_431,
        now: Timestamp::from_secs(i64::try_from(bench.chain.now()).unwrap()),
        valid_for: Duration::from_secs(20),
        fees: TxFees {
            max_fee_per_gas: 2_000_000_000,
            max_priority_fee_per_gas: 0,
            gas_limit: mpp_tempo::tx::gas::CLOSE,
        },
        fee_mode: FeeMode::SelfPaid {
            fee_token: offer.currency(),
        },
        valid_after: None,
    };
    let close = build::close(&context, &record.terms, &record.best, units(1_000)).unwrap();
    let signer = LocalSigner::from_hex(&payee.private_key).unwrap();
    let signed = close.sign(&signer).await.unwrap();
    bench.mine(&signed.encode()).await;
    bench.pass(901);
    assert_eq!(bench.payer.withdraw(&id).await.unwrap(), None);
    let closed = Phase::Closed { tx_hash: None };
    assert_eq!(bench.record(id).phase, closed);
}
