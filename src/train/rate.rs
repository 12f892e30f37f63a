//! Computes the learning rate over a run, as a factor on the configured rates.

use super::config::Schedule;

/// The factor for the optimiser step after `done` steps of `total`.
pub fn factor(schedule: Schedule, done: u64, total: u64) -> f64 {
    match schedule {
        Schedule::Constant {} => 1.0,
        Schedule::Cosine { warmup_percent } => {
            let warmup = total * u64::from(warmup_percent) / 100;
            if done < warmup {
                return (done + 1) as f64 / warmup as f64;
            }
            let rest = (total - warmup).max(1);
            let part = (done - warmup) as f64 / rest as f64;
            0.5 * (1.0 + (std::f64::consts::PI * part).cos())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(done: u64, expect: f64) {
        let factor = factor(Schedule::Cosine { warmup_percent: 10 }, done, 100);
        assert!((factor - expect).abs() < 1e-12, "{done}: {factor} {expect}");
    }

    #[test]
    fn cosine_warms_up_peaks_and_falls() {
        check(0, 0.1);
        check(9, 1.0);
        check(10, 1.0);
        check(55, 0.5);
        assert!(factor(Schedule::Cosine { warmup_percent: 10 }, 99, 100) < 0.001);
    }

    #[test]
    fn short_runs_have_no_warm_up() {
        assert!((factor(Schedule::Cosine { warmup_percent: 4 }, 0, 8) - 1.0).abs() < 1e-12);
        assert!((factor(Schedule::Constant {}, 5, 8) - 1.0).abs() < 1e-12);
    }
}
