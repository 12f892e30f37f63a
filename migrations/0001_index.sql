-- The index over the journals in the results folder. Everything here can be made again from
-- `spec.json`, `events.<attempt>.jsonl` and `journal.jsonl` (`sweep index rebuild`), equal row for
-- row: keys are what the journals say, never a counter.
--
-- For pandas, read the views at the end:
--   import sqlite3, pandas
--   db = sqlite3.connect("file:results/sweep.db?mode=ro", uri=True)
--   pandas.read_sql("SELECT * FROM results WHERE experiment = 'quickstart'", db)

-- How far each journal is indexed. `owner` is the folder, relative to the results folder.
CREATE TABLE journal_offsets (
    owner TEXT NOT NULL,
    file  TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    lines INTEGER NOT NULL,
    PRIMARY KEY (owner, file)
) STRICT, WITHOUT ROWID;

-- What an experiment was at its latest plan, and how its latest sweep ended.
CREATE TABLE experiments (
    experiment         TEXT NOT NULL PRIMARY KEY,
    axes               TEXT NOT NULL,     -- JSON: axis names in the order of the spec
    suite              TEXT,              -- e.g. `imagenet-c-first8 v1`
    suite_corruptions  TEXT NOT NULL,     -- JSON: corruption names
    planned_at_ms      INTEGER,           -- milliseconds since the Unix epoch, as all `_at_ms`
    ended_at_ms        INTEGER,
    done               INTEGER,
    failed             INTEGER,
    interrupted        INTEGER
) STRICT, WITHOUT ROWID;

-- Membership, from the latest plan only. Several cells may share a run.
CREATE TABLE cells (
    experiment TEXT NOT NULL,
    cell       INTEGER NOT NULL,          -- place in the expanded grid, from 0
    run        TEXT NOT NULL,
    labels     TEXT NOT NULL,             -- JSON: [[axis, value], ...]
    PRIMARY KEY (experiment, cell)
) STRICT, WITHOUT ROWID;

CREATE INDEX cells_by_run ON cells (run);

-- The scores that a cell asks for.
CREATE TABLE cell_scores (
    experiment TEXT NOT NULL,
    cell       INTEGER NOT NULL,
    place      INTEGER NOT NULL,
    score      TEXT NOT NULL,
    eval_set   TEXT NOT NULL,             -- dataset and split, e.g. `voc/val`
    protocol   TEXT NOT NULL,
    corruption TEXT,                      -- NULL for clean
    severity   INTEGER,                   -- 1 to 5; NULL for clean
    PRIMARY KEY (experiment, cell, place)
) STRICT, WITHOUT ROWID;

-- What the coordinator saw of an attempt.
CREATE TABLE sweep_attempts (
    experiment    TEXT NOT NULL,
    run           TEXT NOT NULL,
    attempt       INTEGER NOT NULL,
    device        TEXT,
    started_at_ms INTEGER,
    exited_at_ms  INTEGER,
    error         TEXT,                   -- NULL after success
    interrupted   INTEGER,
    PRIMARY KEY (experiment, run, attempt)
) STRICT, WITHOUT ROWID;

