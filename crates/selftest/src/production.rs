//! The calls of `diarize` against observed runs of single windows.

use std::ops::Range;

use ndarray::{Array1, Array2, ArrayD, ArrayView, Axis, Dimension};
use soundalike_compare::{Engine as _, EngineError, Input, Masks, Path, PathCheck, Window};
use soundalike_convert::{Bundle, PipelineDirectory};
use soundalike_diarize::{
    BATCH, Diarizer, Inference, Overrides, Recording, audio::Audio, segmentation::Segmenter,
    speaker_embedding::SpeakerEmbedder, windows::Windows,
};
use soundalike_model::{Engine, NoProbe};

use crate::CandleEngine;

/// Step of the windows over the sample, as a fraction of a window: 41 windows of 10 s, one batch and a part of another.
const SAMPLE_STEP: f64 = 0.05;

/// Samples of the sample that are silenced, so that four windows have no speech.
const PAUSE: Range<usize> = 128_000..312_000;

/// The networks that `diarize` runs.
#[derive(Debug, Clone, Copy)]
pub struct Production<'a> {
    /// The segmentation network.
    pub segmentation: &'a Bundle,
    /// The embedding network, if it is the one that is compared.
    pub embedding: Option<&'a Bundle>,
    /// The pipeline of both, if there is one.
    pub pipeline: Option<&'a PipelineDirectory>,
    /// Device, precision and kernels of all.
    pub engine: &'a Engine,
    /// The allowed difference where the order of sums depends on the batch, in units of an output's root mean square.
    pub allowed: f64,
    /// Most windows of a recording.
    pub most_windows: Option<usize>,
}

/// The project's sample: 30 s of two synthetic voices.
#[must_use]
pub fn sample() -> Audio {
    let samples = include_bytes!("../captured/sample.s16").chunks_exact(2);
    let samples = samples.map(|x| f32::from(i16::from_le_bytes([x[0], x[1]])) / 32_768.0);
    Audio {
        samples: samples.collect(),
        sample_rate: 16_000,
        skipped_packets: 0,
    }
}

