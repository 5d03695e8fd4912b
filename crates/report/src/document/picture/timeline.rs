//! Reference above hypothesis, with errors coloured by kind: an SVG, alone or in a page.
//!
//! Scrolling zooms around the pointer (in a page: with Ctrl, or by pinching), dragging moves, a double click shows all;
//! hovering shows speaker and error.

use maud::{Markup, PreEscaped, html};
use soundalike_metrics::{
    Annotation, Components, DiarizationErrorRate, Region, Score, Segment, Support,
    Timeline as Segments, Turn,
};

use crate::document::printable;

/// The turns of one recording, and their errors.
#[derive(Debug, Clone, PartialEq)]
pub struct Timeline {
    uri: String,
    /// First to last boundary of both sides.
    extent: Segment,
    /// One lane per speaker of the reference.
    reference: Vec<Lane>,
    /// One lane per speaker of the hypothesis; mapped speakers in the order of their partners.
    hypothesis: Vec<Lane>,
    scored: Support,
    /// Regions of constant error.
    regions: Vec<Region>,
    /// Total seconds by kind of error.
    components: Components,
    der: DiarizationErrorRate,
}

/// One speaker's turns.
#[derive(Debug, Clone, PartialEq)]
struct Lane {
    label: String,
    /// The speaker of the other side that this one is mapped to.
    partner: Option<String>,
    turns: Vec<Segment>,
    /// Index of the colour: partners share it.
    colour: usize,
}

impl Timeline {
    /// Scores the recording.
    #[must_use]
    pub fn new(
        der: DiarizationErrorRate,
        reference: &Annotation,
        hypothesis: &Annotation,
        uem: Option<&Segments>,
    ) -> Self {
        let Score {
            components,
            mapping,
        } = der.score(reference, hypothesis, uem);
        let (scored, regions) = der.regions(reference, hypothesis, uem);
        let both = reference.timeline().union(&hypothesis.timeline());
        let lane = |annotation: &Annotation, label: &str, partner: Option<&String>, colour| {
            let turns = annotation.turns().iter().filter(|t| t.speaker == label);
            Lane {
                label: label.to_owned(),
                partner: partner.cloned(),
                turns: turns.map(|t: &Turn| t.segment).collect(),
                colour,
            }
        };
        let mut references = Vec::new();
        for (colour, label) in reference.labels().iter().enumerate() {
            let partner = mapping.iter().find(|(_, r)| r == label).map(|(h, _)| h);
            references.push(lane(reference, label, partner, colour));
        }
        let mut unmapped = references.len()..;
        let mut hypotheses = Vec::new();
        for label in &hypothesis.labels() {
            let partner = mapping.iter().find(|(h, _)| h == label).map(|(_, r)| r);
            let place = partner.and_then(|p| references.iter().position(|l| l.label == *p));
            let colour = place.or_else(|| unmapped.next()).unwrap_or_default();
            hypotheses.push(lane(hypothesis, label, partner, colour));
        }
        hypotheses.sort_by_key(|lane| lane.colour);
        Self {
            uri: reference.uri.clone(),
            extent: both.extent().unwrap_or_default(),
            reference: references,
            hypothesis: hypotheses,
            scored,
            regions,
            components,
            der,
        }
    }

    /// A complete SVG file.
    #[must_use]
    pub fn svg(&self) -> String {
        self.drawing().into_string() + "\n"
    }

    /// The picture in a page.
    #[must_use]
    pub fn draw(&self) -> Markup {
        html! { div.picture { (self.drawing()) } }
    }

