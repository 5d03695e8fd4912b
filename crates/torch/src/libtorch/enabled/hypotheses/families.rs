//! Mistakes in the value of a parameter.

use soundalike_network::{Cause, Op, SincFilters};
use tch::Tensor;

use super::{Right, Site, embedding, lstm, mel, right, segmentation};
use crate::{
    Family, Result,
    libtorch::enabled::{fbank::Variation, layers::MIN_LOW_HZ},
};

/// A family with its implementation.
pub(super) struct Parametric {
    pub(super) family: Family,
    pub(super) make: MakeWith,
}

/// Computes the stage with a value of the parameter.
type MakeWith = Box<dyn Fn(&Site<'_>, f64) -> Result<Tensor>>;

impl Family {
    fn by(self, make: impl Fn(&Site<'_>, f64) -> Result<Tensor> + 'static) -> Parametric {
        Parametric {
            family: self,
            make: Box::new(make),
        }
    }
}

/// The families that are possible at this stage.
pub(super) fn families(site: &Site<'_>) -> Vec<Parametric> {
    let sloped = |site: &Site<'_>, slope: f64| segmentation::sloped(site.x()?, slope);
    match site.stage.op {
        Op::LeakyRelu { slope } => vec![negative_slope(slope).by(sloped)],
        Op::Relu => vec![negative_slope(0.0).by(sloped)],
        Op::InstanceNorm { eps, .. } => vec![
            epsilon(eps, &[0.0, 1e-3, 1e-6]).by(segmentation::with_eps),
            bias(&[0.0]).by(scaled_bias(right::normalised)),
        ],
        Op::BatchNorm { eps, .. } => vec![
            epsilon(eps, &[]).by(embedding::batch_norm),
            bias(&[0.0]).by(scaled_bias(embedding::normalised)),
        ],
        Op::StatsPool => vec![epsilon(0.0, &[]).by(embedding::pooled_with_eps)],
        Op::Fbank(_) => vec![
            preemphasis().by(mel::with_preemphasis),
            lowest_frequency(Variation::NONE.low).by(mel::with_low),
        ],
        Op::SincFilters {
            filters: SincFilters::Parametrised,
            ..
        } => vec![lowest_frequency(MIN_LOW_HZ).by(right::filters_from)],
        Op::Conv1d { .. } if !site.stage.parameters.is_empty() => {
            vec![bias(&[0.0]).by(scaled_bias(right::convolved))]
        }
        Op::Linear { .. } => vec![bias(&[0.0, 2.0]).by(scaled_bias(right::linear))],
        Op::LstmDirection { .. } => vec![bias(&[0.0, 2.0]).by(lstm::with_scaled_biases)],
        _ => Vec::new(),
    }
}

fn negative_slope(right: f64) -> Family {
    Family {
        cause: Cause::Slope,
        parameter: "a negative slope",
        unit: "",
        right,
        starts: &[0.0, 0.01],
        range: -10.0..=10.0,
        // ReLU, and no activation. -1 is the absolute value.
        fixed: if right == 0.0 {
            &[-1.0, 1.0]
        } else {
            &[0.0, 1.0]
        },
    }
}

fn epsilon(right: f64, fixed: &'static [f64]) -> Family {
    Family {
        cause: Cause::Eps,
        parameter: "an epsilon",
        unit: "",
        right,
        starts: &[0.0, 1e-12, 1e-10, 1e-8, 1e-6, 1e-4, 1e-2, 1.0],
        range: 0.0..=10.0,
        fixed,
    }
}

fn preemphasis() -> Family {
    Family {
        cause: Cause::Preemphasis,
        parameter: "a pre-emphasis",
        unit: "",
        right: Variation::NONE.preemphasis,
        starts: &[0.0, 0.5, 0.9, 1.0],
        range: -1.0..=2.0,
        fixed: &[0.0],
    }
}

fn lowest_frequency(right: f64) -> Family {
    Family {
        cause: Cause::Low,
        parameter: "a lowest frequency",
        unit: " Hz",
        right,
        starts: &[0.0, 20.0, 50.0, 100.0, 200.0, 400.0],
        range: 0.0..=2000.0,
        fixed: &[],
    }
}

fn bias(fixed: &'static [f64]) -> Family {
    Family {
        cause: Cause::BiasTimes,
        parameter: "a bias factor",
        unit: "",
        right: 1.0,
        starts: &[1.0],
        range: -100.0..=100.0,
        fixed,
    }
}

/// The stage that `right` computes, its bias multiplied by a factor.
fn scaled_bias(right: Right) -> impl Fn(&Site<'_>, f64) -> Result<Tensor> {
    move |site, factor| {
        let output = right(site)?;
        let mut shape = vec![1; output.dim()];
        shape[site.stage.axes.channel()] = -1;
        let bias = site.weight("bias")?.f_reshape(shape)?;
        Ok(output.f_add(&bias.f_mul_scalar(factor - 1.0)?)?)
    }
}
