//! Reads the files of both sides.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use soundalike_metrics::{Annotation, EvaluationMap, rttm, uem};
use soundalike_report::document::printable;

use crate::terminal::Terminal;

/// The references. A file without turns is a recording without speech, named like the file.
pub(super) fn references(
    paths: &[PathBuf],
    terminal: &Terminal,
) -> anyhow::Result<Vec<Annotation>> {
    side(
        paths,
        "one reference is enough; omit the other",
        |path, uri| {
            terminal.warn(&format!(
                "{}: no turns; the recording `{}` has no speech",
                path.display(),
                printable(uri)
            ));
            true
        },
    )
}

/// The hypotheses. A file without turns is one if a reference is named like the file.
pub(super) fn hypotheses(
    paths: &[PathBuf],
    references: &[Annotation],
    terminal: &Terminal,
) -> anyhow::Result<Vec<Annotation>> {
    let known: HashSet<&str> = references.iter().map(|r| r.uri.as_str()).collect();
    let advice = "score one system at a time; -r takes several references";
    let found = side(paths, advice, |path, uri| {
        terminal.warn(&format!("{}: no turns", path.display()));
        known.contains(uri)
    })?;
    let strangers = !found.iter().any(|h| known.contains(h.uri.as_str()));
    if strangers && !found.is_empty() && found.len().max(references.len()) > 1 {
        bail!(
            "{}: none of its recordings ({}) is in the reference ({}); rename them in the second column",
            super::names(paths),
            some_of(&found),
            some_of(references)
        );
    }
    Ok(found)
}

/// The scored regions of each recording.
pub(super) fn uem(path: &Path) -> anyhow::Result<Vec<EvaluationMap>> {
    let mut maps: Vec<EvaluationMap> = Vec::new();
    let mut seen = HashSet::new();
    for path in files(&[path.to_owned()], "uem")? {
        for map in uem::read(&path)? {
            ensure!(
                seen.insert(map.uri.clone()),
                "{}: another file has `{}` too; omit one",
                path.display(),
                printable(&map.uri)
            );
            maps.push(map);
        }
    }
    Ok(maps)
}

/// The recordings of one side. A recording may be in one file only, else the error gives `advice`. A file without turns
/// is a recording named like the file if `empty` accepts it.
fn side(
    paths: &[PathBuf],
    advice: &str,
    empty: impl Fn(&Path, &str) -> bool,
) -> anyhow::Result<Vec<Annotation>> {
    let mut side = Vec::new();
    let mut origins = HashMap::new();
    for path in files(paths, "rttm")? {
        let mut annotations = rttm::read(&path)?;
        if annotations.is_empty() {
            let uri = path.file_stem().unwrap_or_default().to_string_lossy();
            if empty(&path, &uri) {
                annotations.push(Annotation::new(uri.into_owned()));
            }
        }
        for annotation in annotations {
            if let Some(other) = origins.insert(annotation.uri.clone(), path.clone()) {
                bail!(
                    "{}: has `{}`, and so has {}: {advice}",
                    path.display(),
                    printable(&annotation.uri),
                    other.display()
                );
            }
            side.push(annotation);
        }
    }
    Ok(side)
}

/// The files among `paths`, and those with `extension` in the directories among them, sorted.
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
            let found = file.extension();
            let fits = found.is_some_and(|found| found.eq_ignore_ascii_case(extension));
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

/// The names of the first recordings.
fn some_of(annotations: &[Annotation]) -> String {
    const SHOWN: usize = 3;
    let shown = annotations.iter().take(SHOWN);
    let names = shown.map(|a| format!("`{}`", printable(&a.uri)));
    let mut names: Vec<_> = names.collect();
    if annotations.len() > SHOWN {
        names.push("...".to_owned());
    }
    names.join(", ")
}
