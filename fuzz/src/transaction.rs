//! Transactions of type 0x76 and envelopes of type 0x78.

use std::sync::LazyLock;
use std::time::Duration;

use alloy_primitives::{Address, B256, keccak256};
use mpp_core::{Amount, Timestamp};
use mpp_tempo::charge::{self, ChargeBinding, Transfers};
use mpp_tempo::network::PATH_USD;
use mpp_tempo::tx::build::OpenParams;
use mpp_tempo::tx::{FeeMode, SignedTx, SponsorPolicy, TxContext, TxFees, build, check as checks};
use mpp_tempo::wire::{ChargeDetails, ChargeRequest};
use mpp_tempo::{ChannelTerms, LocalSigner, SessionProtocol};

const CHAIN: u64 = 42_431;
const TRANSACTION: u8 = 0x76;

/// Checks the bytes of one transaction.
pub fn check(data: &[u8]) {
    let Ok(tx) = SignedTx::decode(data) else {
        return;
    };
    let written = tx.encode();
    let again = SignedTx::decode(&written).expect("what was written");
    assert_eq!(again, tx);
    assert_eq!(again.encode(), written);
    same(&tx, &again);
    if data[0] == TRANSACTION && !tx.needs_fee_payer() {
        // Nothing that can be sent has two texts, but for the recovery byte at
        // its end, which may be written as 0, 27 or by EIP-155: it is sent, and
        // known by the hash, as 27 or 28.
        let last = data.len().saturating_sub(1);
        assert_eq!(written.len(), data.len());
        assert_eq!(written[..last], data[..last]);
        assert_eq!(tx.hash(), keccak256(&written));
    } else {
        assert!(tx.needs_fee_payer());
        // The envelope is the one text of all that ask for a fee payer.
        assert_ne!(written[0], TRANSACTION);
        assert!(data[0] == TRANSACTION || written[..] == *data);
    }
    policies(&tx);
}

fn same(tx: &SignedTx, again: &SignedTx) {
    assert_eq!(tx.hash(), again.hash());
    assert_eq!(tx.sender(), again.sender());
    assert_eq!(tx.replay_id(), again.replay_id());
    assert_eq!(tx.sponsorship(), again.sponsorship());
    assert!(tx.calls().eq(again.calls()));
}

/// Judging a transaction never fails, and what passes is what it should be.
fn policies(tx: &SignedTx) {
    let now = Timestamp::from_secs(1_763_600_000);
    let policy = SponsorPolicy::default();
    if policy.check(tx, now).is_ok() {
        assert!(tx.needs_fee_payer() && tx.has_expiring_nonce());
        assert!(tx.gas_limit() <= policy.max_gas);
        assert!(tx.max_total_fee() <= policy.max_total_fee);
        assert!(
            tx.calls()
                .all(|call| call.value.is_zero() && call.to.is_some())
        );
    }
    for protocol in [SessionProtocol::V1, SessionProtocol::V2] {
        let escrow = protocol.default_escrow(CHAIN).unwrap();
        if let Ok(open) = checks::open(tx, protocol, escrow, CHAIN) {
            assert_eq!(open.terms.descriptor.payer, tx.sender());
            opened(tx, &open.terms, open.deposit);
        }
        let mut terms = terms(protocol);
        terms.descriptor.payer = tx.sender();
        if let Ok(top_up) = checks::top_up(tx, &terms) {
            let unsigned = build::top_up(&context(), &terms, top_up.additional).unwrap();
            same_calls(tx, unsigned);
        }
    }
    let binding = ChargeBinding {
        realm: "127.0.0.1:18600",
        challenge_id: "x",
    };
    if let Ok(matched) = charge::check(tx, &TRANSFERS, binding) {
        assert_eq!(tx.calls().len(), TRANSFERS.count());
        assert_eq!(matched.surplus, 0);
    }
}

/// SECURITY-CASES A15: nothing hides behind the calls that open a channel.
fn opened(tx: &SignedTx, terms: &ChannelTerms, deposit: Amount) {
    let descriptor = terms.descriptor;
    let params = OpenParams {
        protocol: terms.protocol,
        escrow: terms.escrow,
        payee: descriptor.payee,
        token: descriptor.token,
        operator: descriptor.operator,
        deposit,
        salt: descriptor.salt,
        authorized_signer: descriptor.authorized_signer,
    };
    if let Ok(unsigned) = build::open(&context(), &params) {
        same_calls(tx, unsigned);
    }
}

fn same_calls(tx: &SignedTx, unsigned: mpp_tempo::tx::UnsignedTx) {
    let signer = LocalSigner::from_bytes(&[7; 32]).unwrap();
    let signing = std::pin::pin!(unsigned.sign(&signer));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(Ok(own)) = signing.poll(&mut context) else {
        panic!("a local key signs at once");
    };
    assert!(own.calls().eq(tx.calls()));
}

fn context() -> TxContext {
    TxContext {
        chain_id: CHAIN,
        now: Timestamp::from_secs(1_763_600_000),
        valid_for: Duration::from_secs(25),
        valid_after: None,
        fees: TxFees {
            max_fee_per_gas: 1,
            max_priority_fee_per_gas: 0,
            gas_limit: 1,
        },
        fee_mode: FeeMode::SelfPaid {
            fee_token: PATH_USD,
        },
    }
}

/// A channel of the seeds, so that top-ups can be of it.
fn terms(protocol: SessionProtocol) -> ChannelTerms {
    OpenParams {
        protocol,
        escrow: protocol.default_escrow(CHAIN).unwrap(),
        payee: Address::repeat_byte(2),
        token: PATH_USD,
        operator: Address::ZERO,
        deposit: Amount::new(1_000),
        salt: B256::repeat_byte(3),
        authorized_signer: Address::ZERO,
    }
    .terms(CHAIN, Address::repeat_byte(1), B256::repeat_byte(4))
}

static TRANSFERS: LazyLock<Transfers> = LazyLock::new(|| {
    let request = ChargeRequest {
        amount: Amount::new(10_000),
        currency: PATH_USD,
        recipient: "0x70997970c51812dc3a010c7d01b50e0d17dc79c8"
            .parse()
            .unwrap(),
        description: None,
        external_id: None,
        method_details: ChargeDetails {
            chain_id: CHAIN,
            fee_payer: None,
            memo: None,
            splits: None,
            supported_modes: None,
        },
    };
    Transfers::try_from(&request).unwrap()
});
