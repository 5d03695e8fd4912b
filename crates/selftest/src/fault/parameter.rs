//! Faults in the value of a parameter.

use soundalike_model::TensorError;
use soundalike_network::{Cause, Op};

use super::{
    Fault, Patterns,
    call::{NORM, NormOptions, POOL, PoolOptions, batch_norm, instance_norm, leaky, stats_pool},
    fault,
};

/// The lowest cut-off frequency of pyannote's SincNet, Hz.
const MIN_LOW_HZ: f64 = 50.0;

impl Fault {
    /// Patterns of stages with the value that `cause` has for a parameter; `None` if it has no parameter. The fault is
    /// named `parameter`.
    #[must_use]
    pub fn of_parameter(stages: Patterns, cause: Cause) -> Option<Self> {
        let draft = fault("parameter").text("a parameter has another value");
        Some(
            match cause {
                Cause::Slope(slope) => draft.stage(stages, move |call| leaky(call, slope)),
                Cause::Eps(eps) => draft.stage(stages, move |call| match call.stage.op {
                    Op::InstanceNorm { .. } => instance_norm(call, &NormOptions { eps, ..NORM }),
                    Op::BatchNorm { .. } => batch_norm(call, |variance| (variance + eps)?.sqrt()),
                    Op::StatsPool => stats_pool(call, &PoolOptions { eps, ..POOL }),
                    _ => Err(TensorError::msg(format!(
                        "{} has no epsilon",
                        call.stage.name
                    ))),
                }),
                Cause::Preemphasis(coefficient) => draft.mel(|mel| mel.preemphasis = coefficient),
                Cause::Low(hertz) if stages == ["fbank"] => draft.mel(|mel| mel.low = hertz),
                Cause::Low(hertz) => draft.weights(stages, move |edit| {
                    // A filter starts at MIN_LOW_HZ + |low_hz_|, so that it cannot start lower than MIN_LOW_HZ.
                    let more = (hertz - MIN_LOW_HZ) as f32;
                    edit.each("*.filterbank.low_hz_", |w| w.mapv(|x| x.abs() + more));
                }),
                Cause::BiasTimes(factor) => draft.weights(stages, move |edit| {
                    for stage in stages {
                        let biases = format!("{stage}.bias");
                        edit.each(&biases, |w| w * factor as f32);
                    }
                }),
                _ => return None,
            }
            .named(cause),
        )
    }
}
