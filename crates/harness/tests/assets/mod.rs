//! What pyannote computed with the real community-1 pipeline.

use std::path::{Path, PathBuf};

use soundalike_convert::load;
use soundalike_diarize::{clustering::Plda, frames::FrameGrid};
use soundalike_harness::Setting;

/// The directory of test data (`SOUNDALIKE_ASSETS`, or `shared/assets` beside the workspace), or `None` where
/// there is none.
pub(crate) fn assets() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/assets");
    let directory = std::env::var_os("SOUNDALIKE_ASSETS").map_or_else(beside, PathBuf::from);
    if directory.is_dir() {
        return Some(directory);
    }
    assert!(
        std::env::var_os("SOUNDALIKE_REQUIRE_ASSETS").is_none_or(|required| required != "1"),
        "{} is missing",
        directory.display()
    );
    println!("skipped: no assets");
    None
}

/// Parameters of community-1 and frames of segmentation-3.0.
pub(crate) fn setting(assets: &Path) -> Setting {
    let bundle = load(&assets.join("pipelines/community-1-synthetic/plda")).expect("a PLDA");
    Setting {
        threshold: 0.6,
        fa: 0.07,
        fb: 0.8,
        min_duration_off: 0.0,
        plda: Plda::new(&bundle).expect("a PLDA"),
        grid: FrameGrid {
            duration: 0.061_937_5,
            step: 0.016_875,
            window_duration: 10.0,
            window_step: 1.0,
        },
        frames: 589,
        min_alone: 2,
    }
}
