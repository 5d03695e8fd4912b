//! The device on which a network runs.

use std::{fmt, str::FromStr};

use candle_core::{Device, DeviceLocation};

/// A device, as chosen on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// A CUDA or Metal device if this build supports it and the machine has one, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The first Apple GPU; needs the cargo feature `metal`.
    Metal,
    /// The first NVIDIA GPU; needs the cargo feature `cuda`.
    Cuda,
}

/// Why a device could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// This build does not support the device.
    #[error("this build has no {device} support; rebuild with `--features {device}`")]
    NotBuilt {
        /// The device, and the cargo feature of the same name.
        device: DeviceChoice,
    },
    /// This build supports the device, but it could not be opened.
    #[error("the {device} device could not be opened; is there one on this machine?")]
    Unavailable {
        /// The device.
        device: DeviceChoice,
        /// candle's error.
        source: candle_core::Error,
    },
    /// The name is not that of a device.
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
    /// [`DeviceError::NotBuilt`] without the cargo feature, [`DeviceError::Unavailable`] without the hardware. None for
    /// [`Self::Auto`] and [`Self::Cpu`].
    pub fn open(self) -> Result<Device, DeviceError> {
        let open = |built: bool, new: fn(usize) -> candle_core::Result<Device>| {
            if !built {
                return Err(DeviceError::NotBuilt { device: self });
            }
            new(0).map_err(|source| DeviceError::Unavailable {
                device: self,
                source,
            })
        };
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Cuda => open(cfg!(feature = "cuda"), Device::new_cuda),
            Self::Metal => open(cfg!(feature = "metal"), Device::new_metal),
            Self::Auto => Ok(preferred(Self::open)),
        }
    }

    /// The name of `device`.
    #[must_use]
    pub fn of(device: &Device) -> Self {
        match device.location() {
            DeviceLocation::Cpu => Self::Cpu,
            DeviceLocation::Cuda { .. } => Self::Cuda,
            DeviceLocation::Metal { .. } => Self::Metal,
        }
    }
}

/// The first GPU that `open` can open, else the CPU.
fn preferred(open: impl Fn(DeviceChoice) -> Result<Device, DeviceError>) -> Device {
    let mut gpus = [DeviceChoice::Cuda, DeviceChoice::Metal].into_iter();
    gpus.find_map(|gpu| open(gpu).ok()).unwrap_or(Device::Cpu)
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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// The devices that are tried, in order, if the build supports all of them and the machine has `there`.
    fn tried(there: &[DeviceChoice]) -> (Vec<DeviceChoice>, Device) {
        let tried = RefCell::new(Vec::new());
        let device = preferred(|device| {
            tried.borrow_mut().push(device);
            if there.contains(&device) {
                return Ok(Device::Cpu);
            }
            Err(DeviceError::NotBuilt { device })
        });
        (tried.into_inner(), device)
    }

    #[test]
    fn auto_takes_the_first_gpu_that_opens_and_else_the_cpu() {
        use DeviceChoice::{Cuda, Metal};
        assert_eq!(tried(&[Cuda, Metal]).0, [Cuda]);
        assert_eq!(tried(&[Metal]).0, [Cuda, Metal]);
        let (order, device) = tried(&[]);
        assert_eq!(order, [Cuda, Metal]);
        assert_eq!(DeviceChoice::of(&device), DeviceChoice::Cpu);
    }

    #[test]
    fn a_device_without_its_feature_is_refused_by_the_name_of_the_feature() {
        for (device, built) in [
            (DeviceChoice::Cuda, cfg!(feature = "cuda")),
            (DeviceChoice::Metal, cfg!(feature = "metal")),
        ] {
            let refused = matches!(device.open(), Err(DeviceError::NotBuilt { device: found }) if found == device);
            assert_eq!(refused, !built, "{device}");
        }
    }

    #[test]
    fn auto_always_opens_something_and_names_read_back() {
        let device = DeviceChoice::Auto.open().unwrap();
        let name = DeviceChoice::of(&device).to_string();
        assert_eq!(name.parse::<DeviceChoice>().unwrap().to_string(), name);
    }
}
