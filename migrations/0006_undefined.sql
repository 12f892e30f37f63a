-- A score is NULL where nothing is labelled: 0/0 is no score, and never 0. SQLite cannot take NOT NULL
-- away from a column, so that both tables are made again, their columns in the same order.
CREATE TABLE scores_before AS SELECT * FROM scores;
DROP TABLE scores;
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
    miou              REAL,
    classes_present   INTEGER NOT NULL,
    classes_total     INTEGER NOT NULL,
    iou_per_class     TEXT NOT NULL,
    pixel_accuracy    REAL,
    accuracy_mean     REAL,
    reference_metric  REAL,
    n_images          INTEGER NOT NULL,
    n_pixels          INTEGER NOT NULL,
    time_ms           INTEGER NOT NULL,
    at_ms             INTEGER NOT NULL,
    iou_frequency_weighted REAL,
    miou_union        REAL,               -- mmseg's mean, over classes with any union
    PRIMARY KEY (run, score)
) STRICT, WITHOUT ROWID;
INSERT INTO scores SELECT * FROM scores_before;
DROP TABLE scores_before;

CREATE TABLE validations_before AS SELECT * FROM validations;
DROP TABLE validations;
CREATE TABLE validations (
    run              TEXT NOT NULL,
    step             INTEGER NOT NULL,
    split            TEXT NOT NULL,
    attempt          INTEGER NOT NULL,
    epoch            INTEGER NOT NULL,
    miou             REAL,                -- 0 to 1, as all scores
    classes_present  INTEGER NOT NULL,
    classes_total    INTEGER NOT NULL,
    iou_per_class    TEXT NOT NULL,       -- JSON: one number or null a class
    pixel_accuracy   REAL,
    accuracy_mean    REAL,
    reference_metric REAL,                -- the reference project's number; not an mIoU
    n_images         INTEGER NOT NULL,
    n_pixels         INTEGER NOT NULL,
    at_ms            INTEGER NOT NULL,
    iou_frequency_weighted REAL,
    miou_union       REAL,
    PRIMARY KEY (run, step, split)
) STRICT, WITHOUT ROWID;
INSERT INTO validations SELECT * FROM validations_before;
DROP TABLE validations_before;

UPDATE scores SET miou = NULL, pixel_accuracy = NULL, accuracy_mean = NULL, reference_metric = NULL
WHERE n_pixels = 0;
UPDATE validations
SET miou = NULL, pixel_accuracy = NULL, accuracy_mean = NULL, reference_metric = NULL
WHERE n_pixels = 0;
