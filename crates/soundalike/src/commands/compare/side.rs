//! The engines and files that can be compared, by name.

use std::{path::PathBuf, str::FromStr};

use anyhow::bail;
use soundalike_model::{Device, DeviceChoice, Kernels};

/// The reference.
#[derive(Debug, Clone)]
pub(in crate::commands) enum ReferenceSide {
    /// The reference engine, live.
    Torch,
    /// What the official package computed.
    Trace(PathBuf),
}

/// The candidate.
#[derive(Debug, Clone)]
pub(in crate::commands) enum CandidateSide {
    /// Our network, as `diarize` runs it.
    Candle,
    /// Our network from the tensor operations of candle, each stage by itself.
    Portable,
    /// The same on the CPU as a Mac's GPU gets it.
    MetalOps { experimental: bool },
    /// Our network on a GPU.
    Gpu {
        device: DeviceChoice,
        experimental: bool,
    },
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
        let gpu = |device| Self::Gpu {
            device,
            experimental: false,
        };
        match (name, name.strip_prefix("trace:")) {
            (_, Some(file)) => Ok(Self::Trace(file.into())),
            ("candle-cpu", _) => Ok(Self::Candle),
            ("candle-cpu-portable", _) => Ok(Self::Portable),
            ("candle-metal-ops", _) => Ok(Self::MetalOps {
                experimental: false,
            }),
            ("candle-metal", _) => Ok(gpu(DeviceChoice::Metal)),
            ("candle-cuda", _) => Ok(gpu(DeviceChoice::Cuda)),
            _ => bail!(
                "--candidate {name}: unknown engine, expected candle-cpu, candle-cpu-portable, candle-metal-ops, \
                 candle-metal, candle-cuda or trace:FILE.npz"
            ),
        }
    }
}

impl CandidateSide {
    /// With the kernels that no Mac was seen to run.
    pub(in crate::commands) fn with_experimental_kernels(mut self) -> anyhow::Result<Self> {
        match &mut self {
            Self::MetalOps { experimental }
            | Self::Gpu {
                device: DeviceChoice::Metal,
                experimental,
            } => *experimental = true,
            _ => bail!(
                "--experimental-kernels are for candle-metal and candle-metal-ops, and {self} has none; \
                 choose one of these with --candidate"
            ),
        }
        Ok(self)
    }

    /// By which code our network is computed.
    pub(in crate::commands) fn kernels(&self) -> Kernels {
        match self {
            Self::Candle | Self::Trace(_) => Kernels::native(),
            Self::MetalOps { experimental: true }
            | Self::Gpu {
                experimental: true, ..
            } => Kernels::Experimental,
            Self::Portable | Self::Gpu { .. } => Kernels::Portable,
            Self::MetalOps { .. } => Kernels::MetalOps,
        }
    }

    /// Where our network runs.
    pub(in crate::commands) fn device(&self) -> anyhow::Result<Device> {
        match self {
            Self::Gpu { device, .. } => Ok(device.open()?),
            _ => Ok(Device::Cpu),
        }
    }
}

impl std::fmt::Display for CandidateSide {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Candle => f.write_str("candle-cpu")?,
            Self::Portable => f.write_str("candle-cpu-portable")?,
            Self::MetalOps { .. } => f.write_str("candle-metal-ops")?,
            Self::Gpu { device, .. } => write!(f, "candle-{device}")?,
            Self::Trace(path) => write!(f, "trace:{}", path.display())?,
        }
        match self.kernels() {
            Kernels::Experimental => write!(f, " with {}", Kernels::Experimental),
            _ => Ok(()),
        }
    }
}
