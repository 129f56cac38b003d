//! A server that sells at 1,000 base units, and does as it is told.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex};

use mpp_client::{MemoryBook, Policy, ResumePolicy};
use mpp_core::header::{challenge, receipt};
use mpp_core::{Amount, Challenge, ChallengeId, EncodedJson, IntentName, MethodName, Problem};
use mpp_core::{ProblemKind, Realm, Receipt, SessionReceipt, Timestamp};
use mpp_devnet::{Devnet, DevnetConfig};
use mpp_http::client::Client;
use mpp_http::sse::encode;
use mpp_tempo::chain::ChainClient;
use mpp_tempo::tx::{SignedTx, check};
use mpp_tempo::wire::{NeedVoucher, SessionPayload, SessionRequest};
use mpp_tempo::{ChannelId, ChannelTerms, LocalSigner, SessionProtocol, VoucherVerifier};
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};

use crate::wire::{Answer, Head, Reply, Request, Server};

/// The price of everything, in base units.
pub(crate) const PRICE: u128 = 1_000;

pub(crate) const fn units(amount: u128) -> Amount {
    Amount::new(amount)
}

/// A policy that lets channels hold up to a tenth of a dollar.
pub(crate) fn policy() -> Policy {
    policy_of(units(100_000))
}

/// A policy whose clients know that they have lost nothing.
pub(crate) fn policy_of(max_deposit: Amount) -> Policy {
    Policy::new(max_deposit).resume(ResumePolicy::Never)
}

/// An answer of its own for the first request that fits.
struct Trick {
    fits: Box<dyn Fn(&Request) -> bool + Send>,
    reply: Box<dyn FnOnce(Shop, Request) -> Answer + Send>,
}

/// The server's side of a channel.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) terms: ChannelTerms,
    pub(crate) deposit: Amount,
    pub(crate) accepted: Amount,
    pub(crate) spent: Amount,
    pub(crate) is_closed: bool,
}

#[derive(Default)]
struct State {
    accounts: HashMap<ChannelId, Account>,
    log: Vec<Request>,
    tricks: Vec<Trick>,
    challenges: u64,
}

/// Settings that a test may change at any time.
#[derive(Clone)]
pub(crate) struct Manners {
    /// The challenge's request.
    pub(crate) request: Value,
    /// Whether `HEAD` is known.
    pub(crate) head: bool,
    /// Whether streams begin with a receipt in the header.
    pub(crate) stream_receipt: bool,
    /// The challenge's `header` parameter.
    pub(crate) own_field: bool,
    /// Whether refusals name amounts.
    pub(crate) names_amounts: bool,
    /// Whether receipts tell what was spent before the request, and a voucher has to rise for
    /// each: so do servers of the crate mpp.
    pub(crate) charges_late: bool,
}

/// The server, its chain, and what it has seen.
#[derive(Clone)]
pub(crate) struct Shop {
    pub(crate) chain: Devnet,
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
    manners: Arc<Mutex<Manners>>,
    raised: Arc<Notify>,
    _server: Arc<Mutex<Option<Server>>>,
}

impl Shop {
    pub(crate) async fn open() -> Self {
        Self::of(SessionProtocol::V2).await
    }

    pub(crate) async fn of(protocol: SessionProtocol) -> Self {
        let chain = Devnet::new(DevnetConfig::default());
        let request = json!({
            "amount": PRICE.to_string(),
            "currency": "0x20c0000000000000000000000000000000000000",
            "recipient": chain.accounts()[1].address,
            "suggestedDeposit": "10000",
            "methodDetails": {
                "chainId": 42431,
                "escrowContract": protocol.default_escrow(42_431),
                "sessionProtocol": protocol,
            },
        });
        let mut shop = Self {
            chain,
            url: String::new(),
            state: Arc::default(),
            manners: Arc::new(Mutex::new(Manners {
                request,
                head: true,
                stream_receipt: true,
                own_field: false,
                names_amounts: true,
                charges_late: false,
            })),
            raised: Arc::default(),
            _server: Arc::default(),
        };
        let handling = shop.clone();
        let server = Server::start(Arc::new(move |request| {
            let shop = handling.clone();
            Box::pin(async move { shop.handle(request).await })
        }))
        .await;
        shop.url.clone_from(&server.url);
        *shop._server.lock().unwrap() = Some(server);
        shop
    }

    pub(crate) fn client(&self) -> Client {
        self.client_with(policy())
    }

    pub(crate) fn client_with(&self, policy: Policy) -> Client {
        self.client_of(policy, Arc::new(MemoryBook::default()))
    }

