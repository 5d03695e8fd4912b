//! RTTM, the format of diarization: one turn per line.
//!
//! ```text
//! SPEAKER uri channel start duration <NA> <NA> label <NA> <NA>
//! ```
//!
//! Lines of type `SPEAKER` are read, of every channel. A name with a space, which would shift the columns, is an error. Lines of the other types of RTTM (`SPKR-INFO`, `LEXEME`,
//! `NOSCORE`, ...), empty lines and comments (`;` or `#`) are skipped. Columns after the label are optional and
//! ignored. A uri or label `<NA>` is a name like any other. Start and duration are finite decimal numbers; a duration
//! below zero is an error, and a turn of no duration is skipped, as in pyannote.

use std::{
    collections::{HashMap, HashSet},
    io,
    path::Path,
};

use crate::{
    Annotation, Error, Turn,
    error::Problem,
    text::{self, decoded, lines, writable, writable_uri},
};

/// The types of the first column: NIST RT-09 evaluation plan, appendix A.
const TYPES: [&str; 15] = [
    "SPEAKER",
    "SEGMENT",
    "NOSCORE",
    "NO_RT_METADATA",
    "LEXEME",
    "NON-LEX",
    "NON-SPEECH",
    "FILLER",
    "EDIT",
    "IP",
    "SU",
    "CB",
    "A/P",
    "SPKR-INFO",
    "OVERLAP",
];

/// Most speakers in one recording: mapping takes 8 bytes for every pair, and time with the cube of the number.
const MAX_SPEAKERS: usize = 4096;

/// Reads a file. One annotation per uri, in order of first appearance.
///
/// # Errors
/// As [`parse`], and [`Error::Io`] if the file cannot be read.
pub fn read(path: impl AsRef<Path>) -> Result<Vec<Annotation>, Error> {
    text::read(path.as_ref(), parse_bytes)
}

/// Parses a text; `origin` names it in errors.
///
/// # Errors
/// [`Error::Syntax`] with line and column.
pub fn parse(text: &str, origin: &str) -> Result<Vec<Annotation>, Error> {
    let mut files: Vec<(&str, Vec<Turn>, HashSet<&str>)> = Vec::new();
    let mut places = HashMap::new();
    for line in lines(text, origin) {
        let kind = line.first().to_uppercase();
        if !TYPES.contains(&kind.as_str()) {
            return Err(line.error(0, Problem::UnknownType(line.first().to_owned())));
        }
        if kind != "SPEAKER" {
            continue;
        }
        let [_, uri, _, _, length, _, _, speaker] = line.columns()?;
        if let Some((column, problem)) = space(&line.words()) {
            return Err(line.error(column, problem));
        }
        let start = line.number(3, "start")?;
        let duration = line.number(4, "duration")?;
        if duration < 0.0 {
            return Err(line.error(4, Problem::NegativeDuration(duration)));
        }
        let end = start + duration;
        if !end.is_finite() {
            let (what, found) = ("start plus duration", length.to_owned());
            return Err(line.error(4, Problem::NotFinite { what, found }));
        }
        let place = *places.entry(uri).or_insert_with(|| {
            files.push((uri, Vec::new(), HashSet::new()));
            files.len() - 1
        });
        let (_, turns, speakers) = &mut files[place];
        speakers.insert(speaker);
        if speakers.len() > MAX_SPEAKERS {
            return Err(line.error(7, Problem::TooManySpeakers(MAX_SPEAKERS)));
        }
        turns.push(Turn::new(start, end, speaker));
    }
    let annotations = files.into_iter();
    let annotations = annotations.map(|(uri, turns, _)| Annotation::from_turns(uri, turns));
    Ok(annotations.collect())
}

/// Columns of RTTM: NIST has nine, everybody since writes ten.
const MAX_COLUMNS: usize = 10;

/// The column of a name with a space, if the columns of a turn are those of one. A number where the words stand is a
/// duration that was shifted by a uri; behind the label are a confidence and a number, or `<NA>`.
fn space(words: &[&str]) -> Option<(usize, Problem)> {
    let is_number = |index: usize| {
        words
            .get(index)
            .is_some_and(|word| word.parse::<f64>().is_ok())
    };
    let problem = |what, name: &[&str]| Problem::Space {
        found: words.len(),
        what,
        name: name.join(" "),
    };
    if is_number(5) {
        let more = (6..words.len())
            .take_while(|&index| is_number(index))
            .count();
        return Some((1, problem("uri", &words[1..3 + more])));
    }
    // A comment may stand behind the columns.
    let behind = words.get(8..).unwrap_or_default();
    let columns = behind
        .iter()
        .take_while(|word| !word.starts_with([';', '#']));
    let columns = 8 + columns.count();
    let shifted = columns > 8 && words[8] != "<NA>" && !is_number(8);
    (shifted || columns > MAX_COLUMNS).then(|| {
        let end = columns.saturating_sub(2).max(9);
        (7, problem("label", &words[7..end.min(words.len())]))
    })
}

