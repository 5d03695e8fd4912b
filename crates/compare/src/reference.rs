//! A reference: the golden output of every stage, with the floors.

use std::{
    io::{Read, Seek},
    sync::Arc,
};

use ndarray::ArrayD;
use soundalike_network::{Graph, Stage};

use crate::{
    CompareError, EngineInfo, Floors, ReferenceTrace, Running, TraceError, Window, aligned::Golden,
    alignment::Tensors, trace::inconsistent,
};

/// One stage of the reference.
#[derive(Debug, Clone)]
pub struct ReferenceStage {
    /// The stage.
    pub stage: Stage,
    /// Whether a norm only amplifies rounding, at this stage or before.
    pub degenerate: bool,
    /// The golden output: f64, from unrounded inputs.
    pub golden: Arc<ArrayD<f64>>,
    /// The golden output in f32, which teacher-forced runs go on with.
    pub fed: Arc<ArrayD<f32>>,
    /// The error of the reference's own f32, free-running.
    pub free: Floors,
    /// The error of the reference's own f32, fed the rounded golden input.
    pub forced: Floors,
    /// The output of the free-running f32 reference; in a trace, only of the last stage.
    pub rounded: Option<ArrayD<f64>>,
}

/// Receives the stages of a reference. Returns whether the candidate continues with the golden output of the stage.
pub(crate) type Observer<'a> = dyn FnMut(&ReferenceStage) -> Result<bool, CompareError> + 'a;

/// A trace of the official package, or a live engine.
pub trait Reference {
    /// As on the command line.
    fn name(&self) -> String;

    /// The engine that runs it.
    fn engine(&self) -> EngineInfo;

    /// Its stages on `window`.
    ///
    /// # Errors
    /// [`CompareError`] if it has none for this window.
    fn graph(&self, window: &Window) -> Result<Graph, CompareError>;

    /// Shows every stage on `window`, in order of execution, as soon as it is computed.
    ///
    /// # Errors
    /// [`CompareError`] where it fails, and any error of `see`.
    fn run(&mut self, window: &Window, see: &mut Observer<'_>) -> Result<(), CompareError>;

    /// The golden outputs on `window`, to be read in any order.
    ///
    /// # Errors
    /// [`CompareError`] where it fails.
    #[doc(hidden)]
    fn golden_tensors<'a>(
        &'a mut self,
        window: &Window,
    ) -> Result<Box<dyn Tensors<Error = CompareError> + 'a>, CompareError> {
        Ok(Box::new(Golden::of(self, window)?))
    }

    /// The golden output on `window` with `value` in place of the output of the stage `name`.
    ///
    /// # Errors
    /// [`CompareError::NoGains`] where it cannot be run again.
    fn output_with(
        &mut self,
        _window: &Window,
        _name: &str,
        _value: &ArrayD<f32>,
    ) -> Result<ArrayD<f64>, CompareError> {
        Err(CompareError::NoGains)
    }

    /// Whether the forced floors cover all stages since the one that was fed last. Otherwise they cover one stage, and a
    /// candidate that fuses several cannot be judged.
    fn follows_fusion(&self) -> bool;
}

impl<R: Read + Seek> Reference for ReferenceTrace<R> {
    fn name(&self) -> String {
        self.origin().to_owned()
    }

    fn engine(&self) -> EngineInfo {
        let manifest = self.manifest();
        let model = manifest.model.as_ref();
        EngineInfo {
            dtype: "f64, f32".to_owned(),
            device: "cpu".to_owned(),
            model_sha256: model.map(|model| model.origin().to_owned()),
            ..manifest.engine_info()
        }
    }

    fn graph(&self, _window: &Window) -> Result<Graph, CompareError> {
        Ok(self.manifest().graph().clone())
    }

    fn run(&mut self, _window: &Window, see: &mut Observer<'_>) -> Result<(), CompareError> {
        let graph = self.manifest().graph().clone();
        for (index, stage) in graph.stages().iter().enumerate() {
            let golden = self.golden(&stage.name)?;
            let is_last = index + 1 == graph.stages().len();
            let output = is_last.then(|| self.output()).transpose()?;
            let shown = ReferenceStage {
                stage: stage.clone(),
                degenerate: self.manifest().is_degenerate(index),
                fed: Arc::new(golden.mapv(|x| x as f32)),
                golden: Arc::new(golden),
                free: self.floors(stage, Running::Free)?,
                forced: self.floors(stage, Running::Forced)?,
                rounded: output.map(|output| output.mapv(f64::from)),
            };
            self.check(&shown, self.manifest().shape(index))?;
            see(&shown)?;
        }
        Ok(())
    }

    fn golden_tensors<'a>(
        &'a mut self,
        _window: &Window,
    ) -> Result<Box<dyn Tensors<Error = CompareError> + 'a>, CompareError> {
        Ok(Box::new(self))
    }

    fn follows_fusion(&self) -> bool {
        self.has_floors_of_fusion()
    }
}

impl<R: Read + Seek> ReferenceTrace<R> {
    /// Checks that the arrays of a stage have the shape of the manifest, and that the golden output is finite.
    fn check(&self, shown: &ReferenceStage, expected: &[usize]) -> Result<(), TraceError> {
        let axes = &shown.stage.axes;
        let shape = shown.golden.shape();
        let fits = |axis: usize, slices: usize| shape.get(axis) == Some(&slices);
        let floors_fit = |floors: &Floors| {
            fits(axes.channel(), floors.channel.len())
                && match (axes.frame(), &floors.frame) {
                    (Some(axis), Some(frame)) => fits(axis, frame.len()),
                    _ => true,
                }
        };
        let rounded = shown.rounded.as_ref();
        let problem = if shape != expected {
            format!("has shape {shape:?}, and the manifest has {expected:?}")
        } else if !floors_fit(&shown.free) || !floors_fit(&shown.forced) {
            "has floors of another shape".to_owned()
        } else if rounded.is_some_and(|rounded| rounded.shape() != shape) {
            "has an f32 output of another shape".to_owned()
        } else if shown.golden.iter().any(|x| !x.is_finite()) {
            "holds values that are not finite".to_owned()
        } else {
            return Ok(());
        };
        Err(inconsistent(self.origin(), &shown.stage.name, problem))
    }
}