    pub(crate) fn client_of(&self, policy: Policy, book: Arc<MemoryBook>) -> Client {
        let key = &self.chain.accounts()[2].private_key;
        Client::builder()
            .signer(LocalSigner::from_hex(key).unwrap())
            .chain(self.chain.clone())
            .policy(policy)
            .book(book)
            .http(reqwest::Client::builder().no_proxy())
            .build()
            .unwrap()
    }

    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Manners)) {
        change(&mut self.manners.lock().unwrap());
    }

    /// Answers the next request that fits in another way than the rules say.
    pub(crate) fn trick<F>(
        &self,
        fits: impl Fn(&Request) -> bool + Send + 'static,
        reply: impl FnOnce(Self, Request) -> F + Send + 'static,
    ) where
        F: Future<Output = Reply> + Send + 'static,
    {
        let trick = Trick {
            fits: Box::new(fits),
            reply: Box::new(move |shop, request| Box::pin(reply(shop, request))),
        };
        self.state.lock().unwrap().tricks.push(trick);
    }

    /// Does as the rules say with the next request that fits, and then loses the answer.
    pub(crate) fn lose_answer(&self, fits: impl Fn(&Request) -> bool + Send + 'static) {
        self.trick(fits, |shop, request| async move {
            shop.obey(request).await;
            Reply::HangUp
        });
    }

    /// Stops listening and breaks all connections.
    pub(crate) fn shut(&self) {
        drop(self._server.lock().unwrap().take());
    }

    /// Forgets all channels.
    pub(crate) fn forget(&self) {
        self.state.lock().unwrap().accounts.clear();
    }

    pub(crate) fn log(&self) -> Vec<Request> {
        self.state.lock().unwrap().log.clone()
    }

    /// What was asked, in short: method and action.
    pub(crate) fn story(&self) -> Vec<String> {
        self.log().iter().map(summary).collect()
    }

    pub(crate) fn account(&self, id: ChannelId) -> Account {
        self.state.lock().unwrap().accounts[&id].clone()
    }

    pub(crate) fn accounts(&self) -> Vec<Account> {
        let state = self.state.lock().unwrap();
        state.accounts.values().cloned().collect()
    }

    /// The only channel there is.
    pub(crate) fn only(&self) -> Account {
        let accounts = self.accounts();
        assert_eq!(accounts.len(), 1, "{accounts:?}");
        accounts[0].clone()
    }

    /// Accepts and charges one unit without a word.
    pub(crate) fn charge(&self, id: ChannelId) {
        let mut state = self.state.lock().unwrap();
        let account = state.accounts.get_mut(&id).unwrap();
        account.spent = account.spent.checked_add(units(PRICE)).unwrap();
        account.accepted = account.accepted.max(account.spent);
    }

    async fn handle(&self, request: Request) -> Reply {
        let trick = {
            let mut state = self.state.lock().unwrap();
            state.log.push(request.clone());
            let fitting = state.tricks.iter().position(|trick| (trick.fits)(&request));
            fitting.map(|index| state.tricks.remove(index))
        };
        match trick {
            Some(trick) => (trick.reply)(self.clone(), request).await,
            None => self.obey(request).await,
        }
    }

    /// The rules.
    pub(crate) async fn obey(&self, request: Request) -> Reply {
        let manners = self.manners.lock().unwrap().clone();
        if request.method == "HEAD" && !manners.head {
            return Reply::Full(Head::new(405), Vec::new());
        }
        let Some(payload) = request.payload() else {
            return self.refuse(Problem::new(ProblemKind::PaymentRequired, "pay"));
        };
        let empty_post =
            request.method == "POST" && request.query.is_none() && request.body.is_empty();
        let manages = request.method == "HEAD" || empty_post;
        let id = payload.channel_id();
        let refused = match &payload {
            SessionPayload::Open { transaction, .. } => {
                self.take_open(transaction).await;
                self.take_voucher(&payload, !manages)
            }
            SessionPayload::Voucher { .. } => self.take_voucher(&payload, !manages),
            SessionPayload::TopUp { transaction, .. } => {
                self.take_top_up(id, transaction).await;
                return self.managed(id, None);
            }
            SessionPayload::Close { .. } => return self.take_close(&payload),
        };
        match refused {
            Some(problem) => self.refuse(problem),
            None if manages => self.managed(id, None),
            None => self.deliver(&request, id),
        }
    }

    async fn take_open(&self, transaction: &[u8]) {
        let tx = SignedTx::decode(transaction).unwrap();
        let request = self.manners.lock().unwrap().request.clone();
        let details = serde_json::from_value::<SessionRequest>(request)
            .unwrap()
            .method_details;
        let escrow = details.escrow_contract;
        let open = check::open(&tx, details.protocol(), escrow, 42_431).unwrap();
        let mined = self.chain.send_and_wait(tx.encode()).await.unwrap();
        assert!(mined.success);
        let account = Account {
            terms: open.terms,
            deposit: open.deposit,
            accepted: Amount::ZERO,
            spent: Amount::ZERO,
            is_closed: false,
        };
        let mut state = self.state.lock().unwrap();
        state.accounts.entry(open.terms.id()).or_insert(account);
    }

    async fn take_top_up(&self, id: ChannelId, transaction: &[u8]) {
        let tx = SignedTx::decode(transaction).unwrap();
        let top_up = check::top_up(&tx, &self.account(id).terms).unwrap();
        let before = self.chain.block_number();
        let mined = self.chain.send_and_wait(tx.encode()).await.unwrap();
        assert!(mined.success);
        // Sent again, the same transaction adds nothing.
        if self.chain.block_number() > before {
            let mut state = self.state.lock().unwrap();
            let account = state.accounts.get_mut(&id).unwrap();
            account.deposit = account.deposit.checked_add(top_up.additional).unwrap();
        }
    }

    /// Accepts and charges as one step, or says why not.
    fn take_voucher(&self, payload: &SessionPayload, charges: bool) -> Option<Problem> {
        let signed = payload.voucher().unwrap();
        let cumulative = signed.voucher.cumulative;
        let stale = charges && self.manners.lock().unwrap().charges_late;
        let mut state = self.state.lock().unwrap();
        let account = state.accounts.get_mut(&payload.channel_id());
        let Some(account) = account else {
            return Some(Problem::new(
                ProblemKind::ChannelNotFound,
                "no such channel",
            ));
        };
        if account.is_closed {
            return Some(Problem::new(ProblemKind::ChannelFinalized, "closed"));
        }
        if cumulative > account.deposit {
            return Some(Problem::new(ProblemKind::AmountExceedsDeposit, "too much"));
        }
        if cumulative < account.accepted || (stale && cumulative == account.accepted) {
            return Some(
                Problem::new(ProblemKind::DeltaTooSmall, "too late")
                    .with_accepted_cumulative(account.accepted),
            );
        }
        VoucherVerifier::new(&account.terms)
            .verify(&signed)
            .unwrap();
        let price = if charges { self.price() } else { Amount::ZERO };
        let spent = account.spent.checked_add(price).unwrap();
        if spent > cumulative {
            return Some(
                Problem::new(ProblemKind::InsufficientBalance, "not enough")
                    .with_required_cumulative(spent)
                    .with_accepted_cumulative(account.accepted),
            );
        }
        account.accepted = cumulative;
        account.spent = spent;
        drop(state);
        self.raised.notify_waiters();
        None
    }

    fn take_close(&self, payload: &SessionPayload) -> Reply {
        let id = payload.channel_id();
        let signed = payload.voucher().unwrap();
        let account = self.account(id);
        let fits = match account.terms.protocol {
            SessionProtocol::V1 => signed.voucher.cumulative == account.spent,
            SessionProtocol::V2 => signed.voucher.cumulative >= account.spent,
        };
        if !fits {
            let problem = Problem::new(ProblemKind::InsufficientBalance, "another amount");
            return self.refuse(problem.with_required_cumulative(account.spent));
        }
        VoucherVerifier::new(&account.terms)
            .verify(&signed)
            .unwrap();
        self.state
            .lock()
            .unwrap()
            .accounts
            .get_mut(&id)
            .unwrap()
            .is_closed = true;
        self.managed(id, Some(ChannelId::repeat_byte(0xcc)))
    }

    fn deliver(&self, request: &Request, id: ChannelId) -> Reply {
        match request.path.strip_prefix("/stream/") {
            Some(words) => self.stream(id, words.parse().unwrap()),
            None => {
                let head = Head::new(200)
                    .with("cache-control", "private")
                    .with("payment-receipt", self.receipt_field(id));
                let mut body = request.path.clone().into_bytes();
                body.extend_from_slice(&request.body);
                Reply::Full(head, body)
            }
        }
    }

    /// Words, each charged before it is written; the first one is paid with the request.
    fn stream(&self, id: ChannelId, words: u32) -> Reply {
        let (send, pieces) = mpsc::channel(1);
        let shop = self.clone();
        let mut head = Head::new(200).with("content-type", "text/event-stream; charset=utf-8");
        if self.manners.lock().unwrap().stream_receipt {
            head = head.with("payment-receipt", self.receipt_field(id));
        }
        let writing = async move {
            for number in 0..words {
                if number > 0 {
                    shop.charge_word(id, &send).await;
                }
                let word = encode::message(&format!("word {number}"));
                if send.send(word.to_vec()).await.is_err() {
                    return;
                }
            }
            let receipt = encode::receipt(&shop.receipt(id));
            let _gone = send.send(receipt.to_vec()).await;
        };
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(writing);
        tasks.detach_all();
        Reply::Pieces(head, pieces)
    }

    async fn charge_word(&self, id: ChannelId, send: &mpsc::Sender<Vec<u8>>) {
        let mut asked = false;
        loop {
            let raised = self.raised.notified();
            let need = {
                let price = self.price();
                let mut state = self.state.lock().unwrap();
                let account = state.accounts.get_mut(&id).unwrap();
                let spent = account.spent.checked_add(price).unwrap();
                if spent <= account.accepted {
                    account.spent = spent;
                    return;
                }
                NeedVoucher {
                    channel_id: id,
                    required_cumulative: spent,
                    accepted_cumulative: account.accepted,
                    deposit: account.deposit,
                }
            };
            if !asked {
                asked = true;
                let event = encode::need_voucher(&need);
                if send.send(event.to_vec()).await.is_err() {
                    return;
                }
            }
            raised.await;
        }
    }

    pub(crate) fn managed(&self, id: ChannelId, tx_hash: Option<ChannelId>) -> Reply {
        let mut paid = self.receipt(id);
        paid.tx_hash = tx_hash.map(|hash| hash.to_string());
        let field = receipt::encode(&Receipt::Session(paid));
        Reply::Full(Head::new(204).with("payment-receipt", field), Vec::new())
    }

    pub(crate) fn refuse(&self, mut problem: Problem) -> Reply {
        if !self.manners.lock().unwrap().names_amounts {
            problem.required_cumulative = None;
            problem.accepted_cumulative = None;
        }
        let head = Head::new(problem.status())
            .with("content-type", "application/problem+json")
            .with("cache-control", "no-store")
            .with("www-authenticate", challenge::encode(&self.challenge()));
        Reply::Full(head, problem.to_json().into_bytes())
    }

    pub(crate) fn challenge(&self) -> Challenge {
        let number = {
            let mut state = self.state.lock().unwrap();
            state.challenges = state.challenges.checked_add(1).unwrap();
            state.challenges
        };
        let manners = self.manners.lock().unwrap();
        Challenge {
            id: ChallengeId::new(format!("challenge-{number}")).unwrap(),
            realm: Realm::new("shop").unwrap(),
            method: MethodName::tempo(),
            intent: IntentName::session(),
            request: EncodedJson::from_value(&manners.request).unwrap(),
            expires: Some("2099-01-01T00:00:00Z".to_owned()),
            digest: None,
            description: None,
            opaque: None,
            header: manners
                .own_field
                .then_some(mpp_core::CredentialHeader::PaymentAuthorization),
        }
    }

    pub(crate) fn receipt(&self, id: ChannelId) -> SessionReceipt {
        let account = self.account(id);
        SessionReceipt::new(
            MethodName::tempo(),
            Timestamp::from_secs(1_800_000_000),
            ChallengeId::new("challenge-1").unwrap(),
            id.to_string(),
            account.accepted,
            account.spent,
        )
    }

    fn receipt_field(&self, id: ChannelId) -> String {
        let (mut paid, price) = (self.receipt(id), self.price());
        if self.manners.lock().unwrap().charges_late {
            paid.spent = paid.spent.checked_sub(price).unwrap();
        }
        receipt::encode(&Receipt::Session(paid))
    }

    fn price(&self) -> Amount {
        let manners = self.manners.lock().unwrap();
        manners.request["amount"].as_str().unwrap().parse().unwrap()
    }
}

/// `GET`, `GET open`, `HEAD topUp` and so on.
pub(crate) fn summary(request: &Request) -> String {
    let action = match request.payload() {
        None => return request.method.clone(),
        Some(SessionPayload::Open { .. }) => "open",
        Some(SessionPayload::TopUp { .. }) => "topUp",
        Some(SessionPayload::Voucher { .. }) => "voucher",
        Some(SessionPayload::Close { .. }) => "close",
    };
    format!("{} {action}", request.method)
}

/// Whether the request carries this action.
pub(crate) fn does(action: &'static str) -> impl Fn(&Request) -> bool + Send + 'static {
    move |request| summary(request).ends_with(&format!(" {action}"))
}
