//! The gate of a comparison: the user's, or one of the project's own.

use std::path::Path;

use anyhow::Context;
use soundalike_compare::Gate;

/// The project's own gates.
#[derive(Debug, Clone, Copy)]
pub(super) enum BuiltIn {
    /// Of an f32 engine.
    Exact,
    /// Of an engine of f16 or bf16.
    LowPrecision,
    /// Of a network that is not one of ours, in f32.
    AnyNetwork,
}

impl BuiltIn {
    const fn text(self) -> &'static str {
        match self {
            Self::Exact => include_str!("../../../gates/exact.toml"),
            Self::LowPrecision => include_str!("../../../gates/low-precision.toml"),
            Self::AnyNetwork => include_str!("../../../gates/any-network.toml"),
        }
    }

    const fn origin(self) -> &'static str {
        match self {
            Self::Exact => "the built-in gate",
            Self::LowPrecision => "the built-in gate of f16 and bf16",
            Self::AnyNetwork => "the built-in gate of any network",
        }
    }
}

/// The gate in `file`, or else the project's own, with what to call it.
pub(super) fn load(file: Option<&Path>, built_in: BuiltIn) -> anyhow::Result<(Gate, String)> {
    let (text, origin) = match file {
        None => (built_in.text().to_owned(), built_in.origin().to_owned()),
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("{}: cannot be read", path.display()))?;
            (text, path.display().to_string())
        }
    };
    Ok((Gate::parse(&text, &origin)?, origin))
}
