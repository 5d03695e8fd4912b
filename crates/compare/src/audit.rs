//! The weights of both sides, before anything is run.
//!
//! A [`Bundle`] is complete: reading a file rejects tensors that its network lacks or does not use. This finds the remaining
//! differences between two files.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;
use serde_json::Value;
use soundalike_convert::{Bundle, Dtype, Integers, Tensor};
use soundalike_network::Role;

/// The weights of a comparison.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Audit {
    /// Of the model under test.
    pub reference: Weights,
    /// Of the candidate, where they come from their own file.
    pub candidate: Option<Differences>,
    /// Of the model under test, where another program read them as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reading: Option<Reading>,
}

/// A second reading of the same file by another program, equal to ours.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reading {
    /// Versions of its packages, by name.
    pub versions: BTreeMap<String, String>,
    /// Number of tensors, all of equal bits.
    pub tensors: usize,
    /// Number of hyperparameters, specifications and settings of layers, all equal.
    pub values: usize,
    /// Ours that the other program did not give.
    pub unchecked: Vec<String>,
}

/// The weights of one model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Weights {
    /// Name of the source file.
    pub file: String,
    /// SHA-256 of that file.
    pub sha256: String,
    /// `PyanNet`, `WeSpeakerResNet34`.
    pub network: String,
    /// Number of tensors.
    pub tensors: usize,
    /// Number of values.
    pub values: usize,
    /// Number of tensors of each dtype.
    pub dtypes: BTreeMap<String, usize>,
    /// Trained tensors whose values are all zero: not loaded, or not trained.
    pub zero: Vec<String>,
}

/// The candidate's weights against the reference's.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Differences {
    /// The candidate's.
    pub weights: Weights,
    /// Tensors that only the reference has.
    pub missing: Vec<String>,
    /// Tensors that only the candidate has.
    pub unexpected: Vec<String>,
    /// Number of tensors with equal bits.
    pub bit_equal: usize,
    /// Number of tensors that are the reference's, rounded to the candidate's dtype.
    pub rounded: usize,
    /// All other tensors.
    pub differing: Vec<TensorDifference>,
    /// Hyperparameters and specifications that are not equal.
    pub hyperparameters: Vec<HyperparameterDifference>,
}

/// A tensor of other values, or of another shape.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TensorDifference {
    /// Its name in PyTorch.
    pub name: String,
    /// Dimensions of the reference's.
    pub reference_shape: Vec<usize>,
    /// Dimensions of the candidate's.
    pub candidate_shape: Vec<usize>,
    /// Largest absolute difference; none where the shapes differ.
    pub max_abs: Option<f64>,
    /// The reference's tensors with the same bits: the tensor was stored under a wrong name.
    pub values_of: Vec<String>,
}

/// Null where a side has no such value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HyperparameterDifference {
    /// Its path: `lstm.hidden_size`.
    pub name: String,
    pub reference: Value,
    pub candidate: Value,
}

impl Audit {
    /// Describes the weights of `reference`, and the differences of those of `candidate`.
    #[must_use]
    pub fn new(reference: &Bundle, candidate: Option<&Bundle>) -> Self {
        Self {
            reference: Weights::of(reference),
            candidate: candidate.map(|candidate| Differences::between(reference, candidate)),
            reading: None,
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
        let tensors: Vec<_> = bundle.tensors().collect();
        let mut dtypes = BTreeMap::new();
        for tensor in &tensors {
            let stored = bundle.integers(tensor.name);
            let name = stored.map_or(tensor.dtype.name(), Integers::name);
            *dtypes.entry(name.to_owned()).or_default() += 1;
        }
        let trained = tensors.iter().filter(|t| trained.contains(t.name));
        let zero = trained.filter(|tensor| is_zero(tensor));
        Self {
            file: bundle.source().file.clone(),
            sha256: bundle.source().sha256.clone(),
            network: bundle.architecture().name(),
            tensors: tensors.len(),
            values: tensors.iter().map(Tensor::len).sum(),
            dtypes,
            zero: zero.map(|tensor| tensor.name.to_owned()).collect(),
        }
    }
}

impl Differences {
    fn between(reference: &Bundle, candidate: &Bundle) -> Self {
        let names = |bundle: &Bundle| -> BTreeSet<String> {
            let tensors = bundle.tensors();
            tensors.map(|tensor| tensor.name.to_owned()).collect()
        };
        let (theirs, ours) = (names(reference), names(candidate));
        let tensors: Vec<_> = reference.tensors().collect();
        let mut by_value: HashMap<&[u8], Vec<&str>> = HashMap::new();
        // Constants, such as the biases of a new norm, are equal everywhere.
        for tensor in tensors.iter().filter(|tensor| !is_constant(tensor)) {
            by_value.entry(tensor.bytes).or_default().push(tensor.name);
        }
        let (mut bit_equal, mut rounded, mut differing) = (0, 0, Vec::new());
        for theirs in &tensors {
            let Some(ours) = candidate.tensor(theirs.name) else {
                continue;
            };
            let alike = theirs.shape == ours.shape && theirs.dtype == ours.dtype;
            if alike && theirs.bytes == ours.bytes {
                bit_equal += 1;
            } else if is_rounded(theirs, &ours, candidate.integers(theirs.name)) {
                rounded += 1;
            } else {
                let values_of = by_value.get(ours.bytes).into_iter().flatten();
                differing.push(TensorDifference {
                    name: theirs.name.to_owned(),
                    reference_shape: theirs.shape.to_vec(),
                    candidate_shape: ours.shape.to_vec(),
                    max_abs: max_abs(theirs, &ours),
                    values_of: values_of.map(|&name| name.to_owned()).collect(),
                });
            }
        }
        Self {
            weights: Weights::of(candidate),
            missing: theirs.difference(&ours).cloned().collect(),
            unexpected: ours.difference(&theirs).cloned().collect(),
            bit_equal,
            rounded,
            differing,
            hyperparameters: unequal(reference, candidate),
        }
    }

