//! A live reference: the f64 run and the f32 runs that the floors come from, side by side.

use std::{
    mem,
    sync::Arc,
    thread::{self, Scope},
};

use ndarray::{ArrayD, Axis};
use soundalike_network::{Graph, Op, Operand, Stage};

use crate::{
    CompareError, Engine, EngineError, EngineInfo, Floors, Input, Operands, Reference,
    ReferenceStage, Window,
    floors::rms,
    lockstep::{Run, Side},
    redraw::moved,
    reference::Observer,
};

/// A norm is degenerate where the variance of every channel is below this fraction of its eps: it only amplifies rounding.
const DEGENERATE: f64 = 1e-4;

/// The same network in one arithmetic, several times.
pub struct Runners {
    /// Runs on its own outputs.
    pub free: Box<dyn Engine>,
    /// Is fed the golden.
    pub forced: Box<dyn Engine>,
    /// Are fed the golden with every value moved by one unit in the last place. From them and [`Self::forced`], the floor of a
    /// recurrent stage is the largest error. None where no stage is recurrent.
    pub redraws: Vec<Box<dyn Engine>>,
    /// The distance of the numbers near 1.
    pub epsilon: f64,
}

/// The engines of a reference.
pub struct Engines {
    /// In f64.
    pub golden: Box<dyn Engine>,
    /// In f32.
    pub single: Runners,
    /// Builds f32 engines of reference ops, for the first window with a degenerate norm. From that norm on, the floors
    /// are the larger of theirs and those of [`Self::single`].
    pub reference_ops: Box<dyn Fn() -> Result<Runners, EngineError>>,
    /// Rounded to the candidate's dtype, where that is below f32.
    pub low: Option<Runners>,
}

/// A network in f64 and in f32.
///
/// The free-running f64 run is the golden. The floors are the errors of f32, free-running and fed the golden. All runs stop at
/// every stage: memory holds one golden stage and what each run needs to continue.
pub struct LiveReference {
    name: String,
    info: EngineInfo,
    engines: Engines,
    reference_ops: Option<Runners>,
}

impl LiveReference {
    /// The reference `name` of `engines`, which `info` describes.
    #[must_use]
    pub fn new(name: &str, info: EngineInfo, engines: Engines) -> Self {
        Self {
            name: name.to_owned(),
            info,
            engines,
            reference_ops: None,
        }
    }

    /// The golden output on `window`.
    ///
    /// # Errors
    /// [`CompareError::Reference`] if the engine fails.
    pub fn output(&self, window: &Window) -> Result<ArrayD<f64>, CompareError> {
        self.output_of(window, &mut |_| None)
    }

    /// The golden output, with the output of each stage replaced by what `replace` returns for its name.
    fn output_of(
        &self,
        window: &Window,
        replace: &mut dyn FnMut(&str) -> Option<Arc<ArrayD<f32>>>,
    ) -> Result<ArrayD<f64>, CompareError> {
        let mut output = None;
        let run = self.engines.golden.run(window, &mut |name, value| {
            let replaced = replace(name);
            output = Some(replaced.as_ref().map_or(value, |with| with.mapv(f64::from)));
            Ok(replaced)
        });
        run.map_err(CompareError::Reference)?;
        output.ok_or_else(|| CompareError::Reference("the network shows no stage".into()))
    }

    /// Whether the golden run on `window` has a degenerate norm. It runs up to the last norm.
    fn is_degenerate(&self, window: &Window, graph: &Graph) -> bool {
        let norms = graph.span(|stage| matches!(stage.op, Op::InstanceNorm { .. }));
        let mut before = Operands::new(graph.clone());
        let mut found = false;
        let mut probe = |name: &str, value: ArrayD<f64>| {
            found |= is_degenerate_norm(&before, name, window) == Some(true);
            if found || graph.position(name) >= Some(norms.end) {
                return Err("no further stage is needed".into());
            }
            before.keep(name, Arc::new(value));
            Ok(None)
        };
        if !norms.is_empty() {
            // The probe ends the run early. A real failure recurs in the run proper.
            let _ = self.engines.golden.run(window, &mut probe);
        }
        found
    }
}

