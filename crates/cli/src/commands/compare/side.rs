//! The engines and files that can be compared, by name.

use std::{path::PathBuf, str::FromStr};

use anyhow::bail;
use soundalike_model::{Device, DeviceChoice, Kernels};

/// The truth.
#[derive(Debug, Clone)]
pub(super) enum ReferenceSide {
    /// The reference engine, live.
    Torch,
    /// What the official package computed.
    Trace(PathBuf),
}

/// What is on trial.
#[derive(Debug, Clone)]
pub(super) enum CandidateSide {
    /// Our network, as `diarize` runs it.
    Candle,
    /// Our network from the tensor operations of candle, each stage by itself.
    Portable,
    /// The same on the CPU as a Mac's GPU gets it.
    MetalOps,
    /// Our network on a GPU.
    Gpu(DeviceChoice),
    /// Activations in a file.
    Trace(PathBuf),
}

impl FromStr for ReferenceSide {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> anyhow::Result<Self> {
        match (name, name.strip_prefix("trace:")) {
            (_, Some(file)) => Ok(Self::Trace(file.into())),
            ("torch", _) => Ok(Self::Torch),
            _ => bail!("--reference {name}: unknown engine, expected torch or trace:FILE.npz"),
        }
    }
}

impl FromStr for CandidateSide {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> anyhow::Result<Self> {
        match (name, name.strip_prefix("trace:")) {
            (_, Some(file)) => Ok(Self::Trace(file.into())),
            ("candle-cpu", _) => Ok(Self::Candle),
            ("candle-cpu-portable", _) => Ok(Self::Portable),
            ("candle-metal-ops", _) => Ok(Self::MetalOps),
            ("candle-metal", _) => Ok(Self::Gpu(DeviceChoice::Metal)),
            ("candle-cuda", _) => Ok(Self::Gpu(DeviceChoice::Cuda)),
            _ => bail!(
                "--candidate {name}: unknown engine, expected candle-cpu, candle-cpu-portable, candle-metal-ops, \
                 candle-metal, candle-cuda or trace:FILE.npz"
            ),
        }
    }
}

impl CandidateSide {
    /// By which code our network is computed.
    pub(super) fn kernels(&self) -> Kernels {
        match self {
            Self::Candle | Self::Trace(_) => Kernels::native(),
            Self::Portable | Self::Gpu(_) => Kernels::Portable,
            Self::MetalOps => Kernels::MetalOps,
        }
    }

    /// Where our network runs.
    pub(super) fn device(&self) -> anyhow::Result<Device> {
        match self {
            Self::Gpu(choice) => Ok(choice.open()?),
            _ => Ok(Device::Cpu),
        }
    }
}

impl std::fmt::Display for CandidateSide {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Candle => f.write_str("candle-cpu"),
            Self::Portable => f.write_str("candle-cpu-portable"),
            Self::MetalOps => f.write_str("candle-metal-ops"),
            Self::Gpu(choice) => write!(f, "candle-{choice}"),
            Self::Trace(path) => write!(f, "trace:{}", path.display()),
        }
    }
}