impl Production<'_> {
    /// Runs the networks over the sample, with a pause longer than a window, as `diarize` does, and window by window.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn check_sample(&self) -> Result<Vec<PathCheck>, EngineError> {
        let mut audio = sample();
        audio.samples[PAUSE].fill(0.0);
        self.check_at("sample.wav with a pause", audio, Some(SAMPLE_STEP))
    }

    /// Runs the networks over the recording `uri` as `diarize` does (unobserved, in batches, with the masks of the
    /// speakers), and observed, window by window. Empty for a segmentation that `diarize` cannot run.
    ///
    /// # Errors
    /// Where a network fails.
    pub fn check(&self, uri: &str, audio: Audio) -> Result<Vec<PathCheck>, EngineError> {
        self.check_at(uri, audio, None)
    }

    fn check_at(
        &self,
        uri: &str,
        mut audio: Audio,
        step: Option<f64>,
    ) -> Result<Vec<PathCheck>, EngineError> {
        let Ok(segmenter) = Segmenter::new(self.segmentation, self.engine) else {
            return Ok(Vec::new());
        };
        let configured = |pipeline: &PipelineDirectory| pipeline.config().segmentation_step;
        let step = step.or_else(|| self.pipeline.map(configured));
        let segmenter = match step {
            Some(step) => segmenter.with_step(step)?,
            None => segmenter,
        };
        let windows = segmenter.windows();
        let count = windows.count(audio.samples.len());
        let count = self.most_windows.map_or(count, |most| most.min(count));
        let end = (count - 1) * windows.step + windows.length;
        audio.samples.truncate(end);
        let cut = Cut {
            uri,
            audio: &audio,
            windows,
            count,
        };
        let product = self.infer(&cut, step)?;
        let checks = match self.embedding {
            None => self.segmentations(&cut, &segmenter, product.as_ref()),
            Some(bundle) => self.embeddings(&cut, &segmenter, bundle, product.as_ref()),
        };
        let checks = checks?.into_iter();
        Ok(checks.filter(|check| check.outputs > 0).collect())
    }

    /// The whole call of `diarize`, up to the clustering. `None` for an embedding network without a pipeline.
    fn infer(&self, cut: &Cut<'_>, step: Option<f64>) -> Result<Option<Inference>, EngineError> {
        let overrides = Overrides {
            step,
            ..Overrides::default()
        };
        let diarizer = match (self.pipeline, self.embedding) {
            (Some(pipeline), _) => Diarizer::from_pipeline(pipeline, &overrides, self.engine)?,
            (None, None) => Diarizer::built_in(self.segmentation, &overrides, self.engine)?,
            (None, Some(_)) => return Ok(None),
        };
        let mut recording = Recording::from(cut.audio.clone());
        Ok(Some(diarizer.infer(
            cut.uri,
            &mut recording,
            &mut |_| {},
        )?))
    }

    /// Scores, and the activity that `product` has.
    fn segmentations(
        &self,
        cut: &Cut<'_>,
        segmenter: &Segmenter,
        product: Option<&Inference>,
    ) -> Result<[PathCheck; 2], EngineError> {
        let engine = CandleEngine::load(self.segmentation, self.engine)?;
        let [mut unobserved, mut whole] = cut.checks(self.allowed_by_batches());
        for batch in cut.batches() {
            let scores = segmenter.scores(cut.samples(&batch), 0..batch.len(), &mut NoProbe)?;
            for (index, scores) in batch.zip(scores.outer_iter()) {
                let (name, window) = cut.window(index);
                let observed = last_stage(&engine, &window)?.remove_axis(Axis(0));
                unobserved.count(&name, &wide(scores), &observed);
                let observed = observed.mapv(|score| score as f32).into_dimensionality()?;
                let decoded = segmenter.powerset().decode(observed.view());
                if let Some(product) = product {
                    let activity = product.activity().index_axis(Axis(0), index);
                    whole.count(&name, &wide(activity), &wide(decoded.view()));
                }
            }
        }
        Ok([unobserved, whole])
    }

    /// Embeddings of the speakers that the segmentation finds.
    fn embeddings(
        &self,
        cut: &Cut<'_>,
        segmenter: &Segmenter,
        bundle: &Bundle,
        product: Option<&Inference>,
    ) -> Result<[PathCheck; 2], EngineError> {
        let engine = CandleEngine::load(bundle, self.engine)?;
        let configured = |pipeline: &PipelineDirectory| pipeline.config().embedding_exclude_overlap;
        let exclude_overlap = self.pipeline.is_none_or(configured);
        let embedder = SpeakerEmbedder::new(bundle, exclude_overlap, self.engine)?;
        let (frames, length) = (segmenter.frames() as f64, cut.windows.length as f64);
        let samples = engine.graph(true).min_num_samples().unwrap_or(0) as f64;
        let least = match exclude_overlap {
            true => (frames * samples / length).ceil(),
            // No mask has more frames.
            false => frames,
        };
        let [mut unobserved, mut whole] = cut.checks(self.allowed_by_batches());
        for batch in cut.batches() {
            let samples = cut.samples(&batch);
            let scores = segmenter.scores(samples, 0..batch.len(), &mut NoProbe)?;
            let activity = scores
                .outer_iter()
                .map(|scores| segmenter.powerset().decode(scores));
            let activity: Vec<Array2<f32>> = activity.collect();
            let views: Vec<_> = activity.iter().map(|activity| activity.view()).collect();
            let together = ndarray::stack(Axis(0), &views)?;
            let found = embedder.embed(samples, cut.windows, together.view())?;
            for ((index, activity), found) in batch.zip(&activity).zip(found.outer_iter()) {
                let (name, mut window) = cut.window(index);
                // A silent speaker has zeros.
                let mut expected = ArrayD::zeros(found.shape());
                let spoken: Vec<_> = activity.axis_iter(Axis(1)).map(|x| x.sum() > 0.0).collect();
                if spoken.contains(&true) {
                    window.masks = Some(Masks {
                        name: "masks of the speakers".to_owned(),
                        values: masks(activity, least as f32).insert_axis(Axis(0)),
                    });
                    let observed = last_stage(&engine, &window)?.remove_axis(Axis(0));
                    for (speaker, _) in spoken.iter().enumerate().filter(|(_, spoken)| **spoken) {
                        let row = observed.index_axis(Axis(0), speaker);
                        expected.index_axis_mut(Axis(0), speaker).assign(&row);
                    }
                }
                unobserved.count(&name, &wide(found), &expected);
                if let Some(product) = product {
                    let found = product.embeddings().index_axis(Axis(0), index);
                    whole.count(&name, &wide(found), &expected);
                }
            }
        }
        Ok([unobserved, whole])
    }

    /// Our kernels sum in one order for any batch. candle's products do not.
    fn allowed_by_batches(&self) -> f64 {
        let Engine {
            dtype,
            device,
            kernels,
        } = self.engine;
        match kernels.instructions(*dtype, device) {
            Some(_) => 0.0,
            None => self.allowed,
        }
    }
}

