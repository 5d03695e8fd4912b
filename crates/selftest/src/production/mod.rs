//! The calls of `diarize` against observed runs of single windows.

mod cut;
mod fault;
mod masks;
mod recordings;

use std::ops::Range;

use ndarray::{Array2, Array3, ArrayD, ArrayView2, Axis, s};
use soundalike_compare::{Engine as _, EngineError, Masks, Path, PathCheck, Window};
use soundalike_convert::{Bundle, PipelineDirectory};
use soundalike_diarize::{
    Diarizer, Inference, Overrides, Recording, audio::Audio, segmentation::Segmenter,
    speaker_embedding::SpeakerEmbedder,
};
use soundalike_model::{Engine, NoProbe};

use self::{cut::Cut, masks::masks, recordings::paused};
use crate::{CandleEngine, captured::DECISIONS};

pub use self::{
    fault::{PathFault, PathTrial},
    recordings::{recordings, sample},
};

/// Step of the windows over the sample, as a fraction of a window: 41 windows of 10 s, one batch and a part of another.
const SAMPLE_STEP: f64 = 0.05;

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
    /// Most windows of a batch. The whole call of `diarize` has its own, [`soundalike_diarize::BATCH`].
    pub batch: usize,
}

/// The outputs of a batch on one path.
struct Outputs {
    path: Path,
    /// The first window of the batch.
    first: usize,
    /// A name for each window.
    names: Vec<String>,
    /// `[window, frame, score]`, or `[window, speaker, value]` of embeddings.
    found: Array3<f32>,
    /// The compared output of each window.
    compared: Vec<ArrayD<f64>>,
}

impl Outputs {
    fn new(path: Path, first: usize, found: Array3<f32>) -> Self {
        Self {
            path,
            first,
            names: Vec::new(),
            found,
            compared: Vec::new(),
        }
    }

    fn push(&mut self, name: &str, compared: ArrayD<f64>) {
        self.names.push(name.to_owned());
        self.compared.push(compared);
    }

    /// Counts `found` in place of what was found. A missing window has no values.
    fn count(&self, found: &Array3<f32>, check: &mut PathCheck) {
        let mut found = found.outer_iter();
        for (name, compared) in self.names.iter().zip(&self.compared) {
            let found = found.next().map(|found| found.mapv(f64::from).into_dyn());
            check.count(name, &found.unwrap_or_default(), compared);
        }
    }
}

