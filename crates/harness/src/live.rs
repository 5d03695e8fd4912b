//! The reference engine, live: the golden run and the f32 runs that its floors come from, side by side.

use std::{
    collections::BTreeMap,
    mem,
    sync::Arc,
    thread::{self, Scope},
};

use ndarray::{ArrayD, Axis};
use soundalike_convert::{Architecture, Bundle};
use soundalike_torch::{
    Arithmetic, Error, Narrow, Precision, Probe, PyanNet, Result, Silent, Tensor, WeSpeakerResNet,
    verified,
};

use crate::{
    CompareError, EngineInfo, Floors, Input, NarrowFloors, Reference, ReferenceStage, Window,
    floors::rms,
    layout::{is_constant, is_instance_norm, is_part, stage},
    lockstep::Run,
    reference::See,
};

/// A variance below this, in every channel, is all but none beside the 1e-5 that
/// `torch.nn.InstanceNorm1d` adds to it: such a norm scales up rounding and nothing else.
const DEGENERATE_VARIANCE: f64 = 1e-4 * 1e-5;

/// As many samples show the names of all stages as well as a whole window: half a second.
const REHEARSAL: usize = 8000;

/// A network on libtorch, in f64 and in f32.
///
/// Of its runs, f64 feeding itself is the golden; f32 feeding itself and f32 fed the golden give the floors.
/// Where a norm scales up nothing but rounding, the floors are the larger of these and those of the same
/// stages from elementary operations. A reference with fewer bits gives the floors of a candidate with as
/// few. All are stopped at every stage, so that no more than one golden stage and what each run needs to go on is
/// in memory.
#[derive(Debug)]
pub struct TorchReference {
    golden: Network,
    free: Network,
    forced: Network,
    /// From elementary operations: feeding itself (and fed by f32 before the first degenerate stage), and fed
    /// the golden. Made when the first window needs them.
    second: Option<Pair>,
    /// With fewer bits.
    narrow: Option<Pair>,
    bundle: Bundle,
    info: EngineInfo,
    /// Names of the stages without masks, and with them.
    names: BTreeMap<bool, Vec<String>>,
}

/// A network on libtorch.
#[derive(Debug)]
enum Network {
    PyanNet(PyanNet),
    WeSpeakerResNet(WeSpeakerResNet),
}

impl Network {
    fn load(bundle: &Bundle, arithmetic: impl Into<Arithmetic>) -> Result<Self> {
        match bundle.architecture() {
            Architecture::WeSpeakerResNet(_) => {
                WeSpeakerResNet::load(bundle, arithmetic).map(Self::WeSpeakerResNet)
            }
            _ => PyanNet::load(bundle, arithmetic).map(Self::PyanNet),
        }
    }

    fn forward(&self, window: &Window, probe: &mut dyn Probe) -> Result<Tensor> {
        let waveform: Vec<f32> = window.waveform.iter().copied().collect();
        let waveform = Tensor::from_f32(&waveform, window.waveform.shape())?;
        match self {
            Self::PyanNet(network) => network.forward(&waveform, probe),
            Self::WeSpeakerResNet(network) => {
                let masks = window.masks.as_ref().map(|masks| {
                    let values: Vec<f32> = masks.values.iter().copied().collect();
                    Tensor::from_f32(&values, masks.values.shape())
                });
                network.forward(&waveform, masks.transpose()?.as_ref(), probe)
            }
        }
    }
}

/// The same network twice: feeding itself, and fed the golden.
#[derive(Debug)]
struct Pair {
    free: Network,
    forced: Network,
}

impl Pair {
    fn load(bundle: &Bundle, arithmetic: Arithmetic) -> Result<Self> {
        Ok(Self {
            free: Network::load(bundle, arithmetic)?,
            forced: Network::load(bundle, arithmetic)?,
        })
    }
}

impl TorchReference {
    /// Builds the network of `bundle` in f64 and f32, and for a candidate of `narrow` in that as well.
    ///
    /// # Errors
    /// [`Error::NotBuilt`] in a program without libtorch, [`Error::OtherArchitecture`] where the bundle holds
    /// no network.
    pub fn load(bundle: &Bundle, narrow: Option<Narrow>) -> Result<Self> {
        let narrow = narrow.map(|narrow| Pair::load(bundle, Arithmetic::Rounded(narrow)));
        Ok(Self {
            golden: Network::load(bundle, Precision::F64)?,
            free: Network::load(bundle, Precision::F32)?,
            forced: Network::load(bundle, Precision::F32)?,
            second: None,
            narrow: narrow.transpose()?,
            bundle: bundle.clone(),
            info: EngineInfo {
                engine: "torch".to_owned(),
                dtype: "f64, f32".to_owned(),
                device: "cpu".to_owned(),
                threads: Some(1),
                model_sha256: Some(bundle.source().sha256.clone()),
                verified: verified(bundle.architecture()).cloned(),
                ..EngineInfo::default()
            },
            names: BTreeMap::new(),
        })
    }

