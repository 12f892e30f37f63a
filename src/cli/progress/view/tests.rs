use super::*;
use crate::event::{ModelBuilt, TrainStep};
use crate::id::ScoreId;

fn id(n: u8) -> RunId {
    RunId::parse(&format!("{n:016x}")).unwrap()
}

fn title(n: u8, trained: bool) -> RunTitle {
    let title = format!("run {n}");
    RunTitle { run: id(n), title, trained, scores_wanted: 4, scores_made: 0 }
}

fn hear(run: &mut RunView, at_s: u64, event: Event) {
    run.hear(&Line { v: 1, at_ms: at_s * 1000, event });
}

fn step(step: u64) -> Event {
    Event::TrainStep(TrainStep { step, epoch: 2, loss: 0.51234, lr: 1e-3, images_per_s: 12.34 })
}

fn scoring(images_done: u64) -> Event {
    let score = ScoreId::of(&serde_json::json!(1));
    Event::Scoring { score, images_done, images_total: 10 }
}

fn built() -> Event {
    Event::ModelBuilt(ModelBuilt {
        params_total: 1,
        params_trained: 1,
        input_px: [28, 28],
        tokens: [2, 2],
        n_classes: 6,
        n_train_images: 8,
        steps_total: 100,
    })
}

fn running(trained: bool) -> RunView {
    let mut run = RunView::new(&title(1, trained));
    run.state = State::Running;
    run
}

#[test]
fn a_training_run_shows_epoch_step_loss_pace_and_time_left() {
    let mut run = running(false);
    assert_eq!(run.line(), "run 1: preparing");
    hear(&mut run, 1, built());
    hear(&mut run, 10, step(10));
    hear(&mut run, 20, step(20));
    let line = "run 1: epoch 2, step 20/100, loss 0.5123, 12.3 img/s, 1m 20s left";
    assert_eq!(run.line(), line);
}

#[test]
fn a_resumed_run_is_paced_by_its_own_steps_only() {
    let mut run = running(false);
    hear(&mut run, 1, built());
    hear(&mut run, 2, Event::Resumed { step: 80, checkpoint: String::new() });
    hear(&mut run, 10, step(81));
    hear(&mut run, 19, step(90));
    assert_eq!(run.left().unwrap().as_secs(), 10);
}

#[test]
fn a_scoring_run_counts_scores_and_images() {
    let mut run = running(false);
    hear(&mut run, 1, built());
    let ended = Event::TrainingEnded { step: 100, epoch: 2, adapter_sha256: String::new() };
    hear(&mut run, 100, ended);
    hear(&mut run, 105, scoring(5));
    assert_eq!(run.line(), "run 1: scoring 1/4, image 5/10, 35.0 s left");
}

#[test]
fn work_grows_from_0_to_1() {
    let mut run = running(false);
    let mut works = vec![run.work()];
    hear(&mut run, 1, built());
    hear(&mut run, 2, step(50));
    works.push(run.work());
    hear(&mut run, 3, Event::TrainingEnded { step: 100, epoch: 2, adapter_sha256: String::new() });
    works.push(run.work());
    hear(&mut run, 4, scoring(5));
    works.push(run.work());
    run.state = State::Done;
    works.push(run.work());
    let expect = [0.0, 0.3, 0.6, 0.65, 1.0];
    assert!(works.iter().zip(expect).all(|(a, b)| (a - b).abs() < 1e-9), "{works:?}");
}

#[test]
fn the_sweep_line_counts_and_estimates() {
    let mut sweep = SweepView::new(&[title(1, false), title(2, false)]);
    let minute = Duration::from_mins(1);
    assert_eq!(sweep.line(minute), "[--------------------] 0/2 runs, 1m 00s");
    sweep.run_mut(&id(1)).unwrap().state = State::Done;
    sweep.done = 1;
    sweep.run_mut(&id(2)).unwrap().state = State::Running;
    assert_eq!(
        sweep.line(minute),
        "[##########----------] 1/2 runs, 1 running, 1m 00s, about 1m 00s left"
    );
    sweep.run_mut(&id(2)).unwrap().state = State::Failed;
    sweep.failed = 1;
    assert!(sweep.line(minute).contains("2/2 runs, 1 failed"));
}

#[test]
fn work_done_before_is_no_pace() {
    let sweep = SweepView::new(&[title(1, true)]);
    assert_eq!(sweep.left(Duration::from_secs(5)), None);
}
