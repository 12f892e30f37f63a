//! Tests of the index on results folders as workers leave them.

use std::time::{Duration, Instant};

use super::fake::{self, Fake, seeded};
use super::*;
use crate::event::{Event, FailureClass, Outcome, SweepEvent};
use crate::fs::RunDir;
use crate::id::RunId;

/// Checks that the index equals one made from the journals alone.
async fn assert_rebuilds(fake: &Fake, store: &Store) {
    let incremental = store.dump().await;
    store.close().await;
    let rebuilt = Store::rebuild(&fake.results).await.unwrap();
    assert_eq!(incremental, rebuilt.dump().await);
    assert!(!incremental.is_empty());
}

async fn steps(store: &Store) -> Vec<(i64, i64)> {
    let steps = sqlx::query_as("SELECT step, attempt FROM train_steps ORDER BY step");
    steps.fetch_all(&store.pool).await.unwrap()
}

async fn one<T>(store: &Store, sql: &'static str) -> T
where
    T: for<'r> sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite> + Send + Unpin,
{
    sqlx::query_scalar(sql).fetch_one(&store.pool).await.unwrap()
}

#[tokio::test]
async fn lines_come_once_and_the_rebuilt_index_is_equal_row_for_row() {
    let fake = Fake::new();
    let store = Store::open(&fake.results).await.unwrap();
    let run = fake.run(&seeded(0));
    fake.plan("grid", &["seed"], &[(&["0"], &run)]);
    store.ingest_experiment("grid").await.unwrap();
    fake.append(&run, 1, vec![fake::started(1), fake::built(), fake::step(1)]);
    assert_eq!(store.ingest_run(&fake.dir(&run)).await.unwrap().len(), 3);
    assert_eq!(store.ingest_run(&fake.dir(&run)).await.unwrap().len(), 0);
    fake.append(&run, 1, vec![fake::step(2), fake::checkpoint(2), fake::step(3)]);
    fake.append(&run, 1, vec![Event::Warning { message: "it's late".into() }]);
    let lines = store.ingest_run(&fake.dir(&run)).await.unwrap();
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[0].event, fake::step(2));
    fake.append(&run, 2, vec![fake::started(2), fake::resumed(2), fake::step(3), fake::ended(3)]);
    fake.append(&run, 2, vec![fake::score(&run, None, 0.1), fake::score(&run, Some("fog"), 0.3)]);
    store.ingest_run(&fake.dir(&run)).await.unwrap();
    // The plan changes: the earlier membership is replaced.
    let other = fake.finished(&seeded(1), 1.0 / 3.0, 3);
    fake.plan("grid", &["seed"], &[(&["1"], &other)]);
    fake.sweep("grid", SweepEvent::SweepEnded { done: 1, failed: 0, interrupted: false });
    store.ingest_all().await.unwrap();
    assert_eq!(one::<i64>(&store, "SELECT count(*) FROM cells").await, 1);
    assert_eq!(one::<i64>(&store, "SELECT count(*) FROM cell_scores").await, 4);
    assert_rebuilds(&fake, &store).await;
}

