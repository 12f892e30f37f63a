//! One score of a row, over its replicates.

use serde::Serialize;

use crate::id::RunId;
use crate::report::model::names::NOTHING;

/// A score over the replicates (runs equal but for the seed) of a row.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measure {
    /// Replicates of which all parts were scored, by seed; 0 to 1.
    pub values: Vec<Replicate>,
    /// The mean over fewer parts, where no replicate is whole.
    pub partial: Option<Partial>,
    /// Why there is nothing, where there is nothing.
    pub missing: Missing,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Replicate {
    pub seed: Option<u64>,
    pub run: RunId,
    pub value: f64,
}

/// The mean over a part of the suite only; never compared with a whole one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Partial {
    pub mean: f64,
    pub done: u32,
    pub total: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    NotAsked,
    /// Made, of a set without a labelled pixel.
    Undefined,
    /// Still to come.
    Open,
    Failed,
}

/// The parts that one replicate has of a score that is their mean (one part: the clean score).
#[derive(Debug, Clone)]
pub(in crate::report) struct Parts {
    pub(super) seed: Option<u64>,
    pub(super) run: RunId,
    pub(super) values: Vec<f64>,
    pub(super) total: u32,
    pub(super) missing: Missing,
}

impl Measure {
    pub(in crate::report) fn over(replicates: &[Parts]) -> Self {
        let is_whole = |parts: &Parts| parts.total > 0 && parts.values.len() as u32 == parts.total;
        let values = replicates.iter().filter(|parts| is_whole(parts)).map(|parts| Replicate {
            seed: parts.seed,
            run: parts.run.clone(),
            value: mean(&parts.values),
        });
        let values: Vec<_> = values.collect();
        // The replicate that is furthest: means over different parts are not averaged.
        let furthest = replicates
            .iter()
            .filter(|parts| !parts.values.is_empty())
            .max_by_key(|parts| parts.values.len());
        let partial = furthest.filter(|_| values.is_empty()).map(|parts| Partial {
            mean: mean(&parts.values),
            done: parts.values.len() as u32,
            total: parts.total,
        });
        let missing = replicates.iter().map(|parts| parts.missing).max();
        Self { values, partial, missing: missing.unwrap_or(Missing::NotAsked) }
    }

    /// `self - other`, over the replicates that have both.
    pub(in crate::report) fn minus(&self, other: &Self) -> Self {
        let values = self.values.iter().filter_map(|a| {
            let b = other.values.iter().find(|b| b.run == a.run)?;
            Some(Replicate { value: a.value - b.value, ..a.clone() })
        });
        Self { values: values.collect(), partial: None, missing: self.missing.max(other.missing) }
    }

    pub fn mean(&self) -> Option<f64> {
        (!self.values.is_empty()).then(|| mean(&self.numbers()))
    }

    /// Sample standard deviation over the replicates; `None` below two of them.
    pub fn std(&self) -> Option<f64> {
        std(&self.numbers())
    }

    /// The text of its cell, in percent. `n_row`: what the row's column `n` counts, where there
    /// are replicates; a score over another number of them says so.
    pub(in crate::report) fn text(&self, n_row: Option<u32>) -> String {
        if let Some(mean) = self.mean() {
            let n = self.values.len() as u32;
            let std = self.std().map_or(String::new(), |std| format!(" ± {:.2}", 100.0 * std));
            let is_other = n_row.is_some_and(|n_row| n_row != n);
            let other_n = if is_other { format!(" (n={n})") } else { String::new() };
            return format!("{}{std}{other_n}", percent(mean));
        }
        if let Some(Partial { mean, done, total }) = self.partial {
            return format!("{} ({done}/{total})", percent(mean));
        }
        match self.missing {
            Missing::NotAsked | Missing::Undefined => NOTHING,
            Missing::Open => "…",
            Missing::Failed => "failed",
        }
        .to_owned()
    }

    /// Whether there is a number at all.
    pub(in crate::report) fn is_known(&self) -> bool {
        !self.values.is_empty() || self.partial.is_some()
    }

    fn numbers(&self) -> Vec<f64> {
        self.values.iter().map(|replicate| replicate.value).collect()
    }
}

/// Two decimals; never `-0.00`.
fn percent(x: f64) -> String {
    let text = format!("{:.2}", 100.0 * x);
    if text == "-0.00" { "0.00".to_owned() } else { text }
}

/// Sample standard deviation; `None` below two values.
pub(in crate::report) fn std(values: &[f64]) -> Option<f64> {
    let n = values.len();
    let mean = mean(values);
    let sum: f64 = values.iter().map(|x| (x - mean).powi(2)).sum();
    (n > 1).then(|| (sum / (n - 1) as f64).sqrt())
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(seed: u64, values: &[f64], total: u32) -> Parts {
        let run = RunId::of(&serde_json::json!(seed));
        Parts { seed: Some(seed), run, values: values.to_vec(), total, missing: Missing::Open }
    }

    fn check(replicates: &[Parts], n_row: u32, expect: &str) {
        assert_eq!(Measure::over(replicates).text(Some(n_row)), expect);
    }

    #[test]
    fn one_replicate_has_no_spread() {
        check(&[parts(0, &[0.5], 1)], 1, "50.00");
    }

    #[test]
    fn spread_is_the_sample_standard_deviation() {
        check(&[parts(0, &[0.5], 1), parts(1, &[0.6], 1)], 2, "55.00 ± 7.07");
    }

    #[test]
    fn a_count_other_than_the_rows_is_shown() {
        check(&[parts(0, &[0.5], 1), parts(1, &[0.6], 1)], 1, "55.00 ± 7.07 (n=2)");
    }

    #[test]
    fn parts_of_a_suite_are_marked_and_never_averaged_with_whole_ones() {
        check(&[parts(0, &[0.2, 0.4], 8), parts(1, &[0.9], 8)], 0, "30.00 (2/8)");
        check(&[parts(0, &[0.2], 2), parts(1, &[0.4, 0.6], 2)], 1, "50.00");
    }

    #[test]
    fn what_is_missing_says_why() {
        check(&[], 0, "–");
        check(&[parts(0, &[], 1)], 0, "…");
        let failed = Parts { missing: Missing::Failed, ..parts(0, &[], 1) };
        check(&[parts(1, &[], 1), failed], 0, "failed");
    }

    #[test]
    fn differences_are_over_replicates_that_have_both() {
        let clean = Measure::over(&[parts(0, &[0.5], 1), parts(1, &[0.9], 1)]);
        let corrupted = Measure::over(&[parts(0, &[0.25], 1)]);
        assert_eq!(clean.minus(&corrupted).text(None), "25.00");
    }
}
