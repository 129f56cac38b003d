//! The closed list of problem types, with everything that follows from each.

/// JSON-RPC codes of PROTOCOL.md section 6.
mod code {
    pub(super) const PAYMENT_REQUIRED: i32 = -32_042;
    pub(super) const VERIFICATION_FAILED: i32 = -32_043;
    pub(super) const INVALID_PARAMS: i32 = -32_602;
    pub(super) const INTERNAL: i32 = -32_603;
}

/// The problem types of PROTOCOL.md section 1.3, and those for the
/// server's own troubles and for idempotent requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProblemKind {
    /// There is no credential.
    PaymentRequired,
    /// The credential is not base64url, not JSON, or lacks members.
    MalformedCredential,
    /// The challenge id does not verify, belongs to another route, or is used up.
    InvalidChallenge,
    /// The challenge has expired.
    PaymentExpired,
    /// The proof is not valid.
    VerificationFailed,
    /// A one-shot proof comes a second time: same type as
    /// [`ProblemKind::VerificationFailed`], but 403 and no challenge.
    ProofReplayed,
    /// Too little is paid.
    PaymentInsufficient,
    /// The payload breaks the method's schema.
    InvalidPayload,
    /// The method or intent is not offered.
    MethodUnsupported,
    /// Two credentials, or a header beyond its limit.
    BadRequest,
    /// The voucher's signature has the wrong form or is not canonical.
    InvalidSignature,
    /// The voucher is signed by another key.
    SignerMismatch,
    /// The voucher promises more than the deposit.
    AmountExceedsDeposit,
    /// The voucher adds less than the minimum.
    DeltaTooSmall,
    /// The accepted vouchers do not cover the price.
    InsufficientBalance,
    /// A top-up names a challenge that is unknown or expired.
    ChallengeNotFound,
    /// The channel is unknown or empty.
    ChannelNotFound,
    /// The channel is closed or about to be.
    ChannelFinalized,
    /// The same idempotent request is being served; repeat it later.
    RequestInProgress,
    /// The idempotency key was used for another request.
    IdempotencyKeyReused,
    /// Too many requests.
    RateLimited,
    /// A backend is down; the request may be repeated.
    ServiceUnavailable,
    /// The server has failed.
    Internal,
    /// A type this crate does not know; never issued, only read.
    Unknown,
}

/// What follows from a kind.
struct Facts {
    type_uri: &'static str,
    title: &'static str,
    status: u16,
    mcp_code: i32,
    carries_challenge: bool,
}

/// A type URI under the base of the drafts.
macro_rules! uri {
    ($suffix:literal) => {
        concat!("https://paymentauth.org/problems/", $suffix)
    };
}

impl ProblemKind {
    /// Every kind, in the order of the table in PROTOCOL.md.
    pub const ALL: [Self; 24] = [
        Self::PaymentRequired,
        Self::MalformedCredential,
        Self::InvalidChallenge,
        Self::PaymentExpired,
        Self::VerificationFailed,
        Self::ProofReplayed,
        Self::PaymentInsufficient,
        Self::InvalidPayload,
        Self::MethodUnsupported,
        Self::BadRequest,
        Self::InvalidSignature,
        Self::SignerMismatch,
        Self::AmountExceedsDeposit,
        Self::DeltaTooSmall,
        Self::InsufficientBalance,
        Self::ChallengeNotFound,
        Self::ChannelNotFound,
        Self::ChannelFinalized,
        Self::RequestInProgress,
        Self::IdempotencyKeyReused,
        Self::RateLimited,
        Self::ServiceUnavailable,
        Self::Internal,
        Self::Unknown,
    ];

