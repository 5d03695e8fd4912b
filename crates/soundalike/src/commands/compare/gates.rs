//! The gate of a comparison: the user's, or a built-in one.

use std::path::Path;

use soundalike_compare::Gate;

use crate::commands::read_text;

/// Text and name of a built-in gate.
type BuiltIn = (&'static str, &'static str);

/// For f32.
pub(super) const EXACT: BuiltIn = (
    include_str!("../../../gates/exact.toml"),
    "the built-in gate",
);
/// For f16 and bf16.
pub(super) const LOW_PRECISION: BuiltIn = (
    include_str!("../../../gates/low-precision.toml"),
    "the built-in gate for f16 and bf16",
);
/// For a network that we do not implement, in f32.
pub(super) const ANY_NETWORK: BuiltIn = (
    include_str!("../../../gates/any-network.toml"),
    "the built-in gate for any network",
);

/// The gate in `file`, or else `built_in`, and its name.
pub(super) fn load(file: Option<&Path>, built_in: BuiltIn) -> anyhow::Result<(Gate, String)> {
    let (text, origin) = match file {
        None => (built_in.0.to_owned(), built_in.1.to_owned()),
        Some(path) => (read_text(path)?, path.display().to_string()),
    };
    Ok((Gate::parse(&text, &origin)?, origin))
}
