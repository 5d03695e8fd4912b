//! The diagnosis of a wrong stage.

use serde::Serialize;
use soundalike_network::Cause;

use crate::Signature;

/// The hypothesis that explains the error of a stage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Diagnosis {
    /// The stage.
    pub stage: String,
    /// The name of the hypothesis.
    pub cause: Cause,
    /// The hypothesis in words.
    pub text: String,
    /// Distance of the candidate to the reference with this fault; 1 is rounding.
    pub r: f64,
    /// The next best hypothesis.
    pub runner_up: Option<RunnerUp>,
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
}
