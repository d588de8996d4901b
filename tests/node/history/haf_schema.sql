-- The part of HAF's database (hive_fork_manager 1.28) that a history is read from: the same names, columns and types.
-- Tables in hafd, views over them in hive, operations as a type of their own that is bytes inside, and rights only for
-- members of hive_applications_group. Up to 1.27.5 the tables stood in hive, too: the tests make that of this text.

CREATE SCHEMA hafd;
CREATE SCHEMA hive;

CREATE TYPE hafd.operation;
CREATE FUNCTION hafd._operation_in(cstring) RETURNS hafd.operation LANGUAGE internal IMMUTABLE STRICT AS 'byteain';
CREATE FUNCTION hafd._operation_out(hafd.operation) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'byteaout';
CREATE TYPE hafd.operation (INPUT = hafd._operation_in, OUTPUT = hafd._operation_out, STORAGE = extended);
CREATE CAST (hafd.operation AS bytea) WITHOUT FUNCTION AS IMPLICIT;
CREATE CAST (bytea AS hafd.operation) WITHOUT FUNCTION AS IMPLICIT;

-- HAF's jsonb of an operation loses what JSON of PostgreSQL cannot hold: whoever touches it here fails.
CREATE FUNCTION hafd._operation_to_jsonb(hafd.operation) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE STRICT AS
$$ BEGIN RAISE EXCEPTION 'the jsonb of an operation was asked for'; END $$;
CREATE CAST (hafd.operation AS jsonb) WITH FUNCTION hafd._operation_to_jsonb;

CREATE FUNCTION hafd.operation_id_to_block_num(bigint) RETURNS integer LANGUAGE sql IMMUTABLE AS
$$ SELECT ($1 >> 32)::integer $$;
CREATE FUNCTION hafd.operation_id_to_type_id(bigint) RETURNS integer LANGUAGE sql IMMUTABLE AS
$$ SELECT ($1 & 255)::integer $$;

CREATE TABLE hafd.accounts (id integer PRIMARY KEY, name varchar(16) NOT NULL UNIQUE, block_num integer);
CREATE TABLE hafd.blocks (
    num integer PRIMARY KEY,
    hash bytea NOT NULL,
    prev bytea NOT NULL,
    created_at timestamp without time zone NOT NULL,
    producer_account_id integer NOT NULL,
    transaction_merkle_root bytea NOT NULL,
    extensions jsonb,
    witness_signature bytea NOT NULL,
    signing_key text NOT NULL
);
CREATE TABLE hafd.hive_state (id integer PRIMARY KEY, consistent_block integer, is_dirty bool NOT NULL);
CREATE TABLE hafd.operation_types (id smallint PRIMARY KEY, name text NOT NULL UNIQUE, is_virtual boolean NOT NULL);
CREATE TABLE hafd.transactions (
    block_num integer NOT NULL,
    trx_in_block smallint NOT NULL,
    trx_hash bytea PRIMARY KEY,
    ref_block_num integer NOT NULL,
    ref_block_prefix bigint NOT NULL,
    expiration timestamp without time zone NOT NULL,
    signature bytea
);
CREATE TABLE hafd.transactions_multisig (
    trx_hash bytea NOT NULL, signature bytea NOT NULL, PRIMARY KEY (trx_hash, signature)
);
CREATE TABLE hafd.operations (
    id bigint PRIMARY KEY, trx_in_block smallint NOT NULL, op_pos integer NOT NULL, body_binary hafd.operation
);
CREATE INDEX ON hafd.transactions (block_num, trx_in_block);
CREATE INDEX ON hafd.operations (hafd.operation_id_to_block_num(id), id);

CREATE VIEW hive.irreversible_accounts_view AS SELECT id, name FROM hafd.accounts;
CREATE VIEW hive.irreversible_blocks_view AS SELECT * FROM hafd.blocks;
CREATE VIEW hive.irreversible_transactions_view AS SELECT * FROM hafd.transactions;
CREATE VIEW hive.irreversible_transactions_multisig_view AS SELECT * FROM hafd.transactions_multisig;
CREATE VIEW hive.irreversible_operations_view AS
    SELECT id, hafd.operation_id_to_block_num(id) AS block_num, trx_in_block, op_pos,
           hafd.operation_id_to_type_id(id) AS op_type_id, body_binary, body_binary::jsonb AS body
    FROM hafd.operations;

CREATE FUNCTION hive.app_get_irreversible_block() RETURNS integer LANGUAGE plpgsql STABLE AS
$$ BEGIN RETURN (SELECT coalesce(consistent_block, 0) FROM hafd.hive_state); END $$;

DO $$ BEGIN CREATE ROLE hive_applications_group; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
GRANT USAGE ON SCHEMA hive TO hive_applications_group;
GRANT USAGE ON SCHEMA hafd TO hive_applications_group;
GRANT SELECT ON ALL TABLES IN SCHEMA hive TO hive_applications_group;
GRANT SELECT ON ALL TABLES IN SCHEMA hafd TO hive_applications_group;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA hive FROM PUBLIC;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA hive TO hive_applications_group;
