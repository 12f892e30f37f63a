//! Scores as journals hold them: those that a plan asks for, and those that were made.

use serde::{Deserialize, Serialize};

use super::condition::{Condition, HalfCondition};
use super::metrics::Metrics;
use super::protocol::Protocol;
use crate::id::ScoreId;

/// A score that was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "ScoreEndedLine", into = "ScoreEndedLine")]
pub struct ScoreEnded {
    pub score: ScoreId,
    /// sha256 of the adapter file that was scored.
    pub checkpoint_sha256: String,
    pub checkpoint_step: u64,
    /// The protocol in one line: mode, input, label size, reference metric's batch.
    pub protocol: String,
    /// Dataset and split, e.g. `voc/val`.
    pub set: String,
    pub set_fingerprint: String,
    /// Suite that the score was requested under, e.g. `imagenet-c-first8 v1`; `None` for clean.
    pub suite: Option<String>,
    pub condition: Condition,
    pub metrics: Metrics,
    pub time_ms: u64,
}

/// A score that a cell of an experiment asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "PlannedScoreLine", into = "PlannedScoreLine")]
pub struct PlannedScore {
    pub score: ScoreId,
    /// Dataset and split, e.g. `voc/val`.
    pub set: String,
    /// The protocol in one line.
    pub protocol: String,
    /// The protocol field by field; `None` in journals older than this field.
    pub protocol_parts: Option<Protocol>,
    pub condition: Condition,
}

/// [`ScoreEnded`] in its serialized form.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScoreEndedLine {
    score: ScoreId,
    checkpoint_sha256: String,
    checkpoint_step: u64,
    protocol: String,
    set: String,
    set_fingerprint: String,
    suite: Option<String>,
    corruption: Option<String>,
    severity: Option<u8>,
    metrics: Metrics,
    time_ms: u64,
}

/// [`PlannedScore`] in its serialized form.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlannedScoreLine {
    score: ScoreId,
    set: String,
    protocol: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    protocol_parts: Option<Protocol>,
    corruption: Option<String>,
    severity: Option<u8>,
}

impl TryFrom<ScoreEndedLine> for ScoreEnded {
    type Error = HalfCondition;

    fn try_from(line: ScoreEndedLine) -> Result<Self, HalfCondition> {
        Ok(Self {
            score: line.score,
            checkpoint_sha256: line.checkpoint_sha256,
            checkpoint_step: line.checkpoint_step,
            protocol: line.protocol,
            set: line.set,
            set_fingerprint: line.set_fingerprint,
            suite: line.suite,
            condition: Condition::of(line.corruption, line.severity)?,
            metrics: line.metrics,
            time_ms: line.time_ms,
        })
    }
}

impl From<ScoreEnded> for ScoreEndedLine {
    fn from(score: ScoreEnded) -> Self {
        let (corruption, severity) = score.condition.into_fields();
        Self {
            score: score.score,
            checkpoint_sha256: score.checkpoint_sha256,
            checkpoint_step: score.checkpoint_step,
            protocol: score.protocol,
            set: score.set,
            set_fingerprint: score.set_fingerprint,
            suite: score.suite,
            corruption,
            severity,
            metrics: score.metrics,
            time_ms: score.time_ms,
        }
    }
}

impl TryFrom<PlannedScoreLine> for PlannedScore {
    type Error = HalfCondition;

    fn try_from(line: PlannedScoreLine) -> Result<Self, HalfCondition> {
        Ok(Self {
            score: line.score,
            set: line.set,
            protocol: line.protocol,
            protocol_parts: line.protocol_parts,
            condition: Condition::of(line.corruption, line.severity)?,
        })
    }
}

impl From<PlannedScore> for PlannedScoreLine {
    fn from(planned: PlannedScore) -> Self {
        let (corruption, severity) = planned.condition.into_fields();
        Self {
            score: planned.score,
            set: planned.set,
            protocol: planned.protocol,
            protocol_parts: planned.protocol_parts,
            corruption,
            severity,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, Line};

    /// A line as it was written before conditions had a type.
    const OLD: &str = r#"{"v":1,"at_ms":5,"event":{"kind":"score_ended","score":"00000000000000aa","checkpoint_sha256":"ad","checkpoint_step":3,"protocol":"whole 56x56","set":"voc/val","set_fingerprint":"f","suite":"s v1","corruption":"fog","severity":5,"metrics":{"miou":0.5,"classes_present":2,"classes_total":3,"iou_per_class":[0.5,0.5,null],"pixel_accuracy":0.5,"accuracy_mean":0.5,"reference_metric":0.5,"n_images":2,"n_pixels":8,"iou_frequency_weighted":null,"miou_union":null},"time_ms":7}}"#;

    #[test]
    fn a_corrupted_score_is_read_and_written_as_before() {
        let line: Line = serde_json::from_str(OLD).unwrap();
        let Event::ScoreEnded(score) = &line.event else { panic!("{line:?}") };
        assert_eq!(score.condition, Condition::Corrupted { effect: "fog".into(), severity: 5 });
        assert_eq!(serde_json::to_string(&line).unwrap(), OLD);
    }

    #[test]
    fn a_clean_score_is_read_and_written_as_before() {
        let old = OLD.replace(r#""s v1""#, "null").replace(r#""fog""#, "null");
        let old = old.replace(r#""severity":5"#, r#""severity":null"#);
        let line: Line = serde_json::from_str(&old).unwrap();
        let Event::ScoreEnded(score) = &line.event else { panic!("{line:?}") };
        assert_eq!((&score.condition, &score.suite), (&Condition::Clean, &None));
        assert_eq!(serde_json::to_string(&line).unwrap(), old);
    }

    #[test]
    fn a_corruption_without_a_severity_is_an_error_that_names_it() {
        let half = OLD.replace(r#""severity":5"#, r#""severity":null"#);
        let error = serde_json::from_str::<Line>(&half).unwrap_err().to_string();
        assert!(error.contains("`fog` has no severity"), "{error}");
    }

    #[test]
    fn planned_scores_are_read_and_written_as_before() {
        let check = |fields: &str, expect: &str| {
            let old = format!(
                r#"{{"score":"00000000000000aa","set":"voc/val","protocol":"whole 56x56",{fields}}}"#
            );
            let planned: PlannedScore = serde_json::from_str(&old).unwrap();
            assert_eq!(planned.condition.to_string(), expect);
            assert_eq!(serde_json::to_string(&planned).unwrap(), old);
        };
        check(r#""corruption":null,"severity":null"#, "clean");
        check(r#""corruption":"frost*","severity":1"#, "frost* 1");
        let parts = r#""protocol_parts":{"mode":{"kind":"whole"},"tta":{"flip":false,"scales":[1.0]},"input_px":[56,56],"select":"last","reference_batch":4},"corruption":null,"severity":null"#;
        check(parts, "clean");
        let half = r#"{"score":"00000000000000aa","set":"s","protocol":"p","severity":1}"#;
        assert!(serde_json::from_str::<PlannedScore>(half).is_err());
    }
}
