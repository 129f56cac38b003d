//! Whether the embedded node answers as anvil does.
//!
//! Both get the same requests and the very same signed transactions. What differs is either in
//! the table of known differences, or a failure; so is an entry of the table that nothing
//! differs in any more.

mod difference;
mod escrows;
mod known;
mod pair;
mod requests;
mod senders;
mod transactions;

use anyhow::ensure;

use self::{known::KNOWN, pair::Pair};
use super::table::Table;

/// Compares two fresh nodes, and prints what is known to differ.
pub(super) async fn run(only: Option<&str>, table: &mut Table) -> anyhow::Result<()> {
    const NAME: &str = "both nodes answer alike";
    if only.is_some_and(|text| !NAME.contains(text)) {
        return Ok(());
    }
    let mut pair = Pair::start().await?;
    let asked = ask(&mut pair).await;
    println!();
    println!("anvil differs from the embedded node in");
    for entry in KNOWN {
        println!("  {}", entry.place());
        println!("      {}", entry.why);
    }
    println!();
    table.add_once(NAME, asked.and_then(|()| judge(&pair)));
    Ok(())
}

async fn ask(pair: &mut Pair) -> anyhow::Result<()> {
    requests::ask(pair).await?;
    transactions::ask(pair).await?;
    senders::ask(pair).await?;
    escrows::ask(pair).await
}

/// Everything that differs is known, and everything known differs.
fn judge(pair: &Pair) -> anyhow::Result<()> {
    let unknown: Vec<_> = pair
        .differences
        .iter()
        .filter(|found| !KNOWN.iter().any(|entry| entry.covers(found)))
        .map(|found| format!("\n      {found}"))
        .collect();
    ensure!(
        unknown.is_empty(),
        "{} of {} answers differ:{}",
        unknown.len(),
        pair.asked,
        unknown.concat()
    );
    let stale: Vec<_> = KNOWN
        .iter()
        .flat_map(|entry| entry.stale(&pair.differences))
        .collect();
    ensure!(stale.is_empty(), "nothing differs any more in {stale:?}");
    println!("{} requests answered by both", pair.asked);
    Ok(())
}
