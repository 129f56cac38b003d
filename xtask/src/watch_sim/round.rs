//! One round: a chain, some hundred channels, a server that dies now and then.

use std::{sync::Arc, time::Duration};

use alloy_primitives::{Address, B256};
use anyhow::{Context as _, ensure};
use mpp_core::{Amount, Realm, SecretKey, Timestamp};
use mpp_devnet::{Devnet, DevnetConfig, TimeSource};
use mpp_server::{
    ChannelStore as _, FollowPolicy, MemoryStore, PaymentServer, SettlePolicy,
    clock::{Clock as _, ManualClock},
    session::record::{ChannelRecord, PendingTx, Phase},
    store::Write,
};
use mpp_tempo::{
    ChannelId, ChannelTerms, LocalSigner, Network, SessionProtocol, SignedVoucher, Signer as _,
    Voucher, VoucherVerifier,
    network::PATH_USD,
    tx::{FeeMode, TxContext, TxFees, UnsignedTx, build, build::OpenParams, gas},
};
use rand::{Rng as _, RngExt as _, SeedableRng as _, rngs::StdRng};

use super::{Tally, books, chaos::Chaos, faulty::Mortal};

/// Channels of one round.
const CHANNELS: usize = 400;
/// Close requests are made within so many seconds.
const SPAN: u64 = 1_800;
/// Seconds of one step.
const STEP: u32 = 5;
/// Blocks that must follow; reorganizations are at most as deep.
const FINALITY: u64 = 2;
/// When rounds begin, in Unix seconds.
const START: u64 = 1_800_000_000;
const DEPOSIT: u128 = 1_000_000;

/// Never within a round: what timers do is called by hand.
const NEVER: Duration = Duration::from_secs(1_000_000_000);

#[derive(Debug)]
pub(crate) struct Round {
    rng: StdRng,
    protocol: SessionProtocol,
    node: Devnet,
    clock: ManualClock,
    store: MemoryStore,
    payee: LocalSigner,
    payer: LocalSigner,
    channels: Vec<Channel>,
}

#[derive(Debug)]
struct Channel {
    id: ChannelId,
    terms: ChannelTerms,
    spent: u128,
    /// The payer asks the chain to close then.
    closes_at: u64,
}

impl Round {
    /// Opens the round's channels, and has some of their deposits spent.
    pub(crate) async fn open(number: u32, mut rng: StdRng) -> anyhow::Result<Self> {
        let node = Devnet::new(DevnetConfig {
            time: TimeSource::Fixed(START),
            // A dropped transaction is not waited for in real time.
            sync_timeout: Duration::from_millis(1),
            ..DevnetConfig::default()
        });
        let account = |index: usize| {
            let account = node.accounts().get(index).context("no such account")?;
            anyhow::Ok(LocalSigner::from_hex(&account.private_key)?)
        };
        let protocol = if number.is_multiple_of(2) {
            SessionProtocol::V2
        } else {
            SessionProtocol::V1
        };
        let mut round = Self {
            protocol,
            payee: account(0)?,
            payer: account(
                usize::try_from(number)?
                    .checked_rem(9)
                    .unwrap_or(0)
                    .saturating_add(1),
            )?,
            clock: ManualClock::new(Timestamp::from_secs(i64::try_from(START)?)),
            store: MemoryStore::new(),
            channels: Vec::with_capacity(CHANNELS),
            rng: StdRng::from_rng(&mut rng),
            node,
        };
        for _ in 0..CHANNELS {
            let channel = round.open_channel().await?;
            round.channels.push(channel);
        }
        Ok(round)
    }

