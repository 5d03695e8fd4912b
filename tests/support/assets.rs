//! Where the test data is that no checkout brings along. Tests of several packages include this file.

use std::path::{Path, PathBuf};

/// The directory of test data: `SOUNDALIKE_ASSETS`, or `shared/assets` beside the workspace. Without it the test is
/// skipped, unless `SOUNDALIKE_REQUIRE_ASSETS` is 1.
pub(crate) fn assets() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/assets");
    let directory = std::env::var_os("SOUNDALIKE_ASSETS").map_or_else(beside, PathBuf::from);
    required(directory.is_dir().then_some(directory))
}

/// `path`, which the test is skipped without, unless `SOUNDALIKE_REQUIRE_ASSETS` is 1.
pub(crate) fn required(path: Option<PathBuf>) -> Option<PathBuf> {
    if path.is_none() {
        let required = std::env::var("SOUNDALIKE_REQUIRE_ASSETS").is_ok_and(|value| value == "1");
        assert!(
            !required,
            "SOUNDALIKE_REQUIRE_ASSETS is 1 and the assets are not there"
        );
        println!("skipped: no assets");
    }
    path
}
