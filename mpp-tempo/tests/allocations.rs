//! Neither verifying a secp256k1 voucher nor reading its request and writing its receipt allocates.
#![expect(
    unsafe_code,
    reason = "a global allocator is the only way to count allocations"
)]
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail as tests do")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use mpp_core::header::credential::{self, sole_token};
use mpp_core::header::receipt::ReceiptWriter;
use mpp_core::{
    Amount, ChallengeDraft, ChallengeForm, ChallengeTemplate, Credential, CredentialReader, DidPkh,
    EncodedJson, IntentName, KeyRing, KnownChallenge, MethodName, Proof, Realm, SecretKey,
    SessionReceiptText, Timestamp,
};
use mpp_tempo::network::CHANNEL_RESERVE;
use mpp_tempo::voucher::VoucherDomain;
use mpp_tempo::wire::{SessionPayload, VoucherForm};
use mpp_tempo::{
    ChannelDescriptor, ChannelTerms, LocalSigner, SessionProtocol, SignedVoucher, Signer, Voucher,
    VoucherSignature, VoucherVerifier,
};

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator with a count per thread.
struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get().saturating_add(1)));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Allocations of this thread during `work`.
fn allocations<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = ALLOCATIONS.with(Cell::get);
    let result = work();
    let after = ALLOCATIONS.with(Cell::get);
    (result, after.saturating_sub(before))
}

#[test]
fn the_counter_counts() {
    let (_, count) = allocations(|| vec![1_u8; 100]);
    assert_eq!(count, 1);
}

/// Vouchers after which a signer's key and table are there.
const WARM_UP: usize = 3;

fn terms(payer: &LocalSigner) -> ChannelTerms {
    ChannelTerms {
        protocol: SessionProtocol::V2,
        chain_id: 42431,
        escrow: CHANNEL_RESERVE,
        descriptor: ChannelDescriptor {
            payer: payer.address(),
            ..Default::default()
        },
    }
}

#[test]
fn reading_and_verifying_a_voucher_does_not_allocate() {
    let payer = LocalSigner::from_bytes(&[7; 32]).unwrap();
    let terms = terms(&payer);
    let cumulative = Amount::new(1000);
    let digest = VoucherDomain::new(&terms).digest(cumulative);
    let text = VoucherSignature::from(payer.sign_digest_sync(&digest)).to_hex();
    let verifier = VoucherVerifier::new(&terms);
    let voucher = Voucher {
        channel_id: terms.id(),
        cumulative,
    };
    let verify = || {
        let signature = VoucherSignature::from_hex(&text).unwrap();
        verifier
            .verify(&SignedVoucher { voucher, signature })
            .unwrap()
    };
    for _ in 0..WARM_UP {
        verify();
    }
    let (verified, count) = allocations(verify);
    assert_eq!(verified.cumulative(), cumulative);
    assert_eq!(count, 0);
}

#[cfg(feature = "std")]
#[test]
fn verifying_a_batch_does_not_allocate_in_any_tier() {
    use std::sync::Arc;

    use mpp_tempo::voucher::{Tier, VerifierEngine, VoucherError, verify_batch};

    for tier in [Tier::Library, Tier::Portable, Tier::Avx512] {
        let Ok(engine) = VerifierEngine::with_tier(tier, 4 << 20) else {
            continue;
        };
        let engine = Arc::new(engine);
        let channels: Vec<_> = (1..=10)
            .map(|seed| {
                let payer = LocalSigner::from_bytes(&[seed; 32]).unwrap();
                let terms = terms(&payer);
                let cumulative = Amount::new(1000);
                let digest = VoucherDomain::new(&terms).digest(cumulative);
                let voucher = Voucher {
                    channel_id: terms.id(),
                    cumulative,
                };
                let signature = payer.sign_digest_sync(&digest).into();
                let verifier = VoucherVerifier::with_engine(&terms, &engine);
                (verifier, SignedVoucher { voucher, signature })
            })
            .collect();
        let batch: Vec<_> = channels
            .iter()
            .cycle()
            .take(75)
            .map(|(v, s)| (v, s))
            .collect();
        let mut answers = vec![Err(VoucherError::WrongChannel); batch.len()];
        for _ in 0..WARM_UP {
            verify_batch(&batch, &mut answers).unwrap();
        }
        let (result, count) = allocations(|| verify_batch(&batch, &mut answers));
        assert_eq!(result, Ok(()));
        assert!(answers.iter().all(Result::is_ok));
        assert_eq!(count, 0, "{tier:?}");
    }
}

