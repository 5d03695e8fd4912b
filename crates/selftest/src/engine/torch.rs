//! The networks on libtorch.

use std::sync::{Arc, Mutex, PoisonError};

use ndarray::ArrayD;
use soundalike_compare::{
    Engine, EngineError, EngineInfo, Engines, LiveReference, Probe, REDRAWS, Runners, Window,
};
use soundalike_convert::Bundle;
use soundalike_model::DType;
use soundalike_network::{Graph, Stage};
use soundalike_torch::{Arithmetic, Error, LowPrecision, Network, Precision, Result};

use crate::verified;

/// The reference: the network of `bundle` on libtorch in f64 and f32, and in `low` precision for a candidate of that
/// precision.
///
/// # Errors
/// [`Error::NotBuilt`] in a program without libtorch, [`Error::NoNetwork`] if the bundle holds none.
pub fn torch_reference(bundle: &Bundle, low: Option<LowPrecision>) -> Result<LiveReference> {
    let own = bundle.clone();
    let golden = TorchEngine::load(bundle, Precision::F64.into())?;
    let is_recurrent = |stage: &Stage| stage.op.is_recurrent();
    let redraws = match golden.graph(false).stages().iter().any(is_recurrent) {
        true => REDRAWS,
        false => 0,
    };
    let low = low.map(|low| runners(bundle, Arithmetic::Rounded(low), redraws));
    let engines = Engines {
        golden: Box::new(golden),
        single: runners(bundle, Precision::F32.into(), redraws)?,
        reference_ops: Box::new(move || {
            let reference_ops = runners(&own, Arithmetic::ReferenceOps, 0);
            Ok(reference_ops?)
        }),
        low: low.transpose()?,
    };
    let info = EngineInfo {
        engine: "torch".to_owned(),
        dtype: "f64, f32".to_owned(),
        device: "cpu".to_owned(),
        threads: Some(1),
        model_sha256: Some(bundle.source().sha256.clone()),
        verified: verified(bundle.architecture()).cloned(),
        ..EngineInfo::default()
    };
    Ok(LiveReference::new("torch", info, engines))
}

/// The precision of `dtype` if it is lower than f32.
#[must_use]
pub fn low_precision(dtype: DType) -> Option<LowPrecision> {
    match dtype {
        DType::F16 => Some(LowPrecision::F16),
        DType::BF16 => Some(LowPrecision::BF16),
        _ => None,
    }
}

/// The network in one `arithmetic`.
fn runners(bundle: &Bundle, arithmetic: Arithmetic, redraws: usize) -> Result<Runners> {
    let load =
        || -> Result<Box<dyn Engine>> { Ok(Box::new(TorchEngine::load(bundle, arithmetic)?)) };
    Ok(Runners {
        free: load()?,
        forced: load()?,
        redraws: (0..redraws).map(|_| load()).collect::<Result<_>>()?,
        epsilon: arithmetic.epsilon(),
    })
}

/// A network on libtorch. Its tensors may be used by one thread at a time.
struct TorchEngine(Mutex<Box<dyn Network>>);

impl TorchEngine {
    fn load(bundle: &Bundle, arithmetic: Arithmetic) -> Result<Self> {
        Ok(Self(Mutex::new(soundalike_torch::load(
            bundle, arithmetic,
        )?)))
    }
}

impl Engine for TorchEngine {
    fn graph(&self, masked: bool) -> Graph {
        let network = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        network.graph(masked).clone()
    }

    fn run(
        &self,
        window: &Window,
        probe: &mut Probe<'_>,
    ) -> std::result::Result<ArrayD<f64>, EngineError> {
        let network = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let masks = window.masks.as_ref();
        let masks = masks.map(|masks| masks.values.clone().into_dyn());
        let mut show = |name: &str, value: ArrayD<f64>| {
            let replaced = probe(name, value).map_err(Error::probe)?;
            Ok(replaced.map(|with: Arc<ArrayD<f32>>| with.mapv(f64::from)))
        };
        Ok(network.forward(&window.waveform, masks.as_ref(), &mut show)?)
    }
}
