//! Baseline metrics: the usual acceptance tests of a port, which compare its outputs only.

use serde::Serialize;

use soundalike_compare::{Evidence, OutputAgreement, Report};

/// Baseline metrics of the outputs, the worst over all inputs.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct BaselineMetrics {
    /// Fraction of frames with equal decisions; `None` if outputs have no frames or another shape.
    pub frame_agreement: Option<f64>,
    /// Pearson correlation of all values; `None` if the shapes differ.
    pub correlation: Option<f64>,
    /// Cosine similarity of all values; `None` if the shapes differ.
    pub cosine: Option<f64>,
    /// Diarization error rate between the decoded outputs; `None` if they cannot be decoded.
    pub der: Option<f64>,
}

/// An acceptance threshold on a baseline metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BaselineGate {
    /// All frames have equal decisions.
    AllFrames,
    /// 99 % of the frames have equal decisions.
    MostFrames,
    /// DER below 1 %.
    Der,
    /// Correlation above 0.99.
    Correlation,
    /// Correlation above 0.999.
    CloseCorrelation,
    /// Cosine above 0.99.
    Cosine,
    /// Cosine above 0.999.
    CloseCosine,
}

impl BaselineGate {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::AllFrames,
        Self::MostFrames,
        Self::Der,
        Self::Correlation,
        Self::CloseCorrelation,
        Self::Cosine,
        Self::CloseCosine,
    ];

    /// In words.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::AllFrames => "frame agreement = 100 %",
            Self::MostFrames => "frame agreement >= 99 %",
            Self::Der => "DER < 1 %",
            Self::Correlation => "correlation > 0.99",
            Self::CloseCorrelation => "correlation > 0.999",
            Self::Cosine => "cosine > 0.99",
            Self::CloseCosine => "cosine > 0.999",
        }
    }
}

impl BaselineMetrics {
    pub(super) fn of(report: &Report) -> Self {
        let least = |values: &mut dyn Iterator<Item = Option<f64>>| {
            values.collect::<Option<Vec<_>>>().and_then(|values| {
                // NaN is the worst.
                let nan_max = |a: f64, b: f64| if b.is_nan() || b < a { b } else { a };
                values.into_iter().reduce(nan_max)
            })
        };
        let outputs = || report.inputs.iter().map(|input| input.output.as_ref());
        let cosines = report.evidence.iter().map(|found| Some(cosine(found)));
        let whole = report.evidence.len() == report.inputs.len();
        Self {
            frame_agreement: least(
                &mut outputs().map(|output| output.and_then(OutputAgreement::frame_agreement)),
            ),
            correlation: least(&mut outputs().map(|output| Some(output?.correlation))),
            cosine: least(&mut cosines.map(|cosine| cosine.filter(|_| whole))),
            der: report.task.as_ref().map(|task| task.der),
        }
    }

    /// Whether the metrics pass `gate`; `None` if it does not apply to such outputs.
    #[must_use]
    pub fn passes(&self, gate: BaselineGate) -> Option<bool> {
        Some(match gate {
            BaselineGate::AllFrames => self.frame_agreement? >= 1.0,
            BaselineGate::MostFrames => self.frame_agreement? >= 0.99,
            BaselineGate::Der => self.der? < 0.01,
            BaselineGate::Correlation => self.correlation? > 0.99,
            BaselineGate::CloseCorrelation => self.correlation? > 0.999,
            BaselineGate::Cosine => self.cosine? > 0.99,
            BaselineGate::CloseCosine => self.cosine? > 0.999,
        })
    }
}

fn cosine(found: &Evidence) -> f64 {
    let (a, b) = (&found.scores.candidate, &found.scores.reference);
    let dot = |a: &ndarray::Array2<f32>, b: &ndarray::Array2<f32>| -> f64 {
        let pairs = a.iter().zip(b);
        pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}
