//! The turns of an annotation with numbers for labels.

use crate::{Annotation, Segment, Support, Timeline};

/// A segment of the speaker with number `label`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Track {
    pub(crate) segment: Segment,
    pub(crate) label: usize,
}

/// Tracks in chronological order, and their labels, sorted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tracks<'a> {
    pub(crate) labels: Vec<&'a str>,
    pub(crate) tracks: Vec<Track>,
}

impl<'a> Tracks<'a> {
    pub(crate) fn of(annotation: &'a Annotation) -> Self {
        let labels = annotation.labels();
        let tracks = annotation
            .turns()
            .iter()
            .map(|turn| Track {
                segment: turn.segment,
                label: labels.partition_point(|&l| l < turn.speaker.as_str()),
            })
            .collect();
        Self { labels, tracks }
    }

    /// Of tracks in any order. Labels without a track are dropped.
    pub(crate) fn new(labels: &[&'a str], mut tracks: Vec<Track>) -> Self {
        tracks.sort_by(|a, b| a.segment.order(&b.segment));
        let mut number = vec![usize::MAX; labels.len()];
        for track in &tracks {
            number[track.label] = 0;
        }
        let mut kept = Vec::new();
        for (label, number) in labels.iter().zip(&mut number) {
            if *number == 0 {
                *number = kept.len();
                kept.push(*label);
            }
        }
        for track in &mut tracks {
            track.label = number[track.label];
        }
        Self {
            labels: kept,
            tracks,
        }
    }

    /// The parts within `support`, each a track of its own. pyannote.core `Annotation.crop`.
    pub(crate) fn crop(&self, support: &Support) -> Tracks<'a> {
        Tracks::new(&self.labels, self.pieces(support))
    }

    /// With overlapping tracks of one speaker joined.
    pub(crate) fn merged(&self) -> Tracks<'a> {
        let mut tracks = Vec::new();
        for (label, timeline) in self.timelines().iter().enumerate() {
            let segments = timeline.support();
            let segments = segments.segments().iter();
            tracks.extend(segments.map(|&segment| Track { segment, label }));
        }
        Tracks::new(&self.labels, tracks)
    }

    /// Like [`Tracks::crop`], but labels without a track are kept.
    pub(crate) fn crop_keeping_labels(&self, support: &Support) -> Tracks<'a> {
        let mut tracks = self.pieces(support);
        tracks.sort_by(|a, b| a.segment.order(&b.segment));
        Tracks {
            labels: self.labels.clone(),
            tracks,
        }
    }

    fn pieces(&self, support: &Support) -> Vec<Track> {
        let pieces_of = |track: &Track| {
            let label = track.label;
            support
                .pieces_of(&track.segment)
                .map(move |segment| Track { segment, label })
        };
        self.tracks.iter().flat_map(pieces_of).collect()
    }

    /// The segments of all tracks.
    pub(crate) fn timeline(&self) -> Timeline {
        self.tracks.iter().map(|t| t.segment).collect()
    }

    /// The segments of each label.
    pub(crate) fn timelines(&self) -> Vec<Timeline> {
        let mut segments = vec![Vec::new(); self.labels.len()];
        for track in &self.tracks {
            segments[track.label].push(track.segment);
        }
        segments.into_iter().map(Timeline::new).collect()
    }
}
