//! Charges: every way to pay once, and every way not to.

mod hostile;
mod market;
mod once;
mod paying;

use std::{future::Future, pin::Pin};

use alloy_primitives::Address;
use mpp_core::Amount;
use mpp_tempo::{Signer as _, network::PATH_USD};

use self::market::Market;
use super::{dollars, table::Table};
use crate::{account, node::Node, wallet::Wallet};

/// One check.
type Check = for<'a> fn(&'a Case<'a>) -> Pin<Box<dyn Future<Output = anyhow::Result<()>> + 'a>>;

/// Turns an async function into a [`Check`].
macro_rules! check {
    ($name:literal, $run:path) => {
        ($name, (|case| Box::pin($run(case))) as Check)
    };
}

const CHECKS: &[(&str, Check)] = &[
    check!("charge: pulled, receipt names it", paying::pulled),
    check!("charge: pushed by its hash", paying::pushed),
    check!("charge: sponsored, sponsor pays the fee", paying::sponsored),
    check!("charge: splits reach everybody", paying::splits),
    check!("charge: sponsored splits", paying::sponsored_splits),
    check!("charge: another token", paying::other_token),
    check!("charge: zero proves who asks", paying::proof),
    check!("charge: refund with reversed memo", paying::refund),
    check!("charge: a failed handler may be asked again", once::failing),
    check!("charge: a key gets the same answer", once::idempotent),
    check!("charge: replays in every form", once::replays),
    check!("charge: 100 copies, two servers, one grant", once::copies),
    check!("charge: hostile credentials, one by one", hostile::all),
];

/// A check's surroundings.
pub(super) struct Case<'a> {
    node: &'a Node,
    market: &'a Market,
    name: &'static str,
}

impl Case<'_> {
    fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.market.shop.url)
    }

    /// A payer with $5 in two tokens that no other check uses.
    async fn wallet(&self) -> anyhow::Result<Wallet<'_>> {
        let purpose = format!("{} {}", self.name, self.market.shop.url);
        let signer = account::signer_for(&purpose)?;
        for token in [PATH_USD, market::OTHER_TOKEN] {
            account::fund_token(self.node, token, signer.address(), dollars(5)).await?;
        }
        Ok(Wallet::new(self.node, signer))
    }

    async fn balance(&self, owner: Address) -> anyhow::Result<Amount> {
        self.node.balance(owner).await
    }
}

/// Runs all checks, or those whose name contains `only`.
pub(super) async fn run(node: &Node, only: Option<&str>, table: &mut Table) -> anyhow::Result<()> {
    let wanted = |name: &str| only.is_none_or(|text| name.contains(text));
    if !CHECKS.iter().any(|(name, _)| wanted(name)) {
        return Ok(());
    }
    let market = Market::open(node).await?;
    for &(name, check) in CHECKS.iter().filter(|(name, _)| wanted(name)) {
        let case = Case {
            node,
            market: &market,
            name,
        };
        table.add_once(name, check(&case).await);
    }
    market.shop.server.shutdown().await;
    market.second.server.shutdown().await;
    Ok(())
}