    async fn open_channel(&mut self) -> anyhow::Result<Channel> {
        let mut salt = B256::ZERO;
        self.rng.fill_bytes(salt.as_mut_slice());
        let params = OpenParams {
            protocol: self.protocol,
            escrow: self.protocol.default_escrow(42_431).context("no escrow")?,
            payee: self.payee.address(),
            token: PATH_USD,
            operator: Address::ZERO,
            deposit: Amount::new(DEPOSIT),
            salt,
            authorized_signer: Address::ZERO,
        };
        let unsigned = build::open(&self.context(gas::open(self.protocol)), &params)?;
        let terms = unsigned.open_terms(&params, self.payer.address());
        let hash = self.submit(unsigned).await?;
        let spent = self.rng.random_range(10_000..=DEPOSIT / 2);
        let authorized = match self.protocol {
            SessionProtocol::V1 => spent,
            SessionProtocol::V2 => self.rng.random_range(spent..=DEPOSIT),
        };
        let pending = PendingTx {
            hash,
            valid_before: START,
        };
        let now = self.clock.now();
        let voucher = self.sign(&terms, authorized);
        let mut next = ChannelRecord::opening(terms, pending, voucher, now);
        next.phase = Phase::Open;
        next.deposit = Amount::new(DEPOSIT);
        next.spent = Amount::new(spent);
        next.units = 1;
        next.unsettled.since = Some(now);
        let write = Write {
            expected: None,
            next: Arc::new(next),
            entry: None,
            outcome: None,
        };
        self.store.commit(write).await?;
        Ok(Channel {
            id: terms.id(),
            terms,
            spent,
            closes_at: START.saturating_add(self.rng.random_range(10..SPAN)),
        })
    }

    fn sign(&self, terms: &ChannelTerms, units: u128) -> SignedVoucher {
        let verifier = VoucherVerifier::new(terms);
        let cumulative = Amount::new(units);
        SignedVoucher {
            voucher: Voucher {
                channel_id: verifier.channel_id(),
                cumulative,
            },
            signature: self
                .payer
                .sign_digest_sync(&verifier.digest(cumulative))
                .into(),
        }
    }

    fn context(&self, gas_limit: u64) -> TxContext {
        TxContext {
            chain_id: Network::MODERATO.chain_id,
            now: self.clock.now(),
            valid_for: Duration::from_secs(25),
            valid_after: None,
            fees: TxFees {
                max_fee_per_gas: 2_000_000_000,
                max_priority_fee_per_gas: 0,
                gas_limit,
            },
            fee_mode: FeeMode::SelfPaid {
                fee_token: PATH_USD,
            },
        }
    }

    /// The payer sends a transaction by a node of its own.
    async fn submit(&self, unsigned: UnsignedTx) -> anyhow::Result<B256> {
        let signed = unsigned.sign(&self.payer).await?;
        Ok(self.node.submit(&signed.encode())?)
    }

    /// Starts the server, over the store that is there.
    fn start(&self) -> anyhow::Result<Running> {
        let chain = Mortal::new(self.node.clone());
        let mut follow = FollowPolicy::default();
        follow.finality_depth = FINALITY;
        let policy = SettlePolicy {
            finality: FINALITY,
            every: NEVER,
            ..SettlePolicy::on_demand()
        };
        let server = PaymentServer::builder()
            .realm(Realm::new("shop.example")?)
            .secret_key(SecretKey::from_bytes(
                alloy_primitives::keccak256("watch").as_slice(),
            )?)
            .testnet()
            .chain(chain.clone())
            .account(self.payee.clone())
            .store(self.store.clone())
            .clock(self.clock.clone())
            .watch_every(NEVER)
            .follow(follow)
            .settlement(policy)
            .build()?;
        // The watcher looks for the channels of offers.
        server
            .session()
            .amount("0.001")
            .protocol(self.protocol)
            .build()?;
        Ok(Running { server, chain })
    }

