//! `soundalike models`: models by name.

mod get;
mod info;
mod list;

use std::path::PathBuf;

use anyhow::bail;
use clap::Subcommand;
use soundalike_models::{Catalogue, Error, Settings};

pub(super) use self::get::install;
use super::Format;
use crate::{output, terminal::Terminal};

/// Download models by name, and manage those on this machine
///
/// A registry in the program lists models with their sizes, SHA-256 and licences. `get` downloads one, verifies it,
/// converts it to bundles and keeps it with its licence; `diarize` then uses community-1 without --model, offline.
/// Models are kept in SOUNDALIKE_MODELS [default: ~/.local/share/soundalike/models].
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
    /// Registry with further models, in TOML; SOUNDALIKE_REGISTRY names one for every command
    #[arg(long, value_name = "FILE", global = true)]
    registry: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Get(get::Args),
    List(list::Args),
    Info(info::Args),
    Verify(Verify),
    Path(Name),
    Remove(Remove),
}

/// Compare installed models with their SHA-256
///
/// Exit code 1: at least one file is damaged; `get` replaces it.
#[derive(Debug, clap::Args)]
struct Verify {
    /// Names of models [default: all installed ones]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

/// Print the path of a model on this machine
#[derive(Debug, clap::Args)]
struct Name {
    /// Name of the model, here or on the hub
    name: String,
}

/// Remove an installed model, in all revisions
#[derive(Debug, clap::Args)]
struct Remove {
    /// Name of the model
    name: String,
}

pub(crate) fn run(args: &Args, terminal: &Terminal) -> anyhow::Result<()> {
    let catalogue = Catalogue::open(Settings::from_environment(), args.registry.as_deref());
    match &args.command {
        Command::Get(args) => get::run(args, catalogue, terminal),
        Command::List(args) => list::run(args, &catalogue?),
        Command::Info(args) => info::run(args, &catalogue?),
        Command::Verify(args) => verify(args, &catalogue?, terminal),
        Command::Path(args) => {
            let found = catalogue?.named(&args.name)?;
            output::to_stdout(format!("{}\n", found.path.display()).as_bytes())
        }
        Command::Remove(args) => {
            let bytes = catalogue?.store()?.remove(&args.name)?;
            terminal.note(&format!("{}: removed, {}", args.name, megabytes(bytes)));
            Ok(())
        }
    }
}

fn verify(args: &Verify, catalogue: &Catalogue, terminal: &Terminal) -> anyhow::Result<()> {
    let mut models = catalogue.store()?.all();
    for name in &args.names {
        if !models.iter().any(|model| model.name() == name) {
            return Err(Error::NothingInstalled(name.clone()).into());
        }
    }
    models.retain(|model| {
        args.names.is_empty() || args.names.iter().any(|name| name == model.name())
    });
    let mut damaged = Vec::new();
    let mut lines = String::new();
    for model in &models {
        let damage = model.verify();
        let verdict = if damage.is_empty() { "ok" } else { "damaged" };
        let (files, size) = (model.files().len(), megabytes(model.size()));
        lines += &format!(
            "{} {}: {files} files, {size}, {verdict}\n",
            model.name(),
            model.revision()
        );
        for damage in &damage {
            terminal.warn(&damage.to_string());
        }
        if !damage.is_empty() {
            damaged.push(model.name());
        }
    }
    output::to_stdout(lines.as_bytes())?;
    match &damaged[..] {
        [] => Ok(()),
        [first, ..] => bail!(
            "{} is damaged; `soundalike models get {first}` replaces it",
            damaged.join(", ")
        ),
    }
}

/// A size for people.
fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
