//! A report in SARIF 2.1.0, for code scanning.
//! <https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>

use serde_json::{Value, json};
use soundalike_compare::{GateFailure, Report};

use super::{finding, inconclusive, title};

/// One result for the finding, if it is no pass, and one for each limit of the gate that is not met. Their place is a stage of the
/// candidate: a file of tensors has no lines.
///
/// # Errors
/// If it cannot be written as JSON.
pub fn render(report: &Report) -> Result<String, serde_json::Error> {
    let failures = report.gate.iter().flat_map(|gate| &gate.failures);
    let mut results: Vec<Value> = failures.map(|failure| limit(report, failure)).collect();
    let is_bad = !results.is_empty() || inconclusive(report).is_some();
    if is_bad {
        let place = report.source.first();
        let text = finding(report);
        results.insert(
            0,
            result("finding", &text, report, place.map(String::as_str)),
        );
    }
    let rule = |id: &str, text: &str| json!({"id": id, "shortDescription": {"text": text}});
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "soundalike",
                "semanticVersion": report.provenance.soundalike,
                "rules": [
                    rule("finding", "The candidate is not the reference, or nothing can be concluded."),
                    rule("limit", "A limit of the gate is not met."),
                ],
            }},
            "automationDetails": {"id": title(report)},
            "invocations": [{
                "commandLine": report.provenance.command,
                "executionSuccessful": true,
            }],
            "results": results,
            "properties": {"coverage": report.coverage, "diagnosis": report.diagnosis},
        }],
    });
    Ok(serde_json::to_string_pretty(&log)? + "\n")
}

fn limit(report: &Report, failure: &GateFailure) -> Value {
    let text = format!("{}, because {}", failure.text, failure.because);
    let place = failure.text.split_once(": ").map(|(place, _)| place);
    result("limit", &text, report, place)
}

fn result(rule: &str, text: &str, report: &Report, stage: Option<&str>) -> Value {
    let file = report
        .candidate
        .strip_prefix("trace:")
        .unwrap_or(&report.candidate);
    let place = stage.unwrap_or(&report.model);
    json!({
        "ruleId": rule,
        "level": "error",
        "message": {"text": text},
        "locations": [{
            "physicalLocation": {"artifactLocation": {"uri": file}},
            "logicalLocations": [{"fullyQualifiedName": place, "kind": "member"}],
        }],
        "partialFingerprints": {"stage": format!("{rule}/{place}")},
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

    use soundalike_compare::Verdict;

    use super::{super::tests::report, *};

    #[test]
    fn nothing_compared_is_an_error_with_a_place() {
        let report = report(&[("linear.0", Verdict::NotObserved)]);
        let log: Value = serde_json::from_str(&render(&report).unwrap()).unwrap();
        let results = &log["runs"][0]["results"];
        assert_eq!(results[0]["level"], "error");
        let text = results[0]["message"]["text"].as_str().unwrap();
        assert!(
            text.starts_with("INCONCLUSIVE: nothing was compared."),
            "{text}"
        );
        let place = &results[0]["locations"][0];
        assert_eq!(
            place["physicalLocation"]["artifactLocation"]["uri"],
            "port.npz"
        );
    }
}
