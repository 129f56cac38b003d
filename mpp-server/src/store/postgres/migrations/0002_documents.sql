-- What the server keeps beside its channels. `value` is the stored form.
CREATE TABLE {schema}.documents (
    kind        smallint NOT NULL,
    id          bytea NOT NULL CHECK (octet_length(id) = 32),
    version     bigint NOT NULL CHECK (version > 0),
    -- Stamp of the write that made this version.
    stamp       bytea NOT NULL,
    value       bytea NOT NULL,
    PRIMARY KEY (kind, id)
);

-- Writes documents if the versions of all are the expected ones; 0 stands for
-- none, and a value of NULL removes. Callers give the documents in one order,
-- so that nobody waits in a circle. When somebody else creates a document
-- between the check and the write, the unique key undoes everything and the
-- caller tries again.
CREATE FUNCTION {schema}.write_documents(
    kinds smallint[], ids bytea[], expected bigint[], contents bytea[], mark bytea
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    there bigint;
BEGIN
    FOR i IN 1 .. cardinality(ids) LOOP
        SELECT d.version INTO there FROM {schema}.documents AS d
            WHERE d.kind = kinds[i] AND d.id = ids[i] FOR UPDATE;
        IF coalesce(there, 0) <> expected[i] THEN
            RETURN false;
        END IF;
    END LOOP;
    FOR i IN 1 .. cardinality(ids) LOOP
        IF contents[i] IS NULL THEN
            DELETE FROM {schema}.documents AS d WHERE d.kind = kinds[i] AND d.id = ids[i];
        ELSIF expected[i] = 0 THEN
            INSERT INTO {schema}.documents (kind, id, version, stamp, value)
                VALUES (kinds[i], ids[i], 1, mark, contents[i]);
        ELSE
            UPDATE {schema}.documents AS d
                SET version = d.version + 1, stamp = mark, value = contents[i]
                WHERE d.kind = kinds[i] AND d.id = ids[i];
        END IF;
    END LOOP;
    RETURN true;
END
$$;