#[tokio::test]
async fn plans_keep_the_parts_of_their_protocol_and_older_plans_have_none() {
    let fake = Fake::new();
    let run = fake.run(&seeded(0));
    fake.plan("grid", &["seed"], &[(&["0"], &run)]);
    let journal = fake.results.experiment_journal("grid");
    let text = fs_err::read_to_string(&journal).unwrap();
    let parts = serde_json::to_string(&fake::protocol()).unwrap();
    let older = text.replace(&format!(r#""protocol_parts":{parts},"#), "");
    assert!(older.len() < text.len() && !older.contains("protocol_parts"));
    fake::append(&fake.results.experiment_journal("older"), &older);
    let store = Store::open(&fake.results).await.unwrap();
    store.ingest_all().await.unwrap();
    for (name, expect) in [("grid", Some(fake::protocol())), ("older", None)] {
        let rows = store.experiment(name).await.unwrap().unwrap();
        let scores = &rows.cells[0].scores;
        assert_eq!(scores.len(), 4);
        for score in scores {
            assert_eq!(score.planned.protocol, fake::PROTOCOL);
            assert_eq!(score.planned.protocol_parts, expect);
        }
        assert_eq!(scores[1].planned.condition, fake::condition(Some("fog")));
    }
    assert_rebuilds(&fake, &store).await;
}

#[tokio::test]
async fn numbers_survive_exactly() {
    let fake = Fake::new();
    let miou = 0.1 + 0.2;
    let run = fake.finished(&seeded(0), miou, 0);
    fake.plan("grid", &["seed"], &[(&["0"], &run)]);
    let store = Store::open(&fake.results).await.unwrap();
    store.ingest_all().await.unwrap();
    let rows = store.experiment("grid").await.unwrap().unwrap();
    let made = rows.cells[0].scores[0].made.as_ref().unwrap();
    assert_eq!(made.metrics, fake::metrics(miou));
    assert_eq!(rows.cells[0].facts.as_ref().unwrap().spec, seeded(0));
    let clean = one::<f64>(&store, "SELECT miou FROM results WHERE corruption IS NULL").await;
    assert_eq!(clean.to_bits(), miou.to_bits());
    let classes = "SELECT count(*) FROM per_class WHERE class_idx = 1 AND iou IS NULL";
    assert_eq!(one::<i64>(&store, classes).await, 1);
    let class = "SELECT class FROM per_class WHERE class_idx = 1";
    assert_eq!(one::<Option<String>>(&store, class).await.as_deref(), Some("sea"));
    assert_eq!(one::<Option<f64>>(&store, "SELECT miou FROM epochs").await, Some(0.25));
    assert_eq!(one::<Option<i64>>(&store, "SELECT wait_ms FROM epochs").await, Some(3));
}

/// Checks undefined scores as journals hold them now (null) and held them before (0).
#[tokio::test]
async fn a_score_of_nothing_is_null() {
    let fake = Fake::new();
    let run = fake.finished(&seeded(0), 0.5, 0);
    fake.plan("grid", &["seed"], &[(&["0"], &run)]);
    for undefined in [None, Some(0.0)] {
        let Event::ScoreEnded(mut score) = fake::score(&run, None, 0.5) else { unreachable!() };
        let metrics = &mut score.metrics;
        (metrics.n_pixels, metrics.classes_present) = (0, 0);
        (metrics.miou, metrics.pixel_accuracy) = (undefined, undefined);
        (metrics.accuracy_mean, metrics.reference_metric) = (undefined, undefined);
        let validated = Event::Validated {
            epoch: 1,
            step: 3,
            split: "val".into(),
            metrics: score.metrics.clone(),
        };
        fake.append(&run, 1, vec![validated, Event::ScoreEnded(score)]);
        let store = Store::open(&fake.results).await.unwrap();
        store.ingest_all().await.unwrap();
        let rows = store.experiment("grid").await.unwrap().unwrap();
        let made = rows.cells[0].scores[0].made.as_ref().unwrap();
        assert_eq!((made.metrics.miou, made.metrics.reference_metric), (None, None));
        let clean = "SELECT miou FROM results WHERE corruption IS NULL";
        assert_eq!(one::<Option<f64>>(&store, clean).await, None);
        assert_eq!(one::<Option<f64>>(&store, "SELECT miou FROM epochs").await, None);
        assert_rebuilds(&fake, &store).await;
    }
}

#[tokio::test]
async fn a_resumed_attempt_supersedes_what_comes_after_its_checkpoint() {
    let fake = Fake::new();
    let run = fake.run(&seeded(0));
    let store = Store::open(&fake.results).await.unwrap();
    fake.append(&run, 1, vec![fake::started(1), fake::step(1), fake::step(2), fake::step(3)]);
    fake.append(&run, 1, vec![fake::checkpoint(1), fake::checkpoint(2), fake::checkpoint(3)]);
    store.ingest_run(&fake.dir(&run)).await.unwrap();
    // Checkpoint 3 turns out unusable, 2 is taken.
    let rejected = Event::CheckpointRejected { checkpoint: "step-3".into(), reason: "torn".into() };
    fake.append(&run, 2, vec![fake::started(2), rejected, fake::resumed(2)]);
    store.ingest_run(&fake.dir(&run)).await.unwrap();
    assert_eq!(steps(&store).await, [(1, 1), (2, 1)]);
    assert_eq!(store.run_status().await.unwrap()[&run].last_checkpoint_step, Some(2));
    fake.append(&run, 2, vec![fake::step(3), fake::epoch(1, 3), fake::ended(3)]);
    store.ingest_run(&fake.dir(&run)).await.unwrap();
    assert_eq!(steps(&store).await, [(1, 1), (2, 1), (3, 2)]);
    assert_rebuilds(&fake, &store).await;
}

#[tokio::test]
async fn an_attempt_that_trains_without_resuming_starts_over_and_one_that_scores_does_not() {
    let fake = Fake::new();
    let run = fake.finished(&seeded(0), 0.5, 1);
    fake.append(&run, 2, vec![fake::started(2), fake::built(), fake::score(&run, None, 0.6)]);
    let store = Store::open(&fake.results).await.unwrap();
    store.ingest_all().await.unwrap();
    assert_eq!(steps(&store).await.len(), 3);
    let state = store.run_status().await.unwrap().remove(&run).unwrap();
    assert!(state.trained);
    assert_eq!((state.scores.len(), state.attempts), (2, 2));
    let latest = "SELECT miou FROM scores WHERE corruption IS NULL";
    assert_eq!(one::<Option<f64>>(&store, latest).await, Some(0.6));
    // Its adapter was deleted by hand: it trains again.
    fake.append(&run, 3, vec![fake::started(3), fake::step(1)]);
    store.ingest_all().await.unwrap();
    assert_eq!(steps(&store).await, [(1, 3)]);
    assert!(!store.run_status().await.unwrap()[&run].trained);
    assert_rebuilds(&fake, &store).await;
}

#[tokio::test]
async fn a_torn_line_waits_and_is_passed_over_once_a_later_attempt_exists() {
    let fake = Fake::new();
    let run = fake.run(&seeded(0));
    let store = Store::open(&fake.results).await.unwrap();
    fake.append(&run, 1, vec![fake::started(1), fake::step(1)]);
    fake.append_raw(&run, 1, "{\"v\":1,\"at_ms\":5,\"eve");
    assert_eq!(store.ingest_run(&fake.dir(&run)).await.unwrap().len(), 2);
    // It was only half written when read: the rest comes.
    fake.append_raw(&run, 1, "nt\":{\"kind\":\"warning\",\"message\":\"whole\"}}\n{\"v\":");
    assert_eq!(store.ingest_run(&fake.dir(&run)).await.unwrap().len(), 1);
    assert_eq!(store.run_details(&run).await.unwrap().warnings.len(), 1);
    fake.append(&run, 2, vec![fake::started(2), fake::resumed(1), fake::step(2)]);
    assert_eq!(store.ingest_run(&fake.dir(&run)).await.unwrap().len(), 3);
    let warnings = store.run_details(&run).await.unwrap().warnings;
    assert!(warnings[1].contains("events.1.jsonl:4: incomplete last line"), "{warnings:?}");
    assert_eq!(store.ingest_all().await.unwrap(), 0);
    assert_rebuilds(&fake, &store).await;
}

#[tokio::test]
async fn an_unreadable_line_is_kept_as_a_warning() {
    let fake = Fake::new();
    let run = fake.run(&seeded(0));
    fake.append(&run, 1, vec![fake::started(1)]);
    fake.append_raw(&run, 1, "\0\0\0\0\n{\"v\":1,\"at_ms\":5,\"event\":{\"kind\":\"dance\"}}\n");
    fake.append(&run, 1, vec![fake::step(1)]);
    let store = Store::open(&fake.results).await.unwrap();
    assert_eq!(store.ingest_run(&fake.dir(&run)).await.unwrap().len(), 2);
    let warnings = store.run_details(&run).await.unwrap().warnings;
    assert_eq!(warnings.len(), 2);
    assert!(warnings[0].starts_with(&format!("runs/{run}/events.1.jsonl:2: unreadable line")));
    assert!(warnings[1].contains("dance"));
    assert_rebuilds(&fake, &store).await;
}

#[tokio::test]
async fn a_line_of_a_newer_sweep_is_refused_by_name() {
    let fake = Fake::new();
    let run = fake.run(&seeded(0));
    fake.append(&run, 1, vec![fake::started(1)]);
    fake.append_raw(&run, 1, "{\"v\":2,\"when\":5}\n");
    let store = Store::open(&fake.results).await.unwrap();
    let error = store.ingest_run(&fake.dir(&run)).await.unwrap_err();
    let message = error.to_string();
    assert!(message.contains("events.1.jsonl`, line 2, was written by a newer sweep"), "{message}");
    assert_eq!(error.class(), FailureClass::Environment);
    assert_eq!(one::<i64>(&store, "SELECT count(*) FROM attempts").await, 0);
}

#[tokio::test]
async fn journals_that_change_below_the_index_are_indexed_again() {
    let fake = Fake::new();
    let run = fake.finished(&seeded(0), 0.5, 3);
    let gone = fake.finished(&seeded(1), 0.5, 3);
    fake.append(&run, 3, vec![fake::started(3), fake::resumed(2), fake::step(3)]);
    let store = Store::open(&fake.results).await.unwrap();
    store.ingest_all().await.unwrap();
    // An attempt that another machine made arrives late; a run is deleted; a journal is cut.
    fake.append(&run, 2, vec![fake::started(2), fake::resumed(1), fake::step(2)]);
    fs_err::remove_dir_all(fake.dir(&gone).root()).unwrap();
    let cut = fake.finished(&seeded(2), 0.5, 3);
    store.ingest_all().await.unwrap();
    let text = fs_err::read_to_string(fake.dir(&cut).events(1)).unwrap();
    let lines: Vec<_> = text.lines().take(4).collect();
    crate::fs::write_atomic(&fake.dir(&cut).events(1), (lines.join("\n") + "\n").as_bytes())
        .unwrap();
    store.ingest_all().await.unwrap();
    assert!(!store.run_status().await.unwrap().contains_key(&gone));
    assert_rebuilds(&fake, &store).await;
}

#[tokio::test]
async fn a_run_without_a_readable_spec_says_why() {
    let fake = Fake::new();
    let run = fake.run(&seeded(0));
    fs_err::remove_file(fake.dir(&run).spec()).unwrap();
    fake.append(&run, 1, vec![fake::started(1)]);
    let store = Store::open(&fake.results).await.unwrap();
    store.ingest_all().await.unwrap();
    let problem = store.run_details(&run).await.unwrap().problem.unwrap();
    assert_eq!(problem, "spec.json is missing");
    crate::fs::write_atomic(&fake.dir(&run).spec(), br#"{"version": 9}"#).unwrap();
    store.ingest_all().await.unwrap();
    let problem = store.run_details(&run).await.unwrap().problem.unwrap();
    assert!(problem.contains("newer sweep (version 9"), "{problem}");
    fake.run(&seeded(0));
    store.ingest_all().await.unwrap();
    let details = store.run_details(&run).await.unwrap();
    assert_eq!((details.problem, details.facts.is_some()), (None, true));
    assert_rebuilds(&fake, &store).await;
}

#[tokio::test]
async fn the_latest_attempt_says_whether_a_run_failed() {
    let fake = Fake::new();
    let run = fake.run(&seeded(0));
    let store = Store::open(&fake.results).await.unwrap();
    let failed = Outcome::Failed { message: "no space".into(), class: FailureClass::Environment };
    let outcome = Event::AttemptEnded { outcome: failed.clone(), memory: None };
    fake.append(&run, 1, vec![fake::started(1), outcome]);
    let exited = |attempt, error: Option<&str>, interrupted| SweepEvent::AttemptExited {
        run: run.clone(),
        attempt,
        error: error.map(str::to_owned),
        interrupted,
    };
    fake.sweep("grid", exited(1, Some("exit status 1"), false));
    store.ingest_all().await.unwrap();
    let state = store.run_status().await.unwrap().remove(&run).unwrap();
    assert_eq!(state.failed.as_deref(), Some("no space"));
    assert_eq!((state.last_outcome, state.attempts), (Some(failed), 1));
    // Killed before its first line: only the coordinator knows.
    fake.sweep("grid", exited(2, Some("killed by signal 9"), false));
    store.ingest_all().await.unwrap();
    let state = store.run_status().await.unwrap().remove(&run).unwrap();
    assert_eq!((state.failed.as_deref(), state.attempts), (Some("killed by signal 9"), 2));
    fake.sweep("grid", exited(3, None, true));
    store.ingest_all().await.unwrap();
    let state = store.run_status().await.unwrap().remove(&run).unwrap();
    assert_eq!((state.failed, state.last_outcome), (None, Some(Outcome::Interrupted)));
    assert_rebuilds(&fake, &store).await;
}

#[tokio::test]
async fn a_newer_database_is_refused_by_name_and_left_alone() {
    let fake = Fake::new();
    let store = Store::open(&fake.results).await.unwrap();
    sqlx::query("INSERT INTO _sqlx_migrations VALUES (900, 'later', '2030-01-01', TRUE, x'00', 1)")
        .execute(&store.pool)
        .await
        .unwrap();
    store.close().await;
    let bytes = fs_err::read(fake.results.database()).unwrap();
    for result in [Store::open(&fake.results).await, Store::open_read_only(&fake.results).await] {
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Newer { migration: 900, .. }), "{error:?}");
        assert!(error.to_string().contains("sweep index rebuild"));
    }
    assert_eq!(fs_err::read(fake.results.database()).unwrap(), bytes);
    Store::rebuild(&fake.results).await.unwrap();
    Store::open(&fake.results).await.unwrap();
}

#[tokio::test]
async fn a_damaged_database_says_how_to_make_it_again() {
    let fake = Fake::new();
    let run = fake.finished(&seeded(0), 0.5, 3);
    fs_err::write(fake.results.database(), "not a database, but long enough to be one".repeat(99))
        .unwrap();
    for result in [Store::open(&fake.results).await, Store::open_read_only(&fake.results).await] {
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{error:?}");
        assert!(error.to_string().contains("sweep index rebuild"));
    }
    let store = Store::rebuild(&fake.results).await.unwrap();
    assert!(store.run_status().await.unwrap()[&run].trained);
}

#[tokio::test]
async fn a_failed_rebuild_keeps_the_old_index() {
    let fake = Fake::new();
    let run = fake.finished(&seeded(0), 0.5, 3);
    let store = Store::open(&fake.results).await.unwrap();
    store.ingest_all().await.unwrap();
    store.close().await;
    let bytes = fs_err::read(fake.results.database()).unwrap();
    fake.append_raw(&run, 2, "{\"v\":77}\n");
    let error = Store::rebuild(&fake.results).await.unwrap_err();
    assert!(matches!(error, Error::NewerLine { version: 77, .. }), "{error:?}");
    assert_eq!(fs_err::read(fake.results.database()).unwrap(), bytes);
    let left: Vec<_> = fs_err::read_dir(fake.results.root())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("tmp"))
        .collect();
    assert_eq!(left, Vec::<String>::new());
}

