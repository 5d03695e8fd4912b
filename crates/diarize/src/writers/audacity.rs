//! Label track of Audacity: start, end and label of each turn, separated by tabs.

use soundalike_metrics::Turn;

use super::Document;

/// A line for each turn, with six decimals as Audacity itself writes.
pub(super) fn render(document: &Document<'_>) -> String {
    let line = |turn: Turn| {
        let (segment, speaker) = (turn.segment, turn.speaker);
        format!("{:.6}\t{:.6}\t{speaker}\n", segment.start, segment.end)
    };
    document.rows().into_iter().map(line).collect()
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
