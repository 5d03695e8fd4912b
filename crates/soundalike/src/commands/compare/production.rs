//! Whether `diarize` gets the outputs that were compared.

use anyhow::Context;
use soundalike_compare::{EXACT_R, PathCheck, Report};
use soundalike_convert::Bundle;
use soundalike_diarize::{BATCH, audio::Audio};
use soundalike_model::Engine;
use soundalike_selftest::Production;

use super::{Request, model::Model, windows};

/// Windows of a recording without `--windows all`: two whole batches.
const WINDOWS: usize = 2 * BATCH;
/// The same for engines without our kernels, which are several times slower.
const WINDOWS_WITHOUT_KERNELS: usize = 8;

/// Runs the candidate with `bundle` as `diarize` does, over the recordings of `request` or over the sample. `report` has
/// the stages that were compared.
pub(super) fn check(
    model: &Model,
    bundle: &Bundle,
    engine: &Engine,
    request: &Request<'_>,
    report: &Report,
) -> anyhow::Result<Vec<PathCheck>> {
    let subject = &request.args.subject;
    let segmentation = model.segmentation()?;
    let (segmentation, embedding) = match model.is_embedding() {
        true => (&segmentation, Some(bundle)),
        false => (bundle, None),
    };
    let most = match engine.kernels.instructions(engine.dtype, &engine.device) {
        Some(_) => WINDOWS,
        None => WINDOWS_WITHOUT_KERNELS,
    };
    let own_weights = request.args.candidate_model.is_some();
    let production = Production {
        segmentation,
        embedding,
        pipeline: model.pipeline.as_ref().filter(|_| !own_weights),
        engine,
        allowed: EXACT_R * rounding(report),
        most_windows: (!subject.all_windows()).then_some(most),
        batch: BATCH,
    };
    let failed = |error| anyhow::anyhow!("the candidate failed as `diarize` runs it: {error}");
    if subject.audio.is_empty() {
        return production.check_sample().map_err(failed);
    }
    let (sample_rate, _) = windows::format(bundle)?;
    let mut checks = Vec::new();
    for path in &subject.audio {
        let audio = Audio::read(path, sample_rate)?;
        let uri = path.file_stem().context("no file name")?.to_string_lossy();
        checks.extend(production.check(&uri, audio).map_err(failed)?);
    }
    Ok(checks)
}

/// The rounding of one order of sums, in units of the output: the error of the reference's own f32; in a dtype below f32, the
/// candidate's own.
fn rounding(report: &Report) -> f64 {
    let own = report
        .inputs
        .iter()
        .filter_map(|input| input.reference_error);
    let last = report
        .stages
        .last()
        .and_then(|stage| stage.free_running.as_ref());
    match last {
        Some(error) if error.r_d.is_some() => error.rel_l2,
        _ => own.fold(0.0, f64::max),
    }
}
