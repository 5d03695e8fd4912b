//! The gate of a comparison: the user's, or one of the project's own.

use std::path::Path;

use soundalike_compare::Gate;

use crate::commands::read_text;

/// Text of a gate of the project, and what to call it.
type BuiltIn = (&'static str, &'static str);

/// Of an f32 engine.
pub(super) const EXACT: BuiltIn = (
    include_str!("../../../gates/exact.toml"),
    "the built-in gate",
);
/// Of an engine of f16 or bf16.
pub(super) const LOW_PRECISION: BuiltIn = (
    include_str!("../../../gates/low-precision.toml"),
    "the built-in gate of f16 and bf16",
);
/// Of a network that is not one of ours, in f32.
pub(super) const ANY_NETWORK: BuiltIn = (
    include_str!("../../../gates/any-network.toml"),
    "the built-in gate of any network",
);

/// The gate in `file`, or else `built_in`, with what to call it.
pub(super) fn load(file: Option<&Path>, built_in: BuiltIn) -> anyhow::Result<(Gate, String)> {
    let (text, origin) = match file {
        None => (built_in.0.to_owned(), built_in.1.to_owned()),
        Some(path) => (read_text(path)?, path.display().to_string()),
    };
    Ok((Gate::parse(&text, &origin)?, origin))
}
