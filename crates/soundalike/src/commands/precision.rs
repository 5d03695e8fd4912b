//! The precision that networks compute in, and what it costs.

use serde::Deserialize;
use soundalike_convert::Dtype;
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

impl From<Precision> for Dtype {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self::F32,
            Precision::F16 => Self::F16,
            Precision::Bf16 => Self::BF16,
        }
    }
}

/// What `scripts/precision.py` measured.
const MEASURED: &str = include_str!("../../../../reports/precision.json");

/// What was measured, as far as it is told.
#[derive(Debug, Deserialize)]
struct Measured {
    recordings: Vec<String>,
    dtypes: Vec<Cost>,
}

#[derive(Debug, Deserialize)]
struct Cost {
    dtype: String,
    /// Of the turns against those of f32, over all recordings.
    der: f64,
    worst_der: f64,
    /// On the CPU.
    times_as_long: f64,
}

impl Precision {
    /// What it costs against f32, in one line; nothing for f32 itself.
    ///
    /// # Errors
    /// Where the report that was built in cannot be read.
    pub(crate) fn cost(self, on_the_cpu: bool) -> anyhow::Result<Option<String>> {
        if self == Self::F32 {
            return Ok(None);
        }
        let measured: Measured = serde_json::from_str(MEASURED)?;
        let name = DType::from(self).as_str();
        let cost = measured.dtypes.into_iter().find(|cost| cost.dtype == name);
        let recordings = measured.recordings.len();
        Ok(Some(match cost {
            None => format!("note: what {name} costs was never measured"),
            Some(cost) => {
                let (der, worst) = (100.0 * cost.der, 100.0 * cost.worst_der);
                let time = match on_the_cpu {
                    true => format!("it takes {:.1} times as long", cost.times_as_long),
                    false => "both were measured on the CPU".to_owned(),
                };
                format!(
                    "note: {name} moved turns by a DER of {der:.2} % against f32 (worst of {recordings} recordings {worst:.2} %), and \
                     {time}: reports/precision.md"
                )
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_bits_have_a_price_and_f32_has_none() {
        assert_eq!(Precision::F32.cost(true).unwrap(), None);
        for (precision, name) in [(Precision::F16, "f16"), (Precision::Bf16, "bf16")] {
            let line = precision.cost(true).unwrap().unwrap();
            assert!(
                line.starts_with(&format!("note: {name} moved turns by a DER of ")),
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