/// Whether the stage `name` is a degenerate norm; none where it is no norm.
fn is_degenerate_norm(
    before: &Operands<Arc<ArrayD<f64>>>,
    name: &str,
    window: &Window,
) -> Option<bool> {
    let Op::InstanceNorm { eps, .. } = before.graph().get(name)?.op else {
        return None;
    };
    let flat = |operand: &ArrayD<f64>| {
        let mut channels = operand.lanes(Axis(operand.ndim() - 1)).into_iter();
        channels.all(|channel| channel.var(0.0) < DEGENERATE * eps)
    };
    Some(match before.of(name).first() {
        Some((Operand::Input, _)) => flat(&window.waveform.mapv(f64::from)),
        Some((_, Some(operand))) => flat(operand),
        _ => false,
    })
}

/// The runs of [`Runners`].
struct Runs {
    free: Run,
    forced: Run,
    redraws: Vec<Run>,
    epsilon: f64,
}

/// The outputs of a stage, free-running and fed the golden.
struct Outputs {
    free: ArrayD<f64>,
    forced: ArrayD<f64>,
    /// Fed the golden moved, where the stage is recurrent.
    redraws: Vec<ArrayD<f64>>,
}

impl Runs {
    fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        runners: &'scope Runners,
        window: &'scope Window,
    ) -> Self {
        let start = |engine| Run::start(scope, Side::Reference, engine, window);
        Self {
            free: start(runners.free.as_ref()),
            forced: start(runners.forced.as_ref()),
            redraws: runners
                .redraws
                .iter()
                .map(|redraw| start(redraw.as_ref()))
                .collect(),
            epsilon: runners.epsilon,
        }
    }

    /// The outputs of `stage`.
    fn at(&mut self, stage: &Stage) -> Result<Outputs, CompareError> {
        let redraws = self
            .redraws
            .iter_mut()
            .map(|redraw| at(redraw, &stage.name));
        let mut redraws: Vec<_> = redraws.collect::<Result<_, _>>()?;
        if !stage.op.is_recurrent() {
            redraws.clear();
        }
        Ok(Outputs {
            free: at(&mut self.free, &stage.name)?,
            forced: at(&mut self.forced, &stage.name)?,
            redraws,
        })
    }

    /// Continues the forced runs with `value`, or with their own outputs.
    fn feed(&mut self, value: Option<&Arc<ArrayD<f32>>>) {
        feed(&mut self.forced, value);
        for (draw, run) in self.redraws.iter_mut().enumerate() {
            let moved = value.map(|value| Arc::new(moved(value, self.epsilon, draw)));
            feed(run, moved.as_ref());
        }
    }
}

/// Continues `run` with `value`, or with its own output.
fn feed(run: &mut Run, value: Option<&Arc<ArrayD<f32>>>) {
    match value {
        Some(value) => {
            // The shapes are equal: it is the same network.
            run.go_on_with(value);
        }
        None => run.go_on(),
    }
}

/// The output of the stage `name`, at which `run` has to be.
fn at(run: &mut Run, name: &str) -> Result<ArrayD<f64>, CompareError> {
    match run.at()? {
        Some(shown) if shown.name == name => Ok(mem::take(&mut shown.value)),
        _ => Err(CompareError::OtherStages {
            stage: name.to_owned(),
        }),
    }
}

impl Reference for LiveReference {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn engine(&self) -> EngineInfo {
        self.info.clone()
    }

    fn graph(&self, window: &Window) -> Result<Graph, CompareError> {
        Ok(self.engines.golden.graph(window.masks.is_some()))
    }

