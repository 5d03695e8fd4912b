//! A report as JUnit XML.

use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};
use soundalike_compare::{GateCheck, Report, Verdict};

use super::words;

/// One test case per limit and stage, or the verdict of a stage without a limit. An inconclusive comparison gets a case
/// that is an error: CI servers count skipped cases as passed.
///
/// # Errors
/// If the XML cannot be written.
pub fn render(report: &Report) -> Result<String, quick_junit::SerializeError> {
    let title = words::title(report);
    let mut suite = TestSuite::new(title.as_str());
    if let Some(words) = words::inconclusive(report) {
        let mut error = TestCaseStatus::non_success(NonSuccessKind::Error);
        error.set_message(words);
        suite.add_test_case(case("comparison", "conclusion", error));
    }
    let checks = report.gate.iter().flat_map(|gate| &gate.checks);
    suite.add_test_cases(checks.clone().map(limit));
    for stage in &report.stages {
        if !checks.clone().any(|check| check.place == stage.name) {
            suite.add_test_case(case(&stage.name, "verdict", verdict(stage.verdict)));
        }
    }
    let mut junit = quick_junit::Report::new(title.as_str());
    junit.add_test_suite(suite);
    junit.to_string()
}

fn limit(check: &GateCheck) -> TestCase {
    let name = format!("{} {}", check.measure, check.expected);
    if check.kept {
        return case(&check.place, &name, TestCaseStatus::success());
    }
    let mut failed = TestCaseStatus::non_success(NonSuccessKind::Failure);
    failed
        .set_message(format!(
            "{} is {}, expected {}",
            check.measure, check.found, check.expected
        ))
        .set_description(format!("because {}", check.because));
    case(&check.place, &name, failed)
}

fn verdict(verdict: Verdict) -> TestCaseStatus {
    match verdict {
        Verdict::NotObserved
        | Verdict::NotComparable
        | Verdict::FreeOnly
        | Verdict::Inconclusive => TestCaseStatus::skipped(),
        Verdict::Exact | Verdict::OverPrecise | Verdict::Precision => TestCaseStatus::success(),
        Verdict::Structural => {
            let mut failed = TestCaseStatus::non_success(NonSuccessKind::Failure);
            failed.set_message(verdict.to_string());
            failed
        }
    }
}

fn case(place: &str, name: &str, status: TestCaseStatus) -> TestCase {
    let mut case = TestCase::new(name, status);
    case.set_classname(place);
    case
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

    use super::{super::tests::report, *};

    #[test]
    fn nothing_compared_is_an_error() {
        let report = report(&[("linear.0", Verdict::NotObserved)]);
        let xml = render(&report).unwrap();
        let junit = quick_junit::Report::deserialize_from_str(&xml).unwrap();
        assert_eq!((junit.tests, junit.errors), (2, 1), "{xml}");
        assert!(xml.contains("INCONCLUSIVE: nothing was compared."), "{xml}");
    }
}
