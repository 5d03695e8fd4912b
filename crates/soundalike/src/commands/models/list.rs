//! `soundalike models list`: the models of the registry, and those on this machine.

use std::path::PathBuf;

use serde::Serialize;
use soundalike_models::{Catalogue, Origin};
use soundalike_report::document::{
    Document, Table,
    terminal::{self, Screen},
};

use super::{Format, megabytes};
use crate::output;

/// List models: what there is, what is on this machine, where, and how large
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Format of the list
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// One model.
#[derive(Serialize)]
struct Row {
    name: String,
    revision: String,
    about: String,
    licence: String,
    /// Size of the download, if the registry has the model.
    bytes: Option<u64>,
    /// Where it is on this machine.
    path: Option<PathBuf>,
    /// Whether it is installed, and not only in the hub's cache.
    installed: bool,
    /// Its size on this machine, if it is installed.
    bytes_on_disk: Option<u64>,
}

pub(super) fn run(args: &Args, catalogue: &Catalogue) -> anyhow::Result<()> {
    let rows = rows(catalogue);
    let text = match args.format {
        Format::Json => serde_json::to_string_pretty(&rows)? + "\n",
        Format::Table => terminal::render(&document(&rows), Screen::of(None)),
    };
    output::to_stdout(text.as_bytes())
}

fn rows(catalogue: &Catalogue) -> Vec<Row> {
    let mut rows = Vec::new();
    for model in catalogue.registry().models() {
        let installed = catalogue.installed(model);
        let found = catalogue.find(model);
        rows.push(Row {
            name: model.name.clone(),
            revision: model.revision.clone(),
            about: model.about.clone(),
            licence: model.licence(),
            bytes: Some(model.size()),
            installed: found
                .as_ref()
                .is_some_and(|found| found.origin == Origin::Installed),
            path: found.map(|found| found.path),
            bytes_on_disk: installed.map(|installed| installed.size()),
        });
    }
    // Without a home directory, nothing is installed.
    let all = catalogue.store().map_or(Vec::new(), |store| store.all());
    for installed in all {
        let path = installed.path();
        if !rows.iter().any(|row| row.path.as_ref() == Some(&path)) {
            rows.push(Row {
                name: installed.name().to_owned(),
                revision: installed.revision().to_owned(),
                about: match catalogue.registry().model(installed.name()) {
                    None => "not in the registry",
                    Some(_) => "incomplete, or not the registry's version",
                }
                .to_owned(),
                licence: installed.licence().to_owned(),
                bytes: None,
                installed: true,
                bytes_on_disk: Some(installed.size()),
                path: Some(path),
            });
        }
    }
    rows
}

fn document(rows: &[Row]) -> Document {
    let mut document = Document::default();
    let mut table = Table::new("name|licence|>download|on this machine");
    for row in rows {
        let place = match (&row.path, row.bytes_on_disk) {
            (None, _) => "no".to_owned(),
            (Some(_), None) => "in the hub's cache".to_owned(),
            (Some(_), Some(bytes)) => format!("installed, {}", megabytes(bytes)),
        };
        table.row([
            row.name.clone(),
            row.licence.clone(),
            row.bytes.map(megabytes).unwrap_or_default(),
            place,
        ]);
    }
    document.table("", table);
    let facts = rows
        .iter()
        .map(|row| format!("{}: {}", row.name, row.about));
    document.facts(facts);
    let paths = rows.iter().filter_map(|row| {
        let path = row.path.as_ref()?;
        Some(format!("{} is in {}", row.name, path.display()))
    });
    document.facts(paths);
    document
}
