//! What is wrong with a stage, as far as it is known.

use serde::Serialize;
use soundalike_network::Cause;

use crate::Signature;

/// A mistake that explains the error of a stage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Diagnosis {
    /// The stage.
    pub stage: String,
    /// The mistake, by its name.
    pub cause: Cause,
    /// The mistake, in words.
    pub text: String,
    /// How far the candidate is from the reference with this mistake put into it; 1 is rounding.
    pub r: f64,
    /// The mistake that comes next.
    pub runner_up: Option<RunnerUp>,
}

/// A mistake that explains less.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunnerUp {
    /// By its name.
    pub cause: Cause,
    /// How far the candidate is from the reference with it.
    pub r: f64,
}

/// What can be said where no mistake explains a stage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Undiagnosed {
    /// The stage; none where nobody looked.
    pub stage: Option<String>,
    /// Why there is no diagnosis.
    pub reason: String,
    /// What the error looks like.
    pub signature: Option<Signature>,
}

/// What came of a diagnosis.
#[derive(Debug, Clone, PartialEq)]
pub enum Explanation {
    /// One of the known mistakes, and only one, explains it.
    Known(Diagnosis),
    /// None does, or several do.
    Unknown(Undiagnosed),
}
