//! The encodings under every message: base64url, canonical JSON, strict JSON.

pub mod base64url;
pub mod flat;
pub mod form;
pub mod jcs;
pub mod json;