-- A run: its spec, and the keys of it that people filter by.
CREATE TABLE runs (
    run            TEXT NOT NULL PRIMARY KEY,
    spec           TEXT,                  -- JSON; NULL where `spec.json` is missing or unreadable
    identity       TEXT,                  -- JSON whose hash is the id
    problem        TEXT,                  -- why `spec` is NULL
    dino_type      TEXT,
    size           TEXT,
    registers      INTEGER,
    weights        TEXT,                  -- random, pretrained or file
    tune           TEXT,                  -- frozen, lora or full
    lora_rank      INTEGER,               -- 0 without LoRA
    decoder        TEXT,
    dataset        TEXT,
    seed           INTEGER,
    input_h        INTEGER,
    input_w        INTEGER,
    n_classes      INTEGER,
    train_numerics INTEGER,
    tokens_h       INTEGER,               -- this and what follows: as the latest attempt built it
    tokens_w       INTEGER,
    params_total   INTEGER,
    params_trained INTEGER,
    n_train_images INTEGER,
    steps_total    INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE attempts (
    run             TEXT NOT NULL,
    attempt         INTEGER NOT NULL,
    started_at_ms   INTEGER,
    pid             INTEGER,
    host            TEXT,
    device          TEXT,
    device_name     TEXT,
    threads         INTEGER,
    version         TEXT,
    git             TEXT,
    train_from_step INTEGER,              -- NULL where it did not train
    resumed_from    TEXT,                 -- the checkpoint's name
    ended_at_ms     INTEGER,
    outcome         TEXT,                 -- done, interrupted or failed; NULL where it was killed
    error           TEXT,
    error_class     TEXT,
    PRIMARY KEY (run, attempt)
) STRICT, WITHOUT ROWID;

-- Rows of training. A later attempt that resumes at a step takes the place of all after it.
CREATE TABLE train_steps (
    run          TEXT NOT NULL,
    step         INTEGER NOT NULL,
    attempt      INTEGER NOT NULL,
    epoch        INTEGER NOT NULL,
    loss         REAL NOT NULL,
    lr           REAL NOT NULL,
    images_per_s REAL NOT NULL,
    at_ms        INTEGER NOT NULL,
    PRIMARY KEY (run, step)
) STRICT, WITHOUT ROWID;

CREATE TABLE epoch_ends (
    run       TEXT NOT NULL,
    step      INTEGER NOT NULL,
    attempt   INTEGER NOT NULL,
    epoch     INTEGER NOT NULL,
    loss_mean REAL NOT NULL,
    time_ms   INTEGER NOT NULL,
    at_ms     INTEGER NOT NULL,
    PRIMARY KEY (run, step)
) STRICT, WITHOUT ROWID;

CREATE TABLE validations (
    run              TEXT NOT NULL,
    step             INTEGER NOT NULL,
    split            TEXT NOT NULL,
    attempt          INTEGER NOT NULL,
    epoch            INTEGER NOT NULL,
    miou             REAL NOT NULL,       -- 0 to 1, as all scores
    classes_present  INTEGER NOT NULL,
    classes_total    INTEGER NOT NULL,
    iou_per_class    TEXT NOT NULL,       -- JSON: one number or null a class
    pixel_accuracy   REAL NOT NULL,
    accuracy_mean    REAL NOT NULL,
    reference_metric REAL NOT NULL,       -- the reference project's number; not an mIoU
    n_images         INTEGER NOT NULL,
    n_pixels         INTEGER NOT NULL,
    at_ms            INTEGER NOT NULL,
    PRIMARY KEY (run, step, split)
) STRICT, WITHOUT ROWID;

CREATE TABLE checkpoints (
    run        TEXT NOT NULL,
    step       INTEGER NOT NULL,
    attempt    INTEGER NOT NULL,
    epoch      INTEGER NOT NULL,
    checkpoint TEXT NOT NULL,
    sha256     TEXT NOT NULL,
    bytes      INTEGER NOT NULL,
    at_ms      INTEGER NOT NULL,
    PRIMARY KEY (run, step)
) STRICT, WITHOUT ROWID;

-- Runs that are trained to the end.
CREATE TABLE trainings (
    run            TEXT NOT NULL PRIMARY KEY,
    attempt        INTEGER NOT NULL,
    step           INTEGER NOT NULL,
    adapter_sha256 TEXT NOT NULL,
    at_ms          INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE scores (
    run               TEXT NOT NULL,
    score             TEXT NOT NULL,
    attempt           INTEGER NOT NULL,
    checkpoint_sha256 TEXT NOT NULL,
    checkpoint_step   INTEGER NOT NULL,
    protocol          TEXT NOT NULL,
    eval_set          TEXT NOT NULL,
    set_fingerprint   TEXT NOT NULL,
    suite             TEXT,
    corruption        TEXT,
    severity          INTEGER,
    miou              REAL NOT NULL,
    classes_present   INTEGER NOT NULL,
    classes_total     INTEGER NOT NULL,
    iou_per_class     TEXT NOT NULL,
    pixel_accuracy    REAL NOT NULL,
    accuracy_mean     REAL NOT NULL,
    reference_metric  REAL NOT NULL,
    n_images          INTEGER NOT NULL,
    n_pixels          INTEGER NOT NULL,
    time_ms           INTEGER NOT NULL,
    at_ms             INTEGER NOT NULL,
    PRIMARY KEY (run, score)
) STRICT, WITHOUT ROWID;

-- What workers warned of, and lines of journals that could not be read.
CREATE TABLE warnings (
    owner   TEXT NOT NULL,
    file    TEXT NOT NULL,
    line    INTEGER NOT NULL,
    at_ms   INTEGER,
    message TEXT NOT NULL,
    PRIMARY KEY (owner, file, line)
) STRICT, WITHOUT ROWID;

-- One row for each score that an experiment asks for; `miou` is NULL until it is made.
CREATE VIEW results AS
SELECT c.experiment, c.cell, c.labels, c.run,
       r.dino_type, r.size, r.registers, r.weights, r.tune, r.lora_rank, r.decoder, r.dataset,
       r.seed, r.input_h, r.input_w, r.tokens_h, r.tokens_w, r.params_total, r.params_trained,
       p.eval_set, p.protocol, CASE WHEN p.corruption IS NULL THEN NULL ELSE e.suite END AS suite,
       p.corruption, p.severity, p.score, s.miou, s.classes_present, s.classes_total,
       s.pixel_accuracy, s.accuracy_mean, s.reference_metric, s.n_images, s.checkpoint_sha256,
       s.checkpoint_step, s.set_fingerprint, a.version, a.git, a.host, a.device, a.device_name
FROM cells c
JOIN experiments e ON e.experiment = c.experiment
JOIN cell_scores p ON p.experiment = c.experiment AND p.cell = c.cell
LEFT JOIN runs r ON r.run = c.run
LEFT JOIN scores s ON s.run = c.run AND s.score = p.score
LEFT JOIN attempts a ON a.run = s.run AND a.attempt = s.attempt;

-- One row an epoch (and validated split): training loss, validation scores.
CREATE VIEW epochs AS
SELECT n.run, r.dino_type, r.size, r.weights, r.tune, r.lora_rank, r.decoder, r.dataset, r.seed,
       n.epoch, n.step, n.loss_mean, n.time_ms, v.split, v.miou, v.pixel_accuracy,
       v.accuracy_mean, v.reference_metric
FROM epoch_ends n
LEFT JOIN runs r ON r.run = n.run
LEFT JOIN validations v ON v.run = n.run AND v.step = n.step;

-- One row a score and class; `iou` is NULL where the class is absent from the ground truth.
CREATE VIEW per_class AS
SELECT s.run, r.dino_type, r.size, r.weights, r.tune, r.lora_rank, r.decoder, r.dataset, r.seed,
       s.score, s.eval_set, s.protocol, s.corruption, s.severity, k.key AS class_idx,
       k.value AS iou
FROM scores s
JOIN json_each(s.iou_per_class) k
LEFT JOIN runs r ON r.run = s.run;