/// A shop, one channel to it, and the buffers that a server reuses.
struct Shop {
    keys: KeyRing,
    template: ChallengeTemplate,
    verifier: VoucherVerifier,
    channel: String,
    challenge_id: String,
    reader: CredentialReader,
    writer: ReceiptWriter,
    receipt: String,
}

const NOW: Timestamp = Timestamp::MIN;
const SECRET: &[u8] = b"4t7w!z%C*F-JaNdRgUkXp2s5v8x/A?D(";

impl Shop {
    /// The shop and the header field of a request to it.
    fn new() -> (Self, String) {
        let payer = LocalSigner::from_bytes(&[7; 32]).unwrap();
        let terms = terms(&payer);
        let cumulative = Amount::new(1000);
        let digest = VoucherDomain::new(&terms).digest(cumulative);
        let keys = KeyRing::new(SecretKey::from_bytes(SECRET).unwrap());
        let request = serde_json::json!({
            "amount": "1000", "currency": terms.descriptor.token,
            "methodDetails": {"chainId": terms.chain_id, "escrowContract": terms.escrow},
            "recipient": terms.descriptor.payee,
        });
        let draft = ChallengeDraft::new(
            Realm::new("shop.example").unwrap(),
            MethodName::tempo(),
            IntentName::session(),
            EncodedJson::from_value(&request).unwrap(),
        );
        let template = keys.template(draft.clone());
        let challenge = keys.bind(draft.with_expires(Timestamp::MAX));
        let payload = SessionPayload::Voucher {
            channel_id: terms.id(),
            descriptor: Some(terms.descriptor),
            cumulative_amount: cumulative,
            signature: payer.sign_digest_sync(&digest).into(),
        };
        let source = DidPkh::new(terms.chain_id, &payer.address().to_string()).unwrap();
        let credential = Credential::new(challenge.clone(), payload.to_value());
        let credential = credential.with_source(source.to_string());
        let shop = Self {
            keys,
            template,
            verifier: VoucherVerifier::new(&terms),
            channel: terms.id().to_string(),
            challenge_id: challenge.id.as_str().to_owned(),
            reader: CredentialReader::default(),
            writer: ReceiptWriter::default(),
            receipt: String::new(),
        };
        (shop, credential::encode(&credential).unwrap())
    }

    /// The first request of a challenge: its MAC is verified.
    fn serve_unknown(&mut self, header: &str) {
        let text = self.reader.read(sole_token(header).unwrap()).unwrap();
        self.keys.verify_text(&text.challenge).unwrap();
        let expires = Timestamp::parse(text.challenge.expires.unwrap().as_str()).unwrap();
        assert!(NOW < expires);
        let accepted = accept(&self.verifier, &text.proof);
        self.write_receipt(accepted);
    }

    /// The first request of a challenge written in a form that is known.
    fn serve_formed(&mut self, form: &ChallengeForm, header: &str) {
        let token = sole_token(header).unwrap();
        let text = self.reader.read_formed(form, token).unwrap();
        form.verify(&text).unwrap();
        assert!(NOW < Timestamp::parse(text.expires.as_str()).unwrap());
        let accepted = accept(&self.verifier, &text.behind.proof().unwrap());
        self.write_receipt(accepted);
    }

