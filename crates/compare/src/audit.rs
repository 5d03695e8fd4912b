//! What the weights of both sides are, before anything is run.
//!
//! A [`Bundle`] is complete: reading a file refuses tensors that its network lacks or does not use. What can
//! still differ between two files is looked at here.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;
use serde_json::Value;
use soundalike_convert::{Bundle, Dtype, Tensor};
use soundalike_network::Role;

/// The weights of a comparison.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Audit {
    /// The model under test.
    pub reference: Weights,
    /// The candidate's, where they are from a file of its own.
    pub candidate: Option<Differences>,
}

/// The weights of one model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Weights {
    /// Name of the file that they are from, and its SHA-256.
    pub file: String,
    /// SHA-256 of that file.
    pub sha256: String,
    /// The network: `PyanNet`, `WeSpeakerResNet34`.
    pub network: String,
    /// Number of tensors.
    pub tensors: usize,
    /// Number of values in them.
    pub values: usize,
    /// Number of tensors of each type.
    pub dtypes: BTreeMap<String, usize>,
    /// Trained tensors of nothing but zeros: a layer that was never loaded, or never trained.
    pub zero: Vec<String>,
}

/// How the candidate's weights differ from the reference's.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Differences {
    /// The candidate's.
    pub weights: Weights,
    /// Tensors that only the reference has.
    pub missing: Vec<String>,
    /// Tensors that only the candidate has.
    pub unexpected: Vec<String>,
    /// Tensors whose bits are equal.
    pub bit_equal: usize,
    /// Tensors that are the reference's, rounded to the candidate's type.
    pub rounded: usize,
    /// Tensors that are something else.
    pub differing: Vec<TensorDifference>,
    /// Hyperparameters and specifications that are not equal.
    pub hyperparameters: Vec<HyperparameterDifference>,
}

/// A tensor that is not the same on both sides.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TensorDifference {
    /// Its name.
    pub name: String,
    /// The reference's dimensions.
    pub reference_shape: Vec<usize>,
    /// The candidate's dimensions.
    pub candidate_shape: Vec<usize>,
    /// Largest absolute difference; none where the shapes differ.
    pub max_abs: Option<f64>,
    /// The reference's tensors whose bits it has instead: it was stored under a wrong name.
    pub values_of: Vec<String>,
}

/// A hyperparameter that is not the same on both sides.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HyperparameterDifference {
    /// Where it stands: `lstm.hidden_size`.
    pub name: String,
    /// The reference's; null where it has none.
    pub reference: Value,
    /// The candidate's; null where it has none.
    pub candidate: Value,
}

impl Audit {
    /// Looks at the weights of `reference`, and at how those of `candidate` differ.
    #[must_use]
    pub fn new(reference: &Bundle, candidate: Option<&Bundle>) -> Self {
        Self {
            reference: Weights::of(reference),
            candidate: candidate.map(|candidate| Differences::between(reference, candidate)),
        }
    }
}

impl Weights {
    fn of(bundle: &Bundle) -> Self {
        let expected = bundle.architecture().tensors().into_iter();
        let trained: BTreeSet<_> = expected
            .filter(|tensor| tensor.role == Role::Parameter)
            .map(|tensor| tensor.name)
            .collect();
        let mut dtypes = BTreeMap::new();
        let (mut tensors, mut values, mut zero) = (0, 0, Vec::new());
        for tensor in bundle.tensors() {
            tensors += 1;
            values += tensor.len();
            *dtypes.entry(tensor.dtype.name().to_owned()).or_default() += 1;
            if trained.contains(tensor.name) && is_zero(&tensor) {
                zero.push(tensor.name.to_owned());
            }
        }
        Self {
            file: bundle.source().file.clone(),
            sha256: bundle.source().sha256.clone(),
            network: bundle.architecture().name(),
            tensors,
            values,
            dtypes,
            zero,
        }
    }
}

impl Differences {
    fn between(reference: &Bundle, candidate: &Bundle) -> Self {
        let names = |bundle: &Bundle| -> BTreeSet<String> {
            bundle
                .tensors()
                .map(|tensor| tensor.name.to_owned())
                .collect()
        };
        let (theirs, ours) = (names(reference), names(candidate));
        let (mut bit_equal, mut rounded, mut differing) = (0, 0, Vec::new());
        for (theirs, ours) in reference.tensors().filter_map(|theirs| {
            let ours = candidate.tensor(theirs.name)?;
            Some((theirs, ours))
        }) {
            if theirs.shape == ours.shape
                && theirs.dtype == ours.dtype
                && theirs.bytes == ours.bytes
            {
                bit_equal += 1;
            } else if is_rounded(&theirs, &ours) {
                rounded += 1;
            } else {
                differing.push(TensorDifference {
                    name: theirs.name.to_owned(),
                    reference_shape: theirs.shape.to_vec(),
                    candidate_shape: ours.shape.to_vec(),
                    max_abs: max_abs(&theirs, &ours),
                    values_of: Vec::new(),
                });
            }
        }
        find_swapped(&mut differing, reference, candidate);
        Self {
            weights: Weights::of(candidate),
            missing: theirs.difference(&ours).cloned().collect(),
            unexpected: ours.difference(&theirs).cloned().collect(),
            bit_equal,
            rounded,
            differing,
            hyperparameters: hyperparameters(reference, candidate),
        }
    }

