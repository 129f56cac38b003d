//! What went wrong, and whether it may be tried again.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::store::{
    StoreFault,
    shared::{Fate, Trouble},
};

impl From<RedisError> for Trouble {
    fn from(error: RedisError) -> Self {
        let (fate, transient) = judge(&error);
        let fault = if transient {
            StoreFault::transient("Redis could not do it now", Some(error.into()))
        } else {
            StoreFault::lasting("Redis refused", Some(error.into()))
        };
        Self { fault, fate }
    }
}

/// Fate of the command, and whether the trouble may pass.
fn judge(error: &RedisError) -> (Fate, bool) {
    match error.kind() {
        ErrorKind::Io | ErrorKind::Parse => (Fate::Unknown, true),
        ErrorKind::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::TryAgain
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ClusterDown
            // After a failover an old connection may lead to a replica.
            | ServerErrorKind::ReadOnly
            // Somebody has made the server forget its scripts again, right
            // after this one was given to it.
            | ServerErrorKind::NoScript,
        ) => (Fate::NotDone, true),
        _ => match error.code() {
            Some("BUSY") => (Fate::NotDone, true),
            // Memory or disk is full, or replicas are missing: selling stops
            // until that is mended.
            Some("OOM" | "MISCONF" | "NOREPLICAS") => (Fate::Refused, true),
            // Before version 7 the error of a script hides its cause.
            _ => (Fate::Refused, error.detail().is_some_and(|text| text.contains("OOM command"))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_that_was_forgotten_twice_is_given_to_the_server_again() {
        let kind = ErrorKind::Server(ServerErrorKind::NoScript);
        let trouble = Trouble::from(RedisError::from((kind, "no matching script")));
        assert_eq!(trouble.fate, Fate::NotDone);
        assert!(trouble.fault.is_transient());
    }
}
