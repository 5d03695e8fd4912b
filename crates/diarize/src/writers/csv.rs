//! CSV for spreadsheets: RFC 4180, seconds with three decimals.

use soundalike_metrics::Turn;

use super::Document;

/// The columns.
pub(super) const HEADER: &str = "uri,start,end,duration,speaker\n";

/// A line for each turn.
pub(super) fn render(document: &Document<'_>) -> String {
    let uri = quoted(document.diarization.uri());
    let line = |turn: Turn| {
        let (segment, speaker) = (turn.segment, quoted(&turn.speaker));
        let (start, end, duration) = (segment.start, segment.end, segment.duration());
        format!("{uri},{start:.3},{end:.3},{duration:.3},{speaker}\n")
    };
    document.rows().into_iter().map(line).collect()
}

/// A name as a cell.
fn quoted(name: &str) -> String {
    if name.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", name.replace('"', "\"\""))
    } else {
        name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diarization::tests::dialogue;

    #[test]
    fn names_with_commas_and_quotes_stay_one_cell() {
        let document = Document {
            diarization: &dialogue(),
            exclusive: false,
            tracks: false,
        };
        let expected = "\
\"an,\"\"odd\"\"_name\",0.031,2.500,2.469,SPEAKER_00
\"an,\"\"odd\"\"_name\",2.000,4.000,2.000,SPEAKER_01
\"an,\"\"odd\"\"_name\",3661.250,3663.000,1.750,SPEAKER_00
";
        assert_eq!(render(&document), expected);
    }
}