#[tokio::test]
async fn without_a_database_readers_make_it_in_memory() {
    let fake = Fake::new();
    assert_eq!(
        Store::open_read_only(&fake.results).await.unwrap().experiments().await.unwrap(),
        []
    );
    assert!(!fake.results.root().exists());
    let run = fake.finished(&seeded(0), 0.5, 3);
    let store = Store::open_read_only(&fake.results).await.unwrap();
    assert!(store.run_status().await.unwrap()[&run].trained);
    assert!(!fake.results.database().exists());
}

#[tokio::test]
async fn a_frozen_index_is_read_where_it_lies_or_made_in_memory_when_behind() {
    let fake = Fake::new();
    let run = fake.finished(&seeded(0), 0.5, 3);
    let store = Store::open(&fake.results).await.unwrap();
    store.ingest_all().await.unwrap();
    let expect = store.dump().await;
    store.close().await;
    let frozen = Store::open_frozen(&fake.results).await.unwrap();
    assert_eq!(frozen.dump().await, expect);
    assert_eq!(frozen.pool.connect_options().get_filename(), fake.results.database());
    let other = fake.finished(&seeded(1), 0.5, 3);
    let frozen = Store::open_frozen(&fake.results).await.unwrap();
    assert!(frozen.run_status().await.unwrap()[&other].trained);
    assert!(frozen.run_status().await.unwrap()[&run].trained);
}