    /// Every further request: its challenge is known.
    fn serve_known(&mut self, known: &KnownChallenge, header: &str) {
        let token = sole_token(header).unwrap();
        let proof = self.reader.read_known(known, token).unwrap();
        assert!(NOW < known.expires_at().unwrap());
        let accepted = accept(&self.verifier, &proof);
        self.write_receipt(accepted);
    }

    /// The same from a client whose vouchers' form is known.
    fn serve_voucher(&mut self, known: &KnownChallenge, form: &VoucherForm, header: &str) {
        let token = sole_token(header).unwrap();
        let text = self.reader.open_known(known, token).unwrap();
        assert!(NOW < known.expires_at().unwrap());
        let (payload, source) = form.read(text.rest()).unwrap();
        assert_eq!(source.unwrap().chain_id, 42431);
        let verified = self.verifier.verify(&payload.voucher().unwrap()).unwrap();
        self.write_receipt(verified.cumulative());
    }

    fn write_receipt(&mut self, accepted: Amount) {
        self.receipt.clear();
        let receipt = SessionReceiptText {
            method: "tempo",
            intent: "session",
            timestamp: NOW,
            reference: &self.channel,
            challenge_id: &self.challenge_id,
            channel_id: &self.channel,
            accepted_cumulative: accepted,
            spent: accepted,
            units: Some(1),
            tx_hash: None,
        };
        self.writer.write(&receipt, &mut self.receipt);
    }
}

fn accept(verifier: &VoucherVerifier, proof: &Proof<'_>) -> Amount {
    let source = proof.source.unwrap().as_str().parse::<DidPkh>().unwrap();
    assert_eq!(source.chain_id, 42431);
    let payload = SessionPayload::from_flat(proof.payload).unwrap();
    let verified = verifier.verify(&payload.voucher().unwrap()).unwrap();
    verified.cumulative()
}

#[test]
fn a_request_is_read_verified_and_receipted_without_allocating() {
    let (mut shop, header) = Shop::new();
    for _ in 0..WARM_UP {
        shop.serve_unknown(&header);
    }
    let ((), count) = allocations(|| shop.serve_unknown(&header));
    assert_eq!(count, 0);
    let receipt = mpp_core::header::receipt::parse(&shop.receipt).unwrap();
    assert_eq!(receipt.reference(), shop.channel);

    let text = shop.reader.read(sole_token(&header).unwrap()).unwrap();
    let known = shop.keys.recognize(&text).unwrap();
    let form = shop.template.learn(&text).unwrap();
    let voucher_form = VoucherForm::learn(text.rest().unwrap(), &text.proof).unwrap();
    let again = |shop: &Shop| mpp_core::header::receipt::parse(&shop.receipt).unwrap();
    let ((), count) = allocations(|| shop.serve_formed(&form, &header));
    assert_eq!((count, again(&shop)), (0, receipt.clone()));
    let ((), count) = allocations(|| shop.serve_known(&known, &header));
    assert_eq!((count, again(&shop)), (0, receipt.clone()));
    let ((), count) = allocations(|| shop.serve_voucher(&known, &voucher_form, &header));
    assert_eq!((count, again(&shop)), (0, receipt));
}

#[test]
fn issuing_a_challenge_into_a_buffer_does_not_allocate() {
    let (shop, _) = Shop::new();
    let draft = ChallengeDraft::new(
        Realm::new("shop.example").unwrap(),
        MethodName::tempo(),
        IntentName::session(),
        EncodedJson::from_value(&serde_json::json!({"amount": "1000"})).unwrap(),
    );
    let template = shop.keys.template(draft);
    let mut value = template.issue(Some(Timestamp::MAX)).header_value();
    value.clear();
    let ((), count) = allocations(|| template.issue(Some(NOW)).write_header_value(&mut value));
    assert_eq!(count, 0);
    assert!(value.starts_with("Payment id=\""));
}
