//! The axes of a stage's output.

/// The axes of a stage's output, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Axes {
    axes: Vec<Axis>,
    channel: usize,
    frame: Option<usize>,
}

/// The meaning of one axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Axis {
    /// Examples.
    Batch,
    /// Channels of a signal or an image.
    Channel,
    /// Mel bands.
    Band,
    /// Samples, or steps after strided convolutions and pooling.
    Time,
    /// Frames.
    Frame,
    /// Features of a frame, or of an embedding.
    Feature,
    /// Masks over which embeddings are pooled, one per speaker.
    Mask,
    /// An axis of length 1.
    One,
    /// An axis of a foreign network, by its own name.
    Other(String),
}

impl Axes {
    /// Finds the channel and the frame axis by meaning.
    ///
    /// The channel axis is the first of [`Axis::Channel`] and [`Axis::Feature`], else [`Axis::Mask`], else the last axis.
    /// The frame axis is the first of [`Axis::Time`] and [`Axis::Frame`], else [`Axis::Mask`], else none. Without an
    /// [`Axis::Batch`] the output is made of weights, and there is no frame axis. `reference/capture.py` has the same
    /// rules.
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

    /// Takes the positions of the channel and the frame axis.
    #[must_use]
    pub fn with(axes: Vec<Axis>, channel: usize, frame: Option<usize>) -> Self {
        Self {
            axes,
            channel,
            frame,
        }
    }

    /// All axes, in order.
    #[must_use]
    pub fn all(&self) -> &[Axis] {
        &self.axes
    }

    /// Position of the axis of channels or features.
    #[must_use]
    pub fn channel(&self) -> usize {
        self.channel
    }

    /// Position of the axis of frames or samples. `None` for an output made of weights alone, and for one whose time was
    /// pooled away.
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
    fn channel_and_frame_axes_are_those_of_the_captures() {
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
