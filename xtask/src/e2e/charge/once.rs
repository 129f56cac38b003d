//! SECURITY-CASES A1: a payment is granted once.

use anyhow::ensure;
use futures_util::future::try_join_all;
use mpp_core::ProblemKind;
use mpp_tempo::tx;

use super::Case;
use crate::raw::refused;

/// A handler that failed used nothing up.
pub(super) async fn failing(case: &Case<'_>) -> anyhow::Result<()> {
    let (wallet, url) = (case.wallet().await?, case.url("broken"));
    let credential = wallet.pay(&url).await?;
    let sent = case.market.chain.sent();
    let failed = wallet.show(&url, &credential).await?;
    ensure!(failed.status() == 500, "{}", failed.status());
    ensure!(!failed.headers().contains_key("payment-receipt"));
    wallet.buy(&url, &credential).await?;
    ensure!(case.market.chain.sent() == sent.saturating_add(1));
    refused(
        wallet.show(&url, &credential).await?,
        ProblemKind::InvalidChallenge,
    )
    .await?;
    Ok(())
}

/// The same request under the same key is answered again, and paid once.
pub(super) async fn idempotent(case: &Case<'_>) -> anyhow::Result<()> {
    let (wallet, url) = (case.wallet().await?, case.url("photo"));
    let http = reqwest::Client::new();
    let ask = async |credential: &mpp_core::Credential| -> anyhow::Result<_> {
        let value = mpp_core::header::credential::encode(credential)?;
        let request = http.get(&url).header("authorization", value);
        Ok(request
            .header("idempotency-key", "\"key-1\"")
            .send()
            .await?)
    };
    let credential = wallet.pay(&url).await?;
    let sent = case.market.chain.sent();
    let first = ask(&credential).await?;
    ensure!(first.status() == 200, "{}", first.status());
    let receipt = first.headers().get("payment-receipt").cloned();
    let body = first.text().await?;
    // Another payment for the same request is not taken.
    for credential in [credential, wallet.pay(&url).await?] {
        let again = ask(&credential).await?;
        ensure!(again.status() == 200, "{}", again.status());
        ensure!(again.headers()["idempotent-replayed"] == "true");
        ensure!(again.headers().get("payment-receipt") == receipt.as_ref());
        ensure!(again.text().await? == body);
    }
    ensure!(case.market.chain.sent() == sent.saturating_add(1));
    Ok(())
}

/// Pull again, push after pull, another encoding, another fee payer.
pub(super) async fn replays(case: &Case<'_>) -> anyhow::Result<()> {
    let (wallet, url) = (case.wallet().await?, case.url("sponsored"));
    let challenge = wallet.raw.challenge(&url).await?;
    let signed = wallet.sign(wallet.transaction(&challenge).await?)?;
    let credential = wallet.pull(&challenge, &signed)?;
    wallet.buy(&url, &credential).await?;
    let (sent, served) = (case.market.chain.sent(), case.market.served());
    let cosigned = tx::cosign(signed, &wallet.raw.signer, mpp_tempo::network::PATH_USD).await?;
    for replay in [credential, wallet.pull(&challenge, &cosigned)?] {
        for shop in [&case.market.shop, &case.market.second] {
            let url = format!("{}/sponsored", shop.url);
            let again = wallet.show(&url, &replay).await?;
            refused(again, ProblemKind::InvalidChallenge).await?;
        }
    }

    let url = case.url("photo");
    let challenge = wallet.raw.challenge(&url).await?;
    let signed = wallet.sign(wallet.transaction(&challenge).await?)?;
    wallet.buy(&url, &wallet.pull(&challenge, &signed)?).await?;
    let pushed = wallet.push(&challenge, signed.hash())?;
    refused(
        wallet.show(&url, &pushed).await?,
        ProblemKind::InvalidChallenge,
    )
    .await?;
    ensure!(case.market.chain.sent() == sent.saturating_add(1));
    ensure!(case.market.served() == served.saturating_add(1));
    Ok(())
}

/// 100 copies at once, half of them at each of two servers over one store.
pub(super) async fn copies(case: &Case<'_>) -> anyhow::Result<()> {
    let wallet = case.wallet().await?;
    let credential = wallet.pay(&case.url("photo")).await?;
    let (sent, served) = (case.market.chain.sent(), case.market.served());
    let urls = [&case.market.shop, &case.market.second].map(|shop| format!("{}/photo", shop.url));
    let copies = urls.iter().cycle().take(100);
    let answers = try_join_all(copies.map(|url| wallet.show(url, &credential))).await?;
    let mut granted = 0_u32;
    for answer in answers {
        match answer.status().as_u16() {
            200 => granted = granted.saturating_add(1),
            409 => drop(refused(answer, ProblemKind::RequestInProgress).await?),
            _ => drop(refused(answer, ProblemKind::InvalidChallenge).await?),
        }
    }
    ensure!(granted == 1, "{granted} of 100 copies were granted");
    ensure!(case.market.served() == served.saturating_add(1));
    ensure!(case.market.chain.sent() == sent.saturating_add(1));
    Ok(())
}