    fn run(&mut self, window: &Window, see: &mut Observer<'_>) -> Result<(), CompareError> {
        let graph = self.graph(window)?;
        let has_degenerate = self.is_degenerate(window, &graph);
        if has_degenerate && self.reference_ops.is_none() {
            let runners = (self.engines.reference_ops)().map_err(CompareError::Reference)?;
            self.reference_ops = Some(runners);
        }
        let reference_ops = self.reference_ops.as_ref().filter(|_| has_degenerate);
        let engines = &self.engines;
        thread::scope(|scope| {
            let golden = engines.golden.as_ref();
            let mut golden = Run::start(scope, Side::Reference, golden, window);
            let start = |runners| Runs::start(scope, runners, window);
            let mut single = start(&engines.single);
            let mut reference_ops = reference_ops.map(start);
            let mut low = engines.low.as_ref().map(start);
            let mut before = Operands::new(graph);
            let mut degenerate = false;
            while let Some(shown) = golden.at()? {
                let value = Arc::new(mem::take(&mut shown.value));
                let stage = before.graph().get(&shown.name).cloned();
                let stage = stage.ok_or_else(|| CompareError::OtherStages {
                    stage: shown.name.clone(),
                })?;
                if value.iter().any(|x| !x.is_finite()) {
                    return Err(CompareError::NotFinite {
                        stage: stage.name,
                        window: Input::new(window).to_string(),
                    });
                }
                if let Some(norm) = is_degenerate_norm(&before, &stage.name, window) {
                    degenerate = norm;
                }
                let is_degenerate = degenerate && !stage.is_constant();
                let floors = |output: &ArrayD<f64>| Floors::new(output, &value, &stage.axes);
                let outputs = single.at(&stage)?;
                let (mut free, mut forced) = (floors(&outputs.free), floors(&outputs.forced));
                for redraw in &outputs.redraws {
                    forced = forced.max(&floors(redraw));
                }
                let rounded = outputs.free;
                if let Some(reference_ops) = &mut reference_ops {
                    let outputs = reference_ops.at(&stage)?;
                    if is_degenerate {
                        free = free.max(&floors(&outputs.free));
                        forced = forced.max(&floors(&outputs.forced));
                    }
                }
                if let Some(low) = &mut low {
                    let outputs = low.at(&stage)?;
                    let error = |output: &ArrayD<f64>| rms((output - &*value).view());
                    let redraws = outputs.redraws.iter().map(error);
                    free.low = Some(error(&outputs.free));
                    forced.low = Some(redraws.fold(error(&outputs.forced), f64::max));
                }
                let shown = ReferenceStage {
                    free,
                    forced,
                    fed: Arc::new(value.mapv(|x| x as f32)),
                    golden: Arc::clone(&value),
                    rounded: Some(rounded),
                    degenerate: is_degenerate,
                    stage,
                };
                let fed = see(&shown)? && !shown.stage.is_part();
                let fed = fed.then_some(&shown.fed);
                single.feed(fed);
                if let Some(reference_ops) = &mut reference_ops {
                    reference_ops.feed(fed);
                    // Up to the first degenerate stage it is the same f32 reference.
                    let same = shown.rounded.as_ref().filter(|_| !is_degenerate);
                    let same = same.map(|rounded| Arc::new(rounded.mapv(|x| x as f32)));
                    feed(&mut reference_ops.free, same.as_ref());
                }
                if let Some(low) = &mut low {
                    low.feed(fed);
                    low.free.go_on();
                }
                golden.go_on();
                single.free.go_on();
                before.keep(&shown.stage.name, value);
            }
            Ok(())
        })
    }

    fn output_with(
        &mut self,
        window: &Window,
        name: &str,
        value: &ArrayD<f32>,
    ) -> Result<ArrayD<f64>, CompareError> {
        let value = Arc::new(value.clone());
        self.output_of(window, &mut |stage| {
            (stage == name).then(|| Arc::clone(&value))
        })
    }

    fn follows_fusion(&self) -> bool {
        true
    }
}
