//! A reference that runs while it is compared: the golden run and the f32 runs that its floors come from, side by side.

use std::{
    mem,
    sync::Arc,
    thread::{self, Scope},
};

use ndarray::{ArrayD, Axis};
use soundalike_network::{Graph, Op, Operand};

use crate::{
    CompareError, Engine, EngineError, EngineInfo, Floors, Input, LowFloors, Operands, Reference,
    ReferenceStage, Window,
    compare::Side,
    floors::rms,
    lockstep::{Run, RunError},
    reference::See,
};

/// A variance below this part of a norm's eps, in every channel, is next to nothing beside it: such a norm scales up
/// rounding and nothing else.
const DEGENERATE: f64 = 1e-4;

/// Builds engines of one arithmetic: one that feeds itself, and one that is fed the golden.
pub type BuildPair = Box<dyn Fn() -> Result<Pair, EngineError>>;

/// The same network in one arithmetic, twice.
pub struct Pair {
    /// Feeds itself.
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
    /// In f32 from elementary operations, built when the first window needs it: where a norm scales up nothing but rounding,
    /// the floors are the larger of these and those of [`Self::single`].
    pub elementary: BuildPair,
    /// Rounded to the candidate's dtype, where that is below f32.
    pub low: Option<Pair>,
}

/// A network in f64 and in f32.
///
/// Of its runs, f64 feeding itself is the golden; f32 feeding itself and f32 fed the golden give the floors. All are stopped
/// at every stage, so that no more than one golden stage and what each run needs to go on is in memory.
pub struct LiveReference {
    name: String,
    info: EngineInfo,
    engines: Engines,
    elementary: Option<Pair>,
}

impl LiveReference {
    /// The reference `name`, which `info` describes, of these engines.
    #[must_use]
    pub fn new(name: &str, info: EngineInfo, engines: Engines) -> Self {
        Self {
            name: name.to_owned(),
            info,
            engines,
            elementary: None,
        }
    }

    /// The golden output on `window`.
    ///
    /// # Errors
    /// [`CompareError::Reference`] where the engine fails.
    pub fn output(&self, window: &Window) -> Result<ArrayD<f64>, CompareError> {
        self.output_of(window, &mut |_| None)
    }

    /// The golden output with `replace` of each stage in its place, where that is something.
    fn output_of(
        &self,
        window: &Window,
        replace: &mut dyn FnMut(&str) -> Option<Arc<ArrayD<f32>>>,
    ) -> Result<ArrayD<f64>, CompareError> {
        let mut output = None;
        let mut probe = |name: &str, value: ArrayD<f64>| {
            let replaced = replace(name);
            output = Some(match &replaced {
                Some(with) => with.mapv(f64::from),
                None => value,
            });
            Ok(replaced)
        };
        let run = self.engines.golden.run(window, &mut probe);
        run.map_err(CompareError::Reference)?;
        output.ok_or_else(|| CompareError::Reference("the network shows no stage".into()))
    }

    /// Whether a norm of the golden run scales up nothing but rounding on `window`. It looks no further than the last.
    fn is_degenerate(&self, window: &Window, graph: &Graph) -> bool {
        let norms = graph.span(|stage| matches!(stage.op, Op::InstanceNorm { .. }));
        let mut before = Operands::new(graph.clone());
        let mut found = false;
        let mut probe = |name: &str, value: ArrayD<f64>| {
            found |= is_degenerate_norm(&before, name, window) == Some(true);
            if found || graph.position(name) >= Some(norms.end) {
                return Err(EngineError::from("what follows does not matter"));
            }
            before.keep(name, Arc::new(value));
            Ok(None)
        };
        if !norms.is_empty() {
            // It breaks off where nothing more is to be seen; a real failure comes again.
            let _ = self.engines.golden.run(window, &mut probe);
        }
        found
    }
}

