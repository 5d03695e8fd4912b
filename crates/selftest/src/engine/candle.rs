//! The networks on candle.

use ndarray::{Array, ArrayD, Dimension};
use soundalike_compare::{self as compare, EngineError, EngineInfo, Window};
use soundalike_convert::Bundle;
use soundalike_model::{
    DType, Device, DeviceChoice, Engine, Input, Kernels, LoadError, Network, Probe, Result, Tensor,
    TensorError, load,
};
use soundalike_network::Graph;

use crate::fault::{Inject, Substitution};

/// A network on candle, loaded like that of `diarize`.
pub struct CandleEngine {
    network: Box<dyn Network>,
    fault: Option<Substitution>,
}

impl CandleEngine {
    /// Builds the network of `bundle`.
    ///
    /// # Errors
    /// [`LoadError`] if the bundle holds none.
    pub fn load(bundle: &Bundle, engine: &Engine) -> std::result::Result<Self, LoadError> {
        Ok(Self {
            network: load(bundle, engine)?,
            fault: None,
        })
    }

    /// Builds the network of `bundle` in `dtype` with portable kernels, which expose every stage.
    pub(crate) fn portable(bundle: &Bundle, dtype: DType) -> std::result::Result<Self, LoadError> {
        let engine = Engine {
            dtype,
            kernels: Kernels::Portable,
            ..Engine::default()
        };
        Self::load(bundle, &engine)
    }

    /// The same network with an injected fault.
    pub(crate) fn with_fault(self, fault: Substitution) -> Self {
        let fault = Some(fault);
        Self { fault, ..self }
    }

    /// Its description, with its `name` on the command line and the weights of `bundle`.
    #[must_use]
    pub fn info(&self, name: &str, bundle: &Bundle) -> EngineInfo {
        let Engine { dtype, device, .. } = self.network.engine();
        EngineInfo {
            engine: name.to_owned(),
            dtype: dtype.as_str().to_owned(),
            device: DeviceChoice::of(device).to_string(),
            model_sha256: Some(bundle.source().sha256.clone()),
            ..EngineInfo::default()
        }
    }

    fn forward(&self, window: &Window, probe: &mut dyn Probe) -> Result<Tensor> {
        let device = &self.network.engine().device;
        let waveforms = to_tensor(&window.waveform)?.to_device(device)?;
        let masks = window.masks.as_ref();
        let masks = masks.map(|masks| to_tensor(&masks.values)?.to_device(device));
        let masks = masks.transpose()?;
        let input = Input {
            waveforms: &waveforms,
            masks: masks.as_ref(),
        };
        match &self.fault {
            None => self.network.forward(input, probe),
            Some(fault) => {
                let graph = self.network.graph(masks.is_some());
                let mut inject = Inject::new(fault, graph, window, probe);
                self.network.forward(input, &mut inject)
            }
        }
    }
}

impl compare::Engine for CandleEngine {
    fn graph(&self, masked: bool) -> Graph {
        self.network.graph(masked).clone()
    }

    fn run(
        &self,
        window: &Window,
        probe: &mut compare::Probe<'_>,
    ) -> std::result::Result<ArrayD<f64>, EngineError> {
        let mut forwarded = Forwarded {
            probe,
            failure: None,
        };
        let run = self.forward(window, &mut forwarded);
        match forwarded.failure {
            Some(failure) => Err(failure),
            None => run
                .and_then(|output| to_f64(&output))
                .map_err(|error| plain(error).into()),
        }
    }
}

/// Passes stages to the probe of a comparison.
struct Forwarded<'a, 'p> {
    probe: &'a mut compare::Probe<'p>,
    /// The error of the probe: a candle probe itself can only return tensor errors.
    failure: Option<EngineError>,
}

impl Probe for Forwarded<'_, '_> {
    fn observe(&mut self, name: &str, value: Tensor) -> Result<Tensor> {
        match (self.probe)(name, to_f64(&value)?) {
            Ok(None) => Ok(value),
            Ok(Some(with)) => {
                let with = to_tensor(&with)?.to_device(value.device())?;
                with.to_dtype(value.dtype())
            }
            Err(failure) => {
                self.failure = Some(failure);
                Err(TensorError::msg(format!(
                    "the probe ended the pass at {name}"
                )))
            }
        }
    }
}

/// The error without the stack trace that candle adds to its text if backtraces are enabled.
fn plain(error: TensorError) -> TensorError {
    match error {
        TensorError::WithBacktrace { inner, .. } => plain(*inner),
        error => error,
    }
}

/// `values` as a tensor on the CPU.
pub(crate) fn to_tensor<D: Dimension>(values: &Array<f32, D>) -> Result<Tensor> {
    let flat: Vec<f32> = values.iter().copied().collect();
    Tensor::from_vec(flat, values.shape(), &Device::Cpu)
}

/// The values of a tensor, widened.
fn to_f64(tensor: &Tensor) -> Result<ArrayD<f64>> {
    // First to the CPU: Metal has no f64.
    let wide = tensor.to_device(&Device::Cpu)?.to_dtype(DType::F64)?;
    let values = wide.flatten_all()?.to_vec1()?;
    ArrayD::from_shape_vec(tensor.dims(), values).map_err(TensorError::wrap)
}
