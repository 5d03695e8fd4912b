//! `soundalike models get`: downloads a model.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use indicatif::ProgressBar;
use serde_json::json;
use soundalike_models::{Catalogue, CopyFrom, Error, Event, Installed, Model};

use super::megabytes;
use crate::{output, terminal::Terminal};

/// Download a model, verify it and install it; prints its path
///
/// The files come from the hub's cache where they are there, else from the model's mirrors in turn. An interrupted
/// download is continued. Proxies are those of HTTPS_PROXY and NO_PROXY, certificates those of the system. HF_TOKEN is
/// sent to the https host of HF_ENDPOINT alone.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Name of the model, here or on the hub: community-1, 3.1, ...
    name: String,
    /// Take the files from this directory, a copy of the model, or from below this address; they are verified as well
    #[arg(long, value_name = "URL|DIR")]
    from: Option<String>,
    /// Progress on stderr
    #[arg(long, value_enum, default_value_t)]
    progress: Progress,
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum Progress {
    /// A bar with speed and time left, on a terminal
    #[default]
    Bar,
    /// One JSON object a line, for programs: every message has an `event`
    Json,
}

pub(super) fn run(
    args: &Args,
    catalogue: Result<Catalogue, Error>,
    terminal: &Terminal,
) -> anyhow::Result<()> {
    if args.progress == Progress::Json {
        terminal.speak_json();
    }
    let from = args.from.as_deref().map(CopyFrom::parse);
    let installed = install(&catalogue?, &args.name, from.as_ref(), terminal)?;
    output::to_stdout(format!("{}\n", installed.path().display()).as_bytes())
}

/// Installs the model with this name, unless it is installed, and shows the progress.
pub(in crate::commands) fn install(
    catalogue: &Catalogue,
    name: &str,
    from: Option<&CopyFrom>,
    terminal: &Terminal,
) -> Result<Installed, Error> {
    let model = catalogue.model(name)?;
    let installed = match catalogue.installed(model).filter(Installed::is_intact) {
        Some(installed) => {
            terminal.note(&format!("{} is installed", model.name));
            installed
        }
        None => download(catalogue, model, from, terminal)?,
    };
    let path = installed.path().display().to_string();
    terminal.event(&json!({ "event": "done", "model": model.name, "path": path }));
    Ok(installed)
}

fn download(
    catalogue: &Catalogue,
    model: &Model,
    from: Option<&CopyFrom>,
    terminal: &Terminal,
) -> Result<Installed, Error> {
    let (name, bytes) = (&model.name, model.size());
    terminal.note(&format!(
        "{name}: {}; {}, {}",
        model.about,
        megabytes(bytes),
        model.licence()
    ));
    terminal.event(
        &json!({ "event": "start", "model": name, "bytes": bytes, "licence": model.licence() }),
    );
    let bar = terminal.transfer(name, bytes);
    let display = Display {
        terminal,
        bar: &bar,
        name,
        shown: Cell::new(None),
    };
    let installed = catalogue.get(name, from, &mut |event| display.show(&event));
    bar.finish_and_clear();
    let installed = installed?;
    let path = installed.path();
    terminal.note(&format!("{name}: installed in {}", path.display()));
    Ok(installed)
}

/// Least time between two lines of progress.
const INTERVAL: Duration = Duration::from_millis(200);

struct Display<'a> {
    terminal: &'a Terminal,
    bar: &'a ProgressBar,
    name: &'a str,
    /// When progress was last written as a line.
    shown: Cell<Option<Instant>>,
}

impl Display<'_> {
    fn show(&self, event: &Event<'_>) {
        let note = |text: String| self.bar.suspend(|| self.terminal.note(&text));
        match event {
            Event::Locked => note(format!(
                "{}: another process installs it; waiting",
                self.name
            )),
            Event::Source { file, from } => note(format!("{file} from {from}")),
            Event::Progress { file, done, total } => {
                self.bar.set_position(*done);
                let now = Instant::now();
                let due = |last: Instant| now.duration_since(last) >= INTERVAL;
                if self.shown.get().is_none_or(due) || done == total {
                    self.shown.set(Some(now));
                    let event = "progress";
                    self.terminal.event(&json!({
                        "event": event, "model": self.name, "file": file, "bytes_done": done, "bytes": total,
                    }));
                }
            }
            Event::Wait { seconds } => note(format!("the server is busy; waiting for {seconds} s")),
            Event::Failed(failure) => {
                self.bar
                    .suspend(|| self.terminal.warn(&failure.to_string()));
            }
            Event::Converting => note(format!("{}: complete; converting", self.name)),
            _ => {}
        }
    }
}
