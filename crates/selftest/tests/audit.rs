//! The audit of weights, on the embedded network and on copies of it with something wrong.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that panics has failed"
)]

use std::ops::Range;

use serde_json::json;
use soundalike_compare::{Audit, Differences};
use soundalike_convert::{Bundle, Integers, Origin, WeightType, convert_bytes};

fn original() -> Bundle {
    soundalike_weights::segmentation().unwrap()
}

/// Where the values of a tensor lie in the file.
fn place(bundle: &Bundle, tensor: &str) -> Range<usize> {
    let values = bundle.tensor(tensor).unwrap().bytes;
    let start = values.as_ptr() as usize - bundle.bytes().as_ptr() as usize;
    start..start + values.len()
}

/// What the audit says to a copy of the original that `edit` changed.
fn differences(edit: impl FnOnce(&Bundle, &mut [u8])) -> Differences {
    let original = original();
    let mut bytes = original.bytes().to_vec();
    edit(&original, &mut bytes);
    let copy = Bundle::from_bytes(bytes, "a copy").unwrap();
    Audit::new(&original, Some(&copy)).candidate.unwrap()
}

#[test]
fn a_copy_is_bit_equal() {
    let audit = Audit::new(&original(), None);
    assert_eq!(
        (audit.reference.tensors, audit.reference.values),
        (51, 1_493_265)
    );
    assert_eq!(audit.reference.dtypes, [("f32".to_owned(), 51)].into());
    assert!(audit.reference.zero.is_empty() && audit.candidate.is_none());
    let copy = differences(|_, _| {});
    assert!(copy.is_same());
    assert_eq!((copy.bit_equal, copy.rounded), (51, 0));
}

#[test]
fn one_bit_of_one_weight_is_seen() {
    let name = "lstm.weight_hh_l2";
    let found = differences(|original, bytes| bytes[place(original, name).start] ^= 1);
    assert!(!found.is_same());
    let [difference] = found.differing.as_slice() else {
        panic!("{found:?}");
    };
    assert_eq!(difference.name, name);
    let one_bit = difference.max_abs.unwrap();
    assert!(one_bit > 0.0 && one_bit < 1e-7, "{one_bit}");
    assert!(difference.values_of.is_empty());
}

#[test]
fn weights_under_each_others_names_are_said_to_be_so() {
    let (one, other) = ("lstm.weight_hh_l0", "lstm.weight_hh_l0_reverse");
    let found = differences(|original, bytes| {
        let copy = bytes.to_vec();
        let (a, b) = (place(original, one), place(original, other));
        bytes[a.clone()].copy_from_slice(&copy[b.clone()]);
        bytes[b].copy_from_slice(&copy[a]);
    });
    let swapped: Vec<_> = found
        .differing
        .iter()
        .map(|difference| (difference.name.as_str(), difference.values_of.join(" ")))
        .collect();
    assert_eq!(swapped, [(one, other.to_owned()), (other, one.to_owned())]);
}

#[test]
fn weights_in_fewer_bits_are_the_same_and_one_more_place_is_not() {
    let original = original();
    let integers = [Integers::Int8, Integers::Int4].map(WeightType::Integers);
    for to in [WeightType::F16, WeightType::BF16]
        .into_iter()
        .chain(integers)
    {
        let (fewer, cast) = original.cast(to, |_| false).unwrap();
        let found = Audit::new(&original, Some(&fewer)).candidate.unwrap();
        assert!(found.is_same(), "{to}: {found:?}");
        assert_eq!(found.rounded, cast.converted);
        assert_eq!(found.weights.dtypes[to.name()], cast.converted);

        let mut bytes = fewer.file().to_vec();
        let origins = convert_bytes(bytes.clone(), "fewer").unwrap().origins;
        let Origin::Bundle { offset } = origins["linear.0.weight"] else {
            panic!("{origins:?}");
        };
        bytes[offset] ^= 1;
        let wrong = Bundle::from_bytes(bytes, "a copy").unwrap();
        let found = Audit::new(&original, Some(&wrong)).candidate.unwrap();
        let names: Vec<_> = found.differing.iter().map(|d| d.name.as_str()).collect();
        assert_eq!(names, ["linear.0.weight"], "{to}");
    }
}

#[test]
fn a_tensor_of_zeros_is_named() {
    let name = "linear.1.bias";
    let found = differences(|original, bytes| bytes[place(original, name)].fill(0));
    assert_eq!(found.weights.zero, [name]);
}

#[test]
fn a_hyperparameter_of_its_own_is_named_with_both_values() {
    let found = differences(|_, bytes| {
        let (from, to) = (br#"\"duration\":10.0"#, br#"\"duration\":20.0"#);
        let at = bytes
            .windows(from.len())
            .position(|part| part == from)
            .unwrap();
        bytes[at..at + to.len()].copy_from_slice(to);
    });
    let [difference] = found.hyperparameters.as_slice() else {
        panic!("{found:?}");
    };
    assert_eq!(difference.name, "duration");
    assert_eq!(
        (&difference.reference, &difference.candidate),
        (&json!(10.0), &json!(20.0))
    );
}
