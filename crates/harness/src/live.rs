//! The reference engine, live: the golden run and the f32 runs that its floors come from, side by side.

use std::{
    collections::BTreeMap,
    mem,
    sync::Arc,
    thread::{self, Scope},
};

use ndarray::{ArrayD, Axis};
use soundalike_convert::{Architecture, Bundle};
use soundalike_torch::{Error, Precision, Probe, PyanNet, Result, Silent, Tensor, WeSpeakerResNet};

use crate::{
    CompareError, EngineInfo, Floors, Input, Reference, ReferenceStage, Window,
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
/// All are stopped at every stage, so that no more than one golden stage and what each run needs to go on is
/// in memory.
#[derive(Debug)]
pub struct TorchReference {
    golden: Network,
    free: Network,
    forced: Network,
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
    fn load(bundle: &Bundle, precision: Precision) -> Result<Self> {
        match bundle.architecture() {
            Architecture::WeSpeakerResNet(_) => {
                WeSpeakerResNet::load(bundle, precision).map(Self::WeSpeakerResNet)
            }
            _ => PyanNet::load(bundle, precision).map(Self::PyanNet),
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

impl TorchReference {
    /// Builds the network of `bundle` in both precisions.
    ///
    /// # Errors
    /// [`Error::NotBuilt`] in a program without libtorch, [`Error::OtherArchitecture`] where the bundle holds
    /// no network.
    pub fn load(bundle: &Bundle) -> Result<Self> {
        Ok(Self {
            golden: Network::load(bundle, Precision::F64)?,
            free: Network::load(bundle, Precision::F32)?,
            forced: Network::load(bundle, Precision::F32)?,
            info: EngineInfo {
                engine: "torch".to_owned(),
                dtype: "f64, f32".to_owned(),
                device: "cpu".to_owned(),
                threads: Some(1),
                model_sha256: Some(bundle.source().sha256.clone()),
                ..EngineInfo::default()
            },
            names: BTreeMap::new(),
        })
    }

    /// The golden output on `window`.
    ///
    /// # Errors
    /// [`Error`] where libtorch fails.
    pub fn output(&self, window: &Window) -> Result<ArrayD<f64>> {
        to_array(&self.golden.forward(window, &mut Silent)?)
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
    Run::start(scope, |probe| network.forward(window, probe).map(drop))
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
        thread::scope(|scope| {
            let mut golden = start(scope, &mut self.golden, window);
            let mut free = start(scope, &mut self.free, window);
            let mut forced = start(scope, &mut self.forced, window);
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
                let shown = ReferenceStage {
                    free: Floors::new(&rounded, &value, &stage),
                    forced: Floors::new(&fed, &value, &stage),
                    fed: Arc::new(value.mapv(|x| x as f32)),
                    golden: Arc::clone(&value),
                    rounded: Some(rounded),
                    narrow: None,
                    stage,
                };
                if see(&shown)? && !is_part(&shown.stage.name) {
                    forced.go_on_with(&shown.fed);
                } else {
                    forced.go_on();
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
