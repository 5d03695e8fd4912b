//! The gates that are built in.

use super::{Gate, GateError};

/// A gate that is built in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuiltInGate {
    /// For f32.
    Exact,
    /// For f16 and bf16.
    LowPrecision,
    /// For a network that we do not implement, in f32.
    AnyNetwork,
}

impl BuiltInGate {
    /// Its limits, and its name in reports.
    ///
    /// # Errors
    /// None; its text is tested.
    pub fn load(self) -> Result<(Gate, String), GateError> {
        let (text, name) = match self {
            Self::Exact => (include_str!("../../gates/exact.toml"), "the built-in gate"),
            Self::LowPrecision => (
                include_str!("../../gates/low-precision.toml"),
                "the built-in gate for f16 and bf16",
            ),
            Self::AnyNetwork => (
                include_str!("../../gates/any-network.toml"),
                "the built-in gate for any network",
            ),
        };
        Ok((Gate::parse(text, name)?, name.to_owned()))
    }
}
