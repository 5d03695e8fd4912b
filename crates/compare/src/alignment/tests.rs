use ndarray::{ArrayD, Axis, IxDyn};

use super::*;

/// Tensors in order, in memory.
struct Kept(Vec<(String, ArrayD<f64>)>);

impl Tensors for Kept {
    type Error = std::convert::Infallible;

    fn list(&self) -> Vec<(String, Vec<usize>)> {
        let tensors = self.0.iter();
        tensors
            .map(|(name, values)| (name.clone(), values.shape().to_vec()))
            .collect()
    }

    fn read(&mut self, index: usize) -> Result<ArrayD<f64>, Self::Error> {
        Ok(self.0[index].1.clone())
    }
}

/// Values of a stage, unlike those of another `seed`.
fn noise(seed: u64, shape: &[usize]) -> ArrayD<f64> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5DEE_CE66;
    ArrayD::from_shape_simple_fn(shape, || {
        // The generator of Knuth's MMIX; the upper bits are the random ones.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as f64 / f64::from(1 << 30) - 1.0 + seed as f64 * 0.01
    })
}

fn network() -> Vec<(String, ArrayD<f64>)> {
    let shapes: [&[usize]; 6] = [
        &[1, 8, 40],
        &[1, 8, 20],
        &[1, 20, 8],
        &[1, 20, 16],
        &[1, 20, 16],
        &[1, 20, 4],
    ];
    let stage = |(index, shape): (usize, &&[usize])| {
        (format!("stage.{index}"), noise(index as u64 + 1, shape))
    };
    shapes.iter().enumerate().map(stage).collect()
}

/// The same values under other names.
fn renamed(stages: &[(String, ArrayD<f64>)]) -> Vec<(String, ArrayD<f64>)> {
    let other = |(index, (_, values)): (usize, &(String, ArrayD<f64>))| {
        (format!("{}", 400 + 3 * index), values.clone())
    };
    stages.iter().enumerate().map(other).collect()
}

fn find(reference: &[(String, ArrayD<f64>)], candidate: Vec<(String, ArrayD<f64>)>) -> Alignment {
    Alignment::find(&mut Kept(reference.to_vec()), &mut Kept(candidate)).unwrap()
}

/// Stage, tensor and by what, in a line for each.
fn lines(found: &Alignment) -> Vec<String> {
    let line = |found: &Match| format!("{} = {} by {:?}", found.stage, found.name, found.by);
    found.matches.iter().map(line).collect()
}

#[test]
fn scrambled_names_layouts_and_f16_are_found_by_value() {
    let reference = network();
    let mut candidate = renamed(&reference);
    for (index, (_, values)) in candidate.iter_mut().enumerate() {
        let mut order: Vec<usize> = (0..values.ndim()).collect();
        order.rotate_left(index % 3);
        let turned = values
            .view()
            .permuted_axes(IxDyn(&order))
            .as_standard_layout()
            .into_owned();
        // 11 bits, as of f16.
        *values = turned.mapv(|x| {
            let up = x * (2.0_f64.powi(42) + 1.0);
            up - (up - x)
        });
    }
    candidate.reverse();
    let found = find(&reference, candidate);
    assert_eq!((found.matches.len(), found.unused.len()), (6, 0));
    for (index, found) in found.matches.iter().enumerate() {
        assert_eq!(found.name, format!("{}", 400 + 3 * index));
        assert_eq!(found.by, MatchedBy::Value);
        assert!(
            found.error < 1e-3 && found.ambiguous.is_empty(),
            "{found:?}"
        );
    }
}

#[test]
fn a_later_copy_of_a_stage_moves_nothing_behind_it() {
    let [state, hidden, x, y] = [1, 2, 3, 4].map(|seed| noise(seed, &[1, 6]));
    let named = |names: [&str; 4]| names.map(str::to_owned).into_iter();
    let stages = [&hidden, &state, &x, &y].map(Clone::clone);
    let reference: Vec<_> = named(["hidden", "state", "x", "y"]).zip(stages).collect();
    // The state is computed first, and copied for the next call.
    let [x, y] = [x, y].map(|values| 3.0 * values);
    let tensors = [state.clone(), hidden, x, y];
    let mut candidate: Vec<_> = named(["1", "2", "3", "4"]).zip(tensors).collect();
    candidate.push(("5".to_owned(), state));
    let found = find(&reference, candidate);
    assert_eq!(
        lines(&found),
        [
            "hidden = 2 by Value",
            "state = 5 by Value",
            "x = 3 by Order",
            "y = 4 by Order"
        ]
    );
}

