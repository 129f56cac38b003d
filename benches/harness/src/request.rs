//! The CPU path of a paid request: from the header of the request to the receipt in the answer.
//!
//! Nothing is stored and no route is matched: this is what any server has to compute. Peers do
//! the same steps (`benches/peers`).

use std::hint::black_box;
use std::sync::Arc;

use alloy_primitives::{
    FixedBytes, hex,
    map::{B256Map, FbHashMap},
};
use mpp_core::header::credential::sole_token;
use mpp_core::header::receipt::ReceiptWriter;
use mpp_core::{
    ChallengeForm, ChallengeTemplate, CredentialReader, KeyRing, KnownChallenge,
    SessionReceiptText, Timestamp,
};
use mpp_tempo::voucher::{VerifierEngine, VoucherError, verify_batch};
use mpp_tempo::wire::VoucherForm;
use mpp_tempo::{SessionProtocol, SignedVoucher, VerifiedVoucher, VoucherVerifier};

use crate::fixture::{self, Case};
use crate::report::Work;
use crate::rounds::Candidate;

/// Requests that are verified together.
const BATCH: usize = 64;
/// Characters of a credential that tell one challenge of ours from another: the id is in them.
const KEY: usize = 136;
/// Bytes behind a challenge that tell one channel from another: the id is in them.
const CHANNEL: usize = 112;

/// What a server knows before the request comes.
#[derive(Debug)]
pub struct Server {
    keys: KeyRing,
    template: ChallengeTemplate,
    channels: B256Map<VoucherVerifier>,
    /// How the client writes challenges of this offer: learned from one that
    /// it paid for, as the gate of mpp-server does.
    form: Option<ChallengeForm>,
    /// How the clients write the vouchers of their channels, learned likewise.
    vouchers: FbHashMap<8, VoucherForm>,
    /// Challenges that were verified before; empty in a server that verifies every time.
    known: FbHashMap<8, KnownChallenge>,
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
        let mut channels = B256Map::default();
        for case in cases {
            let verifier = || VoucherVerifier::with_engine(&case.terms, engine);
            channels.entry(case.terms.id()).or_insert_with(verifier);
        }
        let keys = fixture::keys();
        Self {
            template: keys.template(fixture::draft(protocol)),
            keys,
            channels,
            form: None,
            vouchers: FbHashMap::default(),
            known: FbHashMap::default(),
        }
    }

    /// The same server, after it was paid by these clients: it knows how they
    /// write challenges and vouchers.
    #[must_use]
    pub fn having_served(mut self, headers: &[String]) -> Self {
        let mut reader = CredentialReader::default();
        for value in headers {
            let token = sole_token(value).expect("a credential");
            let text = reader.read(token).expect("the common form");
            let rest = text.rest().expect("a challenge first");
            let form = VoucherForm::learn(rest, &text.proof).expect("the usual order");
            self.vouchers.insert(place::<CHANNEL>(rest), form);
            if self.form.is_none() {
                self.form = self.template.learn(&text);
            }
        }
        self
    }

    /// The same server, which remembers the challenges of these credentials.
    #[must_use]
    pub fn remembering(mut self, headers: &[String]) -> Self {
        let mut reader = CredentialReader::default();
        for value in headers {
            let token = sole_token(value).expect("a credential");
            let text = reader.read(token).expect("the common form");
            let known = self.keys.recognize(&text).expect("our challenge");
            self.known.insert(place::<KEY>(token.as_bytes()), known);
        }
        self
    }

    /// Reads a header and checks the challenge it answers.
    #[must_use]
    pub fn read<'t>(&'t self, value: &'t str, reader: &'t mut CredentialReader) -> Bound<'t> {
        let token = sole_token(value).expect("a credential");
        let (challenge_id, behind) = match self.known.get(&place::<KEY>(token.as_bytes())) {
            Some(known) => {
                self.check_terms(known);
                let behind = reader.open_known(known, token).expect("the same opening");
                (known.challenge().id.as_str(), behind)
            }
            None => {
                let form = self.form.as_ref().expect("a client that has paid before");
                // Realm, request and all the rest are equal in this form.
                let text = reader.read_formed(form, token).expect("the same form");
                form.verify(&text).expect("our challenge");
                let expires = Timestamp::parse(text.expires.as_str());
                assert!(fixture::now() < expires.expect("a time"));
                (text.id.as_str(), text.behind)
            }
        };
        let form = &self.vouchers[&place::<CHANNEL>(behind.rest())];
        let (payload, source) = form.read(behind.rest()).expect("the same form");
        black_box(source);
        Bound {
            challenge_id,
            signed: payload.voucher().expect("a voucher"),
        }
    }

    fn check_terms(&self, known: &KnownChallenge) {
        let (challenge, draft) = (known.challenge(), self.template.draft());
        assert_eq!(challenge.realm, draft.realm);
        assert_eq!(challenge.request, draft.request);
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

/// Where a text is kept: what is found there is compared with the whole text.
fn place<const BYTES: usize>(text: &[u8]) -> FixedBytes<8> {
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    let opening: &[u8; BYTES] = text.first_chunk().expect("longer than an id");
    let (words, _) = opening.as_chunks::<8>();
    let mixed = words.iter().fold(0_u64, |mixed, word| {
        (mixed.rotate_left(29) ^ u64::from_le_bytes(*word)).wrapping_mul(SPREAD)
    });
    mixed.to_le_bytes().into()
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