#[tokio::test]
async fn writing_to_a_read_only_database_and_a_full_disk_are_named() {
    let fake = Fake::new();
    let store = Store::open(&fake.results).await.unwrap();
    // What SQLite says when the disk is full, without filling one.
    sqlx::query("PRAGMA max_page_count = 1").execute(&store.pool).await.unwrap();
    for seed in 0..40 {
        fake.finished(&seeded(seed), 0.5, 3);
    }
    let error = store.ingest_all().await.unwrap_err();
    assert!(matches!(error, Error::DiskFull { .. }), "{error:?}");
    assert_eq!(error.class(), FailureClass::Disk);
    store.close().await;
    let frozen = Store::open_read_only(&fake.results).await.unwrap();
    let run = RunDir::new(fake.results.runs().join(seed_run(&fake).as_str()));
    let error = frozen.ingest_run(&run).await.unwrap_err();
    assert!(matches!(error, Error::ReadOnly { .. }), "{error:?}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_read_only_folder_is_read_and_refuses_to_be_written() {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    if rustix::process::geteuid().is_root() {
        writeln!(std::io::stderr(), "skipped: nothing is read-only for root").unwrap();
        return;
    }
    let fake = Fake::new();
    let run = fake.finished(&seeded(0), 0.5, 3);
    let root = fake.results.root();
    let permit = |mode| fs_err::set_permissions(root, std::fs::Permissions::from_mode(mode));
    permit(0o555).unwrap();
    let error = Store::open(&fake.results).await.unwrap_err();
    assert!(matches!(error, Error::ReadOnly { .. }), "{error:?}");
    let store = Store::open_read_only(&fake.results).await.unwrap();
    assert!(store.run_status().await.unwrap()[&run].trained);
    permit(0o755).unwrap();
    let store = Store::open(&fake.results).await.unwrap();
    store.ingest_all().await.unwrap();
    store.close().await;
    permit(0o555).unwrap();
    let store = Store::open_read_only(&fake.results).await.unwrap();
    assert!(store.run_status().await.unwrap()[&run].trained);
    assert_eq!(store.pool.connect_options().get_filename(), fake.results.database());
    permit(0o755).unwrap();
}

