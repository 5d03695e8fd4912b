//! Test data that no checkout has. Tests of several packages include this file. They stand in `mod assets` or
//! `mod captures` and are ignored unless asked for: CONTRIBUTING.md.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::path::{Path, PathBuf};

/// Recordings and models that cannot be published: `SOUNDALIKE_ASSETS`, or `shared/assets` beside the workspace.
pub(crate) fn assets() -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/assets");
    let directory = std::env::var_os("SOUNDALIKE_ASSETS").map_or_else(beside, PathBuf::from);
    assert!(directory.is_dir(), "SOUNDALIKE_ASSETS names no directory");
    directory
}

/// What `scripts/capture_suite.sh` made: `SOUNDALIKE_CAPTURES`.
pub(crate) fn captures() -> PathBuf {
    let directory = std::env::var_os("SOUNDALIKE_CAPTURES").map(PathBuf::from);
    let directory =
        directory.expect("SOUNDALIKE_CAPTURES: a directory that scripts/capture_suite.sh filled");
    assert!(directory.is_dir(), "SOUNDALIKE_CAPTURES names no directory");
    directory
}
