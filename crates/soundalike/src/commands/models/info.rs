//! `soundalike models info`: licence, attribution and citation of a model.

use std::path::PathBuf;

use serde::Serialize;
use soundalike_models::{Catalogue, Model};

use super::{Format, megabytes};
use crate::output;

/// Show what a model is: licence, attribution, citation (BibTeX), files and their SHA-256
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Name of the model, here or on the hub
    name: String,
    /// Format of the description
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Serialize)]
struct Info<'a> {
    name: &'a str,
    about: &'a str,
    revision: &'a str,
    hub: &'a [String],
    licence: String,
    licences: Vec<&'a str>,
    attribution: &'a str,
    changes: Option<&'static str>,
    citation: &'a str,
    files: Vec<InfoFile<'a>>,
    path: Option<PathBuf>,
}

#[derive(Serialize)]
struct InfoFile<'a> {
    path: &'a str,
    bytes: u64,
    sha256: &'a str,
    urls: &'a [String],
}

pub(super) fn run(args: &Args, catalogue: &Catalogue) -> anyhow::Result<()> {
    let model = catalogue.model(&args.name)?;
    let info = Info::new(model, catalogue);
    let text = match args.format {
        Format::Json => serde_json::to_string_pretty(&info)? + "\n",
        Format::Table => info.render(),
    };
    output::to_stdout(text.as_bytes())
}

impl<'a> Info<'a> {
    fn new(model: &'a Model, catalogue: &Catalogue) -> Self {
        let file = |file: &'a soundalike_models::ModelFile| InfoFile {
            path: &file.path,
            bytes: file.size,
            sha256: &file.sha256,
            urls: &file.urls,
        };
        let installed = catalogue.installed(model);
        Self {
            name: &model.name,
            about: &model.about,
            revision: &model.revision,
            hub: &model.hub,
            licence: model.licence(),
            licences: model.licences.iter().map(|licence| &*licence.url).collect(),
            attribution: &model.attribution,
            changes: installed.map(|_| "converted, values unchanged"),
            citation: &model.citation,
            files: model.files.iter().map(file).collect(),
            path: catalogue.find(model).map(|found| found.path),
        }
    }

    fn render(&self) -> String {
        let mut lines = vec![
            format!("{}: {}", self.name, self.about),
            format!("revision     {}", self.revision),
            format!("on the hub   {}", self.hub.join(", ")),
            format!(
                "licence      {} ({})",
                self.licence,
                self.licences.join(", ")
            ),
            format!("attribution  {}", self.attribution),
        ];
        lines.extend(
            self.changes
                .map(|changes| format!("changes      {changes}")),
        );
        lines.push(match &self.path {
            Some(path) => format!("path         {}", path.display()),
            None => format!(
                "path         none; `soundalike models get {}` installs it",
                self.name
            ),
        });
        lines.push(String::new());
        for file in &self.files {
            lines.push(format!(
                "{}  {}, SHA-256 {}",
                file.path,
                megabytes(file.bytes),
                file.sha256
            ));
            lines.extend(file.urls.iter().map(|url| format!("    {url}")));
        }
        lines.push(String::new());
        lines.join("\n") + "\n" + self.citation
    }
}
