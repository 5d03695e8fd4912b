//! The device a network runs on.

use std::{fmt, str::FromStr};

use candle_core::Device;

/// The device asked for on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// CUDA or Metal where this build has it and the machine has one, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The first Apple GPU; needs the cargo feature `metal`.
    Metal,
    /// The first NVIDIA GPU; needs the cargo feature `cuda`.
    Cuda,
}

/// Why a device could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// This build has no support for the device.
    #[error("this build has no {device} support; rebuild with `--features {device}`")]
    NotBuilt {
        /// The device, and the cargo feature of the same name.
        device: DeviceChoice,
    },
    /// The device is supported but could not be opened.
    #[error("the {device} device could not be opened; is there one on this machine?")]
    NotThere {
        /// The device.
        device: DeviceChoice,
        /// What candle said.
        source: candle_core::Error,
    },
    /// No device has this name.
    #[error("unknown device `{name}`, expected auto, cpu, metal or cuda")]
    Unknown {
        /// The name given.
        name: String,
    },
}

impl DeviceChoice {
    /// Opens the device.
    ///
    /// # Errors
    /// [`DeviceError::NotBuilt`] without the cargo feature, [`DeviceError::NotThere`] without the hardware.
    pub fn open(self) -> Result<Device, DeviceError> {
        let open = |built: bool, new: fn(usize) -> candle_core::Result<Device>| {
            if !built {
                return Err(DeviceError::NotBuilt { device: self });
            }
            new(0).map_err(|source| DeviceError::NotThere {
                device: self,
                source,
            })
        };
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Cuda => open(cfg!(feature = "cuda"), Device::new_cuda),
            Self::Metal => open(cfg!(feature = "metal"), Device::new_metal),
            Self::Auto => Ok(Self::Cuda
                .open()
                .or_else(|_| Self::Metal.open())
                .unwrap_or(Device::Cpu)),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Cpu => "cpu",
            Self::Metal => "metal",
            Self::Cuda => "cuda",
        })
    }
}

impl FromStr for DeviceChoice {
    type Err = DeviceError;

    fn from_str(name: &str) -> Result<Self, DeviceError> {
        [Self::Auto, Self::Cpu, Self::Metal, Self::Cuda]
            .into_iter()
            .find(|device| device.to_string() == name)
            .ok_or_else(|| DeviceError::Unknown {
                name: name.to_owned(),
            })
    }
}
