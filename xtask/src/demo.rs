//! `cargo xtask demo`: a poem, paid word by word, from deposit to refund.

mod screen;

use std::time::Duration;

use anyhow::Context as _;
use futures_util::StreamExt as _;
use mpp_client::{ClientEvent, Policy, Subscription};
use mpp_core::{Amount, SessionReceipt};
use mpp_http::client::{Client, Session};
use mpp_server::PaymentServer;
use mpp_tempo::{LocalSigner, Signer as _};

use self::screen::{Money, Screen, short, usd};
use crate::{
    account,
    node::{Node, control::Control},
    shop::{self, Scratch, Shop},
};

/// What the payer starts with, in base units.
const PURSE: Amount = Amount::new(1_000_000);

/// Runs the whole story. `pace` is the reader's speed.
pub(crate) async fn run(pace: Duration) -> anyhow::Result<()> {
    let node = Node::embedded().await?;
    let people = People::invite(&node).await?;
    let scratch = Scratch::new()?;
    let server = shop::configure(&node, people.payee.clone(), &scratch)?.build()?;
    let shop = Shop::open(server, scratch, |server: &PaymentServer| {
        let offer = mpp_example_poem::offer(server);
        Ok(mpp_example_poem::router(server, offer)?)
    })
    .await?;
    let url = format!("{}/poem", shop.url);
    println!("Tempo node   {} (in process)", node.url);
    println!("poem         {url}");
    println!("price        ${} a word", mpp_example_poem::PRICE_PER_WORD);
    println!();
    let before = people.balances(&node).await?;

    let client = Client::builder()
        .signer(people.payer.clone())
        .chain(node.chain.clone())
        .policy(Policy::new(Amount::new(100_000)))
        .build()?;
    let events = client.events();
    let session = client.session(&url)?;
    let mut reading = Reading {
        events,
        screen: Screen::default(),
        server: shop.server.clone(),
        vouchers: 0,
    };
    reading.read(&session, &url, pace).await?;

    println!();
    println!("Closing: the server settles what was spent, the rest is refunded.");
    let receipt = session.close().await?;
    report(&receipt, reading.vouchers, &node)?;
    let after = people.balances(&node).await?;
    compare(&people, &before, &after);
    shop.server.shutdown().await;
    Ok(())
}

/// Who takes part.
struct People {
    payer: LocalSigner,
    payee: LocalSigner,
}

struct Balances {
    payer: Amount,
    payee: Amount,
}

impl People {
    async fn invite(node: &Node) -> anyhow::Result<Self> {
        let payer = account::signer_for("the reader of the demo")?;
        let payee = account::signer_for("the poet of the demo")?;
        account::fund(node, payer.address(), PURSE).await?;
        account::fund(node, payee.address(), PURSE).await?;
        Ok(Self { payer, payee })
    }

    async fn balances(&self, node: &Node) -> anyhow::Result<Balances> {
        Ok(Balances {
            payer: node.balance(self.payer.address()).await?,
            payee: node.balance(self.payee.address()).await?,
        })
    }
}

/// The reader's side of the stream.
struct Reading {
    events: Subscription,
    screen: Screen,
    server: PaymentServer,
    vouchers: u32,
}

impl Reading {
    async fn read(&mut self, session: &Session, url: &str, pace: Duration) -> anyhow::Result<()> {
        let half = pace.checked_div(2).unwrap_or_default();
        let mut stream = session.sse(url).await?;
        while let Some(event) = self.events.try_next() {
            self.tell(event);
        }
        Screen::heading();
        let channel = session.state()?.context("no channel")?.channel_id;
        loop {
            // Reading the stream is also what answers its requests for
            // vouchers; the events tell about it.
            let text = tokio::select! {
                biased;
                event = self.events.next() => {
                    let paused = matches!(event, ClientEvent::NeedVoucher { .. });
                    self.tell(event);
                    if paused {
                        // Long enough to be seen; the stream waits meanwhile.
                        tokio::time::sleep(half).await;
                    }
                    continue;
                }
                text = stream.next() => text,
            };
            while let Some(event) = self.events.try_next() {
                self.tell(event);
            }
            let Some(text) = text else { break };
            let record = self.server.channel(channel).await?;
            let money = Money {
                vouchers: self.vouchers,
                accepted: record.accepted(),
                spent: record.spent,
                deposit: record.deposit,
            };
            self.screen.text(&text?, money);
            tokio::time::sleep(half).await;
        }
        self.screen.clear();
        let receipt = stream
            .receipt()
            .context("the stream ended without a receipt")?;
        println!();
        println!(
            "The stream's receipt: {} words, {} spent.",
            receipt.units.unwrap_or_default(),
            usd(receipt.spent)
        );
        Ok(())
    }

    /// Shows what the client has done.
    fn tell(&mut self, event: ClientEvent) {
        match event {
            ClientEvent::ChallengeReceived { price, .. } => self
                .screen
                .note(&format!("402 Payment Required: {} a word", usd(price))),
            ClientEvent::ChannelOpened {
                channel_id,
                deposit,
            } => self.screen.note(&format!(
                "channel {} opened with {} (one transaction)",
                short(&channel_id.to_string()),
                usd(deposit)
            )),
            ClientEvent::VoucherSigned { .. } => {
                self.vouchers = self.vouchers.saturating_add(1);
            }
            ClientEvent::NeedVoucher { required, .. } => self.screen.asked(required),
            ClientEvent::ToppedUp {
                additional,
                deposit,
                ..
            } => self.screen.note(&format!(
                "topped up by {} to {} (one transaction)",
                usd(additional),
                usd(deposit)
            )),
            ClientEvent::Rejected { reason, .. } => self.screen.note(&format!("refused: {reason}")),
            _ => {}
        }
    }
}

fn report(receipt: &SessionReceipt, vouchers: u32, node: &Node) -> anyhow::Result<()> {
    let hash = receipt.tx_hash.as_deref().context("no settlement hash")?;
    println!("settlement   {}", short(hash));
    println!("channel      {}", short(&receipt.channel_id));
    println!("accepted     {}", usd(receipt.accepted_cumulative));
    println!("spent        {}", usd(receipt.spent));
    println!("vouchers     {vouchers} signed, none of them on chain");
    if let Ok(Control::Devnet(devnet)) = node.control() {
        println!("blocks       {}", devnet.block_number());
    }
    println!();
    Ok(())
}

fn compare(people: &People, before: &Balances, after: &Balances) {
    println!(
        "{:<21} {:>12} {:>12} {:>12}",
        "", "before", "after", "change"
    );
    let rows = [
        ("payer", people.payer.address(), before.payer, after.payer),
        ("payee", people.payee.address(), before.payee, after.payee),
    ];
    for (role, address, before, after) in rows {
        let change = match after.checked_sub(before) {
            Some(gain) => format!("+{}", usd(gain)),
            None => format!("-{}", usd(before.saturating_sub(after))),
        };
        println!(
            "{role:<6} {:<14} {:>12} {:>12} {change:>12}",
            short(&format!("{address:#x}")),
            usd(before),
            usd(after)
        );
    }
    println!("Fees of the transactions are part of the change: the payer's for");
    println!("opening and topping up, the payee's for closing.");
}
