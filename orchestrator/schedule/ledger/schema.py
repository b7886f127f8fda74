"""The tables of the ledger, and how older ones become the newest."""

from collections.abc import Mapping

VERSION = 2

MIGRATIONS: Mapping[int, str] = {
    1: """
ALTER TABLE attempts ADD COLUMN cpus INTEGER NOT NULL DEFAULT 0;
ALTER TABLE attempts ADD COLUMN devices TEXT NOT NULL DEFAULT '[]';
DROP TABLE IF EXISTS sent;
DROP TABLE IF EXISTS runs;
""",
}
"""Version -> statements that make the next one of it, in one transaction."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS attempts (
    id TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, job TEXT NOT NULL, label TEXT NOT NULL, stage TEXT NOT NULL,
    backend TEXT NOT NULL, ticket TEXT NOT NULL, intended REAL NOT NULL, started REAL, ended REAL, ending TEXT,
    detail TEXT NOT NULL, begun INTEGER NOT NULL, step INTEGER NOT NULL, signature TEXT NOT NULL,
    cpus INTEGER NOT NULL DEFAULT 0, devices TEXT NOT NULL DEFAULT '[]'
);
CREATE INDEX IF NOT EXISTS attempts_of_job ON attempts (fingerprint);
CREATE INDEX IF NOT EXISTS attempts_open ON attempts (id) WHERE ending IS NULL;
CREATE TABLE IF NOT EXISTS charges (
    fingerprint TEXT PRIMARY KEY, error INTEGER NOT NULL, out_of_memory INTEGER NOT NULL, vanished INTEGER NOT NULL,
    free INTEGER NOT NULL, accumulate INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS jobs (
    fingerprint TEXT PRIMARY KEY, state TEXT NOT NULL, reason TEXT NOT NULL, stage TEXT NOT NULL,
    signature TEXT NOT NULL, at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS plans (label TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, document TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS last_plan (
    only INTEGER PRIMARY KEY CHECK (only = 1), profile TEXT NOT NULL, overrides TEXT NOT NULL, selection TEXT NOT NULL
);
"""
