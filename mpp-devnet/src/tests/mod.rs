//! Suites that run transactions through the whole node.
