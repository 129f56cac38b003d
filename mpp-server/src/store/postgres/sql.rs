//! The statements, one round trip each.

use crate::store::{OUTCOMES_PER_CHANNEL, shared::KEPT_STAMPS, shared::Stamp};

/// The statements with the name of their schema.
#[derive(Debug)]
pub(super) struct Sql {
    pub(super) load: String,
    /// A commit that expects no record.
    pub(super) create: String,
    /// A commit that expects a version.
    pub(super) replace: String,
    /// Version and stamps: who made the version that is there?
    pub(super) stamps: String,
    pub(super) versions: String,
    pub(super) outcome: String,
    pub(super) oldest_outcome: String,
    pub(super) claim: String,
    pub(super) claimed: String,
    pub(super) scan_all: String,
    pub(super) scan_live: String,
    pub(super) ledger_of_all: String,
    pub(super) ledger_of_one: String,
    /// Waits until no commit is under way.
    pub(super) ledger_end: String,
    pub(super) document: String,
    pub(super) document_stamp: String,
    pub(super) documents: String,
    pub(super) write_documents: String,
    pub(super) sweep_outcomes: String,
    pub(super) sweep_claims: String,
    /// The name under which changes are announced.
    pub(super) channel: String,
}

impl Sql {
    pub(super) fn new(schema: &str) -> Self {
        let gate = format!("hashtextextended('mpp ledger of {schema}', 0)");
        let scan = |condition: &str| {
            format!(
                "SELECT id, version, record FROM {schema}.channels
                 WHERE id > $1 {condition} ORDER BY id LIMIT $2"
            )
        };
        Self {
            load: format!("SELECT version, record FROM {schema}.channels WHERE id = $1"),
            create: create(schema, &gate),
            replace: replace(schema, &gate),
            stamps: format!("SELECT version, stamps FROM {schema}.channels WHERE id = $1"),
            versions: format!("SELECT id, version FROM {schema}.channels WHERE id = ANY ($1)"),
            outcome: format!(
                "SELECT outcome FROM {schema}.outcomes WHERE key = $1 AND expires > $2"
            ),
            oldest_outcome: format!(
                "SELECT key, outcome FROM {schema}.outcomes
                 WHERE channel = $1 ORDER BY number LIMIT 1"
            ),
            claim: format!(
                "INSERT INTO {schema}.claims AS c (key, value, stamp, expires)
                 VALUES ($1, $2, $3, $4)
                 ON CONFLICT (key) DO UPDATE SET
                    value = excluded.value, stamp = excluded.stamp, expires = excluded.expires
                 WHERE c.expires <= $5
                 RETURNING 1"
            ),
            claimed: format!(
                "SELECT value, stamp FROM {schema}.claims WHERE key = $1 AND expires > $2"
            ),
            scan_all: scan(""),
            scan_live: scan("AND live"),
            ledger_of_all: format!(
                "SELECT number, entry FROM {schema}.ledger
                 WHERE number > $1 AND number <= $2 ORDER BY number LIMIT $3"
            ),
            ledger_of_one: format!(
                "SELECT number, entry FROM {schema}.ledger
                 WHERE channel = $1 AND number > $2 ORDER BY number LIMIT $3"
            ),
            ledger_end: format!(
                "SELECT pg_advisory_xact_lock({gate}); \
                 SELECT coalesce(max(number), 0) FROM {schema}.ledger"
            ),
            document: format!(
                "SELECT version, value FROM {schema}.documents WHERE kind = $1 AND id = $2"
            ),
            document_stamp: format!(
                "SELECT version, stamp FROM {schema}.documents WHERE kind = $1 AND id = $2"
            ),
            documents: format!(
                "SELECT id, version, value FROM {schema}.documents
                 WHERE kind = $1 AND id > $2 ORDER BY id LIMIT $3"
            ),
            write_documents: format!("SELECT {schema}.write_documents($1, $2, $3, $4, $5)"),
            sweep_outcomes: sweep(schema, "outcomes"),
            sweep_claims: sweep(schema, "claims"),
            channel: format!("mpp_{schema}"),
        }
    }
}