#[test]
fn names_of_other_frameworks_are_found() {
    for (stage, name) in [
        (
            "encoder.layers.0.fc1",
            "/encoder/layers.0/fc1/MatMul_output_0",
        ),
        ("encoder.layers.0.fc1", "model.encoder.layers.0.fc1"),
        ("encoder.layers.0.fc1", "encoder/layers/0/fc1"),
        ("fc1", "fc1:0"),
    ] {
        assert!(names::fit(stage, name).is_some(), "{stage} {name}");
    }
    assert_eq!(
        names::fit("encoder.layers.1.fc1", "encoder.layers.11.fc1"),
        None
    );
    assert_eq!(
        names::fit("layers.1.fc1", "layers.1.fc1.act"),
        Some(Fit::Scope)
    );
    assert!(Fit::Exact > Fit::Path && Fit::Path > Fit::Scope);
}

#[test]
fn behind_a_fault_order_and_shape_decide() {
    let reference = network();
    let mut candidate = renamed(&reference);
    for (_, values) in &mut candidate[2..] {
        *values += &(noise(99, values.shape()) * 0.5);
    }
    let found = find(&reference, candidate);
    assert_eq!(
        lines(&found),
        [
            "stage.0 = 400 by Value",
            "stage.1 = 403 by Value",
            "stage.2 = 406 by Order",
            "stage.3 = 409 by Order",
            "stage.4 = 412 by Order",
            "stage.5 = 415 by Order",
        ]
    );
}

#[test]
fn a_wrong_stage_with_the_right_name_keeps_it() {
    let reference = network();
    let mut candidate = reference.clone();
    candidate[3].1 *= 1.5;
    let found = find(&reference, candidate);
    assert_eq!(lines(&found)[3], "stage.3 = stage.3 by Name");
    assert!((found.matches[3].error - 0.5).abs() < 1e-12);
}

#[test]
fn a_name_that_lies_does_not_beat_equal_values() {
    let reference = network();
    let mut candidate = reference.clone();
    candidate[3].0 = "stage.4".to_owned();
    candidate[4].0 = "stage.3".to_owned();
    let found = find(&reference, candidate);
    assert_eq!(
        lines(&found)[3..5],
        ["stage.3 = stage.4 by Value", "stage.4 = stage.3 by Value"]
    );
}

#[test]
fn a_stage_that_is_missing_and_steps_that_are_more_are_said() {
    let reference = network();
    let mut candidate = renamed(&reference);
    candidate.remove(3);
    candidate.insert(1, ("extra".to_owned(), noise(77, &[3, 5])));
    let found = find(&reference, candidate);
    assert_eq!(found.matches.len(), 5);
    assert!(found.of("stage.3").is_none());
    assert_eq!(found.unused, ["extra"]);
}

#[test]
fn a_candidate_that_stops_early_or_has_another_batch_matches_what_there_is() {
    let reference = network();
    let mut candidate = renamed(&reference);
    candidate.truncate(2);
    let found = find(&reference, candidate);
    let found: Vec<_> = found.matches.iter().map(|found| &*found.stage).collect();
    assert_eq!(found, ["stage.0", "stage.1"]);
    let twice = renamed(&reference).into_iter().map(|(name, values)| {
        let both = ndarray::concatenate(Axis(0), &[values.view(), values.view()]).unwrap();
        (name, both)
    });
    let found = find(&reference, twice.collect());
    assert!(found.matches.is_empty());
}

#[test]
fn equal_values_in_two_stages_are_taken_in_order_and_said() {
    // A dropout in evaluation: both have the values of the one before.
    let mut reference = network();
    reference.insert(4, ("dropout".to_owned(), reference[3].1.clone()));
    let found = find(&reference, renamed(&reference));
    assert_eq!(
        lines(&found)[3..5],
        ["stage.3 = 409 by Value", "dropout = 412 by Value"]
    );
    assert_eq!(found.matches[3].ambiguous, ["412"]);
    // The candidate has no dropout: one tensor is both.
    let mut candidate = renamed(&reference);
    candidate.remove(4);
    let found = find(&reference, candidate);
    assert_eq!(
        lines(&found)[3..5],
        ["stage.3 = 409 by Value", "dropout = 409 by Value"]
    );
}

