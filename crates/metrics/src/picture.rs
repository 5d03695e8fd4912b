//! Reference and hypothesis above each other, errors coloured by kind: data first, then SVG or HTML.
//!
//! Both are one file without anything outside of it. Scrolling zooms around the pointer (in a page, which scrolls
//! itself, with Ctrl or by pinching), dragging moves, a double click shows all; hovering says who speaks and what
//! is wrong.

use std::fmt::{self, Write};

use crate::{
    Annotation, Components, DiarizationErrorRate, Region, Score, Segment, Support, Timeline, Turn,
};

/// What is to be seen of one recording.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// Name of the recording.
    pub uri: String,
    /// From the first to the last boundary of both sides.
    pub extent: Segment,
    /// Turns of the reference, a lane for each speaker.
    pub reference: Vec<Lane>,
    /// Turns of the hypothesis, a lane for each speaker; mapped speakers in the order of their partners.
    pub hypothesis: Vec<Lane>,
    /// The parts that are scored.
    pub scored: Support,
    /// What is right and wrong, from region to region.
    pub regions: Vec<Region>,
    /// The seconds it comes to.
    pub components: Components,
    /// What it was told.
    pub der: DiarizationErrorRate,
}

/// One speaker's turns.
#[derive(Debug, Clone, PartialEq)]
pub struct Lane {
    /// The label.
    pub label: String,
    /// The speaker of the other side with whom this one was paired.
    pub partner: Option<String>,
    /// When they speak.
    pub turns: Vec<Segment>,
    /// Number of the colour: partners share it.
    pub colour: usize,
}

impl Picture {
    /// Scores the recording and keeps what there is to see.
    pub fn new(
        der: DiarizationErrorRate,
        reference: &Annotation,
        hypothesis: &Annotation,
        uem: Option<&Timeline>,
    ) -> Self {
        let Score {
            components,
            mapping,
        } = der.score(reference, hypothesis, uem);
        let (scored, regions) = der.regions(reference, hypothesis, uem);
        let both = reference.timeline().union(&hypothesis.timeline());
        let lane = |annotation: &Annotation, label: &str, partner: Option<&String>, colour| Lane {
            label: label.to_owned(),
            partner: partner.cloned(),
            turns: annotation
                .turns()
                .iter()
                .filter(|t| t.speaker == label)
                .map(|t: &Turn| t.segment)
                .collect(),
            colour,
        };
        let references: Vec<Lane> = reference
            .labels()
            .iter()
            .enumerate()
            .map(|(i, label)| {
                let partner = mapping.iter().find(|(_, r)| r == label).map(|(h, _)| h);
                lane(reference, label, partner, i)
            })
            .collect();
        let mut unmapped = references.len();
        let mut hypotheses: Vec<Lane> = hypothesis
            .labels()
            .iter()
            .map(|label| {
                let partner = mapping.iter().find(|(h, _)| h == label).map(|(_, r)| r);
                let place = partner.and_then(|p| references.iter().position(|l| l.label == *p));
                let colour = place.unwrap_or_else(|| {
                    unmapped += 1;
                    unmapped - 1
                });
                lane(hypothesis, label, partner, colour)
            })
            .collect();
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

    /// A complete HTML page with all `pictures`, one below the other.
    pub fn page(title: &str, pictures: &[Picture]) -> String {
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{}</title>\n\
             <style>body{{margin:1em;font-family:sans-serif}} svg{{width:100%;height:auto}}</style></head>\n<body>\n",
            Xml(title)
        );
        for picture in pictures {
            page.push_str(&picture.svg());
        }
        page.push_str("</body></html>\n");
        page
    }

    /// A complete HTML page with this picture.
    pub fn html(&self) -> String {
        Self::page(&self.uri, std::slice::from_ref(self))
    }

    /// A complete SVG file.
    pub fn svg(&self) -> String {
        let mut svg = String::new();
        // Writing to a String cannot fail.
        let _ = self.draw(&mut svg);
        svg
    }

