//! The options of a mel filter bank.

use crate::{HyperparameterError, architecture::require};

/// Seconds in a millisecond. torchaudio multiplies by it, which rounds differently from a division by 1000.
const MILLISECONDS: f64 = 0.001;

/// Options of `torchaudio.compliance.kaldi.fbank`, and of the centring after it.
#[derive(Debug, Clone, PartialEq)]
pub struct FbankOptions {
    /// Samples per second.
    pub sample_rate: u32,
    /// Mel bands.
    pub num_mel_bins: usize,
    /// Length of a frame, in milliseconds: 25.
    pub frame_length: f64,
    /// Time from one frame to the next, in milliseconds: 10.
    pub frame_shift: f64,
    /// Whether a frame is padded with zeros to a power of two before the Fourier transform.
    pub round_to_power_of_two: bool,
    /// Whether frames that reach beyond an end of the signal are left out. If not, the signal is mirrored at its ends.
    pub snip_edges: bool,
    /// Amplitude of random dither, in units of 16-bit samples: 0.
    pub dither: f64,
    /// Kaldi's name of the window function: `hamming`, `hanning`, `povey`, `rectangular` or `blackman`.
    pub window_type: String,
    /// Whether the energy of the frame is added before the bands.
    pub use_energy: bool,
    /// Length of the running average that is subtracted, in seconds; `None`: the average of the whole input.
    pub centering_span: Option<f64>,
}

impl FbankOptions {
    /// Samples of one frame: 400 for 25 ms at 16 kHz. torchaudio truncates.
    #[must_use]
    pub fn window_size(&self) -> usize {
        self.samples(self.frame_length)
    }

    /// Samples from one frame to the next: 160 for 10 ms at 16 kHz.
    #[must_use]
    pub fn window_shift(&self) -> usize {
        self.samples(self.frame_shift)
    }

    /// Samples of one frame with its padding: 512 for 400.
    #[must_use]
    pub fn padded_window_size(&self) -> usize {
        match self.round_to_power_of_two {
            true => self.window_size().next_power_of_two(),
            false => self.window_size(),
        }
    }

    /// Frames of the running average that is subtracted; `None`: the average of all frames.
    /// pyannote.audio `BaseWeSpeakerResNet.compute_fbank`.
    #[must_use]
    pub fn span_frames(&self) -> Option<usize> {
        let samples = (self.centering_span? * f64::from(self.sample_rate)) as usize;
        let rest = samples.saturating_sub(self.window_size());
        Some(1 + rest / self.window_shift().max(1))
    }

    /// Frames for `samples` samples. torchaudio `_get_strided`.
    #[must_use]
    pub fn num_frames(&self, samples: usize) -> usize {
        let shift = self.window_shift().max(1);
        match samples.checked_sub(self.window_size()) {
            None => 0,
            Some(rest) if self.snip_edges => rest / shift + 1,
            Some(_) => (samples + shift / 2) / shift,
        }
    }

    /// The error for a window function that torchaudio lacks. [`Self::check`] does not look for it: each engine has its own
    /// table of window functions.
    #[must_use]
    pub fn unknown_window(&self) -> HyperparameterError {
        let expected = "hamming, hanning, povey, rectangular or blackman";
        HyperparameterError::new("window_type", &self.window_type, expected)
    }

    /// Refuses options with which torchaudio fails or is not deterministic. The window function is not checked.
    ///
    /// # Errors
    /// The first [`HyperparameterError`] that is refused.
    pub fn check(&self) -> Result<(), HyperparameterError> {
        let size = self.window_size();
        let even = size >= 2 && self.padded_window_size().is_multiple_of(2);
        let found = format!("{} ms, {size} samples", self.frame_length);
        require(even, "frame_length", found, "an even number of samples")?;
        let (shift, found) = (self.window_shift(), format!("{} ms", self.frame_shift));
        require(shift > 0, "frame_shift", found, "one sample or more")?;
        let expected = "0: random dither makes every run different";
        require(self.dither == 0.0, "dither", self.dither, expected)?;
        let expected = "false: the network has no input for the energy";
        require(!self.use_energy, "use_energy", true, expected)?;
        if let Some(seconds) = self.centering_span {
            let holds = (seconds * f64::from(self.sample_rate)) as usize >= size;
            let (name, found) = ("fbank_centering_span", format!("{seconds} s"));
            require(holds, name, found, "one frame_length or more")?;
        }
        Ok(())
    }

    fn samples(&self, milliseconds: f64) -> usize {
        (f64::from(self.sample_rate) * milliseconds * MILLISECONDS) as usize
    }
}
