//! Weights in integers of 8 and 4 bits: what is stored, what is read, and what is refused.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that panics has failed"
)]

mod support;

use std::collections::BTreeMap;

use half::f16;
use proptest::prelude::*;
use safetensors::{Dtype as Stored, SafeTensors, tensor::TensorView};
use soundalike_convert::{
    Bundle, INTEGER_FORMAT, Integers, METADATA_KEY, Origin, WeightType, convert_bytes,
};
use support::{Checkpoint, line};

const BOTH: [Integers; 2] = [Integers::Int8, Integers::Int4];
/// 16 x 60: two blocks of 32 in int4, the second of 28.
const WEIGHT: &str = "lstm.weight_ih_l0";

/// Its weight has other values everywhere.
fn original() -> Bundle {
    let mut checkpoint = Checkpoint::small();
    let places = checkpoint.storage(WEIGHT).as_chunks_mut().0;
    for (at, place) in places.iter_mut().enumerate() {
        *place = (at as f32).sin().to_le_bytes();
    }
    convert_bytes(checkpoint.zip(), "x.bin").unwrap().bundle
}

fn stored(integers: Integers) -> Bundle {
    let to = WeightType::Integers(integers);
    original().cast(to, |_| false).unwrap().0
}

/// A tensor of a file, as it is stored.
fn raw(bundle: &Bundle, name: &str) -> (Stored, Vec<usize>, Vec<u8>) {
    let file = SafeTensors::deserialize(bundle.file()).unwrap();
    let view = file.tensor(name).unwrap();
    (view.dtype(), view.shape().to_vec(), view.data().to_vec())
}

fn scales(bundle: &Bundle, name: &str) -> (Vec<usize>, Vec<f64>) {
    let (dtype, shape, bytes) = raw(bundle, &format!("{name}.scale"));
    assert_eq!(dtype, Stored::F16);
    let values = bytes.as_chunks().0.iter();
    (
        shape,
        values.map(|&b| f16::from_le_bytes(b).to_f64()).collect(),
    )
}

#[test]
fn int8_has_a_scale_for_each_output() {
    let bundle = stored(Integers::Int8);
    let (dtype, shape, integers) = raw(&bundle, WEIGHT);
    assert_eq!((dtype, &*shape), (Stored::I8, [16, 60].as_slice()));
    let (shape, scales) = scales(&bundle, WEIGHT);
    assert_eq!(shape, [16]);
    let before = original().tensor(WEIGHT).unwrap().to_f64().unwrap();
    let after = bundle.tensor(WEIGHT).unwrap().to_f64().unwrap();
    for (row, scale) in scales.iter().enumerate() {
        let values = &before[60 * row..][..60];
        let largest = values
            .iter()
            .fold(0.0_f64, |most, value| most.max(value.abs()));
        assert!(
            (scale * 127.0 / largest - 1.0).abs() < 1e-3,
            "{scale} for {largest}"
        );
        for (column, value) in values.iter().enumerate() {
            let at = 60 * row + column;
            let integer = integers[at].cast_signed();
            assert_eq!(after[at], f64::from(integer) * scale);
            // Half a step; the largest value is at most as far as its scale was rounded, 2^-11 of 127 steps.
            assert!(
                (after[at] - value).abs() <= 0.5001 * scale,
                "{value} became {}",
                after[at]
            );
        }
    }
}

#[test]
fn int4_has_a_scale_for_32_inputs_and_its_low_four_bits_come_first() {
    let bundle = stored(Integers::Int4);
    let (dtype, shape, integers) = raw(&bundle, WEIGHT);
    assert_eq!((dtype, &*shape), (Stored::U8, [16, 30].as_slice()));
    let (shape, scales) = scales(&bundle, WEIGHT);
    assert_eq!(shape, [16, 2]);
    let before = original().tensor(WEIGHT).unwrap().to_f64().unwrap();
    let after = bundle.tensor(WEIGHT).unwrap().to_f64().unwrap();
    for (at, value) in before.iter().enumerate() {
        let (row, column) = (at / 60, at % 60);
        let byte = integers[30 * row + column / 2];
        let four = if column % 2 == 0 {
            byte & 15
        } else {
            byte >> 4
        };
        let integer = if four < 8 {
            f64::from(four)
        } else {
            f64::from(four) - 16.0
        };
        let scale = scales[2 * row + column / 32];
        assert_eq!(after[at], integer * scale, "{at}");
        assert!(integer.abs() <= 7.0);
        assert!(
            (after[at] - value).abs() <= 0.5001 * scale,
            "{value} became {}",
            after[at]
        );
    }
}