    /// Whether a norm of the golden run scales up nothing but rounding on `window`.
    fn is_degenerate(&self, window: &Window) -> Result<bool> {
        if !matches!(self.golden, Network::PyanNet(_)) {
            return Ok(false);
        }
        let waveform: Vec<f32> = window.waveform.iter().copied().collect();
        let waveform = Tensor::from_f32(&waveform, window.waveform.shape())?;
        let mut probe = Degenerate {
            input: Some(waveform),
            found: false,
        };
        // It breaks off where nothing more is to be seen; a real failure comes again.
        let _ = self.golden.forward(window, &mut probe);
        Ok(probe.found)
    }

    /// The golden output on `window`.
    ///
    /// # Errors
    /// [`Error`] where libtorch fails.
    pub fn output(&self, window: &Window) -> Result<ArrayD<f64>> {
        to_array(&self.golden.forward(window, &mut Silent)?)
    }
}

/// Whether a norm scales up nothing but rounding; it looks no further than the last one.
struct Degenerate {
    /// The output of the stage before.
    input: Option<Tensor>,
    found: bool,
}

impl Probe for Degenerate {
    fn see(&mut self, name: &str, value: Tensor) -> Result<Tensor> {
        if is_instance_norm(name) {
            let input = self.input.as_ref().map(to_array).transpose()?;
            self.found |= input.is_some_and(|input| has_no_variance(&input));
        }
        if self.found || name.starts_with("lstm.") {
            return Err(Error::probe("what follows does not matter"));
        }
        self.input = Some(value.clone());
        Ok(value)
    }
}

/// Replaces the output of one stage.
struct Replace<'a> {
    name: &'a str,
    value: &'a ArrayD<f32>,
}

impl Probe for Replace<'_> {
    fn see(&mut self, name: &str, value: Tensor) -> Result<Tensor> {
        if name != self.name {
            return Ok(value);
        }
        let values: Vec<f32> = self.value.iter().copied().collect();
        Tensor::from_f32(&values, self.value.shape())?.to_precision(value.precision())
    }
}

/// Writes down the names of the stages.
struct Names(Vec<String>);

impl Probe for Names {
    fn see(&mut self, name: &str, value: Tensor) -> Result<Tensor> {
        self.0.push(name.to_owned());
        Ok(value)
    }
}

fn to_array(tensor: &Tensor) -> Result<ArrayD<f64>> {
    ArrayD::from_shape_vec(tensor.shape(), tensor.to_f64()?).map_err(Error::probe)
}

/// Starts `network` on `window`, to be stopped at every stage.
fn start<'scope>(
    scope: &'scope Scope<'scope, '_>,
    network: &'scope mut Network,
    window: &'scope Window,
) -> Run<Error> {
    Run::start(scope, move |probe| network.forward(window, probe).map(drop))
}

/// Lets `run` go on with `value`, or with its own.
fn feed(run: &mut Run<Error>, value: Option<&Arc<ArrayD<f32>>>) {
    match value {
        Some(value) => {
            // The shapes are those of the other run of this network.
            run.go_on_with(value);
        }
        None => run.go_on(),
    }
}

/// The runs of a [`Pair`].
struct RunPair {
    free: Run<Error>,
    forced: Run<Error>,
}

impl RunPair {
    fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        pair: &'scope mut Pair,
        window: &'scope Window,
    ) -> Self {
        Self {
            free: start(scope, &mut pair.free, window),
            forced: start(scope, &mut pair.forced, window),
        }
    }

    /// The outputs of the stage `name`, at which both are.
    fn at(&mut self, name: &str) -> std::result::Result<(ArrayD<f64>, ArrayD<f64>), CompareError> {
        Ok((at(&mut self.free, name)?, at(&mut self.forced, name)?))
    }
}

/// The output of the stage `name`, at which all runs of one engine are.
fn at(run: &mut Run<Error>, name: &str) -> std::result::Result<ArrayD<f64>, CompareError> {
    match run.at()? {
        Some(shown) if shown.name == name => Ok(mem::take(&mut shown.value)),
        _ => Err(CompareError::OtherStages {
            stage: name.to_owned(),
        }),
    }
}

