//! Finding and reading the files of both sides.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use soundalike_metrics::{Annotation, EvaluationMap, rttm, uem};

use crate::{document::printable, terminal::Terminal};

/// The references. A file without turns is a recording named as the file, in which nobody speaks.
pub(super) fn references(
    paths: &[PathBuf],
    terminal: &Terminal,
) -> anyhow::Result<Vec<Annotation>> {
    let mut side = Side::new("one reference is enough; leave one out");
    for path in files(paths, "rttm")? {
        let annotations = rttm::read(&path)?;
        if annotations.is_empty() {
            let uri = stem(&path);
            terminal.warn(&format!(
                "{}: no turns; in the recording `{}` nobody speaks",
                path.display(),
                printable(&uri)
            ));
            side.add(&path, Annotation::new(uri))?;
        }
        for annotation in annotations {
            side.add(&path, annotation)?;
        }
    }
    Ok(side.annotations)
}

/// The hypotheses. A file without turns is one of them if a reference is named as the file.
pub(super) fn hypotheses(
    paths: &[PathBuf],
    references: &[Annotation],
    terminal: &Terminal,
) -> anyhow::Result<Vec<Annotation>> {
    let known: HashSet<&str> = references.iter().map(|r| r.uri.as_str()).collect();
    let mut side = Side::new("score one system at a time; -r takes several references");
    for path in files(paths, "rttm")? {
        let annotations = rttm::read(&path)?;
        if annotations.is_empty() {
            let uri = stem(&path);
            terminal.warn(&format!("{}: no turns", path.display()));
            if known.contains(uri.as_str()) {
                side.add(&path, Annotation::new(uri))?;
            }
        }
        for annotation in annotations {
            side.add(&path, annotation)?;
        }
    }
    let found = &side.annotations;
    let strangers = !found.iter().any(|h| known.contains(h.uri.as_str()));
    if strangers && !found.is_empty() && found.len().max(references.len()) > 1 {
        bail!(
            "{}: none of its recordings ({}) is in the reference ({}); rename them, in the second column",
            super::names(paths),
            some_of(found),
            some_of(references)
        );
    }
    Ok(side.annotations)
}

/// What is scored of each recording.
pub(super) fn uem(path: &Path) -> anyhow::Result<Vec<EvaluationMap>> {
    let mut maps: Vec<EvaluationMap> = Vec::new();
    let mut seen = HashSet::new();
    for path in files(&[path.to_owned()], "uem")? {
        for map in uem::read(&path)? {
            ensure!(
                seen.insert(map.uri.clone()),
                "{}: another file has `{}` too; leave one out",
                path.display(),
                printable(&map.uri)
            );
            maps.push(map);
        }
    }
    Ok(maps)
}

/// The recordings of one side, each of which stands in one file only.
struct Side {
    annotations: Vec<Annotation>,
    /// In which file a recording is.
    origin: HashMap<String, PathBuf>,
    /// What to do about a recording that is in two.
    advice: &'static str,
}

impl Side {
    fn new(advice: &'static str) -> Self {
        Self {
            annotations: Vec::new(),
            origin: HashMap::new(),
            advice,
        }
    }

    fn add(&mut self, path: &Path, annotation: Annotation) -> anyhow::Result<()> {
        let uri = annotation.uri.clone();
        if let Some(other) = self.origin.insert(uri, path.to_owned()) {
            bail!(
                "{}: has `{}`, and so has {}: {}",
                path.display(),
                printable(&annotation.uri),
                other.display(),
                self.advice
            );
        }
        self.annotations.push(annotation);
        Ok(())
    }
}

/// All files: those given, and those in the directories given whose names end in `extension`, sorted.
pub(super) fn files(paths: &[PathBuf], extension: &str) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let unreadable = || format!("{}: cannot be read", path.display());
        let mut inside = Vec::new();
        for entry in fs::read_dir(path).with_context(unreadable)? {
            let file = entry.with_context(unreadable)?.path();
            let fits = file
                .extension()
                .is_some_and(|found| found.eq_ignore_ascii_case(extension));
            if fits && !file.is_dir() {
                inside.push(file);
            }
        }
        ensure!(
            !inside.is_empty(),
            "{}: no .{extension} file in this directory",
            path.display()
        );
        inside.sort();
        files.extend(inside);
    }
    Ok(files)
}

/// The name of a file without its ending.
fn stem(path: &Path) -> String {
    path.file_stem()
        .map_or_else(String::new, |stem| stem.to_string_lossy().into_owned())
}

/// The names of the first recordings.
fn some_of(annotations: &[Annotation]) -> String {
    const SHOWN: usize = 3;
    let mut names: Vec<String> = annotations
        .iter()
        .take(SHOWN)
        .map(|a| format!("`{}`", printable(&a.uri)))
        .collect();
    if annotations.len() > SHOWN {
        names.push("...".to_owned());
    }
    names.join(", ")
}
