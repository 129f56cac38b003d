//! Exact money (PROTOCOL 2).

use anyhow::ensure;
use mpp_client::Policy;
use mpp_core::Amount;
use mpp_server::Misuse;

use super::{Case, dollars, raw};

/// $0.000025 is 25 base units, and what is no whole unit is refused.
pub(super) async fn exact(case: &Case<'_>) -> anyhow::Result<()> {
    let url = case.url("token");
    let client = case.client(case.payer().await?, Policy::new(dollars(1)))?;
    let session = client.session(&url)?;
    for number in 1..=3_u128 {
        let response = session.get(&url).send().await?;
        ensure!(response.status() == 200, "{}", response.status());
        let Some(receipt) = response.receipt() else {
            anyhow::bail!("no receipt");
        };
        let spent = raw::session_receipt(receipt)?.spent;
        ensure!(spent == Amount::new(number.saturating_mul(25)), "{spent}");
    }
    for dust in ["0.0000004", "0", "-1", "1e-3", ""] {
        let offer = case.shop().server.session().amount(dust);
        ensure!(
            matches!(offer.build(), Err(Misuse::Amount { .. })),
            "{dust:?} is a price"
        );
    }
    Ok(())
}
