//! What a person sees on stderr.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Place in the list of options: after those of the subcommand.
const LAST: usize = 900;

/// How much is said on stderr.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Verbosity {
    /// Say nothing on stderr but errors
    #[arg(short, long, global = true, display_order = LAST, conflicts_with = "verbose")]
    quiet: bool,
    /// Say more on stderr: model, device, timing
    #[arg(short, long, global = true, display_order = LAST)]
    verbose: bool,
}

/// stderr.
pub(crate) struct Terminal {
    verbosity: Verbosity,
}

#[expect(clippy::print_stderr, reason = "the one place that talks to stderr")]
impl Terminal {
    pub(crate) fn new(verbosity: Verbosity) -> Self {
        Self { verbosity }
    }

    /// One line that says what went wrong, where, and what to do: the error and its causes, as far as it
    /// has not named them itself.
    pub(crate) fn error(&self, error: &anyhow::Error) {
        let mut line = error.to_string();
        for cause in error.chain().skip(1).map(ToString::to_string) {
            if !line.contains(&cause) {
                line = format!("{line}: {cause}");
            }
        }
        eprintln!("error: {line}");
    }

    /// Something that the user should know, and may ignore.
    pub(crate) fn warn(&self, text: &str) {
        if !self.verbosity.quiet {
            eprintln!("warning: {text}");
        }
    }

    /// What GitHub Actions reads from the log of a step, as it is.
    pub(crate) fn workflow_command(&self, line: &str) {
        eprintln!("{line}");
    }

    /// What was done, or is being done.
    pub(crate) fn note(&self, text: &str) {
        if !self.verbosity.quiet {
            eprintln!("{text}");
        }
    }

    /// Whether somebody wants to know all of it.
    pub(crate) fn is_verbose(&self) -> bool {
        self.verbosity.verbose
    }

    /// What only the curious want to know.
    pub(crate) fn detail(&self, text: &str) {
        if self.verbosity.verbose {
            eprintln!("{text}");
        }
    }

    /// A bar that fills, where stderr is a terminal and somebody wants to see it.
    pub(crate) fn progress(&self, what: &str) -> ProgressBar {
        let target = if self.verbosity.quiet {
            ProgressDrawTarget::hidden()
        } else {
            // Draws nothing where stderr is not a terminal.
            ProgressDrawTarget::stderr()
        };
        let bar = ProgressBar::with_draw_target(None, target).with_message(what.to_owned());
        if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {percent}% {eta}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }
}
