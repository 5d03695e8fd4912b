//! The mistakes of ports, by name.

use std::{fmt, mem};

use serde::{Serialize, Serializer};

/// A gate of an LSTM, by PyTorch's letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LstmGate {
    /// Input gate.
    I,
    /// Forget gate.
    F,
    /// Cell gate.
    G,
    /// Output gate.
    O,
}

/// Declares [`Cause`]: each variant with the name that reports print.
macro_rules! causes {
    ($($variant:ident => $name:literal,)*) => {
        /// A mistake that a port can make at a stage.
        ///
        /// A fault that is injected has the cause that the diagnosis should report. A hypothesis that is replayed on the
        /// reference has the cause that it stands for. Faults and hypotheses share this type and no other code, so that a
        /// bug in one cannot hide in the other.
        #[derive(Debug, Clone, Copy, PartialEq)]
        pub enum Cause {
            $(#[doc = concat!("`", $name, "`")] $variant,)*
            /// `gates-iofg`: the gates of an LSTM in this order instead of i, f, g, o.
            Gates([LstmGate; 4]),
            /// `slope-0.1`: a LeakyReLU with this slope for negative values.
            Slope(f64),
            /// `eps-1e-3`: a norm that adds this to the variance.
            Eps(f64),
            /// `preemphasis-0.95`: a pre-emphasis with this coefficient.
            Preemphasis(f64),
            /// `low-0`: a filter bank whose lowest filter starts at this frequency, Hz.
            Low(f64),
            /// `bias-times-0.5`: a bias multiplied by this factor.
            BiasTimes(f64),
        }

        impl fmt::Display for Cause {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$variant => f.write_str($name),)*
                    Self::Gates(order) => {
                        f.write_str("gates-")?;
                        order.iter().try_for_each(|gate| write!(f, "{gate}"))
                    }
                    Self::Slope(slope) => write!(f, "slope-{slope}"),
                    Self::Eps(0.0) => f.write_str("eps-0"),
                    Self::Eps(eps) => write!(f, "eps-{eps:e}"),
                    Self::Preemphasis(coefficient) => write!(f, "preemphasis-{coefficient}"),
                    Self::Low(hertz) => write!(f, "low-{hertz}"),
                    Self::BiasTimes(factor) => write!(f, "bias-times-{factor}"),
                }
            }
        }
    };
}

