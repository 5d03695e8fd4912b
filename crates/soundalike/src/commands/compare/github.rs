//! Annotations and the step's summary for GitHub Actions.
//! <https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands>

use std::{env, path::PathBuf};

use soundalike_compare::Report;
use soundalike_report::{
    comparison::{annotations, document},
    document::markdown,
};

use crate::{output::Output, terminal::Terminal};

/// The environment variable with the path of the step's summary.
pub(super) const SUMMARY: &str = "GITHUB_STEP_SUMMARY";

pub(super) fn summary() -> Option<PathBuf> {
    env::var_os(SUMMARY).map(PathBuf::from)
}

/// Prints failures of the gate as annotations, and appends the report to the step's summary.
pub(super) fn publish(
    report: &Report,
    summary: Option<Output>,
    terminal: &Terminal,
) -> anyhow::Result<()> {
    for line in annotations(report) {
        terminal.workflow_command(&line);
    }
    let Some(summary) = summary else {
        terminal.warn(&format!(
            "{SUMMARY} is not set: no summary was written; run --github within GitHub Actions"
        ));
        return Ok(());
    };
    summary.write(markdown::render(&document(report), 2).as_bytes())
}
