//! Engines and traces that can be compared, by name.

use std::{path::PathBuf, str::FromStr};

use anyhow::{Context, bail};
use soundalike_model::{DeviceChoice, Kernels};

#[derive(Debug, Clone)]
pub(in crate::commands) enum ReferenceSide {
    /// The reference engine on libtorch.
    Torch,
    /// The same, with weights that the official package reads from the checkpoint.
    Official,
    /// A trace of the official package.
    Trace(PathBuf),
}

#[derive(Debug, Clone)]
pub(super) enum CandidateSide {
    /// Our network.
    Engine(EngineChoice),
    /// Activations in a file.
    Trace(PathBuf),
}

/// Device and kernels of our network.
#[derive(Debug, Clone)]
pub(super) struct EngineChoice {
    name: &'static str,
    pub(super) device: DeviceChoice,
    pub(super) kernels: Kernels,
}

impl EngineChoice {
    /// All engines that run our network.
    fn all() -> [Self; 5] {
        [
            // As in `diarize`.
            ("candle-cpu", DeviceChoice::Cpu, Kernels::native()),
            // Each stage by itself.
            ("candle-cpu-portable", DeviceChoice::Cpu, Kernels::Portable),
            // The graph for Metal.
            ("candle-metal-ops", DeviceChoice::Cpu, Kernels::MetalOps),
            ("candle-metal", DeviceChoice::Metal, Kernels::Portable),
            ("candle-cuda", DeviceChoice::Cuda, Kernels::Portable),
        ]
        .map(|(name, device, kernels)| Self {
            name,
            device,
            kernels,
        })
    }
}

impl FromStr for ReferenceSide {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> anyhow::Result<Self> {
        match (name, name.strip_prefix("trace:")) {
            (_, Some(file)) => Ok(Self::Trace(file.into())),
            ("torch", _) => Ok(Self::Torch),
            ("official", _) => Ok(Self::Official),
            _ => bail!(
                "--reference {name}: unknown engine, expected torch, official or trace:FILE.npz"
            ),
        }
    }
}

impl FromStr for CandidateSide {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> anyhow::Result<Self> {
        if let Some(file) = name.strip_prefix("trace:") {
            return Ok(Self::Trace(file.into()));
        }
        if [".onnx", ".tflite", ".pt", ".pth"]
            .iter()
            .any(|suffix| name.ends_with(suffix))
        {
            bail!(
                "--candidate {name}: is a model of another framework, which runs in Python; `pip install soundalike[onnx]`, then \
                 `python -m soundalike compare REFERENCE.npz {name}`"
            );
        }
        let mut engines = EngineChoice::all().into_iter();
        let engine = engines.find(|engine| engine.name == name);
        engine.map(Self::Engine).with_context(|| {
            format!(
                "--candidate {name}: unknown engine, expected candle-cpu, candle-cpu-portable, candle-metal-ops, \
                 candle-metal, candle-cuda or trace:FILE.npz"
            )
        })
    }
}

impl CandidateSide {
    /// With the experimental kernels for Metal.
    pub(super) fn with_experimental_kernels(mut self) -> anyhow::Result<Self> {
        match &mut self {
            Self::Engine(engine) if engine.name.starts_with("candle-metal") => {
                engine.kernels = Kernels::Experimental;
            }
            _ => bail!(
                "--experimental-kernels is for candle-metal and candle-metal-ops, and {self} has no such kernels; \
                 choose one of the two with --candidate"
            ),
        }
        Ok(self)
    }
}

impl std::fmt::Display for CandidateSide {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Trace(path) => write!(f, "trace:{}", path.display()),
            Self::Engine(engine) => {
                f.write_str(engine.name)?;
                match engine.kernels {
                    Kernels::Experimental => write!(f, " with {}", Kernels::Experimental),
                    _ => Ok(()),
                }
            }
        }
    }
}