#[test]
fn what_is_no_matrix_is_kept_and_what_is_named_too() {
    let original = original();
    for integers in BOTH {
        let to = WeightType::Integers(integers);
        let (bundle, report) = original
            .cast(to, |name| name.starts_with("classifier"))
            .unwrap();
        let mut small = 0;
        for tensor in bundle.tensors() {
            let wide = tensor.shape.len() < 2
                || tensor.shape[1..] == [1]
                || tensor.name.starts_with("classifier")
                || !tensor.dtype.is_float();
            let before = original.tensor(tensor.name).unwrap();
            match bundle.integers(tensor.name) {
                Some(found) => {
                    small += 1;
                    assert!(!wide && found == integers, "{}", tensor.name);
                }
                None => assert_eq!(before, tensor),
            }
        }
        assert_eq!(small, report.converted);
        assert!(
            report.kept.contains(&"classifier.weight".into()),
            "{:?}",
            report.kept
        );
        let kept_nothing = original.cast(to, |_| false).unwrap().1;
        assert_eq!(kept_nothing.converted, report.converted + 1);
        let losses: Vec<_> = report
            .changes
            .iter()
            .map(|change| change.relative)
            .collect();
        assert!(
            losses.is_sorted_by(|a, b| a >= b) && losses[0] > 0.0,
            "{losses:?}"
        );
        assert_eq!(report.bytes_after, bundle.file().len());
        assert!(report.bytes_after < report.bytes_before);
    }
}

#[test]
fn a_file_of_integers_is_read_as_it_was_written() {
    for integers in BOTH {
        let saved = stored(integers);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        saved.save(&path).unwrap();
        let read = Bundle::open(&path).unwrap();
        assert_eq!((read.file(), read.bytes()), (saved.file(), saved.bytes()));
        assert_eq!(read.sha256(), saved.sha256());
        let (again, report) = read
            .cast(WeightType::Integers(integers), |_| false)
            .unwrap();
        assert_eq!(report.rounded, 0, "{integers}");
        let values = |bundle: &Bundle| -> Vec<Vec<f64>> {
            let tensors = bundle.tensors();
            tensors.filter_map(|tensor| tensor.to_f64()).collect()
        };
        assert_eq!(values(&again), values(&read));
        // The place of a tensor is that in the file.
        let conversion = convert_bytes(read.file().to_vec(), "x").unwrap();
        let Origin::Bundle { offset } = conversion.origins[WEIGHT] else {
            panic!("{:?}", conversion.origins);
        };
        let (_, _, bytes) = raw(&read, WEIGHT);
        assert_eq!(read.file()[offset..][..bytes.len()], bytes);
    }
}

/// The refusal of a file of integers with a changed table of tensors.
fn refusal(
    integers: Integers,
    change: impl FnOnce(&mut BTreeMap<String, (Stored, Vec<usize>, Vec<u8>)>),
) -> String {
    let bundle = stored(integers);
    let file = SafeTensors::deserialize(bundle.file()).unwrap();
    let names: Vec<_> = file.names().into_iter().map(str::to_owned).collect();
    let tensors = names
        .into_iter()
        .map(|name| (name.clone(), raw(&bundle, &name)));
    let mut tensors: BTreeMap<_, _> = tensors.collect();
    change(&mut tensors);
    let (_, metadata) = SafeTensors::read_metadata(bundle.file()).unwrap();
    let metadata = metadata.metadata().clone();
    assert!(
        metadata.as_ref().unwrap()[METADATA_KEY].contains(&format!("\"format\":{INTEGER_FORMAT}"))
    );
    let views = tensors.iter().map(|(name, (dtype, shape, bytes))| {
        (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap())
    });
    let bytes = safetensors::serialize(views, metadata).unwrap();
    line(&Bundle::from_bytes(bytes, "x").unwrap_err())
}