    fn draw(&self, out: &mut String) -> fmt::Result {
        let lanes = self.reference.len() + self.hypothesis.len();
        let height = TOP + LANE * (lanes + ERRORS.len()) as f64 + 3.0 * GAP + BOTTOM;
        writeln!(
            out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">"
        )?;
        writeln!(
            out,
            "<style>.unscored{{fill:#ccc}} .lane{{fill:#f4f4f4}} text{{fill:#222}} .side{{fill:#666;font-size:11px}} \
             .time{{cursor:grab;touch-action:pan-y;user-select:none}}</style>"
        )?;
        writeln!(
            out,
            "<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>"
        )?;
        writeln!(
            out,
            "<text x=\"8\" y=\"20\" font-size=\"15\">{}</text>",
            Xml(&self.uri)
        )?;
        writeln!(out, "<text x=\"8\" y=\"38\">{}</text>", Xml(&self.words()))?;
        writeln!(
            out,
            "<text class=\"side hint\" x=\"{:.0}\" y=\"20\" text-anchor=\"end\"></text>",
            WIDTH - RIGHT
        )?;
        writeln!(
            out,
            "<svg class=\"time\" x=\"{LEFT}\" y=\"0\" width=\"{}\" height=\"{height}\" viewBox=\"0 0 {PLOT} {height}\" preserveAspectRatio=\"none\">",
            WIDTH - LEFT - RIGHT
        )?;

        let mut labels = Vec::new();
        let mut sides = Vec::new();
        let mut y = TOP;
        for (side, lanes) in [
            ("reference", &self.reference),
            ("hypothesis", &self.hypothesis),
        ] {
            y += GAP;
            sides.push((y, side));
            for lane in lanes {
                labels.push((y, lane.label.as_str()));
                self.background(out, y)?;
                let partner = lane
                    .partner
                    .as_ref()
                    .map_or(String::new(), |p| format!(", paired with {p}"));
                for turn in &lane.turns {
                    let title = format!(
                        "{side} {}{partner}: {:.3} to {:.3} s",
                        lane.label, turn.start, turn.end
                    );
                    self.bar(out, turn, y, COLOURS[lane.colour % COLOURS.len()], &title)?;
                }
                y += LANE;
            }
        }
        y += GAP;
        sides.push((y, "errors"));
        for (kind, colour, number) in ERRORS {
            labels.push((y, kind));
            self.background(out, y)?;
            for region in self.regions.iter().filter(|region| number(region) > 0) {
                let title = format!(
                    "{kind} of {}: {:.3} to {:.3} s",
                    number(region),
                    region.segment.start,
                    region.segment.end
                );
                self.bar(out, &region.segment, y, colour, &title)?;
            }
            y += LANE;
        }
        // What is not scored is veiled.
        let whole = Timeline::new([self.extent]).support();
        for part in self.scored.gaps_in(&whole).segments() {
            let (x, width) = self.place(part);
            writeln!(
                out,
                "<rect class=\"unscored\" fill-opacity=\".6\" x=\"{x:.3}\" y=\"{TOP}\" width=\"{width:.3}\" height=\"{:.0}\"><title>not scored: {:.3} to {:.3} s</title></rect>",
                y - TOP,
                part.start,
                part.end
            )?;
        }
        writeln!(out, "</svg>")?;
        for (y, side) in sides {
            writeln!(
                out,
                "<text class=\"side\" x=\"8\" y=\"{:.0}\">{side}</text>",
                y - 4.0
            )?;
        }
        for (y, label) in labels {
            let short = if label.chars().count() > LABEL {
                label.chars().take(LABEL - 1).chain(['…']).collect()
            } else {
                label.to_owned()
            };
            writeln!(
                out,
                "<text x=\"8\" y=\"{:.0}\">{}<title>{}</title></text>",
                y + LANE - 6.0,
                Xml(&short),
                Xml(label)
            )?;
        }
        writeln!(
            out,
            "<g class=\"ticks\" data-y=\"{:.0}\" data-start=\"{}\" data-end=\"{}\"></g>",
            y + 16.0,
            self.extent.start,
            self.extent.end
        )?;
        writeln!(out, "<script><![CDATA[{SCRIPT}]]></script>\n</svg>")
    }

    fn background(&self, out: &mut String, y: f64) -> fmt::Result {
        writeln!(
            out,
            "<rect class=\"lane\" y=\"{:.0}\" width=\"{PLOT}\" height=\"{:.0}\"/>",
            y + 1.0,
            LANE - 2.0
        )
    }

    fn bar(
        &self,
        out: &mut String,
        segment: &Segment,
        y: f64,
        colour: &str,
        title: &str,
    ) -> fmt::Result {
        let (x, width) = self.place(segment);
        writeln!(
            out,
            "<rect fill=\"{colour}\" x=\"{x:.3}\" y=\"{:.0}\" width=\"{width:.3}\" height=\"{:.0}\"><title>{}</title></rect>",
            y + 3.0,
            LANE - 6.0,
            Xml(title)
        )
    }

    /// Left edge and width in the plot.
    fn place(&self, segment: &Segment) -> (f64, f64) {
        let whole = self.extent.end - self.extent.start;
        let scale = if whole > 0.0 { PLOT / whole } else { 0.0 };
        (
            (segment.start - self.extent.start) * scale,
            (segment.end - segment.start) * scale,
        )
    }

    fn words(&self) -> String {
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
            let _ = write!(words, "; collar of {} s in all", self.der.collar);
        }
        if self.der.skip_overlap {
            words.push_str("; overlap not scored");
        }
        words
    }
}

