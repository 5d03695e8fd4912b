//! TOML files.

use serde::de::DeserializeOwned;

/// Text that is not TOML, or not the TOML of a file of this kind.
#[derive(Debug, thiserror::Error)]
#[error("{origin}: line {line}: is not {kind}: {message}")]
pub struct TomlError {
    origin: String,
    /// From 1.
    line: usize,
    /// With an article.
    kind: &'static str,
    /// From the parser.
    message: String,
}

/// Parses the text of a file of this `kind`; `origin` names it in errors.
pub(crate) fn parse<T: DeserializeOwned>(
    text: &str,
    kind: &'static str,
    origin: &str,
) -> Result<T, TomlError> {
    toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        TomlError {
            origin: origin.to_owned(),
            line: 1 + text[..start].matches('\n').count(),
            kind,
            message: error.message().to_owned(),
        }
    })
}
