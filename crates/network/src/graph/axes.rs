//! What the axes of a stage's output are.

/// The axes of a stage's output, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Axes {
    axes: Vec<Axis>,
    channel: usize,
    frame: Option<usize>,
}

/// What one axis is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Axis {
    /// Examples.
    Batch,
    /// Channels, before features are flattened.
    Channel,
    /// Mel bands.
    Band,
    /// Samples, or what pools leave of them.
    Time,
    /// Frames.
    Frame,
    /// Features of a frame, or of an embedding.
    Feature,
    /// Masks that an embedding is pooled by: speakers.
    Mask,
    /// One value.
    One,
    /// What a network that is not defined here calls it.
    Other(String),
}

impl Axes {
    /// Of these axes. Channels lie along the channels or features, or else along the masks; frames along time or
    /// frames, or, where time was pooled away, along the masks. What has no batch is made of weights and has no frames.
    /// As `reference/capture.py` has it.
    #[must_use]
    pub fn new(axes: &[Axis]) -> Self {
        let find = |wanted: &[Axis]| axes.iter().position(|axis| wanted.contains(axis));
        let mask = find(&[Axis::Mask]);
        let channel = find(&[Axis::Channel, Axis::Feature]).or(mask);
        let frame = find(&[Axis::Time, Axis::Frame]).or(mask);
        Self {
            channel: channel.unwrap_or(axes.len().saturating_sub(1)),
            frame: find(&[Axis::Batch]).and(frame),
            axes: axes.to_vec(),
        }
    }

    /// Of these axes, of which the one at `channel` has the channels and the one at `frame` the frames.
    #[must_use]
    pub fn with(axes: Vec<Axis>, channel: usize, frame: Option<usize>) -> Self {
        Self {
            axes,
            channel,
            frame,
        }
    }

    /// All of them, in order.
    #[must_use]
    pub fn all(&self) -> &[Axis] {
        &self.axes
    }

    /// The axis along which channels or features lie.
    #[must_use]
    pub fn channel(&self) -> usize {
        self.channel
    }

    /// The axis along which frames or samples lie; none for what is made of weights alone.
    #[must_use]
    pub fn frame(&self) -> Option<usize> {
        self.frame
    }

    /// Whether channels come before time: `[batch, channel, time]`.
    pub(crate) fn channels_first(&self) -> bool {
        self.frame.is_some_and(|frame| self.channel < frame)
    }
}

impl std::fmt::Display for Axis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Batch => "batch",
            Self::Channel => "channel",
            Self::Band => "band",
            Self::Time => "time",
            Self::Frame => "frame",
            Self::Feature => "feature",
            Self::Mask => "mask",
            Self::One => "_",
            Self::Other(name) => name,
        })
    }
}

impl From<&str> for Axis {
    fn from(name: &str) -> Self {
        match name {
            "batch" => Self::Batch,
            "channel" => Self::Channel,
            "band" => Self::Band,
            "time" => Self::Time,
            "frame" => Self::Frame,
            "feature" => Self::Feature,
            "mask" => Self::Mask,
            "_" => Self::One,
            other => Self::Other(other.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_and_frames_lie_where_the_captures_say() {
        // reference/README.md, "What is in the file".
        for (axes, channel, frame) in [
            (&["batch", "channel", "time"][..], 1, Some(2)),
            (&["batch", "frame", "feature"], 2, Some(1)),
            (&["channel", "_", "time"], 0, None),
            (&["batch", "channel", "band", "time"], 1, Some(3)),
            (&["batch", "mask", "frame"], 1, Some(2)),
            (&["batch", "mask", "feature"], 2, Some(1)),
            (&["batch", "feature"], 1, None),
            (&["batch", "head", "token"], 2, None),
        ] {
            let named: Vec<Axis> = axes.iter().map(|name| Axis::from(*name)).collect();
            let back: Vec<String> = named.iter().map(ToString::to_string).collect();
            assert_eq!(back, axes);
            let found = Axes::new(&named);
            assert_eq!(
                (found.channel(), found.frame()),
                (channel, frame),
                "{axes:?}"
            );
        }
    }
}
