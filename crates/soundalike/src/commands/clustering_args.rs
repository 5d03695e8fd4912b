//! The options that decide who is who, of the commands that find that out.

use anyhow::anyhow;
use soundalike_diarize::{Options, Overrides, ParameterError, SpeakerBounds, turns::Numbering};

/// Who is who.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Speakers")]
pub(crate) struct ClusteringArgs {
    /// Number of speakers, where it is known
    #[arg(long, value_name = "N", conflicts_with_all = ["min_speakers", "max_speakers"])]
    num_speakers: Option<usize>,
    /// Fewest speakers there can be
    #[arg(long, value_name = "N")]
    min_speakers: Option<usize>,
    /// Most speakers there can be
    #[arg(long, value_name = "N")]
    max_speakers: Option<usize>,
    /// Distance up to which two voices are one person's, 0 to 2: lower finds more speakers
    /// [default: the pipeline's; 0.4 without one]
    #[arg(long, value_name = "X")]
    threshold: Option<f64>,
    /// VBx: weight of what is heard, above 0 [default: the pipeline's]
    #[arg(long, value_name = "X")]
    fa: Option<f64>,
    /// VBx: how much is asked of a speaker to exist, above 0: higher finds fewer [default: the pipeline's]
    #[arg(long, value_name = "X")]
    fb: Option<f64>,
    /// Fill pauses of a speaker that are shorter than this, in seconds [default: the pipeline's; 0 without one]
    #[arg(long, value_name = "S")]
    min_duration_off: Option<f64>,
    /// How speakers are numbered
    #[arg(long, value_enum, default_value_t)]
    labels: Labels,
}

/// How speakers are numbered.
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum Labels {
    /// By first appearance
    #[default]
    FirstSeen,
    /// As pyannote does, with the speakers it makes up where more people speak than it can tell apart
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
    /// What is wanted of the turns.
    pub(crate) fn options(&self) -> anyhow::Result<Options> {
        let min = self.num_speakers.or(self.min_speakers).unwrap_or(1);
        let max = self.num_speakers.or(self.max_speakers);
        Ok(Options {
            speakers: SpeakerBounds::new(min, max.unwrap_or(usize::MAX))?,
            numbering: self.labels.into(),
        })
    }

    /// The parameters that are wanted in place of the pipeline's.
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

/// The error of an override, which the user gave as an option.
pub(crate) fn of_option(error: ParameterError) -> anyhow::Error {
    anyhow!("--{error}")
}