/// The output of the last stage, in a run that shows every stage.
fn last_stage(engine: &CandleEngine, window: &Window) -> Result<ArrayD<f64>, EngineError> {
    let mut last = None;
    engine.run(window, &mut |_, value| {
        last = Some(value);
        Ok(None)
    })?;
    last.ok_or_else(|| "the network shows no stage".into())
}

fn wide<D: Dimension>(values: ArrayView<'_, f32, D>) -> ArrayD<f64> {
    values.mapv(f64::from).into_dyn()
}

/// The frames over which the embedding of each speaker is pooled, `[speaker, frame]`: those without another speaker if they
/// are more than `least`, else all active ones. By the definition, and not by our own code: pyannote.audio
/// `SpeakerDiarization.get_embeddings(exclude_overlap=True)`.
fn masks(activity: &Array2<f32>, least: f32) -> Array2<f32> {
    let speakers = activity.sum_axis(Axis(1));
    let mut masks = activity.t().to_owned();
    for mut mask in masks.rows_mut() {
        let mut clean = mask.to_owned();
        clean.zip_mut_with(&speakers, |active, speakers| {
            if *speakers > 1.0 {
                *active = 0.0;
            }
        });
        if clean.sum() > least {
            mask.assign(&clean);
        }
    }
    masks
}

/// The windows of a recording.
struct Cut<'a> {
    uri: &'a str,
    audio: &'a Audio,
    windows: Windows,
    count: usize,
}

impl Cut<'_> {
    /// The batches of `diarize`.
    fn batches(&self) -> impl Iterator<Item = Range<usize>> {
        let count = self.count;
        let starts = (0..count).step_by(BATCH);
        starts.map(move |start| start..(start + BATCH).min(count))
    }

    /// The samples from the start of a batch on.
    fn samples(&self, batch: &Range<usize>) -> &[f32] {
        self.audio
            .samples
            .get(batch.start * self.windows.step..)
            .unwrap_or_default()
    }

    /// A window and its name.
    fn window(&self, index: usize) -> (String, Window) {
        let seconds = |samples: usize| samples as f64 / f64::from(self.audio.sample_rate);
        let mut samples = vec![0.0; self.windows.length];
        self.windows.copy(&self.audio.samples, index, &mut samples);
        let samples = Array1::from(samples).insert_axis(Axis(0));
        let window = Window {
            uri: self.uri.to_owned(),
            start: seconds(index * self.windows.step),
            duration: seconds(self.windows.length),
            waveform: samples.insert_axis(Axis(0)).into_dyn(),
            masks: None,
        };
        (Input::new(&window).to_string(), window)
    }

    /// Checks of both paths, without outputs yet.
    fn checks(&self, allowed: f64) -> [PathCheck; 2] {
        let windows = format!("{} windows of {}", self.count, self.uri);
        let sizes: Vec<_> = self
            .batches()
            .map(|batch| batch.len().to_string())
            .collect();
        let batches = format!("{windows} in batches of {}", sizes.join(" and "));
        [
            PathCheck::new(Path::Unobserved, batches, allowed),
            PathCheck::new(Path::Product, windows, allowed),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_that_of_the_tests() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/sample.wav");
        assert_eq!(sample(), Audio::read(path.as_ref(), 16_000).unwrap());
    }

    #[test]
    fn masks_leave_out_overlaps_unless_too_little_is_left() {
        let activity = ndarray::array![[1.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0_f32]];
        let expected = ndarray::array![[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]];
        assert_eq!(masks(&activity, 1.0), expected);
        // With overlaps: no speaker has more frames than a window.
        assert_eq!(masks(&activity, 4.0), activity.t());
    }
}