/// Whether the stage `name` is a norm whose operand has next to no variance in any channel; none where it is no norm.
fn is_degenerate_norm(
    before: &Operands<Arc<ArrayD<f64>>>,
    name: &str,
    window: &Window,
) -> Option<bool> {
    let Op::InstanceNorm { eps, .. } = before.graph().get(name)?.op else {
        return None;
    };
    let flat = |operand: &ArrayD<f64>| {
        let channels = operand.lanes(Axis(operand.ndim() - 1)).into_iter();
        channels
            .map(|channel| channel.var(0.0))
            .all(|variance| variance < DEGENERATE * eps)
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
        Self {
            free: Run::start(scope, pair.free.as_ref(), window),
            forced: Run::start(scope, pair.forced.as_ref(), window),
        }
    }

    /// The outputs of the stage `name`, at which both are.
    fn at(&mut self, name: &str) -> Result<(ArrayD<f64>, ArrayD<f64>), CompareError> {
        Ok((at(&mut self.free, name)?, at(&mut self.forced, name)?))
    }

    /// Lets the forced run go on with `fed`, where it is fed.
    fn feed(&mut self, fed: Option<&Arc<ArrayD<f32>>>) {
        feed(&mut self.forced, fed);
    }
}

/// Lets `run` go on with `value`, or with its own.
fn feed(run: &mut Run, value: Option<&Arc<ArrayD<f32>>>) {
    match value {
        Some(value) => {
            // The shapes are those of the other run of this network.
            run.go_on_with(value);
        }
        None => run.go_on(),
    }
}

/// The output of the stage `name`, at which all runs of one engine are.
fn at(run: &mut Run, name: &str) -> Result<ArrayD<f64>, CompareError> {
    match run.at().map_err(failed)? {
        Some(shown) if shown.name == name => Ok(mem::take(&mut shown.value)),
        _ => Err(CompareError::OtherStages {
            stage: name.to_owned(),
        }),
    }
}

fn failed(error: RunError) -> CompareError {
    error.of(Side::Reference)
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

    fn run(&mut self, window: &Window, see: &mut See<'_>) -> Result<(), CompareError> {
        let graph = self.graph(window)?;
        let degenerate = self.is_degenerate(window, &graph);
        if degenerate && self.elementary.is_none() {
            let pair = (self.engines.elementary)().map_err(CompareError::Reference)?;
            self.elementary = Some(pair);
        }
        let second = self.elementary.as_ref().filter(|_| degenerate);
        let engines = &self.engines;
        thread::scope(|scope| {
            let mut golden = Run::start(scope, engines.golden.as_ref(), window);
            let mut single = RunPair::start(scope, &engines.single, window);
            let mut second = second.map(|pair| RunPair::start(scope, pair, window));
            let low = engines.low.as_ref();
            let mut low = low.map(|pair| RunPair::start(scope, pair, window));
            let mut before = Operands::new(graph);
            let mut degenerate = false;
            while let Some(shown) = golden.at().map_err(failed)? {
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
                let (rounded, fed) = single.at(&stage.name)?;
                let mut floors = (
                    Floors::new(&rounded, &value, &stage.axes),
                    Floors::new(&fed, &value, &stage.axes),
                );
                let is_degenerate = degenerate && !stage.is_constant();
                if let Some(second) = &mut second {
                    let (free, forced) = second.at(&stage.name)?;
                    if is_degenerate {
                        floors.0 = floors.0.max(&Floors::new(&free, &value, &stage.axes));
                        floors.1 = floors.1.max(&Floors::new(&forced, &value, &stage.axes));
                    }
                }
                let low_floors = match &mut low {
                    None => None,
                    Some(low) => {
                        let (free, forced) = low.at(&stage.name)?;
                        Some(LowFloors {
                            free: rms((&free - &*value).view()),
                            forced: rms((&forced - &*value).view()),
                        })
                    }
                };
                let shown = ReferenceStage {
                    free: floors.0,
                    forced: floors.1,
                    fed: Arc::new(value.mapv(|x| x as f32)),
                    golden: Arc::clone(&value),
                    rounded: Some(rounded),
                    low: low_floors,
                    degenerate: is_degenerate,
                    stage,
                };
                let fed = see(&shown)? && !shown.stage.is_part();
                let fed = fed.then_some(&shown.fed);
                single.feed(fed);
                if let Some(second) = &mut second {
                    second.feed(fed);
                    // Up to the first degenerate stage it is the same f32 reference.
                    let own = shown.degenerate;
                    let same = shown.rounded.as_ref().filter(|_| !own);
                    let same = same.map(|rounded| Arc::new(rounded.mapv(|x| x as f32)));
                    feed(&mut second.free, same.as_ref());
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
