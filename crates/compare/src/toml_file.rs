//! TOML that people write.

use serde::de::DeserializeOwned;

/// The value in `text`, or the number of the line that is wrong, from 1, and what is wrong with it.
pub(crate) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, (usize, String)> {
    toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        let line = 1 + text[..start].matches('\n').count();
        (line, error.message().to_owned())
    })
}