#[test]
fn constants_are_never_matched_by_value() {
    let mut reference = network();
    reference[1].1.fill(0.0);
    reference[3].1.fill(0.7);
    let mut candidate = renamed(&reference);
    candidate.insert(0, ("zeros".to_owned(), ArrayD::zeros(vec![1, 8, 20])));
    let found = find(&reference, candidate);
    assert_eq!(lines(&found)[1], "stage.1 = 403 by Order");
    assert_eq!(lines(&found)[3], "stage.3 = 409 by Order");
}

#[test]
fn shuffled_channels_and_symmetric_values_are_no_other_layout() {
    let mut reference = vec![("attention".to_owned(), noise(5, &[6, 6]))];
    let symmetric = &reference[0].1 + &reference[0].1.t();
    reference[0].1 = symmetric.clone();
    let found = find(&reference, vec![("x".to_owned(), symmetric.t().to_owned())]);
    assert_eq!(found.matches[0].axes.as_deref(), Some(&[0, 1][..]));
    // The same values with the channels in another order: a fault, and not found by value.
    let reference = network();
    let mut candidate = renamed(&reference);
    let order = [1, 0, 2, 3, 4, 5, 6, 7];
    candidate[1].1 = candidate[1].1.select(Axis(1), &order);
    let found = find(&reference, candidate);
    assert_eq!(lines(&found)[1], "stage.1 = 403 by Order");
    assert!(found.matches[1].error > 0.1);
}

#[test]
fn repeated_layers_with_tied_weights_stay_in_order() {
    // Three layers of one shape, each a little different from the one before; the second is wrong.
    let base = noise(3, &[1, 20, 16]);
    let layer = |index: usize| {
        (
            format!("layers.{index}"),
            &base * (1.0 + 0.3 * index as f64),
        )
    };
    let reference: Vec<_> = (0..3).map(layer).collect();
    let mut candidate = renamed(&reference);
    candidate[1].1 *= 0.9;
    let found = find(&reference, candidate);
    assert_eq!(
        lines(&found),
        [
            "layers.0 = 400 by Value",
            "layers.1 = 403 by Order",
            "layers.2 = 406 by Value"
        ]
    );
}

#[test]
fn a_flattened_tensor_is_found_as_it_lies() {
    let reference = network();
    let mut candidate = renamed(&reference);
    let flat = candidate[2].1.iter().copied().collect();
    candidate[2].1 = ArrayD::from_shape_vec(vec![1, 160], flat).unwrap();
    let found = find(&reference, candidate);
    assert_eq!(lines(&found)[2], "stage.2 = 406 by Value");
    assert_eq!(found.matches[2].axes, None);
}

#[test]
fn a_stage_of_another_size_keeps_its_name() {
    let reference = network();
    let mut candidate = renamed(&reference);
    candidate[1] = ("stage.1".to_owned(), noise(2, &[1, 8, 19]));
    let found = find(&reference, candidate);
    assert_eq!(lines(&found)[1], "stage.1 = stage.1 by Name");
    let kept = found.matches[1].arranged(noise(2, &[1, 8, 19]), &[1, 8, 20]);
    assert_eq!(kept.shape(), [1, 8, 19]);
}

#[test]
fn a_matched_tensor_is_arranged_as_the_stage() {
    let stage = noise(4, &[1, 20, 16]);
    // [16, 1, 20]
    let theirs = stage
        .view()
        .permuted_axes(IxDyn(&[2, 0, 1]))
        .as_standard_layout()
        .into_owned();
    let found = find(
        &[("a".to_owned(), stage.clone())],
        vec![("x".to_owned(), theirs.clone())],
    );
    assert_eq!(found.matches[0].axes.as_deref(), Some(&[1, 0][..]));
    let arranged = found.matches[0].arranged(theirs, stage.shape());
    assert!(arranged.is_standard_layout());
    assert_eq!(arranged, stage);
}

