//! The CPU path of a paid request: from the header of the request to the receipt in the answer.
//!
//! Nothing is stored and no route is matched: this is what any server has to compute. Peers do
//! the same steps (`benches/peers`).

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;

use alloy_primitives::hex;
use mpp_core::header::credential::sole_token;
use mpp_core::header::receipt::ReceiptWriter;
use mpp_core::{
    ChallengeDraft, ChallengeTemplate, ChallengeText, CredentialReader, DidPkh, KeyRing,
    KnownChallenge, Proof, SessionReceiptText, Timestamp,
};
use mpp_tempo::voucher::{VerifierEngine, VoucherError, verify_batch};
use mpp_tempo::wire::SessionPayload;
use mpp_tempo::{ChannelId, SessionProtocol, SignedVoucher, VerifiedVoucher, VoucherVerifier};

use crate::fixture::{self, Case};
use crate::report::Work;
use crate::rounds::Candidate;

/// Requests that are verified together.
const BATCH: usize = 64;
/// Characters of a credential that tell one challenge of ours from another: the id is in them.
const KEY: usize = 136;

/// What a server knows before the request comes.
#[derive(Debug)]
pub struct Server {
    keys: KeyRing,
    draft: ChallengeDraft,
    template: ChallengeTemplate,
    channels: HashMap<ChannelId, VoucherVerifier>,
    /// Challenges that were verified before; empty in a server that verifies every time.
    known: HashMap<[u8; KEY], KnownChallenge>,
}

/// A request that answers a challenge of ours, with a voucher nobody has verified yet.
#[derive(Debug)]
pub struct Bound<'t> {
    challenge_id: &'t str,
    signed: SignedVoucher,
}

/// Buffers that a server reuses.
#[derive(Debug, Default)]
pub struct Scratch {
    readers: Vec<CredentialReader>,
    writer: ReceiptWriter,
    receipt: String,
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
        let (keys, draft) = (fixture::keys(), fixture::draft(protocol));
        Self {
            template: keys.template(draft.clone()),
            keys,
            draft,
            channels,
            known: HashMap::new(),
        }
    }

    /// The same server, which remembers the challenges of these credentials.
    #[must_use]
    pub fn remembering(mut self, headers: &[String]) -> Self {
        let mut reader = CredentialReader::default();
        for value in headers {
            let token = sole_token(value).expect("a credential");
            let text = reader.read(token).expect("the common form");
            let known = self.keys.recognize(&text).expect("our challenge");
            self.known.insert(key(token), known);
        }
        self
    }

    /// Reads a header and checks the challenge it answers.
    #[must_use]
    pub fn read<'t>(&'t self, value: &'t str, reader: &'t mut CredentialReader) -> Bound<'t> {
        let token = sole_token(value).expect("a credential");
        let known = self.known.get(&key(token));
        let (challenge_id, proof) = if let Some(known) = known {
            self.check_terms(known);
            let proof = reader.read_known(known, token).expect("the same opening");
            (known.challenge().id.as_str(), proof)
        } else {
            let text = reader.read(token).expect("the common form");
            self.check(&text.challenge);
            (text.challenge.id.as_str(), text.proof)
        };
        Bound {
            challenge_id,
            signed: voucher(&proof),
        }
    }

    fn check(&self, echoed: &ChallengeText<'_>) {
        self.keys.verify_text(echoed).expect("our challenge");
        assert_eq!(echoed.realm.as_str(), self.draft.realm.as_str());
        assert_eq!(echoed.request.as_str(), self.draft.request.as_str());
        let expires = Timestamp::parse(echoed.expires.expect("an end").as_str());
        assert!(fixture::now() < expires.expect("a time"));
    }

    fn check_terms(&self, known: &KnownChallenge) {
        let challenge = known.challenge();
        assert_eq!(challenge.realm, self.draft.realm);
        assert_eq!(challenge.request, self.draft.request);
        assert!(fixture::now() < known.expires_at().expect("a time"));
    }

    fn verifier(&self, bound: &Bound<'_>) -> &VoucherVerifier {
        let channel = self.channels.get(&bound.signed.voucher.channel_id);
        channel.expect("a known channel")
    }

    /// Verifies the voucher.
    #[must_use]
    pub fn verify(&self, bound: &Bound<'_>) -> VerifiedVoucher {
        let verified = self.verifier(bound).verify(&bound.signed);
        verified.expect("a valid voucher")
    }

    /// Serves one request; the receipt stays in the scratch.
    pub fn serve(&self, value: &str, scratch: &mut Scratch) {
        scratch.grow(1);
        let bound = self.read(value, &mut scratch.readers[0]);
        let verified = self.verify(&bound);
        scratch.receipt.clear();
        write_receipt(&bound, &verified, &mut scratch.writer, &mut scratch.receipt);
        black_box(&scratch.receipt);
    }

    /// Serves requests that came in together.
    pub fn serve_all(&self, values: &[String], scratch: &mut Scratch) {
        scratch.grow(values.len());
        let requests = values.iter().zip(&mut scratch.readers);
        let bound: Vec<_> = requests
            .map(|(value, reader)| self.read(value, reader))
            .collect();
        let batch: Vec<_> = bound
            .iter()
            .map(|bound| (self.verifier(bound), &bound.signed))
            .collect();
        let mut answers = [const { Err(VoucherError::WrongChannel) }; BATCH];
        let answers = &mut answers[..batch.len()];
        verify_batch(&batch, answers).expect("one answer each");
        for (bound, verified) in bound.iter().zip(answers) {
            let verified = verified.as_ref().expect("a valid voucher");
            scratch.receipt.clear();
            write_receipt(bound, verified, &mut scratch.writer, &mut scratch.receipt);
            black_box(&scratch.receipt);
        }
    }

    /// Writes the header of a fresh challenge.
    pub fn issue(&self, out: &mut String) {
        out.clear();
        let issued = self.template.issue(Some(fixture::expires()));
        issued.write_header_value(out);
    }
}

