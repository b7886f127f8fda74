"""The tables of the ledger; raising `VERSION` makes drivers rebuild it from COMMITs and attempt folders."""

VERSION = 1

SCHEMA = """
CREATE TABLE IF NOT EXISTS attempts (
    id TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, job TEXT NOT NULL, label TEXT NOT NULL, stage TEXT NOT NULL,
    backend TEXT NOT NULL, ticket TEXT NOT NULL, intended REAL NOT NULL, started REAL, ended REAL, ending TEXT,
    detail TEXT NOT NULL, begun INTEGER NOT NULL, step INTEGER NOT NULL, signature TEXT NOT NULL
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
CREATE TABLE IF NOT EXISTS sent (
    cell TEXT NOT NULL, metric TEXT NOT NULL, step INTEGER NOT NULL, PRIMARY KEY (cell, metric)
);
CREATE TABLE IF NOT EXISTS runs (cell TEXT PRIMARY KEY, run_id TEXT NOT NULL);
"""