// Parameters of both commits:
//   $1 id       $2 record   $3 stamp    $4 live     $5 phase
//   $6 deposit  $7 accepted $8 spent    $9 settled  $10 units   $11 changed at
//   $12 entry   $13 kind    $14 cost    $15 units   $16 at
//   $17 key     $18 number  $19 outcome $20 expires
//
// `gate` is held by every commit, shared, before it takes a ledger number; who
// reads the whole ledger takes it alone for a moment and so learns up to which
// number no commit is under way. It comes before the lock on the row, because
// the update takes that only for rows that `gate` has joined: there is one
// order of locks and no deadlock.

fn create(schema: &str, gate: &str) -> String {
    let rest = rest(schema);
    format!(
        "WITH gate AS MATERIALIZED (SELECT pg_advisory_xact_lock_shared({gate})),
         written AS (
            INSERT INTO {schema}.channels (
                id, version, record, stamps, live, phase, deposit, accepted, spent, settled,
                units, changed_at, payer, payee, token, opened_at)
            SELECT $1, 1, $2, $3, $4, $5, $6::text::numeric, $7::text::numeric,
                $8::text::numeric, $9::text::numeric, $10::text::numeric, $11,
                $21, $22, $23, $24
            FROM gate
            ON CONFLICT (id) DO NOTHING
            RETURNING version),
         {rest}"
    )
}

fn replace(schema: &str, gate: &str) -> String {
    let rest = rest(schema);
    let kept = KEPT_STAMPS * Stamp::BYTES;
    format!(
        "WITH gate AS MATERIALIZED (SELECT pg_advisory_xact_lock_shared({gate})),
         written AS (
            UPDATE {schema}.channels AS c SET
                version = c.version + 1, record = $2,
                stamps = substring($3::bytea || c.stamps FOR {kept}),
                live = $4, phase = $5, deposit = $6::text::numeric,
                accepted = $7::text::numeric, spent = $8::text::numeric,
                settled = $9::text::numeric, units = $10::text::numeric, changed_at = $11
            FROM gate
            WHERE c.id = $1 AND c.version = $21
            RETURNING c.version),
         {rest}"
    )
}

/// What a commit writes beside the record; nothing unless that was written.
fn rest(schema: &str) -> String {
    format!(
        "entered AS (
            INSERT INTO {schema}.ledger (channel, entry, kind, cost, units, at)
            SELECT $1, $12, $13, $14::text::numeric, $15::text::numeric, $16
            FROM written WHERE $12::bytea IS NOT NULL),
         kept AS (
            INSERT INTO {schema}.outcomes (key, channel, number, outcome, expires)
            SELECT $17, $1, $18, $19, $20 FROM written WHERE $17::bytea IS NOT NULL
            ON CONFLICT (key) DO UPDATE SET
                channel = excluded.channel, number = excluded.number,
                outcome = excluded.outcome, expires = excluded.expires),
         dropped AS (
            DELETE FROM {schema}.outcomes AS o USING written
            WHERE o.channel = $1 AND o.number <= $18 - {OUTCOMES_PER_CHANNEL}
                AND o.key <> $17::bytea)
         SELECT version FROM written"
    )
}

/// Several servers may sweep at once: each takes rows that no other has.
fn sweep(schema: &str, table: &str) -> String {
    format!(
        "WITH old AS (
            SELECT key FROM {schema}.{table} WHERE expires <= $1
            ORDER BY expires LIMIT $2 FOR UPDATE SKIP LOCKED),
         gone AS (
            DELETE FROM {schema}.{table} AS t USING old
            WHERE t.key = old.key AND t.expires <= $1
            RETURNING 1)
         SELECT count(*) FROM gone"
    )
}
