//! The CPU path of a paid request: from the header of the request to the receipt in the answer.
//!
//! Nothing is stored and no route is matched: this is what any server has to compute. Peers do
//! the same steps (`benches/peers`).

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;

use mpp_core::{
    Challenge, ChallengeDraft, ChallengeId, DidPkh, KeyRing, MethodName, SessionReceipt, header,
};
use mpp_tempo::voucher::{VerifierEngine, VoucherError, verify_batch};
use mpp_tempo::wire::SessionPayload;
use mpp_tempo::{ChannelId, SessionProtocol, SignedVoucher, VerifiedVoucher, VoucherVerifier};

use crate::fixture::{self, Case};
use crate::report::Work;
use crate::rounds::Candidate;

/// Requests that are verified together.
const BATCH: usize = 64;

/// What a server knows before the request comes.
#[derive(Debug)]
pub struct Server {
    keys: KeyRing,
    draft: ChallengeDraft,
    channels: HashMap<ChannelId, VoucherVerifier>,
}

/// A request that answers a challenge of ours, with a voucher nobody has verified yet.
#[derive(Debug)]
pub struct Bound {
    challenge_id: ChallengeId,
    signed: SignedVoucher,
}

impl Server {
    /// A server that knows the channels of these vouchers.
    #[must_use]
    pub fn new(cases: &[Case], protocol: SessionProtocol) -> Self {
        Self::with_engine(cases, protocol, VerifierEngine::global())
    }

    /// The same, with a tier of the caller's choice.
    #[must_use]
    pub fn with_engine(
        cases: &[Case],
        protocol: SessionProtocol,
        engine: &Arc<VerifierEngine>,
    ) -> Self {
        let mut channels = HashMap::new();
        for case in cases {
            let verifier = || VoucherVerifier::with_engine(&case.terms, engine);
            channels.entry(case.terms.id()).or_insert_with(verifier);
        }
        Self {
            keys: fixture::keys(),
            draft: fixture::draft(protocol),
            channels,
        }
    }

    /// Reads a header and checks the challenge it answers.
    #[must_use]
    pub fn read(&self, value: &str) -> Bound {
        let token = header::credential::find([value]).expect("well-formed");
        let credential = header::credential::parse(token.expect("a credential"));
        let credential = credential.expect("well-formed");
        self.check(&credential.challenge);
        let source: Option<DidPkh> = credential
            .source
            .as_deref()
            .map(|source| source.parse().expect("a did:pkh"));
        black_box(source);
        let payload = SessionPayload::from_value(&credential.payload).expect("well-formed");
        Bound {
            challenge_id: credential.challenge.id,
            signed: payload.voucher().expect("a voucher"),
        }
    }

    fn check(&self, echoed: &Challenge) {
        self.keys.verify(echoed).expect("our challenge");
        assert_eq!(echoed.realm, self.draft.realm);
        assert_eq!(echoed.request, self.draft.request);
        echoed.ensure_live(fixture::now()).expect("in time");
    }

    fn verifier(&self, bound: &Bound) -> &VoucherVerifier {
        let channel = self.channels.get(&bound.signed.voucher.channel_id);
        channel.expect("a known channel")
    }

    /// Verifies the voucher.
    #[must_use]
    pub fn verify(&self, bound: &Bound) -> VerifiedVoucher {
        let verified = self.verifier(bound).verify(&bound.signed);
        verified.expect("a valid voucher")
    }

    /// Writes the receipt.
    #[must_use]
    pub fn receipt(&self, bound: &Bound, verified: &VerifiedVoucher) -> String {
        let receipt = SessionReceipt::new(
            MethodName::tempo(),
            fixture::now(),
            bound.challenge_id.clone(),
            verified.channel_id().to_string(),
            verified.cumulative(),
            verified.cumulative(),
        );
        header::receipt::encode(&receipt.into())
    }

    /// Serves one request.
    #[must_use]
    pub fn serve(&self, value: &str) -> String {
        let bound = self.read(value);
        self.receipt(&bound, &self.verify(&bound))
    }

    /// Serves requests that came in together.
    pub fn serve_all(&self, values: &[String]) {
        let bound: Vec<_> = values.iter().map(|value| self.read(value)).collect();
        let batch: Vec<_> = bound
            .iter()
            .map(|bound| (self.verifier(bound), &bound.signed))
            .collect();
        let mut answers = [const { Err(VoucherError::WrongChannel) }; BATCH];
        let answers = &mut answers[..batch.len()];
        verify_batch(&batch, answers).expect("one answer each");
        for (bound, verified) in bound.iter().zip(answers) {
            let verified = verified.as_ref().expect("a valid voucher");
            black_box(self.receipt(bound, verified));
        }
    }

    /// Writes the header of a fresh challenge.
    #[must_use]
    pub fn issue(&self) -> String {
        header::challenge::encode(&self.keys.bind(self.draft.clone()))
    }
}

/// Whole requests one by one and in batches, and issuing challenges.
#[must_use]
pub fn candidates<'a>(server: &'a Server, headers: &'a [String]) -> Vec<Candidate<'a>> {
    let single = move || {
        for header in headers {
            black_box(server.serve(black_box(header)));
        }
    };
    let batches = move || {
        for headers in headers.chunks(BATCH) {
            server.serve_all(black_box(headers));
        }
    };
    let issue = move || {
        for _ in headers {
            black_box(black_box(server).issue());
        }
    };
    let count = headers.len();
    let (one, many) = (
        "ours, whole request, 1 at once",
        "ours, whole request, 64 at once",
    );
    vec![
        Candidate::new("own/request/1", one, count, single).doing(Work::Request),
        Candidate::new("own/request/64", many, count, batches).doing(Work::Request),
        Candidate::new("own/challenge", "ours, issue a challenge", count, issue)
            .doing(Work::Challenge),
    ]
}
