//! A live reference: the f64 run and the f32 runs that the floors come from, side by side.

use std::{
    mem,
    sync::Arc,
    thread::{self, Scope},
};

use ndarray::{ArrayD, Axis};
use soundalike_network::{Graph, Op, Operand};

use crate::{
    CompareError, Engine, EngineError, EngineInfo, Floors, Input, Operands, Reference,
    ReferenceStage, Window,
    floors::rms,
    lockstep::{Run, Side},
    reference::Observer,
};

/// A norm is degenerate where the variance of every channel is below this fraction of its eps: it only amplifies rounding.
const DEGENERATE: f64 = 1e-4;

/// The same network in one arithmetic, twice.
pub struct Pair {
    /// Runs on its own outputs.
    pub free: Box<dyn Engine>,
    /// Is fed the golden.
    pub forced: Box<dyn Engine>,
}

/// The engines of a reference.
pub struct Engines {
    /// In f64.
    pub golden: Box<dyn Engine>,
    /// In f32.
    pub single: Pair,
    /// Builds f32 engines of reference ops, for the first window with a degenerate norm. From that norm on, the floors
    /// are the larger of theirs and those of [`Self::single`].
    pub reference_ops: Box<dyn Fn() -> Result<Pair, EngineError>>,
    /// Rounded to the candidate's dtype, where that is below f32.
    pub low: Option<Pair>,
}

/// A network in f64 and in f32.
///
/// The free-running f64 run is the golden. The floors are the errors of f32, free-running and fed the golden. All runs stop at
/// every stage: memory holds one golden stage and what each run needs to continue.
pub struct LiveReference {
    name: String,
    info: EngineInfo,
    engines: Engines,
    reference_ops: Option<Pair>,
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

/// The runs of a [`Pair`].
struct RunPair {
    free: Run,
    forced: Run,
}

impl RunPair {
    fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        pair: &'scope Pair,
        window: &'scope Window,
    ) -> Self {
        let start = |engine| Run::start(scope, Side::Reference, engine, window);
        Self {
            free: start(pair.free.as_ref()),
            forced: start(pair.forced.as_ref()),
        }
    }

    /// The outputs of the stage `name`, free-running and fed the golden.
    fn at(&mut self, name: &str) -> Result<(ArrayD<f64>, ArrayD<f64>), CompareError> {
        Ok((at(&mut self.free, name)?, at(&mut self.forced, name)?))
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
            let pair = (self.engines.reference_ops)().map_err(CompareError::Reference)?;
            self.reference_ops = Some(pair);
        }
        let reference_ops = self.reference_ops.as_ref().filter(|_| has_degenerate);
        let engines = &self.engines;
        thread::scope(|scope| {
            let golden = engines.golden.as_ref();
            let mut golden = Run::start(scope, Side::Reference, golden, window);
            let start = |pair| RunPair::start(scope, pair, window);
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
                let floors = |output| Floors::new(output, &value, &stage.axes);
                let (rounded, forced_output) = single.at(&stage.name)?;
                let (mut free, mut forced) = (floors(&rounded), floors(&forced_output));
                if let Some(reference_ops) = &mut reference_ops {
                    let outputs = reference_ops.at(&stage.name)?;
                    if is_degenerate {
                        free = free.max(&floors(&outputs.0));
                        forced = forced.max(&floors(&outputs.1));
                    }
                }
                if let Some(low) = &mut low {
                    let outputs = low.at(&stage.name)?;
                    free.low = Some(rms((&outputs.0 - &*value).view()));
                    forced.low = Some(rms((&outputs.1 - &*value).view()));
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
                feed(&mut single.forced, fed);
                if let Some(reference_ops) = &mut reference_ops {
                    feed(&mut reference_ops.forced, fed);
                    // Up to the first degenerate stage it is the same f32 reference.
                    let same = shown.rounded.as_ref().filter(|_| !is_degenerate);
                    let same = same.map(|rounded| Arc::new(rounded.mapv(|x| x as f32)));
                    feed(&mut reference_ops.free, same.as_ref());
                }
                if let Some(low) = &mut low {
                    feed(&mut low.forced, fed);
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
