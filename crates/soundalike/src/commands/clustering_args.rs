//! Options of speaker clustering, for `diarize` and `recluster`.

use anyhow::anyhow;
use soundalike_diarize::{
    DiarizeOptions, Overrides, ParameterError, SpeakerBounds, turns::Numbering,
};

/// Options of speaker clustering.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Speakers")]
pub(crate) struct ClusteringArgs {
    /// Number of speakers, if you know it
    #[arg(long, value_name = "N", conflicts_with_all = ["min_speakers", "max_speakers"])]
    num_speakers: Option<usize>,
    /// Minimum number of speakers
    #[arg(long, value_name = "N")]
    min_speakers: Option<usize>,
    /// Maximum number of speakers
    #[arg(long, value_name = "N")]
    max_speakers: Option<usize>,
    /// Clustering threshold: the largest distance (0 to 2) within one speaker; lower finds more speakers
    /// [default: from the pipeline, or 0.4]
    #[arg(long, value_name = "X")]
    threshold: Option<f64>,
    /// Fa of VBx pipelines, above 0: scale of the acoustic evidence [default: from the pipeline]
    #[arg(long, value_name = "X")]
    fa: Option<f64>,
    /// Fb of VBx pipelines, above 0: regularisation; higher finds fewer speakers [default: from the pipeline]
    #[arg(long, value_name = "X")]
    fb: Option<f64>,
    /// Fill gaps shorter than S seconds between two turns of the same speaker [default: from the pipeline, or 0]
    #[arg(long, value_name = "S")]
    min_duration_off: Option<f64>,
    /// Numbering of speakers
    #[arg(long, value_enum, default_value_t)]
    labels: Labels,
}

#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum Labels {
    /// By first appearance; turns end with the recording
    #[default]
    FirstSeen,
    /// By cluster, as pyannote does, with its phantom speakers (extra labels where more people talk at once than there are
    /// clusters), and turns that may end after the recording
    Pyannote,
}

impl From<Labels> for Numbering {
    fn from(labels: Labels) -> Self {
        match labels {
            Labels::FirstSeen => Self::FirstSeen,
            Labels::Pyannote => Self::Pyannote,
        }
    }
}

impl ClusteringArgs {
    pub(crate) fn options(&self) -> anyhow::Result<DiarizeOptions> {
        let min = self.num_speakers.or(self.min_speakers).unwrap_or(1);
        let max = self.num_speakers.or(self.max_speakers);
        Ok(DiarizeOptions {
            speakers: SpeakerBounds::new(min, max.unwrap_or(usize::MAX))?,
            numbering: self.labels.into(),
        })
    }

    /// The parameters that replace the pipeline's.
    pub(crate) fn overrides(&self) -> Overrides {
        Overrides {
            threshold: self.threshold,
            fa: self.fa,
            fb: self.fb,
            min_duration_off: self.min_duration_off,
            step: None,
        }
    }
}

/// The error of a parameter that an option sets.
pub(crate) fn option_error(error: ParameterError) -> anyhow::Error {
    anyhow!("--{error}")
}