    /// The SVG: well-formed XML, in a page too.
    fn drawing(&self) -> Markup {
        let lanes = self.reference.len() + self.hypothesis.len();
        let height = TOP + LANE * (lanes + ERRORS.len()) as f64 + 3.0 * GAP + BOTTOM;
        let (mut plot, mut labels) = (Vec::new(), Vec::new());
        let mut y = TOP;
        for (side, lanes) in [
            ("reference", &self.reference),
            ("hypothesis", &self.hypothesis),
        ] {
            y += GAP;
            labels.push(html! { text.side x="8" y=(format!("{:.0}", y - 4.0)) { (side) } });
            for lane in lanes {
                labels.push(label(y, &lane.label));
                plot.push(self.lane(side, lane, y));
                y += LANE;
            }
        }
        y += GAP;
        labels.push(html! { text.side x="8" y=(format!("{:.0}", y - 4.0)) { "errors" } });
        for (kind, colour, number) in ERRORS {
            labels.push(label(y, kind));
            plot.push(self.errors(kind, colour, number, y));
            y += LANE;
        }
        let whole = Segments::new([self.extent]).support();
        let unscored = self.scored.gaps_in(&whole);
        html! {
            svg xmlns="http://www.w3.org/2000/svg" viewBox=(format!("0 0 {WIDTH} {height}"))
                font-family="sans-serif" font-size="12" {
                style { (PreEscaped(STYLE)) }
                rect width=(WIDTH) height=(height) fill="#fff" {}
                text x="8" y="20" font-size="15" { (printable(&self.uri)) }
                text x="8" y="38" { (self.summary()) }
                text.side.hint x=(format!("{:.0}", WIDTH - RIGHT)) y="20" text-anchor="end" {}
                svg.time x=(LEFT) y="0" width=(WIDTH - LEFT - RIGHT) height=(height)
                    viewBox=(format!("0 0 {PLOT} {height}")) preserveAspectRatio="none" {
                    @for part in plot { (part) }
                    // A veil over the unscored parts.
                    @for part in unscored.segments() {
                        rect.unscored fill-opacity=".6" x=(self.left(part)) y=(TOP) width=(self.width(part))
                            height=(format!("{:.0}", y - TOP)) {
                            title { (format!("not scored: {:.3} to {:.3} s", part.start, part.end)) }
                        }
                    }
                }
                @for part in labels { (part) }
                g.ticks data-y=(format!("{:.0}", y + 16.0)) data-start=(self.extent.start) data-end=(self.extent.end) {}
                script { (PreEscaped("<![CDATA[\n")) (PreEscaped(SCRIPT)) (PreEscaped("]]>")) }
            }
        }
    }

    fn lane(&self, side: &str, lane: &Lane, y: f64) -> Markup {
        let partner = lane.partner.as_ref();
        let partner = partner.map_or(String::new(), |partner| format!(", paired with {partner}"));
        let who = format!("{side} {}{partner}", lane.label);
        html! {
            (background(y))
            @for turn in &lane.turns { (self.bar(turn, y, COLOURS[lane.colour % COLOURS.len()], &who)) }
        }
    }

    /// The regions with errors of a kind.
    fn errors(&self, kind: &str, colour: &str, number: fn(&Region) -> usize, y: f64) -> Markup {
        html! {
            (background(y))
            @for region in self.regions.iter().filter(|region| number(region) > 0) {
                (self.bar(&region.segment, y, colour, &format!("{kind} of {}", number(region))))
            }
        }
    }

    fn bar(&self, segment: &Segment, y: f64, colour: &str, what: &str) -> Markup {
        let title = format!("{what}: {:.3} to {:.3} s", segment.start, segment.end);
        html! {
            rect fill=(colour) x=(self.left(segment)) y=(format!("{:.0}", y + 3.0)) width=(self.width(segment))
                height=(format!("{:.0}", LANE - 6.0)) {
                title { (printable(&title)) }
            }
        }
    }

    fn left(&self, segment: &Segment) -> String {
        format!("{:.3}", (segment.start - self.extent.start) * self.scale())
    }

    fn width(&self, segment: &Segment) -> String {
        format!("{:.3}", (segment.end - segment.start) * self.scale())
    }

    /// Units of the plot for each second.
    fn scale(&self) -> f64 {
        let whole = self.extent.end - self.extent.start;
        if whole > 0.0 { PLOT / whole } else { 0.0 }
    }

    fn summary(&self) -> String {
        let c = &self.components;
        let mut words = format!(
            "diarization error rate {:.2} % (pyannote): missed {:.3} s, false alarm {:.3} s, confusion {:.3} s of {:.3} s",
            100.0 * c.rate(),
            c.missed_detection,
            c.false_alarm,
            c.confusion,
            c.total
        );
        if self.der.collar > 0.0 {
            words += &format!("; collar of {} s in all", self.der.collar);
        }
        if self.der.skip_overlap {
            words.push_str("; overlap not scored");
        }
        words
    }
}

fn background(y: f64) -> Markup {
    html! {
        rect.lane y=(format!("{:.0}", y + 1.0)) width=(PLOT) height=(format!("{:.0}", LANE - 2.0)) {}
    }
}

/// The name of a lane, truncated if it is too long.
fn label(y: f64, label: &str) -> Markup {
    let label = printable(label);
    let short: String = match label.chars().count() > LABEL {
        true => label.chars().take(LABEL - 1).chain(['…']).collect(),
        false => label.clone(),
    };
    html! {
        text x="8" y=(format!("{:.0}", y + LANE - 6.0)) { (short) title { (label) } }
    }
}

const STYLE: &str = ".unscored{fill:#ccc} .lane{fill:#f4f4f4} text{fill:#222} .side{fill:#666;font-size:11px} \
.time{cursor:grab;touch-action:pan-y;user-select:none}";