    /// Whether the candidate's weights are the reference's, if need be in fewer bits.
    #[must_use]
    pub fn is_same(&self) -> bool {
        self.missing.is_empty()
            && self.unexpected.is_empty()
            && self.differing.is_empty()
            && self.hyperparameters.is_empty()
    }
}

fn is_zero(tensor: &Tensor<'_>) -> bool {
    tensor
        .to_f64()
        .is_some_and(|values| values.iter().all(|value| *value == 0.0))
}

/// Whether every value of `ours` is that of `theirs` in fewer bits: no further away than half of its last place.
fn is_rounded(theirs: &Tensor<'_>, ours: &Tensor<'_>) -> bool {
    let Some(last_place) = last_place(ours.dtype) else {
        return false;
    };
    let (Some(a), Some(b)) = (theirs.to_f64(), ours.to_f64()) else {
        return false;
    };
    // Below the normal numbers the places are as wide as at the smallest of these.
    let close = |(a, b): (&f64, &f64)| (a - b).abs() <= 0.5 * last_place.of(*a);
    ours.dtype.size() < theirs.dtype.size()
        && theirs.shape == ours.shape
        && a.iter().zip(&b).all(close)
}

/// How far apart the numbers of a floating-point type are.
struct LastPlace {
    /// Digits behind the point.
    mantissa: i32,
    /// Exponent of the smallest normal number.
    least: i32,
}

/// IEEE 754-2019, table 3.5; bfloat16 has the exponents of binary32.
fn last_place(dtype: Dtype) -> Option<LastPlace> {
    let (mantissa, least) = match dtype {
        Dtype::F32 => (23, -126),
        Dtype::F16 => (10, -14),
        Dtype::BF16 => (7, -126),
        _ => return None,
    };
    Some(LastPlace { mantissa, least })
}

impl LastPlace {
    fn of(&self, value: f64) -> f64 {
        let exponent = value.abs().log2().floor().max(f64::from(self.least));
        (exponent - f64::from(self.mantissa)).exp2()
    }
}

fn max_abs(theirs: &Tensor<'_>, ours: &Tensor<'_>) -> Option<f64> {
    if theirs.shape != ours.shape {
        return None;
    }
    let (theirs, ours) = (theirs.to_f64()?, ours.to_f64()?);
    let differences = theirs.iter().zip(&ours).map(|(a, b)| (a - b).abs());
    Some(differences.fold(0.0, f64::max))
}

/// Names the reference's tensors whose bits a differing one has.
fn find_swapped(differing: &mut [TensorDifference], reference: &Bundle, candidate: &Bundle) {
    let mut by_value: HashMap<&[u8], Vec<&str>> = HashMap::new();
    let tensors: Vec<_> = reference.tensors().collect();
    // Constants, such as the biases of a new norm, are equal everywhere.
    for tensor in tensors.iter().filter(|tensor| !is_constant(tensor)) {
        by_value.entry(tensor.bytes).or_default().push(tensor.name);
    }
    for difference in differing {
        let ours = candidate.tensor(&difference.name);
        let names = ours.and_then(|ours| by_value.get(ours.bytes));
        difference.values_of = names
            .into_iter()
            .flatten()
            .map(|&name| name.to_owned())
            .collect();
    }
}

fn is_constant(tensor: &Tensor<'_>) -> bool {
    let mut values = tensor.bytes.chunks_exact(tensor.dtype.size());
    let first = values.next();
    values.all(|value| Some(value) == first)
}

/// The hyperparameters and specifications that are not equal.
fn hyperparameters(reference: &Bundle, candidate: &Bundle) -> Vec<HyperparameterDifference> {
    let all = |bundle: &Bundle| {
        let mut leaves = BTreeMap::new();
        // A struct of numbers and words is always JSON.
        for value in [
            serde_json::to_value(bundle.architecture()),
            serde_json::to_value(bundle.specifications()),
        ] {
            flatten("", &value.unwrap_or_default(), &mut leaves);
        }
        leaves
    };
    let (theirs, ours) = (all(reference), all(candidate));
    let names: BTreeSet<_> = theirs.keys().chain(ours.keys()).collect();
    let value = |of: &BTreeMap<String, Value>, name| of.get(name).cloned().unwrap_or_default();
    names
        .into_iter()
        .filter(|name| theirs.get(*name) != ours.get(*name))
        .map(|name| HyperparameterDifference {
            name: name
                .strip_prefix("hyperparameters.")
                .unwrap_or(name)
                .to_owned(),
            reference: value(&theirs, name),
            candidate: value(&ours, name),
        })
        .collect()
}

/// The leaves of nested objects under their paths.
fn flatten(path: &str, value: &Value, leaves: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                flatten(&path, value, leaves);
            }
        }
        Value::Null => {}
        leaf => {
            leaves.insert(path.to_owned(), leaf.clone());
        }
    }
}