#[test]
fn wrong_values_do_not_turn_a_square() {
    let reference: Vec<_> = (0..4)
        .map(|index| (format!("stage.{index}"), noise(index + 1, &[1, 12, 12])))
        .collect();
    let turned = |values: &ArrayD<f64>| {
        let turned = values.clone().permuted_axes(IxDyn(&[0, 2, 1]));
        turned.as_standard_layout().into_owned()
    };
    let mut plain = renamed(&reference);
    plain[2].1 = turned(&plain[2].1) * 1.3;
    let found = find(&reference, plain);
    assert_eq!(found.matches[2].axes, Some(vec![0, 1]));
    // All others are turned, and so is it.
    let mut others = renamed(&reference);
    others
        .iter_mut()
        .for_each(|(_, values)| *values = turned(values));
    others[2].1 += &(noise(99, &[1, 12, 12]) * 0.5);
    let found = find(&reference, others);
    assert_eq!(found.matches[2].axes, Some(vec![1, 0]));
}

/// Tensors with what else they are called.
struct Called(Kept, Vec<(&'static str, &'static str)>);

impl Tensors for Called {
    type Error = std::convert::Infallible;

    fn list(&self) -> Vec<(String, Vec<usize>)> {
        self.0.list()
    }

    fn alias(&self, name: &str) -> Option<&str> {
        let found = self.1.iter().find(|(tensor, _)| *tensor == name);
        found.map(|(_, alias)| *alias)
    }

    fn read(&mut self, index: usize) -> Result<ArrayD<f64>, Self::Error> {
        self.0.read(index)
    }
}

#[test]
fn aliases_tell_which_stage_is_missing_where_no_value_is_right() {
    let stages = [
        ("a.norm", "net.a.norm/LayerNormalization"),
        ("a.add", "net.a/Add"),
        ("b.norm", "net.b.norm/LayerNormalization"),
        ("b.add", "net.b/Add"),
    ];
    let numbered = |names: &[&str], seed: u64| {
        let named = names.iter().zip(seed..);
        let tensors = named.map(|(name, seed)| ((*name).to_owned(), noise(seed, &[1, 6, 5])));
        Kept(tensors.collect())
    };
    for missing in 0..stages.len() {
        let shown: Vec<_> = (0..stages.len())
            .filter(|stage| *stage != missing)
            .collect();
        let tensors = ["val_1", "val_2", "val_3"];
        let aliases = tensors
            .into_iter()
            .zip(shown.iter().map(|stage| stages[*stage].1));
        let mut candidate = Called(numbered(&tensors, 50), aliases.collect());
        let mut reference = numbered(&stages.map(|(stage, _)| stage), 1);
        let Ok(found) = Alignment::find(&mut reference, &mut candidate);
        let found = found
            .matches
            .iter()
            .map(|found| (&*found.stage, &*found.name));
        let expected = shown.iter().map(|stage| stages[*stage].0).zip(tensors);
        assert_eq!(found.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    }
}

#[test]
fn one_tensor_for_equal_stages_does_not_hide_what_lies_between() {
    // One tensor for two equal stages; the last lies behind a wrong one.
    let mut reference = network();
    reference.insert(4, ("again".to_owned(), reference[0].1.clone()));
    let mut candidate = renamed(&network());
    candidate[3].1 = noise(90, &[1, 20, 16]);
    let found = find(&reference, candidate);
    let expected = [
        "stage.0 = 400 by Value",
        "stage.1 = 403 by Value",
        "stage.2 = 406 by Value",
        "stage.3 = 409 by Order",
        "again = 400 by Value",
        "stage.4 = 412 by Value",
        "stage.5 = 415 by Value",
    ];
    assert_eq!(lines(&found), expected);
}

#[test]
fn a_mask_of_attention_does_not_make_all_layers_one() {
    let masked = |seed: u64| {
        let mut scores = noise(seed, &[1, 12, 12]);
        for ((_, row, column), x) in scores
            .view_mut()
            .into_dimensionality::<ndarray::Ix3>()
            .unwrap()
            .indexed_iter_mut()
        {
            *x += if column > row { -1e9 } else { 0.0 };
        }
        scores
    };
    let reference: Vec<_> = (0..3)
        .map(|layer| (format!("layers.{layer}.add"), masked(layer + 1)))
        .collect();
    // The second is wrong, and is no other layer for it.
    let mut candidate = renamed(&reference);
    candidate[1].1 = masked(9);
    let found = find(&reference, candidate);
    let expected = [
        "layers.0.add = 400 by Value",
        "layers.1.add = 403 by Order",
        "layers.2.add = 406 by Value",
    ];
    assert_eq!(lines(&found), expected);
}