    /// Lets time pass until every payer could withdraw, then looks at the
    /// chain.
    pub(crate) async fn run(mut self, tally: &mut Tally) -> anyhow::Result<()> {
        let opened = self.node.transactions_mined();
        let mut chaos = Chaos::new(StdRng::from_rng(&mut self.rng), START, FINALITY);
        let mut running = Some(self.start()?);
        let mut restarts_at = START;
        let end = books::end_of(START.saturating_add(SPAN)).saturating_add(60);
        let mut requests = 0;
        while self.node.now() < end {
            self.clock.advance_secs(STEP);
            self.node.advance_time(Duration::from_secs(STEP.into()));
            self.node.mine();
            let now = self.node.now();
            requests = self.ask(now, requests).await?;
            chaos.strike(&self.node, now, tally);
            match running.take() {
                Some(alive) => {
                    let chain = alive.chain.clone();
                    if let Some(halves) = chaos.death() {
                        chain.die_after(halves);
                    }
                    tokio::select! {
                        biased;
                        () = chain.death() => {
                            tally.crashes = tally.crashes.saturating_add(1);
                            restarts_at = now.saturating_add(chaos.downtime());
                        }
                        () = alive.look() => running = Some(alive),
                    }
                }
                None if now >= restarts_at => running = Some(self.start()?),
                None => {}
            }
            // The tasks of a server that is gone end when they are polled.
            tokio::task::yield_now().await;
        }
        let sent = self.node.transactions_mined().saturating_sub(opened);
        let asked = u64::try_from(requests)?;
        tally.transactions = tally
            .transactions
            .saturating_add(sent.saturating_sub(asked));
        let passed = end.saturating_sub(START);
        tally.simulated_secs = tally.simulated_secs.saturating_add(passed);
        self.check(tally).await
    }

    /// Payers ask the chain to close, and ask again when a reorganization has
    /// taken that away. Returns how many transactions that took.
    async fn ask(&self, now: u64, mut requests: usize) -> anyhow::Result<usize> {
        // The last moments are for payers whose request stands.
        let late = now > START.saturating_add(SPAN);
        for channel in self
            .channels
            .iter()
            .filter(|channel| channel.closes_at <= now && !late)
        {
            let state = self.node.channel(self.protocol, channel.id);
            let silent =
                state.is_some_and(|state| !state.finalized && state.close_requested_at.is_none());
            if silent {
                let context = self.context(gas::REQUEST_CLOSE);
                // Refused when the same request waits already.
                if self
                    .submit(build::request_close(&context, &channel.terms)?)
                    .await
                    .is_ok()
                {
                    requests = requests.saturating_add(1);
                }
            }
        }
        Ok(requests)
    }

    async fn check(&self, tally: &mut Tally) -> anyhow::Result<()> {
        let stories = books::read(&self.node);
        books::balance(&self.node, self.protocol, &stories)?;
        let mut asked = 0_usize;
        for channel in &self.channels {
            let Some(story) = stories.get(&channel.id) else {
                continue;
            };
            ensure!(
                story.paid() == 0 || story.paid() == channel.spent,
                "{} was paid of {} spent",
                story.paid(),
                channel.spent
            );
            if story.grace_end.is_none() {
                continue;
            }
            asked = asked.saturating_add(1);
            match story.left(channel.spent) {
                Some(left) => tally.left.push(left),
                None => {
                    tally.missed = tally.missed.saturating_add(1);
                    self.explain(channel, story).await?;
                }
            }
        }
        ensure!(asked > CHANNELS / 2, "only {asked} payers have asked");
        Ok(())
    }
}

impl Round {
    /// Says what is known of a missed deadline.
    async fn explain(&self, channel: &Channel, story: &books::Story) -> anyhow::Result<()> {
        let found = self.store.load(channel.id).await?;
        let phase = found.as_ref().map(|found| found.record.phase.name());
        let settled = found.as_ref().map(|found| found.record.settled);
        println!(
            "missed: {} {} asked {:?} s after the start, spent {}, {story:?}, record {phase:?} settled {settled:?}",
            self.protocol,
            channel.id,
            channel.closes_at.checked_sub(START),
            channel.spent,
        );
        Ok(())
    }
}

/// A server, and its way to the node.
#[derive(Debug)]
struct Running {
    server: PaymentServer,
    chain: Mortal,
}

impl Running {
    /// What the server's timers do. It may fail: the node may be out of order.
    async fn look(&self) {
        // The first time it catches up with what was before its start.
        if self.server.ready().await.is_ok() {
            drop(self.server.catch_up().await);
        }
        // Deadlines are told of without a node, too.
        drop(self.server.collect().await);
    }
}
