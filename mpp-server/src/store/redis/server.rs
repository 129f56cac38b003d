//! Looks at the server before it is used.

use std::collections::HashMap;

use redis::aio::MultiplexedConnection;

use super::{config::RedisConfig, keys::Keys, link::Link};
use crate::store::{
    Durability, StoreFault,
    shared::{ConnectError, Fate, Trouble},
};

const BACKEND: &str = "Redis";
/// The first version with `ZRANGE .. BYLEX`.
const NEEDED: (u32, u32) = (6, 2);
/// The stored form that this software writes.
const FORM: u32 = 1;

/// Checks server and keys, and reads what the server promises to keep.
pub(super) async fn check(link: &Link, config: &RedisConfig) -> Result<Durability, ConnectError> {
    let connected = link.connection().await;
    let (mut connection, _) =
        connected.map_err(|trouble| ConnectError::unreachable(BACKEND, trouble))?;
    let info: String = redis::cmd("INFO")
        .query_async(&mut connection)
        .await
        .map_err(failed)?;
    let facts = Facts::read(&info);
    facts.check()?;
    check_form(&mut connection, &Keys::new(&config.prefix)).await?;
    let may_lose = match facts.is("aof_enabled", "1") {
        false => Some("everything since its last snapshot: `appendonly` is off"),
        true => {
            let always = setting(&mut connection, "appendfsync").await;
            let pauses = setting(&mut connection, "no-appendfsync-on-rewrite").await;
            promise(always.as_deref(), pauses.as_deref())
        }
    };
    let durability = Durability::External {
        backend: String::from(BACKEND),
        may_lose: may_lose.map(String::from),
    };
    if may_lose.is_some() {
        tracing::warn!("{durability}");
    } else {
        tracing::info!("{durability}");
    }
    Ok(durability)
}

/// What the server says of itself.
struct Facts<'a>(HashMap<&'a str, &'a str>);

impl<'a> Facts<'a> {
    fn read(info: &'a str) -> Self {
        Self(
            info.lines()
                .filter_map(|line| line.split_once(':'))
                .collect(),
        )
    }

    fn is(&self, fact: &str, value: &str) -> bool {
        self.0.get(fact).is_some_and(|found| *found == value)
    }

    fn check(&self) -> Result<(), ConnectError> {
        let version = self.0.get("redis_version").copied().unwrap_or_default();
        let mut parts = version
            .split('.')
            .map_while(|part| part.parse::<u32>().ok());
        let found = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
        if found < NEEDED {
            return Err(ConnectError::TooOld {
                backend: BACKEND,
                found: version.into(),
                needed: "6.2",
            });
        }
        if self.is("cluster_enabled", "1") {
            return Err(ConnectError::Cluster);
        }
        if self.is("role", "slave") {
            return Err(ConnectError::ReadOnly { backend: BACKEND });
        }
        if !self.is("maxmemory", "0") && !self.is("maxmemory_policy", "noeviction") {
            return Err(ConnectError::Evicts);
        }
        Ok(())
    }
}

/// What settings of the append-only file risk, in words.
fn promise(fsync: Option<&str>, pauses: Option<&str>) -> Option<&'static str> {
    match (fsync, pauses) {
        (Some("always"), Some("no")) => None,
        (Some("always"), Some(_)) => Some(
            "commits that were acknowledged while its file was rewritten: \
             `no-appendfsync-on-rewrite` is on",
        ),
        (Some("everysec"), _) => {
            Some("the last seconds of acknowledged commits: `appendfsync` is `everysec`")
        }
        (Some(_), _) => {
            Some("what its operating system has not written yet: `appendfsync` is not `always`")
        }
        _ => Some("an unknown part: it does not tell its `appendfsync`"),
    }
}

/// A setting, unless the server keeps it to itself.
async fn setting(connection: &mut MultiplexedConnection, name: &str) -> Option<String> {
    let mut get = redis::cmd("CONFIG");
    get.arg("GET").arg(name);
    let answer: Result<Vec<String>, _> = get.query_async(connection).await;
    answer.ok()?.into_iter().nth(1)
}

/// Claims the prefix, or finds out who did.
async fn check_form(
    connection: &mut MultiplexedConnection,
    keys: &Keys,
) -> Result<(), ConnectError> {
    let mut claim = redis::cmd("SET");
    claim.arg(keys.form()).arg(FORM).arg("NX");
    let _: redis::Value = claim.query_async(connection).await.map_err(failed)?;
    let form = redis::cmd("GET")
        .arg(keys.form())
        .query_async::<String>(connection)
        .await
        .map_err(|error| match error.code() {
            Some("WRONGTYPE") => ConnectError::ForeignKeys,
            _ => failed(error),
        })?;
    match form.parse::<u32>() {
        Ok(FORM) => Ok(()),
        Ok(found) if found > FORM => Err(ConnectError::NewerForm { found, known: FORM }),
        _ => Err(ConnectError::ForeignKeys),
    }
}

/// Looks whether a server that was connected again still keeps the store. It
/// may be another one, or have lost its data: then what was used would count as
/// unused, and payers would be told that their channels do not exist.
pub(super) async fn look_again(
    connection: &mut MultiplexedConnection,
    form: &str,
) -> Result<(), Trouble> {
    let mut get = redis::cmd("GET");
    let found: Option<String> = get
        .arg(form)
        .query_async(connection)
        .await
        .map_err(Trouble::connecting)?;
    if found.is_some_and(|found| found.parse() == Ok(FORM)) {
        return Ok(());
    }
    let lost = "Redis does not have the channel store any more";
    Err(Trouble::new(Fate::Refused, StoreFault::lasting(lost, None)))
}

fn failed(error: redis::RedisError) -> ConnectError {
    ConnectError::Failed(StoreFault::from(Trouble::from(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# Server\r\nredis_version:7.0.15\r\n# Memory\r\nmaxmemory:0\r\n\
        maxmemory_policy:noeviction\r\nrole:master\r\ncluster_enabled:0\r\n";

    #[track_caller]
    fn check(from: &str, to: &str) -> Result<(), ConnectError> {
        assert!(GOOD.contains(from));
        Facts::read(&GOOD.replace(from, to)).check()
    }

    #[test]
    fn an_unfit_server_is_named() {
        assert!(check("7.0.15", "6.2.0").is_ok());
        assert!(check("maxmemory:0", "maxmemory:9000").is_ok());
        let old = check("7.0.15", "6.0.16").unwrap_err();
        assert_eq!(
            old.to_string(),
            "Redis 6.0.16 is too old: 6.2 or later is needed"
        );
        let cluster = check("cluster_enabled:0", "cluster_enabled:1");
        assert!(matches!(cluster, Err(ConnectError::Cluster)));
        let replica = check("role:master", "role:slave");
        assert!(matches!(replica, Err(ConnectError::ReadOnly { .. })));
        let evicts = "maxmemory:9000\r\nmaxmemory_policy:volatile-lru";
        let evicts = check("maxmemory:0\r\nmaxmemory_policy:noeviction", evicts);
        assert!(matches!(evicts, Err(ConnectError::Evicts)));
    }

    #[test]
    fn only_a_server_that_always_flushes_keeps_everything() {
        assert_eq!(promise(Some("always"), Some("no")), None);
        for (fsync, pauses) in [
            (Some("always"), Some("yes")),
            (Some("always"), None),
            (Some("everysec"), Some("no")),
            (Some("no"), Some("no")),
            (None, None),
        ] {
            assert!(promise(fsync, pauses).is_some(), "{fsync:?} {pauses:?}");
        }
    }
}
