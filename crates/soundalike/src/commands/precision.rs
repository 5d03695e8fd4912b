//! Precision of the networks and of their weights, and its measured cost.

use serde::Deserialize;
use soundalike_convert::WeightType;
use soundalike_model::DType;

/// Precision of weights and activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Precision {
    F32,
    F16,
    Bf16,
}

impl From<Precision> for DType {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self::F32,
            Precision::F16 => Self::F16,
            Precision::Bf16 => Self::BF16,
        }
    }
}

/// Measured by `scripts/precision.py`.
const MEASURED: &str = include_str!("precision.json");

/// The parts of the measurements that are printed.
#[derive(Debug, Deserialize)]
struct Measured {
    /// Weights and activations in fewer bits.
    computed: Costs,
    /// Only the weights in fewer bits.
    stored: Costs,
}

#[derive(Debug, Deserialize)]
struct Costs {
    recordings: Vec<String>,
    dtypes: Vec<Cost>,
}

#[derive(Debug, Deserialize)]
struct Cost {
    dtype: String,
    /// DER of the turns against those of f32, pooled over all recordings.
    der: f64,
    worst_der: f64,
    /// Time on the CPU, in units of that of f32; of `computed` alone.
    #[serde(default)]
    times_as_long: f64,
}

impl Measured {
    fn read() -> anyhow::Result<Self> {
        Ok(serde_json::from_str(MEASURED)?)
    }
}

/// The cost of weights in this type against f32 in one line; `None` for f32.
///
/// # Errors
/// If the embedded report cannot be parsed.
pub(crate) fn stored_cost(of: WeightType) -> anyhow::Result<Option<String>> {
    let measured = Measured::read()?.stored;
    let mut costs = measured.dtypes.into_iter();
    let cost = costs.find(|cost| cost.dtype == of.name());
    Ok(cost.map(|Cost { der, worst_der, .. }| {
        format!(
            "measured: weights in {of} change the turns by a DER of {:.2} % against f32 (worst of {} recordings: {:.2} %); see \
             reports/precision.md",
            100.0 * der,
            measured.recordings.len(),
            100.0 * worst_der
        )
    }))
}

impl Precision {
    /// The cost against f32 in one line; `None` for f32.
    ///
    /// # Errors
    /// If the embedded report cannot be parsed.
    pub(crate) fn cost(self, on_the_cpu: bool) -> anyhow::Result<Option<String>> {
        if self == Self::F32 {
            return Ok(None);
        }
        let measured = Measured::read()?.computed;
        let name = DType::from(self).as_str();
        let mut costs = measured.dtypes.into_iter();
        let cost = costs.find(|cost| cost.dtype == name);
        let recordings = measured.recordings.len();
        Ok(Some(match cost {
            None => format!("note: the cost of {name} has not been measured"),
            Some(cost) => {
                let (der, worst) = (100.0 * cost.der, 100.0 * cost.worst_der);
                let time = match on_the_cpu {
                    true => format!("takes {:.1} times as long", cost.times_as_long),
                    false => "was measured on the CPU only".to_owned(),
                };
                format!(
                    "note: {name} changes the turns by a DER of {der:.2} % against f32 (worst of {recordings} recordings: \
                     {worst:.2} %) and {time}; see reports/precision.md"
                )
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use soundalike_convert::Integers;

    use super::*;

    #[test]
    fn weights_in_fewer_bits_have_a_cost_and_those_in_f32_have_none() {
        assert_eq!(stored_cost(WeightType::F32).unwrap(), None);
        let integers = [Integers::Int8, Integers::Int4].map(WeightType::Integers);
        for of in [WeightType::F16, WeightType::BF16]
            .into_iter()
            .chain(integers)
        {
            let line = stored_cost(of).unwrap().unwrap();
            assert!(
                line.starts_with(&format!("measured: weights in {of} change ")),
                "{line}"
            );
        }
    }

    #[test]
    fn sixteen_bits_have_a_cost_and_f32_has_none() {
        assert_eq!(Precision::F32.cost(true).unwrap(), None);
        for (precision, name) in [(Precision::F16, "f16"), (Precision::Bf16, "bf16")] {
            let line = precision.cost(true).unwrap().unwrap();
            assert!(
                line.starts_with(&format!("note: {name} changes the turns by a DER of ")),
                "{line}"
            );
            assert!(line.contains(" times as long"), "{line}");
            let line = precision.cost(false).unwrap().unwrap();
            assert!(
                line.contains("on the CPU") && !line.contains("times as long"),
                "{line}"
            );
        }
    }
}
