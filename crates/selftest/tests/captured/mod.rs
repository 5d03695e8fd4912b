//! What pyannote computed with the real community-1 pipeline.

#[path = "../../../../tests/support/assets.rs"]
mod directory;

use std::path::Path;

pub(crate) use directory::assets;
use soundalike_convert::load;
use soundalike_diarize::{clustering::Plda, frames::FrameGrid};
use soundalike_selftest::PipelineParameters;

/// Parameters of community-1 and frames of segmentation-3.0.
pub(crate) fn setting(assets: &Path) -> PipelineParameters {
    let bundle = load(&assets.join("pipelines/community-1-synthetic/plda")).expect("a PLDA");
    PipelineParameters {
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
        min_clean_frames: 2,
    }
}
