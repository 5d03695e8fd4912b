//! RTTM, as pyannote writes it.

use soundalike_metrics::{Annotation, Error, Turn, rttm};

use super::Document;

/// A line for each turn, by start; then one for each segment of the tracks.
pub(super) fn render(document: &Document<'_>) -> Result<String, Error> {
    let uri = document.diarization.uri();
    let mut bytes = Vec::new();
    let turns = Annotation::from_turns(uri, document.turns().to_vec());
    rttm::write(&turns, &mut bytes)?;
    for (label, segments) in document.tracks() {
        let turns = segments.iter().map(|s| Turn::new(s.start, s.end, label));
        rttm::write(&Annotation::from_turns(uri, turns), &mut bytes)?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diarization::tests::dialogue;

    #[test]
    fn tracks_follow_the_turns() {
        let document = Document {
            diarization: &dialogue(),
            exclusive: true,
            tracks: true,
        };
        let expected = "\
SPEAKER an,\"odd\"_name 1 0.031 1.969 <NA> <NA> SPEAKER_00 <NA> <NA>
SPEAKER an,\"odd\"_name 1 2.000 2.000 <NA> <NA> SPEAKER_01 <NA> <NA>
SPEAKER an,\"odd\"_name 1 3661.250 1.750 <NA> <NA> SPEAKER_00 <NA> <NA>
SPEAKER an,\"odd\"_name 1 0.031 3.969 <NA> <NA> SPEECH <NA> <NA>
SPEAKER an,\"odd\"_name 1 3661.250 1.750 <NA> <NA> SPEECH <NA> <NA>
SPEAKER an,\"odd\"_name 1 2.000 0.500 <NA> <NA> OVERLAP <NA> <NA>
";
        assert_eq!(render(&document).unwrap(), expected);
    }
}