fn seed_run(fake: &Fake) -> RunId {
    fake.finished(&seeded(99), 0.5, 3)
}

#[tokio::test]
async fn all_about_a_run_is_found_and_of_an_unknown_one_nothing() {
    let fake = Fake::new();
    let run = fake.finished(&seeded(0), 0.5, 3);
    fake.finished(&seeded(1), 0.5, 3);
    fake.plan("grid", &["seed"], &[(&["0"], &run)]);
    let store = Store::open(&fake.results).await.unwrap();
    store.ingest_all().await.unwrap();
    let details = store.run_details(&run).await.unwrap();
    assert_eq!((details.run, details.experiments), (run, vec!["grid".to_owned()]));
    assert_eq!((details.scores.len(), details.last_steps.len()), (4, 3));
    assert_eq!(details.epochs[0].validations, [("val".to_owned(), Some(0.25))]);
    let unknown = store.run_details(&RunId::parse("00000000000000aa").unwrap()).await.unwrap();
    assert_eq!((unknown.facts, unknown.state), (None, RunState::default()));
}

#[tokio::test]
async fn catching_up_with_a_thousand_finished_runs_is_quick() {
    let fake = Fake::new();
    let runs: Vec<_> = (0..1000).map(|seed| fake.finished(&seeded(seed), 0.5, 3)).collect();
    let labels: Vec<String> = (0..1000).map(|seed| seed.to_string()).collect();
    let labels: Vec<[&str; 1]> = labels.iter().map(|label| [label.as_str()]).collect();
    let cells: Vec<_> = labels.iter().zip(&runs).map(|(l, run)| (&l[..], run)).collect();
    fake.plan("grid", &["seed"], &cells);
    let store = Store::open(&fake.results).await.unwrap();
    assert!(store.ingest_all().await.unwrap() > 10_000);
    store.close().await;
    let start = Instant::now();
    let store = Store::open(&fake.results).await.unwrap();
    assert_eq!(store.ingest_all().await.unwrap(), 0);
    let caught_up = start.elapsed();
    assert_eq!(store.run_status().await.unwrap().len(), 1000);
    let status = start.elapsed();
    assert_eq!(store.experiment("grid").await.unwrap().unwrap().cells.len(), 1000);
    let all = start.elapsed();
    // The promise is 0.2 s on an idle machine; here others may be building.
    assert!(all < Duration::from_secs(10), "{caught_up:?}, {status:?}, {all:?}");
}
