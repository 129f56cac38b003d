//! Keys and what they sign. Signatures are kept, since runs sign the same.

use std::cell::RefCell;
use std::collections::HashMap;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use alloy_primitives::{Address, B256};
use mpp_core::{Amount, Timestamp};
use mpp_devnet::Devnet;
use mpp_tempo::network::PATH_USD;
use mpp_tempo::tx::build::OpenParams;
use mpp_tempo::tx::{FeeMode, SignedTx, TxContext, TxFees, UnsignedTx, build, gas};
use mpp_tempo::{
    ChannelId, ChannelTerms, LocalSigner, SessionProtocol, SignedVoucher, Signer, Voucher,
    VoucherVerifier,
};

use super::books::escrow;

thread_local! {
    static VOUCHERS: RefCell<HashMap<(Address, ChannelId, u128), SignedVoucher>> = RefCell::default();
    static OPENINGS: RefCell<HashMap<(Address, OpenKey), (SignedTx, ChannelTerms)>> = RefCell::default();
}

/// What tells two openings of one account apart.
type OpenKey = (SessionProtocol, u128, u8, u64, Fees);

/// Who pays the fees of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fees {
    Payer,
    Sponsor,
}

/// So many signatures are kept.
const KEPT: usize = 20_000;

/// An account of the chain.
#[derive(Clone, Debug)]
pub(crate) struct Wallet {
    pub(crate) signer: LocalSigner,
    node: Devnet,
}

impl Wallet {
    pub(crate) fn new(node: &Devnet, account: usize) -> Self {
        Self {
            signer: key(node, account),
            node: node.clone(),
        }
    }

    pub(crate) fn address(&self) -> Address {
        self.signer.address()
    }

    pub(crate) fn voucher(&self, terms: &ChannelTerms, units: u128) -> SignedVoucher {
        let key = (self.address(), terms.id(), units);
        VOUCHERS.with_borrow_mut(|vouchers| {
            if vouchers.len() > KEPT {
                vouchers.clear();
            }
            let signed = vouchers.entry(key);
            signed
                .or_insert_with(|| self.sign_voucher(terms, units))
                .clone()
        })
    }

    fn sign_voucher(&self, terms: &ChannelTerms, units: u128) -> SignedVoucher {
        let verifier = VoucherVerifier::new(terms);
        let cumulative = Amount::new(units);
        let digest = verifier.digest(cumulative);
        SignedVoucher {
            voucher: Voucher {
                channel_id: verifier.channel_id(),
                cumulative,
            },
            signature: self.signer.sign_digest_sync(&digest).into(),
        }
    }

    /// A signed transaction that opens a channel to `payee`.
    pub(crate) fn open(
        &self,
        payee: Address,
        protocol: SessionProtocol,
        deposit: u128,
        salt: u8,
        fees: Fees,
    ) -> (SignedTx, ChannelTerms) {
        let key = (
            self.address(),
            (protocol, deposit, salt, self.node.now(), fees),
        );
        let known = OPENINGS.with_borrow(|openings| openings.get(&key).cloned());
        if let Some(known) = known {
            return known;
        }
        let params = OpenParams {
            protocol,
            escrow: escrow(protocol),
            payee,
            token: PATH_USD,
            operator: Address::ZERO,
            deposit: Amount::new(deposit),
            salt: B256::repeat_byte(salt),
            authorized_signer: Address::ZERO,
        };
        let unsigned = build::open(&self.context_for(gas::open(protocol), fees), &params).unwrap();
        let terms = unsigned.open_terms(&params, self.address());
        let opening = (self.sign(unsigned), terms);
        OPENINGS.with_borrow_mut(|openings| {
            if openings.len() > KEPT {
                openings.clear();
            }
            openings.insert(key, opening.clone());
        });
        opening
    }

    pub(crate) fn top_up(&self, terms: &ChannelTerms, additional: u128, fees: Fees) -> SignedTx {
        let context = self.context_for(gas::TOP_UP, fees);
        self.sign(build::top_up(&context, terms, Amount::new(additional)).unwrap())
    }

    pub(crate) fn request_close(&self, terms: &ChannelTerms) -> SignedTx {
        let context = self.context(gas::REQUEST_CLOSE);
        self.sign(build::request_close(&context, terms).unwrap())
    }

    pub(crate) fn withdraw(&self, terms: &ChannelTerms) -> SignedTx {
        let context = self.context(gas::WITHDRAW);
        self.sign(build::withdraw(&context, terms).unwrap())
    }

    pub(crate) fn sign(&self, unsigned: UnsignedTx) -> SignedTx {
        ready(unsigned.sign(&self.signer)).unwrap()
    }

    /// Of a transaction that is valid now, on the chain's clock.
    pub(crate) fn context(&self, gas_limit: u64) -> TxContext {
        self.context_for(gas_limit, Fees::Payer)
    }

    pub(crate) fn context_for(&self, gas_limit: u64, fees: Fees) -> TxContext {
        TxContext {
            chain_id: 42_431,
            now: Timestamp::from_secs(self.node.now() as i64),
            valid_for: Duration::from_secs(25),
            valid_after: None,
            fees: TxFees {
                max_fee_per_gas: 2_000_000_000,
                max_priority_fee_per_gas: 0,
                gas_limit,
            },
            fee_mode: match fees {
                Fees::Payer => FeeMode::SelfPaid {
                    fee_token: PATH_USD,
                },
                Fees::Sponsor => FeeMode::Sponsored,
            },
        }
    }
}

pub(crate) fn key(node: &Devnet, account: usize) -> LocalSigner {
    LocalSigner::from_hex(&node.accounts()[account].private_key).unwrap()
}

/// The result of a future that does not wait.
pub(crate) fn ready<T>(future: impl Future<Output = T>) -> T {
    let mut context = Context::from_waker(Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits"),
    }
}
