//! The truth, stage by stage, wherever it comes from.

use std::{
    io::{Read, Seek},
    sync::Arc,
};

use ndarray::ArrayD;
use soundalike_network::{Graph, Stage};

use crate::{CompareError, EngineInfo, Floors, ReferenceTrace, Running, TraceError, Window};

/// One stage of the reference.
#[derive(Debug, Clone)]
pub struct ReferenceStage {
    /// The stage.
    pub stage: Stage,
    /// Whether the input makes a norm scale up nothing but rounding, there or before.
    pub degenerate: bool,
    /// Its output in f64, from unrounded inputs.
    pub golden: Arc<ArrayD<f64>>,
    /// The same in f32: what a stage is fed by.
    pub fed: Arc<ArrayD<f32>>,
    /// The error of the reference's own f32, feeding itself.
    pub free: Floors,
    /// The error of the reference's own f32, fed the golden input, rounded.
    pub forced: Floors,
    /// The output of the f32 reference, feeding itself; a trace has that of the last stage only.
    pub rounded: Option<ArrayD<f64>>,
    /// The same errors of a reference that rounds to the candidate's dtype, where that is below f32.
    pub low: Option<LowFloors>,
}

/// Root mean square errors of a reference with fewer bits than f32.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LowFloors {
    /// Feeding itself.
    pub free: f64,
    /// Fed the golden input, rounded.
    pub forced: f64,
}

/// What a reference shows its stages to. It says whether the candidate goes on with the golden output of this
/// stage.
pub type See<'a> = dyn FnMut(&ReferenceStage) -> Result<bool, CompareError> + 'a;

/// The truth, stage by stage: a trace of the official package, or a live engine.
pub trait Reference {
    /// As on the command line.
    fn name(&self) -> String;

    /// What runs it.
    fn engine(&self) -> EngineInfo;

    /// Its stages on `window`.
    ///
    /// # Errors
    /// [`CompareError`] where it does not know the window.
    fn graph(&self, window: &Window) -> Result<Graph, CompareError>;

    /// Shows every stage on `window`, in order of execution, as soon as it is known.
    ///
    /// # Errors
    /// [`CompareError`] where it fails, and whatever `see` fails with.
    fn run(&mut self, window: &Window, see: &mut See<'_>) -> Result<(), CompareError>;

    /// The golden output on `window` with `value` in place of what the stage `name` makes.
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

    /// Whether forced floors are those of all that lies between the stages that were fed. Else they are those
    /// of one stage, and nothing can be said of a candidate that fuses several.
    fn follows_fusion(&self) -> bool;
}

impl<R: Read + Seek> Reference for ReferenceTrace<R> {
    fn name(&self) -> String {
        self.origin().to_owned()
    }

    fn engine(&self) -> EngineInfo {
        let manifest = self.manifest();
        EngineInfo {
            engine: manifest.engine.clone(),
            versions: manifest.versions.clone(),
            dtype: "f64, f32".to_owned(),
            device: "cpu".to_owned(),
            cpu: manifest.cpu.clone(),
            threads: manifest.threads,
            model_sha256: manifest
                .model
                .as_ref()
                .map(|model| model.origin().to_owned()),
            verified: None,
        }
    }

    fn graph(&self, _window: &Window) -> Result<Graph, CompareError> {
        Ok(self.manifest().graph().clone())
    }

    fn run(&mut self, _window: &Window, see: &mut See<'_>) -> Result<(), CompareError> {
        let graph = self.manifest().graph().clone();
        for (index, stage) in graph.stages().iter().enumerate() {
            let golden = self.golden(&stage.name)?;
            let last = index + 1 == graph.stages().len();
            let output = last.then(|| self.output()).transpose()?;
            let shown = ReferenceStage {
                stage: stage.clone(),
                degenerate: self.manifest().is_degenerate(index),
                fed: Arc::new(golden.mapv(|x| x as f32)),
                golden: Arc::new(golden),
                free: self.floors(stage, Running::Free)?,
                forced: self.floors(stage, Running::Forced)?,
                rounded: output.map(|output| output.mapv(f64::from)),
                low: None,
            };
            self.check(&shown, self.manifest().shape(index))?;
            see(&shown)?;
        }
        Ok(())
    }

    fn follows_fusion(&self) -> bool {
        false
    }
}

impl<R: Read + Seek> ReferenceTrace<R> {
    /// Whether the arrays of a stage are as long as the manifest says, and numbers.
    fn check(&self, shown: &ReferenceStage, expected: &[usize]) -> Result<(), TraceError> {
        let stage = &shown.stage;
        let odd = |what: &str| TraceError::Inconsistent {
            origin: self.origin().to_owned(),
            entry: stage.name.clone(),
            what: what.to_owned(),
        };
        let shape = shown.golden.shape();
        if shape != expected {
            let found = shape;
            return Err(odd(&format!(
                "has shape {found:?}, and the manifest says {expected:?}"
            )));
        }
        let fits = |axis: usize, slices: usize| shape.get(axis) == Some(&slices);
        for floors in [&shown.free, &shown.forced] {
            let frames = match (stage.axes.frame(), &floors.frame) {
                (Some(axis), Some(frame)) => fits(axis, frame.len()),
                _ => true,
            };
            if !frames || !fits(stage.axes.channel(), floors.channel.len()) {
                return Err(odd("has floors of another shape"));
            }
        }
        let rounded = shown.rounded.as_ref();
        if rounded.is_some_and(|rounded| rounded.shape() != shape) {
            return Err(odd("has an f32 output of another shape"));
        }
        if shown.golden.iter().any(|x| !x.is_finite()) {
            return Err(odd("holds values that are not finite"));
        }
        Ok(())
    }
}
