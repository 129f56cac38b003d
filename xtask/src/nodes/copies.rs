//! One charge, shown a hundred times at both nodes at once.

use anyhow::ensure;
use mpp_tempo::Signer as _;
use reqwest::StatusCode;
use tokio::task::JoinSet;

use super::Setup;
use crate::{
    account,
    e2e::{cents, dollars},
    process::ServerProcess,
    wallet::Wallet,
};

const COPIES: usize = 100;
/// Payments, one after the other.
const PAYMENTS: u32 = 3;

/// Every payment is served once, whoever sees it first, and paid once.
pub(super) async fn run(setup: &Setup, nodes: &[ServerProcess; 2]) -> anyhow::Result<()> {
    for number in 0..PAYMENTS {
        let signer = account::signer_for(&format!("copies {number} {}", setup.secret))?;
        let payer = signer.address();
        account::fund(&setup.node, payer, dollars(1)).await?;
        let wallet = Wallet::new(&setup.node, signer);
        let credential = wallet.pay(&format!("{}/print", nodes[0].url)).await?;
        let mut shown = JoinSet::new();
        for node in nodes.iter().cycle().take(COPIES) {
            let payer = Wallet::new(&setup.node, wallet.raw.signer.clone()).raw;
            let (url, credential) = (format!("{}/print", node.url), credential.clone());
            shown.spawn(async move {
                let answer = payer
                    .present(reqwest::Method::GET, &url, &credential)
                    .await?;
                anyhow::Ok(answer.status())
            });
        }
        let mut served = 0_u32;
        while let Some(status) = shown.join_next().await {
            match status?? {
                StatusCode::OK => served = served.saturating_add(1),
                StatusCode::PAYMENT_REQUIRED
                | StatusCode::CONFLICT
                | StatusCode::TOO_MANY_REQUESTS
                | StatusCode::SERVICE_UNAVAILABLE => {}
                other => anyhow::bail!("a copy is answered {other}"),
            }
        }
        ensure!(served == 1, "{served} of {COPIES} copies are served");
        let left = setup.node.balance(payer).await?;
        let paid = dollars(1).saturating_sub(left);
        ensure!(
            paid >= cents(1) && paid < cents(2),
            "{paid} was paid for a cent and its fee"
        );
    }
    println!("{PAYMENTS} charges, {COPIES} copies of each over both nodes: each served once");
    Ok(())
}