/// The whole picture, in units of the SVG.
const WIDTH: f64 = 1200.0;
/// The labels of the lanes.
const LEFT: f64 = 160.0;
/// Half a label of the time axis.
const RIGHT: f64 = 24.0;
/// Characters that fit beside a lane.
const LABEL: usize = 20;
/// The width of the recording within the part that zooms.
const PLOT: f64 = 10_000.0;
/// Title and words.
const TOP: f64 = 44.0;
/// Height of a lane.
const LANE: f64 = 22.0;
/// Above reference, hypothesis and errors, and room for these words.
const GAP: f64 = 18.0;
/// The seconds.
const BOTTOM: f64 = 26.0;

/// Eight colours that people with any colour vision can tell apart (Okabe and Ito, the grey one exchanged).
const COLOURS: [&str; 8] = [
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#f0e442", "#7f6a55", "#8c6bb1",
];

/// A kind of error: name, colour, and how many speakers of a region it concerns.
type Kind = (&'static str, &'static str, fn(&Region) -> usize);

const ERRORS: [Kind; 3] = [
    ("missed", "#444444", |region| region.missed_detection),
    ("false alarm", "#d55e00", |region| region.false_alarm),
    ("confusion", "#b2182b", |region| region.confusion),
];

/// Zooming and moving: changes the view box of the inner picture and draws the seconds.
const SCRIPT: &str = r#"
(function () {
  var root = document.currentScript.parentNode;
  var plot = root.querySelector('.time'), ticks = root.querySelector('.ticks');
  // A page scrolls itself and zooms with Ctrl, which browsers also report for pinching.
  var alone = root === document.documentElement;
  root.querySelector('.hint').textContent =
    (alone ? 'scroll' : 'Ctrl + scroll') + ': zoom, drag: move, double click: all';
  var box = plot.viewBox.baseVal, all = box.width, height = box.height;
  var start = +ticks.dataset.start, end = +ticks.dataset.end, y = ticks.dataset.y;
  var left = +plot.getAttribute('x'), width = +plot.getAttribute('width');
  // No closer than 50 ms: the seconds have three decimals.
  var least = Math.min(all, 0.05 * all / (end - start || 1)), from = 0, shown = all, drag = null;
  function show() {
    shown = Math.min(all, Math.max(least, shown));
    from = Math.min(all - shown, Math.max(0, from));
    plot.setAttribute('viewBox', from + ' 0 ' + shown + ' ' + height);
    while (ticks.firstChild) ticks.removeChild(ticks.firstChild);
    var per = (end - start) / all, step = Math.pow(10, Math.floor(Math.log10(shown * per / 4 || 1)));
    if (shown * per / step > 20) step *= 5; else if (shown * per / step > 10) step *= 2;
    var first = Math.ceil((start + from * per) / step);
    for (var i = first; i * step <= start + (from + shown) * per && i - first < 50; i++) {
      var text = document.createElementNS('http://www.w3.org/2000/svg', 'text');
      text.setAttribute('x', left + (((i * step - start) / per - from) / shown) * width);
      text.setAttribute('y', y);
      text.setAttribute('text-anchor', 'middle');
      text.textContent = +(i * step).toFixed(3) + ' s';
      ticks.appendChild(text);
    }
  }
  function at(event) {
    var point = root.createSVGPoint();
    point.x = event.clientX;
    point.y = event.clientY;
    point = point.matrixTransform(root.getScreenCTM().inverse());
    return Math.min(1, Math.max(0, (point.x - left) / width));
  }
  plot.addEventListener('wheel', function (event) {
    if (!alone && !event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    var x = at(event), was = shown;
    shown *= event.deltaY < 0 ? 0.8 : 1.25;
    shown = Math.min(all, Math.max(least, shown));
    from += x * (was - shown);
    show();
  }, { passive: false });
  plot.addEventListener('pointerdown', function (event) { drag = { x: at(event), from: from }; });
  window.addEventListener('pointermove', function (event) {
    if (drag) { from = drag.from - (at(event) - drag.x) * shown; show(); }
  });
  window.addEventListener('pointerup', function () { drag = null; });
  plot.addEventListener('dblclick', function () { from = 0; shown = all; show(); });
  show();
})();
"#;

/// Text that means nothing to XML or HTML, and holds no character that XML forbids.
struct Xml<'a>(&'a str);

impl fmt::Display for Xml<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                '\u{fffe}' | '\u{ffff}' => f.write_char('\u{fffd}')?,
                c if c.is_control() => f.write_char('\u{fffd}')?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture() -> Picture {
        let reference = Annotation::from_turns(
            "x<script>",
            [Turn::new(0.0, 4.0, "A&B"), Turn::new(4.0, 9.0, "trñ00")],
        );
        let hypothesis = Annotation::from_turns(
            "x",
            [Turn::new(1.0, 5.0, "1"), Turn::new(5.0, 10.0, "2\u{0}")],
        );
        Picture::new(
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
        let html = picture.html();
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
    fn nothing_makes_an_empty_picture() {
        let nothing = Annotation::new("x");
        let svg = Picture::new(DiarizationErrorRate::default(), &nothing, &nothing, None).svg();
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n") && !svg.contains("NaN"));
    }
}
