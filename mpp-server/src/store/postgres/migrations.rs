//! The tables, and how they came to be.

/// The migrations in order; the number of each is its place, from 1. A
/// released one never changes. `{schema}` stands for the schema's name.
pub(super) const ALL: &[&str] = &[
    include_str!("migrations/0001_channels.sql"),
    include_str!("migrations/0002_documents.sql"),
];
