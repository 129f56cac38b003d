//! The crate `mpp` at the same work, through its public functions.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;

use alloy_primitives::{Address, B256};
use mpp::protocol::intents::SessionRequest;
use mpp::protocol::methods::tempo::precompile_voucher::verify_precompile_voucher_signature;
use mpp::protocol::methods::tempo::voucher::verify_voucher;
use mpp::protocol::methods::tempo::{SessionCredentialPayload, SessionReceipt};
use mpp::server::{
    Mpp, SessionChallengeOptions, SessionChannelStore, SessionMethodConfig, TempoChargeMethod,
    TempoConfig, TempoProvider, TempoSessionMethod, tempo, tempo_provider,
};
use mpp_bench::fixture::{self, Case, PAYEE, REALM, SECRET};
use mpp_bench::report::Work;
use mpp_bench::rounds::Candidate;
use mpp_tempo::SessionProtocol;
use mpp_tempo::network::PATH_USD;

/// Nobody listens here: issuing a challenge and the CPU path ask no node.
const NODE: &str = "http://127.0.0.1:9";

/// Verification of vouchers of both protocol versions, digest included.
pub fn signatures<'a>(v1: &'a [Case], v2: &'a [Case]) -> Vec<Candidate<'a>> {
    let legacy = move || {
        for case in v1 {
            assert!(verify(case), "a valid voucher");
        }
    };
    let precompile = move || {
        for case in v2 {
            let voucher = &case.signed.voucher;
            let valid = verify_precompile_voucher_signature(
                black_box(&case.signature),
                case.terms.signer(),
                voucher.channel_id.0.into(),
                voucher.cumulative.base_units(),
                case.terms.escrow,
                case.terms.chain_id,
            );
            assert!(valid.expect("well-formed"), "a valid voucher");
        }
    };
    vec![
        Candidate::new(
            "mpp/verify_voucher",
            "mpp verify_voucher (v1)",
            v1.len(),
            legacy,
        ),
        Candidate::new(
            "mpp/precompile",
            "mpp verify_precompile_voucher (v2)",
            v2.len(),
            precompile,
        ),
    ]
}

fn verify(case: &Case) -> bool {
    let voucher = &case.signed.voucher;
    verify_voucher(
        case.terms.escrow,
        case.terms.chain_id,
        voucher.channel_id.0.into(),
        voucher.cumulative.base_units(),
        black_box(&case.signature),
        case.terms.signer(),
    )
}

/// A server built from the kit.
pub struct Shop {
    payment: Mpp<TempoChargeMethod<TempoProvider>, TempoSessionMethod<TempoProvider>>,
    signers: HashMap<B256, Address>,
    runtime: tokio::runtime::Runtime,
}

impl Shop {
    pub fn new(cases: &[Case]) -> Self {
        // The provider wants to be made inside a runtime.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let payment = runtime.block_on(async { payment() });
        let signers = cases.iter().map(|case| {
            let voucher = &case.signed.voucher;
            (B256::from(voucher.channel_id.0), case.terms.signer())
        });
        Self {
            payment,
            signers: signers.collect(),
            runtime,
        }
    }

    /// Whole requests, their stages, and issuing challenges.
    pub fn candidates<'a>(&'a self, headers: &'a [String]) -> Vec<Candidate<'a>> {
        let whole = move || {
            for header in headers {
                black_box(self.serve(black_box(header)));
            }
        };
        let parse = move || {
            for header in headers {
                black_box(mpp::parse_authorization(black_box(header)).expect("well-formed"));
            }
        };
        let echoed = mpp::parse_authorization(&headers[0])
            .expect("well-formed")
            .challenge;
        let binding = move || {
            for _ in headers {
                black_box(id(black_box(&echoed)));
            }
        };
        let issue = move || {
            let _guard = self.runtime.enter();
            for _ in headers {
                black_box(self.issue());
            }
        };
        let count = headers.len();
        vec![
            Candidate::new("mpp/request", "mpp, whole request", count, whole).doing(Work::Request),
            Candidate::new("mpp/parse", "mpp, parse_authorization", count, parse)
                .doing(Work::Stage),
            Candidate::new("mpp/id", "mpp, compute_challenge_id", count, binding)
                .doing(Work::Stage),
            Candidate::new("mpp/challenge", "mpp, issue a challenge", count, issue)
                .doing(Work::Challenge),
        ]
    }

    /// The steps of its server for a voucher, without its store and its call to the chain.
    fn serve(&self, header: &str) -> String {
        let credential = mpp::parse_authorization(header).expect("well-formed");
        let echoed = &credential.challenge;
        assert_eq!(id(echoed), echoed.id);
        mpp::expires::assert(echoed.expires.as_deref(), Some(&echoed.id)).expect("in time");
        let request: SessionRequest = echoed.request.decode().expect("well-formed");
        assert!(request.currency.eq_ignore_ascii_case(&PATH_USD.to_string()));
        let payload = credential.payload_as().expect("well-formed");
        let SessionCredentialPayload::Voucher {
            channel_id,
            cumulative_amount,
            signature,
            ..
        } = payload
        else {
            panic!("a voucher");
        };
        let channel: B256 = channel_id.parse().expect("a channel id");
        let valid = verify_voucher(
            fixture::escrow(SessionProtocol::V1),
            fixture::CHAIN.chain_id,
            channel,
            cumulative_amount.parse().expect("an amount"),
            &alloy_primitives::hex::decode(signature).expect("hex"),
            self.signers[&channel],
        );
        assert!(valid, "a valid voucher");
        let amount = cumulative_amount.as_str();
        let receipt = SessionReceipt::new(
            "2026-11-20T11:00:44.000Z",
            echoed.id.as_str(),
            channel_id.as_str(),
            amount,
            amount,
        );
        receipt.to_header().expect("plain JSON")
    }

    fn issue(&self) -> String {
        let challenge = self.payment.session_challenge_with_details(
            "1000",
            "0x20c0000000000000000000000000000000000000",
            "0x2222222222222222222222222222222222222222",
            SessionChallengeOptions {
                unit_type: Some("word"),
                suggested_deposit: Some("10000"),
                ..SessionChallengeOptions::default()
            },
        );
        challenge
            .and_then(|challenge| challenge.to_header())
            .expect("a challenge")
    }
}

fn payment() -> Mpp<TempoChargeMethod<TempoProvider>, TempoSessionMethod<TempoProvider>> {
    let session = TempoSessionMethod::new(
        tempo_provider(NODE).expect("an address"),
        Arc::new(SessionChannelStore::new()),
        SessionMethodConfig {
            escrow_contract: fixture::escrow(SessionProtocol::V1),
            chain_id: fixture::CHAIN.chain_id,
            min_voucher_delta: 0,
        },
    );
    let config = TempoConfig {
        recipient: &PAYEE.to_string(),
    };
    let builder = tempo(config)
        .rpc_url(NODE)
        .realm(REALM)
        .chain_id(fixture::CHAIN.chain_id)
        .secret_key(SECRET);
    Mpp::create(builder)
        .expect("a configuration")
        .with_session_method(session)
}

fn id(echoed: &mpp::ChallengeEcho) -> String {
    mpp::compute_challenge_id(
        SECRET,
        REALM,
        echoed.method.as_str(),
        echoed.intent.as_str(),
        echoed.request.raw(),
        echoed.expires.as_deref(),
        echoed.digest.as_deref(),
        echoed.opaque.as_ref().map(mpp::Base64UrlJson::raw),
    )
}
