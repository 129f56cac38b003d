//! What a payment adds to a call: the same tool, free and paid, in process.
//!
//! The calls go through text, as over a wire, but over no transport. Vouchers
//! are signed before the clock starts. The quotient of the two is the overhead.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a benchmark that fails stops"
)]

use std::{cell::Cell, hint::black_box};

use criterion::{Criterion, criterion_group, criterion_main};
use mpp_core::{Amount, Challenge, Credential, Realm, SecretKey};
use mpp_devnet::{Devnet, DevnetConfig};
use mpp_mcp::{
    RpcError, meta, native,
    server::{Catalog, Request},
};
use mpp_server::PaymentServer;
use mpp_tempo::{
    ChannelTerms, LocalSigner, Network, Signer as _,
    chain::ChainClient as _,
    network::PATH_USD,
    tx::{FeeMode, TxContext, TxFees, build, build::OpenParams, gas},
    voucher::sign_voucher,
    wire::{SessionPayload, SessionRequest},
};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

const PRICE: u128 = 10;
/// Vouchers that are signed in advance; more calls than that are not measured.
const VOUCHERS: u128 = 60_000;

fn call(name: &str, credential: Option<Value>) -> String {
    let mut params = json!({"name": name, "arguments": {"a": 2, "b": 3}});
    if let Some(credential) = credential {
        params["_meta"] = json!({ meta::CREDENTIAL: credential });
    }
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).to_string()
}

async fn answer(catalog: &Catalog, text: &str) -> String {
    let message = serde_json::from_str(text).unwrap();
    let add = |_: Request| async {
        Ok::<_, RpcError>(json!({"content": [{"type": "text", "text": "5"}]}))
    };
    catalog.serve(message, None, add).await.unwrap().to_string()
}

struct Bench {
    catalog: Catalog,
    signer: LocalSigner,
    challenge: Challenge,
    terms: ChannelTerms,
}

impl Bench {
    async fn new() -> Self {
        let devnet = Devnet::new(DevnetConfig::default());
        let key =
            |index: usize| LocalSigner::from_hex(&devnet.accounts()[index].private_key).unwrap();
        let server = PaymentServer::builder()
            .realm(Realm::new("bench.example").unwrap())
            .secret_key(SecretKey::from_bytes(b"4t7w!z%C*F-JaNdRgUkXp2s5v8x/A?D(").unwrap())
            .network(Network::MODERATO)
            .chain(devnet.clone())
            .account(key(0))
            .challenge_lifetime(std::time::Duration::from_secs(24 * 60 * 60))
            .build()
            .unwrap();
        let offer = server.session().amount("0.00001").build().unwrap();
        let catalog = Catalog::new(server).tool("paid", [offer]).unwrap();
        let refused: Value =
            serde_json::from_str(&answer(&catalog, &call("paid", None)).await).unwrap();
        let challenge = &refused["error"]["data"]["challenges"][0];
        let challenge = native::read_challenge(challenge.clone()).unwrap();
        let signer = key(1);
        let terms = open(&devnet, &catalog, &signer, &challenge).await;
        Self {
            catalog,
            signer,
            challenge,
            terms,
        }
    }

    async fn paid(&self, calls: u128) -> String {
        let cumulative = Amount::new(calls * PRICE);
        let signed = sign_voucher(&self.signer, &self.terms, cumulative)
            .await
            .unwrap();
        let payload = SessionPayload::Voucher {
            channel_id: self.terms.id(),
            descriptor: Some(self.terms.descriptor),
            cumulative_amount: cumulative,
            signature: signed.signature,
        };
        call("paid", Some(written(&self.challenge, &payload)))
    }
}

fn written(challenge: &Challenge, payload: &SessionPayload) -> Value {
    native::credential(&Credential::new(challenge.clone(), payload.to_value())).unwrap()
}

async fn open(
    devnet: &Devnet,
    catalog: &Catalog,
    signer: &LocalSigner,
    challenge: &Challenge,
) -> ChannelTerms {
    let request: SessionRequest = challenge.request.decode().unwrap();
    let details = &request.method_details;
    let params = OpenParams {
        protocol: details.protocol(),
        escrow: details.escrow_contract,
        payee: request.recipient,
        token: request.currency,
        operator: Default::default(),
        deposit: Amount::new((VOUCHERS + 1) * PRICE),
        salt: Default::default(),
        authorized_signer: Default::default(),
    };
    let context = TxContext {
        chain_id: devnet.chain_id(),
        now: mpp_core::Timestamp::from_secs(i64::try_from(devnet.now()).unwrap()),
        valid_for: std::time::Duration::from_secs(25),
        fees: TxFees {
            max_fee_per_gas: 2_000_000_000,
            max_priority_fee_per_gas: 0,
            gas_limit: gas::open(params.protocol),
        },
        fee_mode: FeeMode::SelfPaid {
            fee_token: PATH_USD,
        },
        valid_after: None,
    };
    let unsigned = build::open(&context, &params).unwrap();
    let terms = unsigned.open_terms(&params, signer.address());
    let transaction = unsigned.sign(signer).await.unwrap().encode();
    let first = sign_voucher(signer, &terms, Amount::new(PRICE))
        .await
        .unwrap();
    let payload = SessionPayload::Open {
        channel_id: terms.id(),
        transaction,
        authorized_signer: None,
        descriptor: Some(terms.descriptor),
        cumulative_amount: first.voucher.cumulative,
        signature: first.signature,
    };
    let opened = answer(catalog, &call("paid", Some(written(challenge, &payload)))).await;
    assert!(opened.contains(meta::RECEIPT), "{opened}");
    terms
}

fn overhead(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let bench = runtime.block_on(Bench::new());
    let calls: Vec<String> = runtime.block_on(async {
        let mut calls = Vec::new();
        for number in 2..=VOUCHERS {
            calls.push(bench.paid(number).await);
        }
        calls
    });
    let free = call("free", None);
    let mut group = criterion.benchmark_group("tool call");
    group.bench_function("unpaid", |bencher| {
        bencher.iter(|| runtime.block_on(answer(&bench.catalog, black_box(&free))));
    });
    let next = Cell::new(0);
    group.bench_function("paid", |bencher| {
        bencher.iter(|| {
            let text = calls
                .get(next.replace(next.get() + 1))
                .map_or(&*free, |text| text);
            let answered = runtime.block_on(answer(&bench.catalog, black_box(text)));
            assert!(answered.contains(meta::RECEIPT), "{answered}");
            answered
        });
    });
    group.finish();
    assert!(
        next.get() < calls.len(),
        "more calls than vouchers: free ones were measured"
    );
}

criterion_group! {
    name = benches;
    // As many calls as there are vouchers for.
    config = Criterion::default()
        .warm_up_time(std::time::Duration::from_millis(200))
        .measurement_time(std::time::Duration::from_millis(600))
        .sample_size(20);
    targets = overhead
}
criterion_main!(benches);