causes! {
    AbsAfter => "abs-after",
    AbsForRelu => "abs-for-relu",
    ActivationLeftOut => "activation-left-out",
    AffineLeftOut => "affine-left-out",
    AveragePool => "average-pool",
    BandsByArea => "bands-by-area",
    Base10 => "base-10",
    Base2 => "base-2",
    BiasHhLeftOut => "bias-hh-left-out",
    BiasIhLeftOut => "bias-ih-left-out",
    BiasLeftOut => "bias-left-out",
    BiasTwice => "bias-twice",
    BiasedDeviation => "biased-deviation",
    BiasesLeftOut => "biases-left-out",
    BiasesTwice => "biases-twice",
    BlackmanWindow => "blackman-window",
    BranchLeftOut => "branch-left-out",
    CausalPadding => "causal-padding",
    CellWithoutTanh => "cell-without-tanh",
    CentredOverBands => "centred-over-bands",
    CentredOverEverything => "centred-over-everything",
    CosineTwice => "cosine-twice",
    DeviationFirst => "deviation-first",
    DirectionsInterleaved => "directions-interleaved",
    EdgesMirrored => "edges-mirrored",
    EdgesReflected => "edges-reflected",
    EdgesReplicated => "edges-replicated",
    Elu => "elu",
    EpsOutsideTheRoot => "eps-outside-the-root",
    Exponential => "exponential",
    FeaturesAndFramesMixed => "features-and-frames-mixed",
    FiltersInterleaved => "filters-interleaved",
    FiltersNormalised => "filters-normalised",
    FlattenedOtherwise => "flattened-otherwise",
    ForgetBias1 => "forget-bias-1",
    FrameRepeated => "frame-repeated",
    Gelu => "gelu",
    HalvesSwapped => "halves-swapped",
    HannWindow => "hann-window",
    HardSigmoid => "hard-sigmoid",
    High7600 => "high-7600",
    InAndOutSwapped => "in-and-out-swapped",
    KernelFlipped => "kernel-flipped",
    KernelTransposed => "kernel-transposed",
    LayoutReadAcross => "layout-read-across",
    LeakyReluAfter => "leaky-relu-after",
    Length1 => "length-1",
    LogSigmoid => "log-sigmoid",
    Log1p => "log1p",
    Magnitude => "magnitude",
    MasksIgnored => "masks-ignored",
    MasksInverted => "masks-inverted",
    MeanAfterPreemphasis => "mean-after-preemphasis",
    MeanKept => "mean-kept",
    MinimumPool => "minimum-pool",
    Negated => "negated",
    NoPreemphasis => "no-preemphasis",
    NoWindow => "no-window",
    NormLeftOut => "norm-left-out",
    NormalisedOverChannels => "normalised-over-channels",
    NotScaled => "not-scaled",
    NotTransposed => "not-transposed",
    OneFrameEarly => "one-frame-early",
    OneFrameLate => "one-frame-late",
    OneFrameLess => "one-frame-less",
    PeriodicWindow => "periodic-window",
    PoolOneLate => "pool-one-late",
    PoolRoundedUp => "pool-rounded-up",
    PoveyWindow => "povey-window",
    PreemphasisOfTheSignal => "preemphasis-of-the-signal",
    RecurrentTransposed => "recurrent-transposed",
    ReluAfter => "relu-after",
    ReluForAbs => "relu-for-abs",
    ReluForLeakyRelu => "relu-for-leaky-relu",
    Relu6 => "relu6",
    ReverseGoesForwards => "reverse-goes-forwards",
    ReverseLeftOut => "reverse-left-out",
    ReverseNotTurnedBack => "reverse-not-turned-back",
    ShortcutLeftOut => "shortcut-left-out",
    ShortcutTwice => "shortcut-twice",
    Sigmoid => "sigmoid",
    SigmoidForTanh => "sigmoid-for-tanh",
    Silu => "silu",
    SineNegated => "sine-negated",
    SineWithoutMinus => "sine-without-minus",
    SoftmaxOverFrames => "softmax-over-frames",
    SquareForAbs => "square-for-abs",
    StateCarried => "state-carried",
    StatisticsLeftOut => "statistics-left-out",
    StatisticsOfTheInput => "statistics-of-the-input",
    StrideLessOne => "stride-less-one",
    StrideOneLate => "stride-one-late",
    Tanh => "tanh",
    TransformNotPadded => "transform-not-padded",
    TurnedRound => "turned-round",
    TwoOutputsSwapped => "two-outputs-swapped",
    UnbiasedVariance => "unbiased-variance",
    VarianceForDeviation => "variance-for-deviation",
    VarianceNormalised => "variance-normalised",
    WeightLeftOut => "weight-left-out",
    WeightsInF16 => "weights-in-f16",
    WeightsOfAnotherLayer => "weights-of-another-layer",
    WeightsOfTheOtherDirection => "weights-of-the-other-direction",
}

impl Cause {
    /// The value of its parameter, if it has one.
    #[must_use]
    pub fn value(self) -> Option<f64> {
        match self {
            Self::Slope(value)
            | Self::Eps(value)
            | Self::Preemphasis(value)
            | Self::Low(value)
            | Self::BiasTimes(value) => Some(value),
            _ => None,
        }
    }

    /// Whether both are mistakes in the same parameter.
    #[must_use]
    pub fn is_like(self, other: Self) -> bool {
        self.value().is_some() && mem::discriminant(&self) == mem::discriminant(&other)
    }
}

impl fmt::Display for LstmGate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::I => "i",
            Self::F => "f",
            Self::G => "g",
            Self::O => "o",
        })
    }
}

impl Serialize for Cause {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_printed_by_name() {
        use LstmGate::{F, G, I, O};
        for (cause, name) in [
            (Cause::ReluForLeakyRelu, "relu-for-leaky-relu"),
            (Cause::Gates([I, O, F, G]), "gates-iofg"),
            (Cause::Slope(0.1), "slope-0.1"),
            (Cause::Eps(0.0), "eps-0"),
            (Cause::Eps(1e-3), "eps-1e-3"),
            (Cause::Eps(2.5e-4), "eps-2.5e-4"),
            (Cause::Preemphasis(0.95), "preemphasis-0.95"),
            (Cause::Low(0.0), "low-0"),
            (Cause::BiasTimes(0.5), "bias-times-0.5"),
        ] {
            assert_eq!(cause.to_string(), name);
        }
    }
}
