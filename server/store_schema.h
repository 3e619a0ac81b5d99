// The schema of fedpeft.db, as migrations: entry i brings a database from user_version i to i + 1. Entries are never
// changed once released; a new version appends.
#pragma once

#include <array>

namespace fedpeft::server {

inline constexpr std::array<const char*, 1> kMigrations = {R"sql(
CREATE TABLE run (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  run_id TEXT NOT NULL,
  name TEXT NOT NULL,
  config BLOB NOT NULL,
  config_sha256 TEXT NOT NULL,
  total_rounds INTEGER NOT NULL,
  created_ms INTEGER NOT NULL,
  status TEXT NOT NULL,
  reason TEXT NOT NULL
) STRICT;
CREATE TABLE attempts (
  round INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('open', 'committed', 'lost', 'void', 'abandoned')),
  reason TEXT NOT NULL DEFAULT '',
  started_ms INTEGER NOT NULL,
  unmasking INTEGER NOT NULL DEFAULT 0,  -- secure aggregation: clients were asked to unmask
  ended_ms INTEGER,
  PRIMARY KEY (round, attempt)
) STRICT, WITHOUT ROWID;
CREATE TABLE cohort (
  round INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  client TEXT NOT NULL,
  PRIMARY KEY (round, attempt, client),
  FOREIGN KEY (round, attempt) REFERENCES attempts (round, attempt)
) STRICT, WITHOUT ROWID;
CREATE TABLE rounds (
  round INTEGER PRIMARY KEY,
  attempt INTEGER NOT NULL,
  committed_ms INTEGER NOT NULL,
  params_sha256 BLOB NOT NULL,
  params_file TEXT,               -- NULL: no longer kept
  cohort INTEGER NOT NULL,
  participants INTEGER NOT NULL,
  examples INTEGER NOT NULL,
  train_loss REAL,
  bytes_up INTEGER NOT NULL,
  bytes_down INTEGER NOT NULL,
  seconds REAL NOT NULL,
  complete INTEGER NOT NULL,      -- its evaluation is over, or was not due
  threat TEXT NOT NULL,           -- what the coordinator was guarded against
  saturated INTEGER,              -- secure aggregation: values of clients that were cut at the range's end
  next_range REAL,                -- and the range of the next round's
  clip REAL,                      -- differential privacy: the norm that updates were clipped to,
  next_clip REAL,                 -- the next round's,
  noise_multiplier REAL           -- and the noise over clip
) STRICT;
CREATE TABLE releases (           -- the ledger: a row is there before anything of it leaves, and stays
  round INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  time_ms INTEGER NOT NULL,
  release TEXT NOT NULL,          -- privacy/accounting/accountant.h
  PRIMARY KEY (round, attempt)
) STRICT, WITHOUT ROWID;
CREATE TABLE noise (              -- what names correlated noise, until the run is finished: never shown, never logged
  id INTEGER PRIMARY KEY CHECK (id = 1),
  key BLOB NOT NULL
) STRICT;
CREATE TABLE submissions (
  round INTEGER NOT NULL REFERENCES rounds (round),
  client TEXT NOT NULL,
  weight INTEGER,                 -- these four: NULL under secure aggregation
  examples INTEGER,
  loss REAL,
  seconds REAL,
  bytes INTEGER NOT NULL,
  PRIMARY KEY (round, client)
) STRICT, WITHOUT ROWID;
CREATE TABLE evaluations (
  round INTEGER PRIMARY KEY REFERENCES rounds (round),
  evaluators INTEGER NOT NULL,
  totals TEXT NOT NULL,           -- `name value` lines
  seconds REAL NOT NULL,
  best INTEGER NOT NULL           -- the best of the rounds up to this one
) STRICT;
CREATE TABLE clients (
  client TEXT PRIMARY KEY,
  evaluator INTEGER NOT NULL,
  examples INTEGER NOT NULL,
  held_out INTEGER NOT NULL,
  first_seen_ms INTEGER NOT NULL,
  last_seen_ms INTEGER NOT NULL,
  joined INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE events (
  id INTEGER PRIMARY KEY,
  time_ms INTEGER NOT NULL,
  name TEXT NOT NULL,
  round INTEGER NOT NULL,
  detail TEXT NOT NULL
) STRICT;
)sql"};

}  // namespace fedpeft::server
