//! The lives of channels, with every refusal of both escrows.
//!
//! On anvil the escrows are Solidity, so this also holds the two implementations of each
//! against each other.

mod reserve;
mod stream;

use alloy_primitives::{Address, B256};
use anyhow::Context as _;
use mpp_core::Amount;
use mpp_tempo::{
    ChannelTerms, LocalSigner, SessionProtocol, Signer as _,
    network::{CHANNEL_RESERVE, Network, PATH_USD},
    tx::build::OpenParams,
    voucher::sign_voucher,
};
use serde_json::json;
use tempo_primitives::{TempoTransaction, transaction::Call};

use super::pair::{Pair, call};
use crate::account;

/// What is locked up, in base units.
const DEPOSIT: u64 = 1_000_000;

pub(super) async fn ask(pair: &mut Pair) -> anyhow::Result<()> {
    let actors = Actors::new()?;
    stream::ask(pair, &actors).await?;
    reserve::ask(pair, &actors).await
}

/// Who takes part.
struct Actors {
    /// Has money from the beginning.
    payer: LocalSigner,
    payee: LocalSigner,
    /// Signs vouchers for the payer.
    delegate: LocalSigner,
    operator: LocalSigner,
    stranger: LocalSigner,
}

impl Actors {
    fn new() -> anyhow::Result<Self> {
        // Development accounts, so that all of them can pay fees.
        Ok(Self {
            payer: account::development(1)?,
            payee: account::development(2)?,
            operator: account::development(3)?,
            stranger: account::development(4)?,
            delegate: account::signer_for("delegate")?,
        })
    }

    fn params(&self, protocol: SessionProtocol, salt: u8) -> OpenParams {
        OpenParams {
            protocol,
            escrow: match protocol {
                SessionProtocol::V1 => Network::MODERATO.stream_channel,
                SessionProtocol::V2 => CHANNEL_RESERVE,
            },
            payee: self.payee.address(),
            token: PATH_USD,
            operator: self.operator.address(),
            deposit: Amount::new(DEPOSIT.into()),
            salt: B256::repeat_byte(salt),
            // Even channels are signed for by the payer.
            authorized_signer: match salt % 2 {
                0 => Address::ZERO,
                _ => self.delegate.address(),
            },
        }
    }

    /// A voucher of whoever signs for the channel.
    async fn voucher(&self, terms: &ChannelTerms, amount: u64) -> anyhow::Result<Vec<u8>> {
        let is_payer = terms.descriptor.authorized_signer.is_zero();
        let signer = if is_payer {
            &self.payer
        } else {
            &self.delegate
        };
        let signed = sign_voucher(signer, terms, Amount::new(amount.into())).await?;
        Ok(signed.signature.to_bytes().to_vec())
    }
}

/// What is done, and the gas limit that clients and servers set for it.
type Task = (&'static str, u64);

/// Sends one call to an escrow, which has to succeed.
async fn run(
    pair: &mut Pair,
    task: Task,
    signer: &LocalSigner,
    escrow: Address,
    input: Vec<u8>,
) -> anyhow::Result<()> {
    send(pair, task, signer, vec![call(escrow, input)]).await
}

/// Sends calls, which have to succeed.
async fn send(
    pair: &mut Pair,
    (what, gas_limit): Task,
    signer: &LocalSigner,
    calls: Vec<Call>,
) -> anyhow::Result<()> {
    let draft = TempoTransaction {
        gas_limit,
        ..pair.draft(calls)
    };
    let raw = account::sign_raw(signer, draft);
    pair.send(what, &raw).await?.succeeded()
}

/// The grace period passes on both.
async fn wait(pair: &mut Pair) -> anyhow::Result<()> {
    pair.ask("time passes", "evm_increaseTime", json!([1_000]))
        .await?;
    pair.ask("a block is mined", "evm_mine", json!([])).await?;
    pair.now = pair.now.saturating_add(1_000);
    Ok(())
}

/// Signatures that no escrow takes, made of one that it would.
fn spoiled(signature: &[u8]) -> anyhow::Result<[(&'static str, Vec<u8>); 4]> {
    let mut wrong_v = signature.to_vec();
    *wrong_v.last_mut().context("no signature")? = 29;
    let mut high = signature.to_vec();
    let low = alloy_primitives::U256::from_be_slice(high.get(32..64).context("too short")?);
    /// Order of secp256k1.
    const ORDER: alloy_primitives::U256 = alloy_primitives::U256::from_limbs([
        0xbfd2_5e8c_d036_4141,
        0xbaae_dce6_af48_a03b,
        0xffff_ffff_ffff_fffe,
        0xffff_ffff_ffff_ffff,
    ]);
    high.splice(32..64, ORDER.wrapping_sub(low).to_be_bytes::<32>());
    let v = high.last_mut().context("no signature")?;
    *v = 55_u8.saturating_sub(*v);
    let mut short = signature.to_vec();
    short.truncate(63);
    Ok([
        ("a wrong v", wrong_v),
        ("a high s", high),
        ("a short one", short),
        ("nothing signed", Vec::new()),
    ])
}
