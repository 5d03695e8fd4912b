//! Messages and progress on stderr.

use std::{
    fmt::Display,
    io::{self, Write},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
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
    /// Whether each message is a JSON object.
    json: AtomicBool,
}

/// Prints a line on stderr. A message that nobody can read costs no result.
fn say(line: impl Display) {
    _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}

impl Terminal {
    pub(crate) fn new(verbosity: Verbosity) -> Self {
        Self {
            verbosity,
            json: AtomicBool::new(false),
        }
    }

    /// From here on, each message is a JSON object in a line of its own.
    pub(crate) fn speak_json(&self) {
        self.json.store(true, Ordering::Relaxed);
    }

    fn speaks_json(&self) -> bool {
        self.json.load(Ordering::Relaxed)
    }

    /// Prints an object with the key `event`, for programs that asked for JSON.
    pub(crate) fn event(&self, event: &Value) {
        if self.speaks_json() {
            say(event);
        }
    }

    /// Prints a message, or an event of this kind with it.
    fn message(&self, kind: &str, prefix: &str, text: &str) {
        match self.speaks_json() {
            true => self.event(&json!({ "event": kind, "message": text })),
            false => say(format_args!("{prefix}{text}")),
        }
    }

    /// Prints an error in one line: the message, then its causes.
    pub(crate) fn error(&self, error: &anyhow::Error) {
        self.message("error", "error: ", &one_line(error));
    }

    /// Prints a problem that does not stop the command.
    pub(crate) fn warn(&self, text: &str) {
        if !self.verbosity.quiet {
            self.message("warning", "warning: ", text);
        }
    }

    /// Prints a command that GitHub Actions reads from the log of a step, unchanged and despite `--quiet`.
    pub(crate) fn workflow_command(&self, line: &str) {
        say(line);
    }

    /// Prints what the command does.
    pub(crate) fn note(&self, text: &str) {
        if !self.verbosity.quiet {
            self.message("note", "", text);
        }
    }

    pub(crate) fn is_verbose(&self) -> bool {
        self.verbosity.verbose
    }

    /// Prints a detail, with `--verbose` only.
    pub(crate) fn detail(&self, text: &str) {
        if self.verbosity.verbose {
            self.message("note", "", text);
        }
    }

    /// A progress bar; hidden with `--quiet`, with JSON, and where stderr is not a terminal.
    pub(crate) fn progress(&self, what: &str) -> ProgressBar {
        self.bar(what, "{msg} {wide_bar} {percent}% {eta}")
    }

    /// A progress bar of bytes, with their speed.
    pub(crate) fn transfer(&self, what: &str, bytes: u64) -> ProgressBar {
        let bar = self.bar(
            what,
            "{msg} {wide_bar} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta}",
        );
        bar.set_length(bytes);
        bar
    }

    fn bar(&self, what: &str, template: &str) -> ProgressBar {
        let target = match self.verbosity.quiet || self.speaks_json() {
            true => ProgressDrawTarget::hidden(),
            false => ProgressDrawTarget::stderr(),
        };
        let bar = ProgressBar::with_draw_target(None, target).with_message(what.to_owned());
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }
}

/// The message of an error and those of its causes, in one line.
fn one_line(error: &anyhow::Error) -> String {
    error.chain().map(text_of).collect::<Vec<_>>().join(": ")
}

/// First line of a stack trace that libraries append to their message: candle if `RUST_BACKTRACE` is set, libtorch
/// always.
const STACK_STARTS: [&str; 2] = ["0: ", "Exception raised from "];

/// The text of one error without its causes and without a stack trace.
fn text_of(error: &(dyn std::error::Error + 'static)) -> String {
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