impl Production<'_> {
    /// Runs the networks over the sample, with a pause longer than a window, as `diarize` does, and window by window.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn check_sample(&self) -> Result<Vec<PathCheck>, EngineError> {
        let (name, audio) = paused();
        self.check_at(name, audio, Some(SAMPLE_STEP))
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
        audio: Audio,
        step: Option<f64>,
    ) -> Result<Vec<PathCheck>, EngineError> {
        let mut checks = Vec::new();
        self.run(uri, audio, step, &mut |cut, outputs| {
            let check = self.check_of(&mut checks, cut, outputs.path);
            outputs.count(&outputs.found, check);
        })?;
        Ok(checks)
    }

    /// The check of `path` among `checks`, which gets one if it has none.
    fn check_of<'a>(
        &self,
        checks: &'a mut Vec<PathCheck>,
        cut: &Cut<'_>,
        path: Path,
    ) -> &'a mut PathCheck {
        let index = checks.iter().position(|check| check.path == path);
        let index = index.unwrap_or_else(|| {
            checks.push(cut.check(path, self.allowed_by_batches()));
            checks.len() - 1
        });
        &mut checks[index]
    }

    /// Runs the networks over a recording and gives the outputs to `sink`, batch by batch.
    fn run(
        &self,
        uri: &str,
        mut audio: Audio,
        step: Option<f64>,
        sink: &mut dyn FnMut(&Cut<'_>, &Outputs),
    ) -> Result<(), EngineError> {
        let Ok(segmenter) = Segmenter::new(self.segmentation, self.engine) else {
            return Ok(());
        };
        let configured = |pipeline: &PipelineDirectory| pipeline.config().segmentation_step;
        let step = step.or_else(|| self.pipeline.map(configured));
        let segmenter = match step {
            Some(step) => segmenter.with_step(step)?,
            None => segmenter,
        };
        let powerset = segmenter.powerset();
        let (speakers, classes) = (powerset.num_speakers(), powerset.num_classes());
        let Some(sets) = DECISIONS.sets(speakers, classes) else {
            return Ok(());
        };
        let windows = segmenter.windows();
        if let Some(most) = self.most_windows {
            let end = (most.max(1) - 1) * windows.step + windows.length;
            audio.samples.truncate(end);
        }
        let cut = Cut {
            uri,
            audio: &audio,
            windows,
            batch: self.batch,
        };
        let product = self.infer(&cut, step)?;
        let networks = Networks {
            segmenter: &segmenter,
            sets,
            product: product.as_ref(),
        };
        match self.embedding {
            None => self.segmentations(&cut, &networks, sink),
            Some(bundle) => self.embeddings(&cut, &networks, bundle, sink),
        }
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

    /// Scores, and the activity that `diarize` has.
    fn segmentations(
        &self,
        cut: &Cut<'_>,
        networks: &Networks<'_>,
        sink: &mut dyn FnMut(&Cut<'_>, &Outputs),
    ) -> Result<(), EngineError> {
        let engine = CandleEngine::load(self.segmentation, self.engine)?;
        for batch in cut.batches() {
            let scores = networks.scores(cut, &batch)?;
            let mut unobserved = Outputs::new(Path::Unobserved, batch.start, scores);
            let mut whole = networks.product(&batch, Inference::activity);
            for index in batch {
                let (name, window) = cut.window(index);
                let scores = last_stage(&engine, &window)?.remove_axis(Axis(0));
                if let Some(whole) = &mut whole {
                    let scores = scores.view().into_dimensionality()?;
                    let active = networks.activity(scores.mapv(|score| score as f32).view());
                    whole.push(&name, active.mapv(f64::from).into_dyn());
                }
                unobserved.push(&name, scores);
            }
            sink(cut, &unobserved);
            whole.iter().for_each(|whole| sink(cut, whole));
        }
        Ok(())
    }

    /// Embeddings of the speakers that the segmentation finds.
    fn embeddings(
        &self,
        cut: &Cut<'_>,
        networks: &Networks<'_>,
        bundle: &Bundle,
        sink: &mut dyn FnMut(&Cut<'_>, &Outputs),
    ) -> Result<(), EngineError> {
        let engine = CandleEngine::load(bundle, self.engine)?;
        let configured = |pipeline: &PipelineDirectory| pipeline.config().embedding_exclude_overlap;
        let exclude_overlap = self.pipeline.is_none_or(configured);
        let embedder = SpeakerEmbedder::new(bundle, exclude_overlap, self.engine)?;
        let frames = networks.segmenter.frames() as f64;
        let length = cut.windows.length as f64;
        let samples = engine.graph(true).min_num_samples().unwrap_or(0) as f64;
        let least = match exclude_overlap {
            true => (frames * samples / length).ceil(),
            // No mask has more frames.
            false => frames,
        };
        let speakers = Speakers {
            engine: &engine,
            embedder: &embedder,
            least,
        };
        for batch in cut.batches() {
            let scores = networks.scores(cut, &batch)?;
            let active = scores.outer_iter().map(|scores| networks.activity(scores));
            let active: Vec<Array2<f32>> = active.collect();
            let unobserved = speakers.embed(cut, batch.clone(), &active)?;
            let whole = networks.product(&batch, Inference::embeddings);
            let whole = whole.map(|whole| Outputs {
                names: unobserved.names.clone(),
                compared: unobserved.compared.clone(),
                ..whole
            });
            sink(cut, &unobserved);
            whole.iter().for_each(|whole| sink(cut, whole));
        }
        // No recording has to have such speakers.
        let limit = at_the_limit(networks.segmenter.frames(), least as usize);
        if let Some(active) = limit.filter(|_| exclude_overlap) {
            let mut unobserved = speakers.embed(cut, 0..1, &[active])?;
            unobserved.names = vec!["speakers with the fewest frames alone".to_owned()];
            sink(cut, &unobserved);
        }
        Ok(())
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

/// The embedding network, unobserved and observed.
struct Speakers<'a> {
    engine: &'a CandleEngine,
    embedder: &'a SpeakerEmbedder,
    /// A speaker is heard where nobody else talks, if these frames are more.
    least: f64,
}

impl Speakers<'_> {
    /// Embeddings of the windows of `batch`, whose speakers are `active` `[frame, speaker]`.
    fn embed(
        &self,
        cut: &Cut<'_>,
        batch: Range<usize>,
        active: &[Array2<f32>],
    ) -> Result<Outputs, EngineError> {
        let views: Vec<_> = active.iter().map(|active| active.view()).collect();
        let together = ndarray::stack(Axis(0), &views)?;
        let samples = cut.samples(&batch);
        let found = self.embedder.embed(samples, cut.windows, together.view())?;
        let mut outputs = Outputs::new(Path::Unobserved, batch.start, found);
        for (index, active) in batch.zip(active) {
            let (name, mut window) = cut.window(index);
            // A silent speaker has zeros.
            let mut compared = ArrayD::zeros(vec![active.ncols(), self.embedder.dimension()]);
            let spoken = active.axis_iter(Axis(1)).map(|x| x.sum() > 0.0);
            let spoken: Vec<bool> = spoken.collect();
            if spoken.contains(&true) {
                window.masks = Some(Masks {
                    name: "masks of the speakers".to_owned(),
                    values: masks(active, self.least as f32).insert_axis(Axis(0)),
                });
                let observed = last_stage(self.engine, &window)?.remove_axis(Axis(0));
                for (speaker, _) in spoken.iter().enumerate().filter(|(_, spoken)| **spoken) {
                    let row = observed.index_axis(Axis(0), speaker);
                    compared.index_axis_mut(Axis(0), speaker).assign(&row);
                }
            }
            outputs.push(&name, compared);
        }
        Ok(outputs)
    }
}

/// Activity `[frame, speaker]` of three speakers: the first talks alone in `least` frames, the second in one more, and each in an
/// eighth of the window together with the third. `None` in fewer frames than that takes.
fn at_the_limit(frames: usize, least: usize) -> Option<Array2<f32>> {
    let together = frames / 8;
    if frames < 2 * (least + 1 + together) {
        return None;
    }
    let mut active = Array2::zeros((frames, 3));
    let mut first = 0;
    for (speaker, alone) in [(0, least), (1, least + 1)] {
        let end = first + alone + together;
        active.slice_mut(s![first..end, speaker]).fill(1.0);
        active.slice_mut(s![first + alone..end, 2]).fill(1.0);
        first = end;
    }
    Some(active)
}

/// The segmentation, and what `diarize` found.
struct Networks<'a> {
    segmenter: &'a Segmenter,
    /// The speakers of each class, from the official package.
    sets: &'a [Vec<usize>],
    product: Option<&'a Inference>,
}

impl Networks<'_> {
    /// The scores of `batch`, unobserved, `[window, frame, class]`.
    fn scores(&self, cut: &Cut<'_>, batch: &Range<usize>) -> Result<Array3<f32>, EngineError> {
        let samples = cut.samples(batch);
        let scores = self
            .segmenter
            .scores(samples, 0..batch.len(), &mut NoProbe)?;
        Ok(scores)
    }

    /// The speakers of the likeliest class, the first of equals, by `scores` `[frame, class]`; `[frame, speaker]`.
    fn activity(&self, scores: ArrayView2<'_, f32>) -> Array2<f32> {
        let speakers = self.segmenter.powerset().num_speakers();
        let mut activity = Array2::zeros((scores.nrows(), speakers));
        for (frame, scores) in scores.outer_iter().enumerate() {
            let best = scores.fold(f32::NEG_INFINITY, |best, score| best.max(*score));
            let class = scores.iter().position(|score| *score == best);
            for speaker in class.iter().flat_map(|class| &self.sets[*class]) {
                activity[[frame, *speaker]] = 1.0;
            }
        }
        activity
    }

    /// The outputs `of` the whole call for `batch`.
    fn product(&self, batch: &Range<usize>, of: fn(&Inference) -> &Array3<f32>) -> Option<Outputs> {
        let all = of(self.product?);
        let there = all.len_of(Axis(0));
        let rows = batch.start.min(there)..batch.end.min(there);
        let found = all.slice(s![rows, .., ..]).to_owned();
        Some(Outputs::new(Path::Product, batch.start, found))
    }
}

#[cfg(test)]
mod tests {
    use soundalike_diarize::powerset::Powerset;

    use super::*;

    #[test]
    fn classes_are_those_of_the_official_package() {
        for speakers in 1..=8 {
            for together in 1..=speakers.min(4) {
                let powerset = Powerset::new(speakers, together);
                let sets = DECISIONS.sets(speakers, powerset.num_classes()).unwrap();
                for (class, set) in sets.iter().enumerate() {
                    let mut scores = Array2::zeros((1, sets.len()));
                    scores[[0, class]] = 1.0;
                    let mut expected = Array2::zeros((1, speakers));
                    set.iter().for_each(|speaker| expected[[0, *speaker]] = 1.0);
                    assert_eq!(powerset.decode(scores.view()), expected);
                }
            }
        }
    }
}
