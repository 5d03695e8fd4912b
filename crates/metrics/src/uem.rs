//! UEM, the format of evaluation maps: one scored region per line.
//!
//! ```text
//! uri channel start end
//! ```
//!
//! Empty lines, comments (`;` or `#`) and further columns are ignored. Start and end are finite decimal numbers; a
//! region that ends before it starts is an error, one of no duration is skipped. Regions may overlap: time counts once.

use std::{collections::HashMap, io, path::Path};

use crate::{
    Error, Segment, Timeline,
    error::Problem,
    text::{self, decoded, lines, writable_uri},
};

/// The scored regions of one recording.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EvaluationMap {
    /// Name of the recording.
    pub uri: String,
    /// The regions.
    pub regions: Timeline,
}

/// Reads a file. One map per uri, in order of first appearance.
///
/// # Errors
/// As [`parse`], and [`Error::Io`] if the file cannot be read.
pub fn read(path: impl AsRef<Path>) -> Result<Vec<EvaluationMap>, Error> {
    text::read(path.as_ref(), parse_bytes)
}

/// Parses a text; `origin` names it in errors.
///
/// # Errors
/// [`Error::Syntax`] with line and column.
pub fn parse(text: &str, origin: &str) -> Result<Vec<EvaluationMap>, Error> {
    let mut files: Vec<(&str, Vec<Segment>)> = Vec::new();
    let mut places = HashMap::new();
    for line in lines(text, origin) {
        let [uri, _, _, _] = line.columns()?;
        let (start, end) = (line.number(2, "start")?, line.number(3, "end")?);
        if end < start {
            return Err(line.error(3, Problem::Reversed { start, end }));
        }
        let place = *places.entry(uri).or_insert_with(|| {
            files.push((uri, Vec::new()));
            files.len() - 1
        });
        files[place].1.push(Segment::new(start, end));
    }
    let maps = files.into_iter().map(|(uri, regions)| EvaluationMap {
        uri: uri.to_owned(),
        regions: Timeline::new(regions),
    });
    Ok(maps.collect())
}

/// Like [`parse`], for bytes in UTF-8, or in UTF-16 with a byte order mark.
///
/// # Errors
/// As [`parse`], and for bytes that are neither UTF-8 nor UTF-16 with a byte order mark.
pub fn parse_bytes(bytes: &[u8], origin: &str) -> Result<Vec<EvaluationMap>, Error> {
    parse(&decoded(bytes, origin)?, origin)
}

/// Writes the regions as pyannote.core's `Timeline.write_uem` does, with three decimals.
///
/// # Errors
/// For a uri that UEM cannot hold, before anything is written, and those of `out`.
pub fn write(map: &EvaluationMap, mut out: impl io::Write) -> Result<(), Error> {
    let uri = writable_uri(&map.uri)?;
    for Segment { start, end } in map.regions.segments() {
        writeln!(out, "{uri} 1 {start:.3} {end:.3}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_regions_of_several_recordings() {
        let text = ";; map\nx 1 10 20\ny 1 0.0 5.5 and more\nx 1 0 3\nx 1 7 7\n";
        let maps = parse(text, "a.uem").unwrap();
        assert_eq!(maps.len(), 2);
        assert_eq!(
            maps[0].regions.segments(),
            [Segment::new(0.0, 3.0), Segment::new(10.0, 20.0)]
        );
        let mut out = Vec::new();
        write(&maps[0], &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "x 1 0.000 3.000\nx 1 10.000 20.000\n"
        );
    }

    #[test]
    fn errors_name_the_file_the_line_and_the_column() {
        let cases = [
            (
                "x 1 5 4",
                "a.uem:1:7: the region ends at 4, before it starts at 5",
            ),
            ("x 1 5", "a.uem:1:6: 3 columns, expected at least 4"),
            ("x 1 5 NaN", "a.uem:1:7: end `NaN` is not a finite number"),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text, "a.uem").unwrap_err().to_string(), expected);
        }
    }
}
