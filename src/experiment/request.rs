//! One score that an order asks a worker for.

use serde::{Deserialize, Serialize};

use crate::eval::{Mode, Select, Tta};
use crate::event::{Condition, HalfCondition};
use crate::id::ScoreId;

/// One score to make.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Line", into = "Line")]
pub struct ScoreRequest {
    pub score: ScoreId,
    /// Split name, e.g. `val`.
    pub split: String,
    /// Dataset and split, e.g. `voc/val`.
    pub set: String,
    pub set_fingerprint: String,
    /// The protocol in one line.
    pub protocol: String,
    pub mode: Mode,
    pub tta: Tta,
    /// The checkpoint of the run that is scored.
    pub select: Select,
    /// Name and version of the suite that asks for it; `None` for clean images.
    pub suite: Option<String>,
    pub condition: Condition,
}

/// [`ScoreRequest`] as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    score: ScoreId,
    split: String,
    set: String,
    set_fingerprint: String,
    protocol: String,
    /// Absent in orders older than the modes.
    #[serde(default = "Mode::before")]
    mode: Mode,
    #[serde(default)]
    tta: Tta,
    select: Select,
    suite: Option<String>,
    corruption: Option<String>,
    severity: Option<u8>,
}

impl TryFrom<Line> for ScoreRequest {
    type Error = HalfCondition;

    fn try_from(line: Line) -> Result<Self, HalfCondition> {
        Ok(Self {
            score: line.score,
            split: line.split,
            set: line.set,
            set_fingerprint: line.set_fingerprint,
            protocol: line.protocol,
            mode: line.mode,
            tta: line.tta,
            select: line.select,
            suite: line.suite,
            condition: Condition::of(line.corruption, line.severity)?,
        })
    }
}

impl From<ScoreRequest> for Line {
    fn from(request: ScoreRequest) -> Self {
        let (corruption, severity) = request.condition.into_fields();
        Self {
            score: request.score,
            split: request.split,
            set: request.set,
            set_fingerprint: request.set_fingerprint,
            protocol: request.protocol,
            mode: request.mode,
            tta: request.tta,
            select: request.select,
            suite: request.suite,
            corruption,
            severity,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request of an order as it was written before conditions had a type.
    const OLD: &str = r#"{"score":"00000000000000aa","split":"val","set":"voc/val","set_fingerprint":"f","protocol":"whole 56x56","mode":{"kind":"whole"},"tta":{"flip":false,"scales":[1.0]},"select":"last","suite":"s v1","corruption":"fog","severity":5}"#;

    #[test]
    fn requests_are_read_and_written_as_before() {
        let request: ScoreRequest = serde_json::from_str(OLD).unwrap();
        assert_eq!(request.condition, Condition::Corrupted { effect: "fog".into(), severity: 5 });
        assert_eq!(serde_json::to_string(&request).unwrap(), OLD);
    }

    #[test]
    fn orders_of_before_the_modes_ask_for_whole_images() {
        let old =
            OLD.replace(r#""mode":{"kind":"whole"},"tta":{"flip":false,"scales":[1.0]},"#, "");
        let request: ScoreRequest = serde_json::from_str(&old).unwrap();
        assert_eq!((request.mode, request.tta), (Mode::Whole {}, Tta::default()));
    }

    #[test]
    fn half_a_condition_is_refused() {
        let half = OLD.replace(r#","severity":5"#, "");
        let error = serde_json::from_str::<ScoreRequest>(&half).unwrap_err().to_string();
        assert!(error.contains("`fog` has no severity"), "{error}");
    }
}
