//! Size limits, checked before anything is decoded (security case A7).

/// The longest `request` or `opaque` parameter, in bytes of base64url text.
pub const MAX_REQUEST: usize = 16 * 1024;
/// The longest credential, in bytes of base64url text; also bounds receipts and snapshots.
pub const MAX_CREDENTIAL: usize = 64 * 1024;
/// The longest value of any one header field, in bytes.
pub const MAX_VALUE: usize = 128 * 1024;
/// The most parameters of one challenge.
pub const MAX_PARAMETERS: usize = 64;
/// The most ranges of one `Accept-Payment` field.
pub const MAX_RANGES: usize = 64;
