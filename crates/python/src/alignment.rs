//! Stages of a reference found in a candidate.

use std::path::PathBuf;

use pyo3::prelude::*;
use serde_json::json;
use soundalike_compare::{ActivationTrace, CompareError, Match, NameMap, ReferenceTrace, Running};

use crate::failed;

/// The stages of the trace `reference` among the arrays of the trace `candidate`: a JSON list of objects with `stage`, `name`,
/// `by`, `axes`, `error` and `ambiguous`. `map` is the text of a map of names; `forced`: the candidate was fed by the reference.
#[pyfunction]
#[pyo3(signature = (reference, candidate, map=None, forced=false))]
pub(crate) fn align(
    py: Python<'_>,
    reference: PathBuf,
    candidate: PathBuf,
    map: Option<&str>,
    forced: bool,
) -> PyResult<String> {
    let found = || -> Result<String, CompareError> {
        let names = names(map)?;
        let mut reference = ReferenceTrace::open(&reference)?;
        let window = reference.window()?;
        let running = match forced {
            true => Running::Forced,
            false => Running::Free,
        };
        let trace = ActivationTrace::aligned(&candidate, &names, &mut reference, &window, running)?;
        let places = trace.places().map(|(stage, entry, matched)| {
            json!({
                "stage": stage,
                "name": entry,
                "by": matched.map(|found| found.by),
                "axes": matched.map(|found| &found.axes),
                "error": matched.map(|found| found.error),
                "ambiguous": matched.map(|found| &found.ambiguous),
            })
        });
        Ok(json!(places.collect::<Vec<_>>()).to_string())
    };
    py.detach(found).map_err(|error| failed(&error))
}

/// A map of names, or none.
pub(crate) fn names(map: Option<&str>) -> Result<NameMap, CompareError> {
    let parsed = map.map(|text| NameMap::parse(text, "map"));
    Ok(parsed
        .transpose()
        .map_err(soundalike_compare::TraceError::from)?
        .unwrap_or_default())
}

/// The text of a map of names that says what was found: `matches` is the JSON of [`align`].
#[pyfunction]
pub(crate) fn names_of(matches: &str) -> PyResult<String> {
    let matches: Vec<Match> = serde_json::from_str(matches).map_err(|error| failed(&error))?;
    Ok(NameMap::text(&matches))
}
