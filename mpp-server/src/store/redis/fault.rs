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
            _ => judge_hidden(error.detail().unwrap_or_default()),
        },
    }
}

/// As [`judge`], by the text with which a script passes on what stopped it.
///
/// A replica refuses the first write, so nothing was written.
fn judge_hidden(text: &str) -> (Fate, bool) {
    let is_hidden = |codes: &[&str]| codes.iter().any(|code| text.contains(code));
    if is_hidden(&["-READONLY "]) {
        return (Fate::NotDone, true);
    }
    let may_pass = is_hidden(&["OOM command", "-MISCONF ", "-NOREPLICAS "]);
    (Fate::Refused, may_pass)
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

    /// How a server of version 6.2 answers when a script is stopped.
    fn from_a_script(cause: &str) -> Trouble {
        let answer = format!(
            "-ERR Error running script (call to f_1): @user_script:27: @user_script: 27: {cause}\r\n"
        );
        let value = redis::parse_redis_value(answer.as_bytes()).unwrap();
        Trouble::from(value.extract_error().unwrap_err())
    }

    #[test]
    fn a_script_that_meets_a_replica_is_tried_elsewhere() {
        let trouble = from_a_script("-READONLY You can't write against a read only replica.");
        assert_eq!(trouble.fate, Fate::NotDone);
        assert!(trouble.fault.is_transient());
    }

    #[test]
    fn a_script_that_is_refused_for_now_says_so() {
        for cause in [
            "-OOM command not allowed when used memory > 'maxmemory'.",
            "-MISCONF Redis is configured to save RDB snapshots, but is unable to persist.",
            "-NOREPLICAS Not enough good replicas to write.",
        ] {
            let trouble = from_a_script(cause);
            assert_eq!(trouble.fate, Fate::Refused);
            assert!(trouble.fault.is_transient(), "{cause}");
        }
        let trouble = from_a_script("attempt to index a nil value");
        assert_eq!(trouble.fate, Fate::Refused);
        assert!(!trouble.fault.is_transient());
    }
}
