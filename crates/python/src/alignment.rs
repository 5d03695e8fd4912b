//! Stages of a reference found in a candidate.

use std::{collections::HashMap, path::PathBuf};

use pyo3::prelude::*;
use serde_json::json;
use soundalike_compare::{ActivationTrace, CompareError, Match, NameMap, ReferenceTrace, Running};

use crate::failed;

/// The stages of the trace `reference` among the arrays of the trace `candidate`: a JSON list of objects with `stage`, `name`,
/// `by`, `axes`, `error` and `ambiguous`. `map` is the text of a map of names; `forced`: the candidate was fed by the reference.
/// `aliases`: what else arrays of the candidate are called. `u2_as_bf16`: its integers of 16 bits are bf16.
#[pyfunction]
#[pyo3(signature = (reference, candidate, map=None, forced=false, aliases=None, u2_as_bf16=false))]
pub(crate) fn align(
    py: Python<'_>,
    reference: PathBuf,
    candidate: PathBuf,
    map: Option<&str>,
    forced: bool,
    aliases: Option<HashMap<String, String>>,
    u2_as_bf16: bool,
) -> PyResult<String> {
    let found = move || -> Result<String, CompareError> {
        let names = names(map)?.with_aliases(aliases.unwrap_or_default());
        let names = names.with_u2_as_bf16(u2_as_bf16);
        let mut reference = ReferenceTrace::open(&reference)?;
        let window = reference.window()?;
        let running = match forced {
            true => Running::Forced,
            false => Running::Free,
        };
        let trace =
            ActivationTrace::aligned(&candidate, &names, &mut reference, &window, running, true)?;
        // Where all names are equal, the candidate may have more.
        let graph = reference.manifest().graph();
        let places = trace
            .places()
            .filter(|(stage, ..)| graph.get(stage).is_some());
        let places = places.map(|(stage, entry, matched)| {
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
fn names(map: Option<&str>) -> Result<NameMap, CompareError> {
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