/// Width of the picture, in units of the SVG.
const WIDTH: f64 = 1200.0;
/// Width of the lanes' labels.
const LEFT: f64 = 160.0;
/// Right margin: half a label of the time axis.
const RIGHT: f64 = 24.0;
/// Characters that fit beside a lane.
const LABEL: usize = 20;
/// Width of the recording within the part that zooms.
const PLOT: f64 = 10_000.0;
/// Height of title and summary.
const TOP: f64 = 44.0;
const LANE: f64 = 22.0;
/// Height of the headings of reference, hypothesis and errors.
const GAP: f64 = 18.0;
/// Height of the time axis.
const BOTTOM: f64 = 26.0;

/// Eight colours for any colour vision (Okabe and Ito, with grey replaced).
const COLOURS: [&str; 8] = [
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#f0e442", "#7f6a55", "#8c6bb1",
];

/// A kind of error: name, colour, and its number of speakers in a region.
type Kind = (&'static str, &'static str, fn(&Region) -> usize);

const ERRORS: [Kind; 3] = [
    ("missed", "#444444", |region| region.missed_detection),
    ("false alarm", "#d55e00", |region| region.false_alarm),
    ("confusion", "#b2182b", |region| region.confusion),
];

/// Zooms and moves: changes the view box of the inner picture and draws the time axis.
const SCRIPT: &str = include_str!("timeline.js");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use soundalike_metrics::Mapping;

    use super::*;

    fn picture() -> Timeline {
        let reference = Annotation::from_turns(
            "x<script>",
            [Turn::new(0.0, 4.0, "A&B"), Turn::new(4.0, 9.0, "trñ00")],
        );
        let hypothesis = Annotation::from_turns(
            "x",
            [Turn::new(1.0, 5.0, "1"), Turn::new(5.0, 10.0, "2\u{0}")],
        );
        Timeline::new(
            DiarizationErrorRate::default(),
            &reference,
            &hypothesis,
            None,
        )
    }

    #[test]
    fn regions_add_up_to_the_components() {
        let picture = picture();
        let seconds = |number: fn(&Region) -> usize| -> f64 {
            picture
                .regions
                .iter()
                .map(|r| r.segment.duration() * number(r) as f64)
                .sum()
        };
        assert_eq!(
            seconds(|r| r.missed_detection),
            picture.components.missed_detection
        );
        assert_eq!(seconds(|r| r.false_alarm), picture.components.false_alarm);
        assert_eq!(seconds(|r| r.confusion), picture.components.confusion);
        assert_eq!(seconds(|r| r.correct), picture.components.correct);
        assert_eq!(picture.components.error(), 3.0);
    }

    #[test]
    fn partners_share_a_colour_and_names_stay_text() {
        let picture = picture();
        assert_eq!(picture.hypothesis[0].partner.as_deref(), Some("A&B"));
        assert_eq!(picture.hypothesis[0].colour, picture.reference[0].colour);
        let html = picture.svg();
        assert!(
            html.contains("x&lt;script&gt;") && html.contains("A&amp;B") && html.contains("trñ00")
        );
        assert!(!html.contains("x<script>") && !html.contains('\u{0}'));
        assert_eq!(html.matches("<script>").count(), 1);
        assert_eq!(
            html.matches("http").count(),
            2,
            "the name space of SVG, in the picture and in the script, and no link"
        );
    }

    #[test]
    fn no_turns_make_an_empty_picture() {
        let nothing = Annotation::new("x");
        let svg = Timeline::new(DiarizationErrorRate::default(), &nothing, &nothing, None).svg();
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n") && !svg.contains("NaN"));
    }

    /// Unusual times.
    fn wild() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<f64>(),
            -10.0..10.0_f64,
            Just(0.0),
            Just(f64::NAN),
            Just(f64::INFINITY),
            Just(f64::NEG_INFINITY),
            Just(f64::MAX),
            Just(f64::MIN_POSITIVE),
        ]
    }

    fn wild_annotation() -> impl Strategy<Value = Annotation> {
        prop::collection::vec((wild(), wild(), ".{0,3}"), 0..8).prop_map(|turns| {
            let turns = turns.into_iter();
            Annotation::from_turns("wild", turns.map(|(s, e, who)| Turn::new(s, e, who)))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_times_and_names_make_a_picture(
            reference in wild_annotation(),
            hypothesis in wild_annotation(),
            uem in prop::option::of(prop::collection::vec((wild(), wild()), 0..3)),
            collar in wild(),
            skip_overlap in any::<bool>(),
        ) {
            let uem = uem.map(|uem| uem.into_iter().map(|(s, e)| Segment::new(s, e)).collect());
            let der = DiarizationErrorRate { collar, skip_overlap, mapping: Mapping::Greedy };
            let svg = Timeline::new(der, &reference, &hypothesis, uem.as_ref()).svg();
            prop_assert!(svg.starts_with("<svg xmlns") && svg.ends_with("</svg>\n"));
            prop_assert_eq!(svg.matches("<script>").count(), 1);
            let drawn = svg.replace(SCRIPT, "");
            prop_assert!(!drawn.contains(|c: char| c.is_control() && c != '\n'));
        }
    }
}