/// Whether no channel of `[batch, channel, time]` has a variance to speak of.
fn has_no_variance(values: &ArrayD<f64>) -> bool {
    let channels = values.lanes(Axis(values.ndim() - 1));
    channels
        .into_iter()
        .all(|channel| channel.var(0.0) < DEGENERATE_VARIANCE)
}

impl Reference for TorchReference {
    fn name(&self) -> String {
        "torch".to_owned()
    }

    fn engine(&self) -> EngineInfo {
        self.info.clone()
    }

    fn names(&mut self, window: &Window) -> std::result::Result<Vec<String>, CompareError> {
        let masked = window.masks.is_some();
        if let Some(names) = self.names.get(&masked) {
            return Ok(names.clone());
        }
        let mut names = Names(Vec::new());
        self.free
            .forward(&window.shortened(REHEARSAL), &mut names)?;
        self.names.insert(masked, names.0.clone());
        Ok(names.0)
    }

    fn run(&mut self, window: &Window, see: &mut See<'_>) -> std::result::Result<(), CompareError> {
        let names = self.names(window)?;
        let degenerate = self.is_degenerate(window)?;
        if degenerate && self.second.is_none() {
            self.second = Some(Pair::load(&self.bundle, Arithmetic::Elementary)?);
        }
        let second = self.second.as_mut().filter(|_| degenerate);
        thread::scope(|scope| {
            let mut golden = start(scope, &mut self.golden, window);
            let mut free = start(scope, &mut self.free, window);
            let mut forced = start(scope, &mut self.forced, window);
            let mut second = second.map(|pair| RunPair::start(scope, pair, window));
            let narrow = self.narrow.as_mut();
            let mut narrow = narrow.map(|pair| RunPair::start(scope, pair, window));
            let mut input = Arc::new(window.waveform.mapv(f64::from));
            let mut degenerate = false;
            while let Some(shown) = golden.at()? {
                let value = Arc::new(mem::take(&mut shown.value));
                let mut stage = stage(&shown.name, &shown.shape, &names);
                if value.iter().any(|x| !x.is_finite()) {
                    return Err(CompareError::NotFinite {
                        stage: stage.name,
                        window: Input::new(window).to_string(),
                    });
                }
                if is_instance_norm(&stage.name) {
                    degenerate = has_no_variance(&input);
                }
                stage.degenerate = degenerate && !is_constant(&stage.name);
                let rounded = at(&mut free, &stage.name)?;
                let fed = at(&mut forced, &stage.name)?;
                let mut floors = (
                    Floors::new(&rounded, &value, &stage),
                    Floors::new(&fed, &value, &stage),
                );
                if let Some(second) = &mut second {
                    let (free, forced) = second.at(&stage.name)?;
                    if stage.degenerate {
                        floors.0 = floors.0.max(&Floors::new(&free, &value, &stage));
                        floors.1 = floors.1.max(&Floors::new(&forced, &value, &stage));
                    }
                }
                let narrow_floors = match &mut narrow {
                    None => None,
                    Some(narrow) => {
                        let (free, forced) = narrow.at(&stage.name)?;
                        Some(NarrowFloors {
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
                    narrow: narrow_floors,
                    stage,
                };
                let fed = see(&shown)? && !is_part(&shown.stage.name);
                let fed = fed.then_some(&shown.fed);
                feed(&mut forced, fed);
                if let Some(second) = &mut second {
                    feed(&mut second.forced, fed);
                    // Up to the first degenerate stage it is the same f32 reference.
                    let own = shown.stage.degenerate;
                    let same = shown.rounded.as_ref().filter(|_| !own);
                    let same = same.map(|rounded| Arc::new(rounded.mapv(|x| x as f32)));
                    feed(&mut second.free, same.as_ref());
                }
                if let Some(narrow) = &mut narrow {
                    feed(&mut narrow.forced, fed);
                    narrow.free.go_on();
                }
                golden.go_on();
                free.go_on();
                input = value;
            }
            Ok(())
        })
    }

    fn output_with(
        &mut self,
        window: &Window,
        name: &str,
        value: &ArrayD<f32>,
    ) -> std::result::Result<ArrayD<f64>, CompareError> {
        let mut probe = Replace { name, value };
        Ok(to_array(&self.golden.forward(window, &mut probe)?)?)
    }

    fn follows_fusion(&self) -> bool {
        true
    }
}
