//! Label track of Audacity: start, end and label of each turn, separated by tabs.

use std::fmt::Write;

use super::Document;

/// A line for each turn.
pub(super) fn render(document: &Document<'_>) -> String {
    let mut text = String::new();
    for turn in document.rows() {
        let (start, end) = (turn.segment.start, turn.segment.end);
        // Writing to a string cannot fail. Audacity itself writes six decimals.
        let _ = writeln!(text, "{start:.6}\t{end:.6}\t{}", turn.speaker);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diarization::tests::dialogue;

    #[test]
    fn lines_have_three_fields() {
        let document = Document {
            diarization: &dialogue(),
            exclusive: false,
            tracks: false,
        };
        let expected = "0.030900\t2.500000\tSPEAKER_00\n2.000000\t4.000000\tSPEAKER_01\n3661.250000\t3662.999600\tSPEAKER_00\n";
        assert_eq!(render(&document), expected);
    }
}
