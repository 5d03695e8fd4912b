//! Annotations for GitHub Actions.
//! <https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands>

use soundalike_compare::Report;

use super::{finding, inconclusive, title};

/// GitHub shows the first ten errors of a step.
const ANNOTATIONS: usize = 10;

/// Errors: the finding and the limits that are not kept. A notice if all are kept and something was compared.
#[must_use]
pub fn annotations(report: &Report) -> Vec<String> {
    let found = finding(report);
    let failures = report.gate.iter().flat_map(|gate| &gate.failures);
    let failures = failures.map(|failure| {
        let text = format!("{}, because {}", failure.text, failure.because);
        command("error", "soundalike gate", &text)
    });
    let failures: Vec<_> = failures.collect();
    if failures.is_empty() && inconclusive(report).is_none() {
        return vec![command("notice", &title(report), &found)];
    }
    let first = command("error", &title(report), &found);
    std::iter::once(first)
        .chain(failures)
        .take(ANNOTATIONS)
        .collect()
}

/// `::error title=T::text`.
fn command(level: &str, title: &str, text: &str) -> String {
    let data = |text: &str| {
        text.replace('%', "%25")
            .replace('\r', "%0D")
            .replace('\n', "%0A")
    };
    let property = data(title).replace(':', "%3A").replace(',', "%2C");
    format!("::{level} title={property}::{}", data(text))
}

#[cfg(test)]
mod tests {
    use soundalike_compare::Verdict;

    use super::{super::tests::report, annotations, command};

    #[test]
    fn nothing_compared_is_an_error() {
        let annotations = annotations(&report(&[("linear.0", Verdict::NotObserved)]));
        assert_eq!(
            annotations,
            [
                "::error title=segmentation-3.0%3A trace%3Aport.npz against torch::INCONCLUSIVE: nothing was compared. The \
                 candidate has none of the 1 stages of the reference."
            ]
        );
    }

    #[test]
    fn a_text_ends_neither_the_command_nor_the_title() {
        assert_eq!(
            command("error", "a: b, c", "100 %\n::error::x"),
            "::error title=a%3A b%2C c::100 %25%0A::error::x"
        );
    }
}
