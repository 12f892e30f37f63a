//! Journal events, times and amounts in words.

use std::time::Duration;

use crate::event::{Event, Line, Memory, Metrics, Outcome};

/// Percent of training spent waiting for data beyond which advice is given; and the shortest such
/// wait, as an epoch of one second also waits for its first batch.
const WAITING_PERCENT_MAX: f64 = 10.0;
const WAITING_MS_MIN: u64 = 5000;

/// One event as people read it.
pub fn event(event: &Event) -> String {
    match event {
        Event::AttemptStarted(a) => format!(
            "attempt {} on {} ({}, {} threads), pid {} on {}, sweep {} ({})",
            a.attempt, a.device, a.device_name, a.threads, a.pid, a.host, a.version, a.git
        ),
        Event::ModelBuilt(m) => format!(
            "model of {} parameters, {} trained; input {}x{} px, {}x{} tokens; {} images, {} steps",
            m.params_total,
            m.params_trained,
            m.input_px[0],
            m.input_px[1],
            m.tokens[0],
            m.tokens[1],
            m.n_train_images,
            m.steps_total
        ),
        Event::Resumed { step, .. } => format!("resumed after step {step}"),
        Event::CheckpointRejected { checkpoint, reason } => {
            format!("checkpoint {checkpoint} is not used: {reason}")
        }
        Event::TrainStep(t) => format!(
            "epoch {} step {}: loss {:.4}, lr {:.2e}, {:.1} img/s",
            t.epoch, t.step, t.loss, t.lr, t.images_per_s
        ),
        Event::EpochEnded { epoch, step, loss_mean, time_ms, wait_ms } => {
            let waited = wait_ms.and_then(|wait_ms| waiting(wait_ms, *time_ms));
            format!(
                "epoch {epoch} ends at step {step}: mean loss {loss_mean:.4}, {}{}",
                ms(*time_ms),
                waited.map_or_else(String::new, |waited| format!("; {waited}"))
            )
        }
        Event::Validated { epoch, split, metrics, .. } => {
            format!("epoch {epoch} on {split}: {}", scores(metrics))
        }
        Event::CheckpointSaved { step, checkpoint, bytes, .. } => {
            format!("saved {checkpoint} at step {step}, {}", size(*bytes))
        }
        Event::TrainingEnded { step, .. } => format!("trained, {step} steps"),
        Event::Scoring { images_done, images_total, .. } => {
            format!("scoring: {images_done}/{images_total} images")
        }
        Event::ScoreEnded(score) => {
            let (set, condition, time) = (&score.set, &score.condition, ms(score.time_ms));
            format!("{set} {condition}: {}, {time}", scores(&score.metrics))
        }
        Event::Warning { message } => format!("warning: {message}"),
        Event::AttemptEnded { outcome, memory } => {
            let memory = memory.and_then(|Memory { process_bytes, device_bytes }| {
                self::memory(process_bytes, device_bytes)
            });
            let memory = memory.map_or_else(String::new, |memory| format!("; {memory}"));
            format!("{}{memory}", self::outcome(outcome))
        }
    }
}

/// `memory 1.2 GiB, 8.0 GiB on the GPU`, the largest of an attempt; `None` where nothing is known.
pub fn memory(process_bytes: Option<u64>, device_bytes: Option<u64>) -> Option<String> {
    let on_gpu = device_bytes.map(|bytes| format!("{} on the GPU", size(bytes)));
    let parts: Vec<_> = process_bytes.map(size).into_iter().chain(on_gpu).collect();
    (!parts.is_empty()).then(|| format!("memory {}", parts.join(", ")))
}

