"""The tables, as numbered migrations: a step that was released is never changed."""

from __future__ import annotations

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE experiments (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        -- A run may be made by several processes, each of which is a session.
        run_id TEXT NOT NULL,
        project TEXT NOT NULL,
        name TEXT NOT NULL,
        created_at REAL NOT NULL,
        finished_at REAL,
        exit_status INTEGER,
        repo_info TEXT NOT NULL DEFAULT 'null',
        metadata TEXT NOT NULL DEFAULT '{}',
        tests TEXT NOT NULL DEFAULT '{}',
        api_url TEXT,
        project_id TEXT,
        remote_id TEXT,
        remote_name TEXT,
        url TEXT,
        upload_error TEXT,
        base TEXT,
        -- The baseline on Braintrust, which may still be on its way here.
        base_remote_id TEXT,
        dataset_id TEXT,
        dataset_version TEXT,
        -- Not NULL while rows are being brought in from elsewhere: where that stands.
        -- Such an experiment is no one's yet.
        transfer TEXT,
        -- The version that was read from Braintrust.
        remote_version INTEGER,
        -- Whether later runs may be compared with it by its place in history.
        fit INTEGER NOT NULL DEFAULT 1
    );
    CREATE INDEX experiments_run ON experiments (run_id);
    CREATE TABLE sessions (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        run_id TEXT NOT NULL,
        started_at REAL NOT NULL,
        finished_at REAL,
        exit_status INTEGER,
        tests TEXT NOT NULL DEFAULT '{}',
        -- Where it runs, unknown of one that came from elsewhere.
        host TEXT,
        pid INTEGER
    );
    CREATE INDEX sessions_run ON sessions (run_id);
    CREATE TABLE rows (
        position INTEGER PRIMARY KEY,
        experiment INTEGER NOT NULL REFERENCES experiments (number) ON DELETE CASCADE,
        -- The session that recorded it, unknown of rows that came from elsewhere.
        session INTEGER,
        id TEXT NOT NULL,
        nodeid TEXT NOT NULL,
        part TEXT NOT NULL,
        outcome TEXT NOT NULL,
        scores TEXT NOT NULL,
        metrics TEXT NOT NULL,
        input_hash TEXT NOT NULL,
        -- A hash of the test's source, where that is known.
        source TEXT,
        event TEXT NOT NULL,
        -- The test ended: before that a row is kept, and not sent while the run lives.
        final INTEGER NOT NULL,
        -- A row is unsent while it changed after what was sent of it.
        version INTEGER NOT NULL DEFAULT 1,
        sent INTEGER NOT NULL DEFAULT 0,
        -- Bytes that were sent of it, where the server does not take all of it.
        cut_to INTEGER,
        refused TEXT,
        -- The version that was read from Braintrust.
        remote_version INTEGER,
        UNIQUE (experiment, id)
    );
    CREATE INDEX rows_unsent ON rows (experiment, position) WHERE sent < version;
    -- How many bytes of a file of `spool` are in the tables.
    CREATE TABLE spooled (name TEXT PRIMARY KEY, taken INTEGER NOT NULL);
    """,
)
