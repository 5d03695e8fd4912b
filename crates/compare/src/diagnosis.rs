//! The diagnosis of a wrong stage.

use std::fmt;

use serde::{Deserialize, Serialize};
use soundalike_network::Cause;

use crate::Signature;

/// The hypothesis that explains the error of a stage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Diagnosis {
    /// The stage.
    pub stage: String,
    /// The name of the hypothesis.
    pub cause: Named,
    /// The hypothesis in words.
    pub text: String,
    /// Distance of the candidate to the reference with this fault; 1 is rounding.
    pub r: f64,
    /// The engine whose stages were observed, if the candidate fuses them.
    pub engine: Option<String>,
    /// The value of its parameter, if that was estimated.
    pub estimate: Option<Estimate>,
    /// The next best hypothesis.
    pub runner_up: Option<RunnerUp>,
}

/// The value of a parameter of a stage, estimated from the candidate's output.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The value, with the fewest digits that the interval allows.
    pub value: f64,
    /// The least value that explains the output within rounding.
    pub low: f64,
    /// The greatest value that does.
    pub high: f64,
    /// The value of the reference.
    pub right: f64,
}

impl Diagnosis {
    /// Whether it says that the mistake is `cause`. An estimate says so of every value within its interval.
    #[must_use]
    pub fn names(&self, cause: Cause) -> bool {
        let within = |value: f64| {
            let estimate = self.estimate;
            estimate.is_some_and(|found| (found.low..=found.high).contains(&value))
        };
        let Named::Known(found) = self.cause else {
            return false;
        };
        found == cause || (found.is_like(cause) && cause.value().is_some_and(within))
    }
}

/// The name of a hypothesis.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Named {
    /// About an operation of our networks.
    Known(Cause),
    /// About another operation.
    Other(String),
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(cause) => cause.fmt(f),
            Self::Other(name) => f.write_str(name),
        }
    }
}

/// The hypothesis that explains the error next best.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunnerUp {
    /// The name of the hypothesis.
    pub cause: Cause,
    /// Distance of the candidate to the reference with this fault.
    pub r: f64,
}

/// The findings where no hypothesis explains a stage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Undiagnosed {
    /// The stage; none where no stage was diagnosed.
    pub stage: Option<String>,
    /// Why there is no diagnosis.
    pub reason: String,
    /// Whether hypotheses were tried, which needs a reference that can be changed: libtorch.
    pub tried: bool,
    /// The engine whose stages were observed, if the candidate fuses them.
    pub engine: Option<String>,
    /// The shape of the error.
    pub signature: Option<Signature>,
}

/// The result of a diagnosis.
#[derive(Debug, Clone, PartialEq)]
pub enum Explanation {
    /// Exactly one hypothesis explains the stage.
    Known(Diagnosis),
    /// None does, or several do.
    Unknown(Undiagnosed),
    /// The candidate fuses the stage with others.
    Fused(Undiagnosed),
}