    /// The type URI.
    #[must_use]
    pub const fn type_uri(self) -> &'static str {
        self.facts().type_uri
    }

    /// The HTTP status.
    #[must_use]
    pub const fn status(self) -> u16 {
        self.facts().status
    }

    /// The title: the same for every problem of the kind.
    #[must_use]
    pub const fn title(self) -> &'static str {
        self.facts().title
    }

    /// The JSON-RPC error code of the MCP binding.
    #[must_use]
    pub const fn mcp_code(self) -> i32 {
        self.facts().mcp_code
    }

    /// Whether the answer carries a fresh challenge: every 402, and 400 and 410
    /// on a protected resource (PROTOCOL.md section 1.3).
    #[must_use]
    pub const fn carries_challenge(self) -> bool {
        self.facts().carries_challenge
    }

    /// The kind with a type URI; the one with 402 where a type has two statuses.
    #[must_use]
    pub fn from_type_uri(uri: &str) -> Option<Self> {
        let known = Self::ALL.into_iter().filter(|kind| *kind != Self::Unknown);
        known.into_iter().find(|kind| kind.type_uri() == uri)
    }

    const fn facts(self) -> Facts {
        match self {
            Self::PaymentRequired => Facts {
                mcp_code: code::PAYMENT_REQUIRED,
                ..Facts::retryable(uri!("payment-required"), "Payment Required")
            },
            Self::MalformedCredential => Facts {
                mcp_code: code::INVALID_PARAMS,
                ..Facts::retryable(uri!("malformed-credential"), "Malformed Credential")
            },
            Self::InvalidChallenge => {
                Facts::retryable(uri!("invalid-challenge"), "Invalid Challenge")
            }
            Self::PaymentExpired => Facts::retryable(uri!("payment-expired"), "Payment Expired"),
            Self::VerificationFailed => {
                Facts::retryable(uri!("verification-failed"), "Verification Failed")
            }
            Self::ProofReplayed => Facts {
                status: 403,
                carries_challenge: false,
                ..Self::VerificationFailed.facts()
            },
            Self::PaymentInsufficient => {
                Facts::retryable(uri!("payment-insufficient"), "Payment Insufficient")
            }
            Self::InvalidPayload => Facts {
                mcp_code: code::INVALID_PARAMS,
                ..Facts::retryable(uri!("invalid-payload"), "Invalid Payload")
            },
            Self::MethodUnsupported => {
                Facts::bad_request(uri!("method-unsupported"), "Method Unsupported")
            }
            Self::BadRequest => Facts::bad_request(uri!("bad-request"), "Bad Request"),
            Self::InvalidSignature => {
                Facts::retryable(uri!("session/invalid-signature"), "Invalid Signature")
            }
            Self::SignerMismatch => {
                Facts::retryable(uri!("session/signer-mismatch"), "Signer Mismatch")
            }
            Self::AmountExceedsDeposit => Facts::retryable(
                uri!("session/amount-exceeds-deposit"),
                "Amount Exceeds Deposit",
            ),
            Self::DeltaTooSmall => {
                Facts::retryable(uri!("session/delta-too-small"), "Delta Too Small")
            }
            // Nothing is wrong with the payment; more of it is needed.
            Self::InsufficientBalance => Facts {
                mcp_code: code::PAYMENT_REQUIRED,
                ..Facts::retryable(uri!("session/insufficient-balance"), "Insufficient Balance")
            },
            Self::ChallengeNotFound => {
                Facts::retryable(uri!("session/challenge-not-found"), "Challenge Not Found")
            }
            Self::ChannelNotFound => {
                Facts::gone(uri!("session/channel-not-found"), "Channel Not Found")
            }
            Self::ChannelFinalized => {
                Facts::gone(uri!("session/channel-finalized"), "Channel Finalized")
            }
            Self::RequestInProgress => {
                Facts::server(uri!("request-in-progress"), "Request In Progress", 409)
            }
            Self::IdempotencyKeyReused => Facts {
                mcp_code: code::INVALID_PARAMS,
                ..Facts::server(
                    uri!("idempotency-key-reused"),
                    "Idempotency Key Reused",
                    422,
                )
            },
            Self::RateLimited => Facts::server(uri!("rate-limited"), "Too Many Requests", 429),
            Self::ServiceUnavailable => {
                Facts::server(uri!("service-unavailable"), "Service Unavailable", 503)
            }
            Self::Internal => Facts::server(uri!("internal-error"), "Internal Server Error", 500),
            Self::Unknown => Facts::server("about:blank", "Unknown Problem", 500),
        }
    }
}

impl Facts {
    /// A 402 that the client may answer with another credential.
    const fn retryable(type_uri: &'static str, title: &'static str) -> Self {
        Self {
            type_uri,
            title,
            status: 402,
            mcp_code: code::VERIFICATION_FAILED,
            carries_challenge: true,
        }
    }

    const fn gone(type_uri: &'static str, title: &'static str) -> Self {
        Self {
            status: 410,
            ..Self::retryable(type_uri, title)
        }
    }

    const fn bad_request(type_uri: &'static str, title: &'static str) -> Self {
        Self {
            status: 400,
            mcp_code: code::INVALID_PARAMS,
            ..Self::retryable(type_uri, title)
        }
    }

    /// A condition of the server, which no other credential cures.
    const fn server(type_uri: &'static str, title: &'static str, status: u16) -> Self {
        Self {
            type_uri,
            title,
            status,
            mcp_code: code::INTERNAL,
            carries_challenge: false,
        }
    }
}