impl Scratch {
    fn grow(&mut self, readers: usize) {
        if self.readers.len() < readers {
            self.readers.resize_with(readers, CredentialReader::default);
        }
    }
}

/// Writes the receipt.
pub fn write_receipt(
    bound: &Bound<'_>,
    verified: &VerifiedVoucher,
    writer: &mut ReceiptWriter,
    out: &mut String,
) {
    let mut digits = hex::Buffer::<32, true>::new();
    let channel_id = digits.format(&verified.channel_id().0);
    let receipt = SessionReceiptText {
        method: "tempo",
        intent: "session",
        timestamp: fixture::now(),
        reference: channel_id,
        challenge_id: bound.challenge_id,
        channel_id,
        accepted_cumulative: verified.cumulative(),
        spent: verified.cumulative(),
        units: None,
        tx_hash: None,
    };
    writer.write(&receipt, out);
}

fn voucher(proof: &Proof<'_>) -> SignedVoucher {
    let source = proof.source.map(|text| {
        let source = text.as_str().parse::<DidPkh>();
        source.expect("a did:pkh")
    });
    black_box(source);
    let payload = SessionPayload::from_flat(proof.payload).expect("the common form");
    payload.voucher().expect("a voucher")
}

fn key(token: &str) -> [u8; KEY] {
    *token.as_bytes().first_chunk().expect("longer than an id")
}

/// Whole requests one by one and in batches, and issuing challenges.
#[must_use]
pub fn candidates<'a>(
    server: &'a Server,
    remembering: &'a Server,
    headers: &'a [String],
) -> Vec<Candidate<'a>> {
    let mut out = String::new();
    let issue = move || {
        for _ in headers {
            black_box(server).issue(&mut out);
            black_box(&out);
        }
    };
    let (one, many) = (
        "ours, whole request, 1 at once",
        "ours, whole request, 64 at once",
    );
    vec![
        single(server, headers, "own/request/1", one),
        batches(server, headers, "own/request/64", many),
        single(
            remembering,
            headers,
            "own/request-memo/1",
            "  challenge remembered, 1 at once",
        ),
        batches(
            remembering,
            headers,
            "own/request-memo/64",
            "  challenge remembered, 64 at once",
        ),
        Candidate::new(
            "own/challenge",
            "ours, issue a challenge",
            headers.len(),
            issue,
        )
        .doing(Work::Challenge),
    ]
}

fn single<'a>(server: &'a Server, headers: &'a [String], id: &str, label: &str) -> Candidate<'a> {
    let mut scratch = Scratch::default();
    let run = move || {
        for header in headers {
            server.serve(black_box(header), &mut scratch);
        }
    };
    Candidate::new(id, label, headers.len(), run).doing(Work::Request)
}

fn batches<'a>(server: &'a Server, headers: &'a [String], id: &str, label: &str) -> Candidate<'a> {
    let mut scratch = Scratch::default();
    let run = move || {
        for headers in headers.chunks(BATCH) {
            server.serve_all(black_box(headers), &mut scratch);
        }
    };
    Candidate::new(id, label, headers.len(), run).doing(Work::Request)
}