/// `waited for data 0.3% of training`, and what to do about it where that is much; `None` where no
/// time has passed.
pub fn waiting(wait_ms: u64, time_ms: u64) -> Option<String> {
    if time_ms == 0 {
        return None;
    }
    let percent = wait_ms as f64 / time_ms as f64 * 100.0;
    let advice = if percent > WAITING_PERCENT_MAX && wait_ms >= WAITING_MS_MIN {
        ": raise `schedule.threads` to load faster, or `schedule.cache_mb` to keep loaded images"
    } else {
        ""
    };
    Some(format!("waited for data {percent:.1}% of training{advice}"))
}

/// One journal line: time (UTC) and event.
pub fn line(line: &Line) -> String {
    format!("{}  {}", time(line.at_ms), event(&line.event))
}

fn scores(metrics: &Metrics) -> String {
    format!("mIoU {}, pixel accuracy {}", percent(metrics.miou), percent(metrics.pixel_accuracy))
}

/// A score of 0 to 1 in percent; a dash where it is not defined.
pub fn percent(score: Option<f64>) -> String {
    score.map_or_else(|| "–".to_owned(), |score| format!("{:.2}", 100.0 * score))
}

fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Done => "done".to_owned(),
        Outcome::Interrupted => "stopped on request, state saved".to_owned(),
        Outcome::Failed { message, .. } => format!("failed: {message}"),
    }
}

/// `2026-03-01 12:00:05Z`; times are printed in UTC as journals are shared between machines.
pub fn time(at_ms: u64) -> String {
    let timestamp =
        i64::try_from(at_ms).ok().and_then(|at| jiff::Timestamp::from_millisecond(at).ok());
    timestamp.map_or_else(|| "?".to_owned(), |time| time.strftime("%F %TZ").to_string())
}

/// `340 ms`, `5.2 s`, `3m 20s`, `2h 05m`, `3d 04h`.
pub fn duration(time: Duration) -> String {
    let s = time.as_secs();
    match s {
        0 if time.as_millis() < 1000 => format!("{} ms", time.as_millis()),
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        60..3600 => format!("{}m {:02}s", s / 60, s % 60),
        3600..86400 => format!("{}h {:02}m", s / 3600, s / 60 % 60),
        _ => format!("{}d {:02}h", s / 86400, s / 3600 % 24),
    }
}

/// `12 B`, `3.4 MiB`.
pub fn size(bytes: u64) -> String {
    let mut amount = bytes as f64;
    let mut unit = "B";
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if amount < 1024.0 {
            break;
        }
        amount /= 1024.0;
        unit = larger;
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{amount:.1} {unit}") }
}

/// `1 run`, `3 runs`.
pub fn count(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

fn ms(time_ms: u64) -> String {
    duration(Duration::from_millis(time_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units_at_most() {
        let check = |ms, expect: &str| assert_eq!(duration(Duration::from_millis(ms)), expect);
        check(340, "340 ms");
        check(5240, "5.2 s");
        check(200_000, "3m 20s");
        check(7_500_000, "2h 05m");
        check(273_600_000, "3d 04h");
    }

    #[test]
    fn waiting_is_a_part_of_training_and_much_of_it_comes_with_advice() {
        let check = |wait_ms, time_ms| waiting(wait_ms, time_ms).unwrap();
        assert_eq!(check(0, 1), "waited for data 0.0% of training");
        assert_eq!(check(10_000, 100_000), "waited for data 10.0% of training");
        assert_eq!(check(4999, 5000), "waited for data 100.0% of training");
        insta::assert_snapshot!(check(10_100, 100_000), @"waited for data 10.1% of training: raise `schedule.threads` to load faster, or `schedule.cache_mb` to keep loaded images");
        assert_eq!(waiting(0, 0), None);
    }

    #[test]
    fn sizes_are_binary() {
        assert_eq!(size(12), "12 B");
        assert_eq!(size(3_565_158), "3.4 MiB");
        assert_eq!(size(5 << 50), "5120.0 TiB");
    }

    #[test]
    fn times_are_utc() {
        assert_eq!(time(1_772_366_405_123), "2026-03-01 12:00:05Z");
        assert_eq!(time(u64::MAX), "?");
    }
}
