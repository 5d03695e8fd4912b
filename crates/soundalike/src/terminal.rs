//! Messages and progress on stderr.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use soundalike_report::document::printable;

/// Place in the list of options: after those of the subcommand.
const LAST: usize = 900;

/// How much goes to stderr.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Verbosity {
    /// Print no notes, warnings or progress on stderr
    #[arg(short, long, global = true, display_order = LAST, conflicts_with = "verbose")]
    quiet: bool,
    /// Print details on stderr: model, device, timing
    #[arg(short, long, global = true, display_order = LAST)]
    verbose: bool,
}

pub(crate) struct Terminal {
    verbosity: Verbosity,
}

#[expect(clippy::print_stderr, reason = "the only place that writes to stderr")]
impl Terminal {
    pub(crate) fn new(verbosity: Verbosity) -> Self {
        Self { verbosity }
    }

    /// Prints an error in one line: the message, then its causes.
    pub(crate) fn error(&self, error: &anyhow::Error) {
        eprintln!("error: {}", one_line(error));
    }

    /// Prints a problem that does not stop the command.
    pub(crate) fn warn(&self, text: &str) {
        if !self.verbosity.quiet {
            eprintln!("warning: {text}");
        }
    }

    /// Prints a command that GitHub Actions reads from the log of a step, unchanged and despite `--quiet`.
    pub(crate) fn workflow_command(&self, line: &str) {
        eprintln!("{line}");
    }

    /// Prints what the command does.
    pub(crate) fn note(&self, text: &str) {
        if !self.verbosity.quiet {
            eprintln!("{text}");
        }
    }

    pub(crate) fn is_verbose(&self) -> bool {
        self.verbosity.verbose
    }

    /// Prints a detail, with `--verbose` only.
    pub(crate) fn detail(&self, text: &str) {
        if self.verbosity.verbose {
            eprintln!("{text}");
        }
    }

    /// A progress bar; hidden with `--quiet` and where stderr is not a terminal.
    pub(crate) fn progress(&self, what: &str) -> ProgressBar {
        let target = match self.verbosity.quiet {
            true => ProgressDrawTarget::hidden(),
            false => ProgressDrawTarget::stderr(),
        };
        let bar = ProgressBar::with_draw_target(None, target).with_message(what.to_owned());
        if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {percent}% {eta}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }
}

/// The message of an error and those of its causes, in one line.
fn one_line(error: &anyhow::Error) -> String {
    error.chain().map(message).collect::<Vec<_>>().join(": ")
}

/// First line of a stack trace that libraries append to their message: candle if `RUST_BACKTRACE` is set, libtorch
/// always.
const STACK_STARTS: [&str; 2] = ["0: ", "Exception raised from "];

/// The text of one error without its causes and without a stack trace.
fn message(error: &(dyn std::error::Error + 'static)) -> String {
    let text = error.to_string();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .take_while(|line| !STACK_STARTS.iter().any(|start| line.starts_with(start)))
        .map(printable)
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};

    use super::*;

    #[test]
    fn an_error_is_one_line_with_each_cause_once_and_no_stack() {
        let candle = "no kernel\n   0: candle_core::error\n             at /src/error.rs:264";
        let error = anyhow!(candle).context("windows 0..24");
        assert_eq!(one_line(&error), "windows 0..24: no kernel");
        let torch = anyhow!("sizes differ\nException raised from f at /src/a.cpp:1\nframe #0");
        assert_eq!(one_line(&torch), "sizes differ");
        let drawn = Err::<(), _>(anyhow!("line 1, column 2\n  |\n1 | a\n  |  ^\nno value\n"));
        let drawn = drawn.context("gate.toml").unwrap_err();
        assert_eq!(
            one_line(&drawn),
            "gate.toml: line 1, column 2 | 1 | a |  ^ no value"
        );
    }
}