    /// Whether the candidate's weights are the reference's, or these in fewer bits.
    #[must_use]
    pub fn is_same(&self) -> bool {
        self.missing.is_empty()
            && self.unexpected.is_empty()
            && self.differing.is_empty()
            && self.hyperparameters.is_empty()
    }
}

fn is_zero(tensor: &Tensor<'_>) -> bool {
    let values = tensor.to_f64();
    values.is_some_and(|values| values.iter().all(|value| *value == 0.0))
}

/// Whether `ours` is `theirs` in fewer bits: in integers, those that a conversion gives; otherwise every value is at most half
/// of a last place away.
fn is_rounded(theirs: &Tensor<'_>, ours: &Tensor<'_>, integers: Option<Integers>) -> bool {
    let (Some(a), Some(b)) = (theirs.to_f64(), ours.to_f64()) else {
        return false;
    };
    if theirs.shape != ours.shape {
        return false;
    }
    if let Some(integers) = integers {
        let rounded = integers.rounded(&a, theirs.shape).into_iter();
        return rounded.map(f64::from).eq(b);
    }
    let Some(last_place) = last_place(ours.dtype) else {
        return false;
    };
    let close = |(a, b): (&f64, &f64)| (a - b).abs() <= 0.5 * last_place(*a);
    ours.dtype.size() < theirs.dtype.size() && a.iter().zip(&b).all(close)
}

/// The distance between neighbouring numbers of a floating-point type, at a value. IEEE 754-2019, table 3.5; bfloat16 has the
/// exponents of binary32.
fn last_place(dtype: Dtype) -> Option<impl Fn(f64) -> f64> {
    // Fraction bits, and the exponent of the smallest normal number. Subnormal numbers have the distances of that one.
    let (fraction, least) = match dtype {
        Dtype::F32 => (23.0, -126.0),
        Dtype::F16 => (10.0, -14.0),
        Dtype::BF16 => (7.0, -126.0),
        _ => return None,
    };
    Some(move |value: f64| (value.abs().log2().floor().max(least) - fraction).exp2())
}

fn max_abs(theirs: &Tensor<'_>, ours: &Tensor<'_>) -> Option<f64> {
    if theirs.shape != ours.shape {
        return None;
    }
    let (theirs, ours) = (theirs.to_f64()?, ours.to_f64()?);
    let differences = theirs.iter().zip(&ours).map(|(a, b)| (a - b).abs());
    Some(differences.fold(0.0, f64::max))
}

fn is_constant(tensor: &Tensor<'_>) -> bool {
    let mut values = tensor.bytes.chunks_exact(tensor.dtype.size());
    let first = values.next();
    values.all(|value| Some(value) == first)
}

/// The hyperparameters and specifications of a model by their paths: `lstm.hidden_size`. Those without a value are left out.
#[must_use]
pub fn hyperparameters(bundle: &Bundle) -> BTreeMap<String, Value> {
    let mut leaves = BTreeMap::new();
    // A struct of numbers and strings always converts to JSON.
    for value in [
        serde_json::to_value(bundle.architecture()),
        serde_json::to_value(bundle.specifications()),
    ] {
        flatten("", &value.unwrap_or_default(), &mut leaves);
    }
    let leaves = leaves.into_iter().map(|(path, value)| {
        let name = path.strip_prefix("hyperparameters.").unwrap_or(&path);
        (name.to_owned(), value)
    });
    leaves.collect()
}

/// The hyperparameters and specifications that are not equal.
fn unequal(reference: &Bundle, candidate: &Bundle) -> Vec<HyperparameterDifference> {
    let (theirs, ours) = (hyperparameters(reference), hyperparameters(candidate));
    let names: BTreeSet<_> = theirs.keys().chain(ours.keys()).collect();
    let differing = names.into_iter().filter_map(|name| {
        let (reference, candidate) = (theirs.get(name), ours.get(name));
        (reference != candidate).then(|| HyperparameterDifference {
            name: name.clone(),
            reference: reference.cloned().unwrap_or_default(),
            candidate: candidate.cloned().unwrap_or_default(),
        })
    });
    differing.collect()
}

/// The leaves of nested objects by their paths.
fn flatten(path: &str, value: &Value, leaves: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(members) => {
            let prefix = if path.is_empty() { "" } else { "." };
            for (key, value) in members {
                flatten(&format!("{path}{prefix}{key}"), value, leaves);
            }
        }
        Value::Null => {}
        leaf => {
            leaves.insert(path.to_owned(), leaf.clone());
        }
    }
}
