//! Means over corruptions: mPC and rPC (Michaelis et al. 2019, arXiv:1907.07484), CD and rCD
//! (Kamann & Rother 2020, "Benchmarking the Robustness of Semantic Segmentation Models").

use std::collections::BTreeMap;

use serde::Serialize;

use crate::corrupt::{Corruption, Family};
use crate::event::Condition;

/// The clean and the corrupted scores of one model on one set: mIoU, 0 to 1.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Scores {
    pub clean: Option<f64>,
    /// mIoU by corruption, then level.
    pub corrupted: BTreeMap<String, BTreeMap<u8, f64>>,
}

/// Means over the corruptions of ImageNet-C that were scored; procedural frost and draws of the
/// reference project's pipeline are none. Every corruption counts alike, whatever the number of its
/// levels.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Mean performance under corruption.
    pub mpc: f64,
    /// `mpc / clean`: the part of the performance that is left.
    pub rpc: Option<f64>,
    /// Mean over the corruptions of each family.
    pub families: BTreeMap<&'static str, f64>,
    /// Mean at each level.
    pub levels: BTreeMap<u8, f64>,
}

/// Degradation against a reference model, over the corruptions and levels that both have.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Degradation {
    /// Mean over corruptions of `sum D / sum D_ref` over levels, D = 1 - mIoU. Below 1: degrades
    /// less than the reference.
    pub cd: f64,
    /// The same of `D - D_clean`; `None` where a clean score is missing or the reference does not
    /// degrade.
    pub rcd: Option<f64>,
    /// CD of each corruption.
    pub per_corruption: BTreeMap<String, f64>,
}

impl Scores {
    /// Adds the mIoU of one condition; it replaces an earlier one of the same condition.
    pub fn add(&mut self, condition: &Condition, miou: f64) {
        match condition {
            Condition::Clean => self.clean = Some(miou),
            Condition::Corrupted { effect, severity } => {
                self.corrupted.entry(effect.clone()).or_default().insert(*severity, miou);
            }
        }
    }
}

/// The means of a model's scores; `None` where nothing corrupted was scored.
pub fn summary(scores: &Scores) -> Option<Summary> {
    let means: BTreeMap<&str, f64> = scores
        .corrupted
        .iter()
        .filter(|(name, _)| Corruption::parse(name).is_some())
        .filter_map(|(name, levels)| Some((name.as_str(), mean(levels.values().copied())?)))
        .collect();
    let mpc = mean(means.values().copied())?;
    let mut families: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
    for (name, value) in &means {
        if let Some(corruption) = Corruption::parse(name) {
            families.entry(family_name(corruption.family())).or_default().push(*value);
        }
    }
    let mut levels: BTreeMap<u8, Vec<f64>> = BTreeMap::new();
    let benchmark = scores.corrupted.iter().filter(|(name, _)| Corruption::parse(name).is_some());
    for (level, value) in benchmark.flat_map(|(_, values)| values) {
        levels.entry(*level).or_default().push(*value);
    }
    Some(Summary {
        mpc,
        rpc: scores.clean.filter(|clean| *clean > 0.0).map(|clean| mpc / clean),
        families: means_of(families),
        levels: means_of(levels),
    })
}

/// The degradation of `scores` against `reference`; `None` where the two share no corruption and
/// level, or the reference makes no error.
pub fn degradation(scores: &Scores, reference: &Scores) -> Option<Degradation> {
    let mut per_corruption = BTreeMap::new();
    let mut relative = Vec::new();
    let benchmark = scores.corrupted.iter().filter(|(name, _)| Corruption::parse(name).is_some());
    for (name, levels) in benchmark {
        let Some(others) = reference.corrupted.get(name) else { continue };
        let shared: Vec<(f64, f64)> = levels
            .iter()
            .filter_map(|(level, miou)| Some((1.0 - miou, 1.0 - others.get(level)?)))
            .collect();
        let sum = |values: fn(&(f64, f64)) -> f64| shared.iter().map(values).sum::<f64>();
        let (ours, theirs) = (sum(|pair| pair.0), sum(|pair| pair.1));
        if theirs <= 0.0 {
            continue;
        }
        per_corruption.insert(name.clone(), ours / theirs);
        let n = shared.len() as f64;
        let clean = scores.clean.zip(reference.clean);
        relative.push(clean.and_then(|(ours_clean, theirs_clean)| {
            let base = theirs - n * (1.0 - theirs_clean);
            (base > 0.0).then(|| (ours - n * (1.0 - ours_clean)) / base)
        }));
    }
    let relative: Option<Vec<f64>> = relative.into_iter().collect();
    Some(Degradation {
        cd: mean(per_corruption.values().copied())?,
        rcd: relative.and_then(|values| mean(values.into_iter())),
        per_corruption,
    })
}

pub fn family_name(family: Family) -> &'static str {
    match family {
        Family::Noise => "noise",
        Family::Blur => "blur",
        Family::Weather => "weather",
        Family::Digital => "digital",
    }
}

fn means_of<K: Ord>(groups: BTreeMap<K, Vec<f64>>) -> BTreeMap<K, f64> {
    let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
    groups.into_iter().map(|(key, values)| (key, mean(values))).collect()
}

/// The mean of the values; `None` for no values.
fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, n) = values.fold((0.0, 0u32), |(sum, n), value| (sum + value, n + 1));
    (n > 0).then(|| sum / f64::from(n))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(clean: f64, corrupted: &[(&str, u8, f64)]) -> Scores {
        let mut scores = Scores::default();
        scores.add(&Condition::Clean, clean);
        for &(effect, severity, miou) in corrupted {
            let effect = effect.to_owned();
            scores.add(&Condition::Corrupted { effect, severity }, miou);
        }
        scores
    }

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12, "{a} {b}");
    }

    #[test]
    fn corruptions_count_alike_whatever_their_levels() {
        let corrupted =
            [("fog", 1, 0.6), ("fog", 5, 0.4), ("gaussian_noise", 5, 0.1), ("frost*", 5, 0.9)];
        let scores = scores(0.8, &corrupted);
        let summary = summary(&scores).unwrap();
        close(summary.mpc, 0.3);
        close(summary.rpc.unwrap(), 0.375);
        close(summary.families["weather"], 0.5);
        close(summary.families["noise"], 0.1);
        close(summary.levels[&1], 0.6);
        close(summary.levels[&5], 0.25);
        assert_eq!(super::summary(&Scores::default()), None);
    }

    #[test]
    fn degradation_is_relative_to_the_reference() {
        let reference = scores(0.9, &[("fog", 4, 0.7), ("fog", 5, 0.5), ("contrast", 5, 0.4)]);
        let model = scores(0.8, &[("fog", 4, 0.6), ("fog", 5, 0.6), ("snow", 5, 0.1)]);
        let degradation = degradation(&model, &reference).unwrap();
        // (0.4 + 0.4) / (0.3 + 0.5), and (0.8 - 2 * 0.2) / (0.8 - 2 * 0.1).
        close(degradation.cd, 1.0);
        close(degradation.rcd.unwrap(), 0.4 / 0.6);
        assert_eq!(degradation.per_corruption.keys().collect::<Vec<_>>(), ["fog"]);
        let itself = super::degradation(&reference, &reference).unwrap();
        close(itself.cd, 1.0);
        close(itself.rcd.unwrap(), 1.0);
        assert_eq!(super::degradation(&model, &Scores::default()), None);
    }
}
