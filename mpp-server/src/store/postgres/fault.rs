//! What went wrong, and whether it may be tried again.

use std::io;

use deadpool_postgres::PoolError;
use tokio_postgres::{Error, error::SqlState};

use crate::store::{
    StoreFault,
    shared::{Fate, Insecure, Trouble},
};

/// How the driver says that it could not encrypt a connection.
const NO_TLS: &str = "error performing TLS handshake";

/// What the server said, without the details that may show stored values.
#[derive(Debug, thiserror::Error)]
#[error("{message} (SQLSTATE {code})")]
struct ServerError {
    code: String,
    message: String,
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        let Some(server) = error.as_db_error() else {
            return from_connection(error);
        };
        let (fate, transient) = judge(server.code());
        let source = ServerError {
            code: server.code().code().to_owned(),
            message: server.message().to_owned(),
        };
        let source: Option<Box<dyn std::error::Error + Send + Sync>> = Some(Box::new(source));
        let fault = if transient {
            StoreFault::transient("PostgreSQL could not do it now", source)
        } else {
            StoreFault::lasting("PostgreSQL refused", source)
        };
        Self { fault, fate }
    }
}

/// Without a word of the server, the connection is at fault, or we are.
fn from_connection(error: Error) -> Trouble {
    let io = std::error::Error::source(&error).is_some_and(|source| source.is::<io::Error>());
    if error.is_closed() || io {
        Trouble {
            fault: StoreFault::transient("the connection to PostgreSQL broke", Some(error.into())),
            fate: Fate::Unknown,
        }
    } else {
        Trouble {
            fault: StoreFault::lasting("PostgreSQL was not understood", Some(error.into())),
            fate: Fate::Refused,
        }
    }
}

/// Fate of the statement, and whether the trouble may pass.
fn judge(code: &SqlState) -> (Fate, bool) {
    const NOT_DONE: [SqlState; 8] = [
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::LOCK_NOT_AVAILABLE,
        SqlState::QUERY_CANCELED,
        SqlState::TOO_MANY_CONNECTIONS,
        SqlState::CANNOT_CONNECT_NOW,
        // Somebody created the document first; the next attempt sees it.
        SqlState::UNIQUE_VIOLATION,
        // After a failover an old connection may lead to a replica.
        SqlState::READ_ONLY_SQL_TRANSACTION,
    ];
    const UNKNOWN: [SqlState; 3] = [
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN,
    ];
    if NOT_DONE.contains(code) {
        return (Fate::NotDone, true);
    }
    if UNKNOWN.contains(code) || code.code().starts_with("08") {
        return (Fate::Unknown, true);
    }
    // Out of disk, memory or other resources: selling stops until there are.
    (Fate::Refused, code.code().starts_with("53"))
}

/// The trouble of connecting, when nothing was sent yet.
pub(super) fn connecting(error: Error) -> Trouble {
    // That the server has no TLS, the driver tells in words only. A handshake
    // that has begun fails with an error of input or output.
    let has_begun =
        std::error::Error::source(&error).is_some_and(|source| source.is::<io::Error>());
    if !has_begun && error.to_string() == NO_TLS {
        return Insecure::NotOffered.into();
    }
    Trouble::connecting(error)
}

/// No connection, so nothing was sent.
impl From<PoolError> for Trouble {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => connecting(error),
            PoolError::Timeout(_) => Self {
                fault: StoreFault::transient("no connection to PostgreSQL was free in time", None),
                fate: Fate::NotDone,
            },
            PoolError::Closed | PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => {
                Self {
                    fault: StoreFault::lasting("the connections to PostgreSQL are closed", None),
                    fate: Fate::Refused,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_not_done_or_may_pass_is_tried_again() {
        for (code, fate, transient) in [
            ("40001", Fate::NotDone, true),
            ("40P01", Fate::NotDone, true),
            ("57P03", Fate::NotDone, true),
            ("25006", Fate::NotDone, true),
            ("23505", Fate::NotDone, true),
            ("57P01", Fate::Unknown, true),
            ("40003", Fate::Unknown, true),
            ("08006", Fate::Unknown, true),
            ("53100", Fate::Refused, true),
            ("42P01", Fate::Refused, false),
            ("28P01", Fate::Refused, false),
            ("XX001", Fate::Refused, false),
        ] {
            assert_eq!(
                judge(&SqlState::from_code(code)),
                (fate, transient),
                "{code}"
            );
        }
    }
}