#[test]
fn integers_that_do_not_fit_their_weight_are_refused() {
    let scale = &*format!("{WEIGHT}.scale");
    for (integers, name, dtype, shape, expected) in [
        (
            Integers::Int8,
            WEIGHT,
            Stored::I8,
            vec![60, 16],
            "is I8 [60, 16], expected I8 [16, 60]",
        ),
        (
            Integers::Int8,
            scale,
            Stored::F16,
            vec![60],
            "is F16 [60], expected F16 [16]",
        ),
        (
            Integers::Int8,
            scale,
            Stored::F32,
            vec![16],
            "is F32 [16], expected F16 [16]",
        ),
        (
            Integers::Int4,
            WEIGHT,
            Stored::U8,
            vec![16, 60],
            "is U8 [16, 60], expected U8 [16, 30]",
        ),
        (
            Integers::Int4,
            WEIGHT,
            Stored::I8,
            vec![16, 30],
            "is I8 [16, 30], expected I8 [16, 60]",
        ),
        (
            Integers::Int4,
            scale,
            Stored::F16,
            vec![32],
            "is F16 [32], expected F16 [16, 2]",
        ),
        (
            Integers::Int8,
            "lstm.bias_ih_l0",
            Stored::I8,
            vec![16],
            "is I8 [16], expected floats [16]",
        ),
    ] {
        let bytes = vec![0; shape.iter().product::<usize>() * dtype.bitsize() / 8];
        let found = refusal(integers, |tensors| {
            tensors.insert(name.to_owned(), (dtype, shape, bytes));
            let bias = "lstm.bias_ih_l0";
            if name == bias {
                let scales = (Stored::F16, vec![16], vec![0; 32]);
                tensors.insert(format!("{bias}.scale"), scales);
            }
        });
        assert!(found.contains(&format!("`{name}` {expected}")), "{found}");
        assert!(found.ends_with("convert the original again"), "{found}");
    }
}

#[test]
fn integers_without_scales_and_scales_without_integers_are_refused() {
    let scale = format!("{WEIGHT}.scale");
    for integers in BOTH {
        let found = refusal(integers, |tensors| {
            tensors.remove(&scale);
        });
        assert!(found.contains(&format!("`{WEIGHT}` has shape")), "{found}");
        let found = refusal(integers, |tensors| {
            tensors.remove(WEIGHT);
        });
        let missing = format!("missing `{WEIGHT}` [16, 60]; unexpected `{scale}`");
        assert!(found.contains(&missing), "{found}");
        let found = refusal(integers, |tensors| {
            let infinite = f16::INFINITY.to_le_bytes();
            tensors.get_mut(&scale).unwrap().2[..2].copy_from_slice(&infinite);
        });
        assert!(
            found.contains("not finite") && found.contains(WEIGHT),
            "{found}"
        );
    }
}

#[test]
fn values_beyond_the_scales_are_refused_and_zeros_stay_zero() {
    let mut checkpoint = Checkpoint::small();
    checkpoint.storage(WEIGHT)[..4].copy_from_slice(&1e9_f32.to_le_bytes());
    let large = convert_bytes(checkpoint.zip(), "x.bin").unwrap().bundle;
    let to = WeightType::Integers(Integers::Int4);
    let found = line(&large.cast(to, |_| false).unwrap_err());
    assert!(
        found.contains("int4 cannot hold 1 tensor: `lstm.weight_ih_l0` ("),
        "{found}"
    );

    checkpoint.storage(WEIGHT).fill(0);
    let zero = convert_bytes(checkpoint.zip(), "x.bin").unwrap().bundle;
    for integers in BOTH {
        let (bundle, _) = zero
            .cast(WeightType::Integers(integers), |_| false)
            .unwrap();
        let values = bundle.tensor(WEIGHT).unwrap().to_f64().unwrap();
        assert!(values.iter().all(|value| *value == 0.0));
    }
}

proptest! {
    /// Every value of a block is at most half a step from what is read again, except that the largest is off by as much as
    /// its scale was rounded.
    #[test]
    fn values_are_rounded_to_the_nearest_step(
        rows in 1_usize..4,
        values in prop::collection::vec(-4.0_f64..4.0, 1..80),
        four in any::<bool>(),
    ) {
        let integers = if four { Integers::Int4 } else { Integers::Int8 };
        let (columns, most) = (values.len(), if four { 7.0 } else { 127.0 });
        let block = if four { 32 } else { columns };
        let all: Vec<f64> = (0..rows).flat_map(|row| values.iter().map(move |v| v / (row + 1) as f64)).collect();
        let after = integers.rounded(&all, &[rows, columns]);
        prop_assert_eq!(after.len(), all.len());
        for (before, after) in all.chunks(columns).zip(after.chunks(columns)) {
            for (before, after) in before.chunks(block).zip(after.chunks(block)) {
                let largest = before.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
                let step = largest / most;
                for (before, after) in before.iter().zip(after) {
                    // The scale is off by 2^-11, or by half of the smallest f16, 2^-25; an integer is at most `most`.
                    let scale = most * (step * 2_f64.powi(-11) + 2_f64.powi(-25));
                    prop_assert!((before - f64::from(*after)).abs() <= 0.5 * step + scale);
                }
            }
        }
    }
}