/// Like [`parse`], for bytes in UTF-8, or in UTF-16 with a byte order mark.
///
/// # Errors
/// As [`parse`], and for bytes that are neither UTF-8 nor UTF-16 with a byte order mark.
pub fn parse_bytes(bytes: &[u8], origin: &str) -> Result<Vec<Annotation>, Error> {
    parse(&decoded(bytes, origin)?, origin)
}

/// Writes the turns as pyannote.core's `Annotation.write_rttm` does: start and duration each rounded to three
/// decimals. An empty uri is written as `<NA>`. A uri or label with whitespace and an empty label are errors, before
/// anything is written.
///
/// # Errors
/// For a uri or label that RTTM cannot hold, before anything is written, and those of `out`.
pub fn write(annotation: &Annotation, mut out: impl io::Write) -> Result<(), Error> {
    let uri = writable_uri(&annotation.uri)?;
    for turn in annotation.turns() {
        writable("label", &turn.speaker)?;
    }
    for Turn { segment, speaker } in annotation.turns() {
        let (start, duration) = (segment.start, segment.duration());
        writeln!(
            out,
            "SPEAKER {uri} 1 {start:.3} {duration:.3} <NA> <NA> {speaker} <NA> <NA>"
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> String {
        parse(text, "a.rttm").unwrap_err().to_string()
    }

    #[test]
    fn reads_what_the_field_writes() {
        let text = "\u{feff};; made by hand\n\
                    # another comment\n\
                    SPKR-INFO x 1 <NA> <NA> <NA> unknown A <NA>\n\
                    \n\
                    SPEAKER x 1 10.5 0.25 <NA> <NA> trñ00 <NA> <NA>\r\n\
                    SPEAKER   y\t2 1e1 .5 <NA> <NA> <NA> 0.5 <NA> ; a comment\n\
                    speaker x 1 0 1 <NA> <NA> B\n\
                    SPEAKER x 1 3.000 0.000 <NA> <NA> B <NA> <NA>\n";
        let read = parse(text, "a.rttm").unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!(read[0].uri, "x");
        assert_eq!(
            read[0].turns(),
            [Turn::new(0.0, 1.0, "B"), Turn::new(10.5, 10.75, "trñ00")]
        );
        assert_eq!(read[1].turns(), [Turn::new(10.0, 10.5, "<NA>")]);
    }

    #[test]
    fn errors_name_the_file_the_line_and_the_column() {
        let cases = [
            (
                "SPEAKER x 1 0 -1 <NA> <NA> A",
                "a.rttm:1:15: duration -1 is negative",
            ),
            (
                "\n# c\nSPEAKER x 1 nan 1 <NA> <NA> A",
                "a.rttm:3:13: start `nan` is not a finite number",
            ),
            (
                "SPEAKER x 1 0 inf <NA> <NA> A",
                "a.rttm:1:15: duration `inf` is not a finite number",
            ),
            (
                "SPEAKER ñ 1 zero 1 <NA> <NA> A",
                "a.rttm:1:13: start `zero` is not a number",
            ),
            (
                "SPEAKER x 1 1e308 1.7e308 <NA> <NA> A",
                "a.rttm:1:19: start plus duration `1.7e308` is not a finite number",
            ),
            (
                "SPEAKER x 1 0 1 <NA> <NA>  ",
                "a.rttm:1:26: 7 columns, expected at least 8",
            ),
            (
                "SPEAKER x 1 0,5 1 <NA> <NA> A",
                "a.rttm:1:13: start `0,5` has a decimal comma, expected a point",
            ),
            (
                "SPEAKER mono vocals 1 0.0 1.5 <NA> <NA> A <NA> <NA>",
                "a.rttm:1:9: 11 columns: uri `mono vocals` seems to have a space, which separates columns; rename it",
            ),
            (
                "SPEAKER talk 2 1 0.0 1.5 <NA> <NA> A <NA>",
                "a.rttm:1:9: 10 columns: uri `talk 2` seems to have a space, which separates columns; rename it",
            ),
            (
                "SPEAKER x 1 0.0 1.5 <NA> <NA> Jane Doe 0 <NA> <NA>",
                "a.rttm:1:31: 12 columns: label `Jane Doe 0` seems to have a space, which separates columns; rename it",
            ),
            (
                "SPEAKER x 1 0.0 1.5 <NA> <NA> Jane Doe <NA>",
                "a.rttm:1:31: 10 columns: label `Jane Doe` seems to have a space, which separates columns; rename it",
            ),
            (
                "RIFF....WAVEfmt",
                "a.rttm:1:1: unknown type `RIFF....WAVEfmt`, expected SPEAKER or another type of RTTM",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(message(text), expected, "{text}");
        }
        let error = parse_bytes(b"SPEAKER x 1 0 1\nSPEAKER \xc3\xb1 \xff", "b.rttm").unwrap_err();
        assert_eq!(
            error.to_string(),
            "b.rttm:2:11: not UTF-8; is this a text file? Save it as UTF-8 (of Latin-1: iconv -f latin1 -t utf-8)"
        );
    }

    #[test]
    fn channels_confidences_and_missing_columns_are_no_spaces() {
        for line in [
            "SPEAKER x A 0 1 <NA> <NA> B <NA> <NA>",
            "SPEAKER x <NA> 0 1 <NA> <NA> B 0.93 <NA>",
            "SPEAKER x 1 0 1 <NA> <NA> B <NA>",
            "SPEAKER x 1 0 1 <NA> <NA> B # alone",
        ] {
            assert_eq!(
                parse(line, "a.rttm").unwrap()[0].turns()[0].speaker,
                "B",
                "{line}"
            );
        }
    }

    #[test]
    fn utf_16_with_a_mark_is_read() {
        let text = "\u{feff}SPEAKER x 1 0 1 <NA> <NA> trñ <NA> <NA>\r\n";
        let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        for bytes in [&little, &big] {
            let read = parse_bytes(bytes, "a.rttm").unwrap();
            assert_eq!(read[0].turns()[0].speaker, "trñ");
        }
        let odd = parse_bytes(&little[..little.len() - 1], "a.rttm").unwrap_err();
        assert!(odd.to_string().contains("not UTF-16"), "{odd}");
    }

    #[test]
    fn more_speakers_than_can_be_mapped_are_rejected() {
        let text = |n| {
            (0..n)
                .map(|i| format!("SPEAKER x 1 {i} 1 <NA> <NA> s{i}\n"))
                .collect::<String>()
        };
        assert_eq!(
            parse(&text(MAX_SPEAKERS), "a.rttm").unwrap()[0]
                .turns()
                .len(),
            MAX_SPEAKERS
        );
        assert_eq!(
            message(&text(MAX_SPEAKERS + 1)),
            "a.rttm:4097:30: more than 4096 speakers in one recording"
        );
    }

    #[test]
    fn writes_as_pyannote_does() {
        // f"{x:.3f}" in Python: exact ties go to the even digit.
        let turns = [
            Turn::new(0.0625, 0.25, "A"),
            Turn::new(0.3125, 1.5, "trñ00"),
            Turn::new(0.03096875, 9.970343750000001, "SPEAKER_00"),
        ];
        let mut out = Vec::new();
        write(&Annotation::from_turns("", turns), &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "SPEAKER <NA> 1 0.031 9.939 <NA> <NA> SPEAKER_00 <NA> <NA>\n\
             SPEAKER <NA> 1 0.062 0.188 <NA> <NA> A <NA> <NA>\n\
             SPEAKER <NA> 1 0.312 1.188 <NA> <NA> trñ00 <NA> <NA>\n"
        );
    }

    #[test]
    fn rejects_names_that_would_shift_the_columns() {
        let refused = |uri: &str, label: &str| {
            let mut out = Vec::new();
            let error = write(
                &Annotation::from_turns(uri, [Turn::new(0.0, 1.0, label)]),
                &mut out,
            )
            .unwrap_err();
            assert!(out.is_empty(), "nothing is written");
            error.to_string()
        };
        assert!(refused("my file", "A").starts_with("uri `my file` cannot be written"));
        assert!(refused("x", "A\u{a0}B").starts_with("label `A\u{a0}B` cannot be written"));
        assert!(refused("x", "").starts_with("label `` cannot be written"));
    }
}
