//! Convolutions in a chain against the same one by one.

mod support;

use std::sync::Arc;

use proptest::prelude::*;
use soundalike_kernels::{Conv2d, ConvChain, ConvStep, Images, InstructionSet, Pool};
use support::noise;

/// A step: outputs, kernel and stride, whose result it takes, whether it adds what has its shape, and a ReLU.
type Sketch = (usize, usize, usize, usize, bool, bool);

/// Steps after images of `channels`, and the shape of each result for images of `size`.
fn steps(channels: usize, size: [usize; 2], sketches: &[Sketch]) -> Vec<ConvStep> {
    let mut shapes = vec![[channels, size[0], size[1]]];
    let mut steps = Vec::new();
    for (seed, (outputs, kernel, stride, source, add, relu)) in (1..).zip(sketches) {
        let input = source % shapes.len();
        let [inputs, height, width] = shapes[input];
        let shape = [*outputs, height.div_ceil(*stride), width.div_ceil(*stride)];
        let weight = noise(seed, outputs * inputs * kernel * kernel);
        let (scale, shift) = (noise(seed + 100, *outputs), noise(seed + 200, *outputs));
        let conv = Conv2d::new(
            InstructionSet::all()[0],
            [*outputs, inputs, *kernel],
            *stride,
            &weight,
            &scale,
            &shift,
        );
        steps.push(ConvStep {
            conv: Arc::new(conv),
            input,
            residual: shapes.iter().position(|other| *add && *other == shape),
            relu: *relu,
        });
        shapes.push(shape);
    }
    steps
}

fn one_by_one(steps: &[ConvStep], images: Images) -> Vec<f32> {
    let mut results = vec![images];
    for step in steps {
        let residual = step.residual.map(|source| &results[source]);
        let result = step.conv.forward(&results[step.input], residual, step.relu);
        results.push(result);
    }
    results[steps.len()].to_planes()
}

fn sketch() -> impl Strategy<Value = Sketch> {
    let outputs = prop_oneof![Just(16_usize), Just(20), 1..=5_usize];
    let kernel = prop_oneof![Just(1_usize), Just(3), Just(3)];
    let stride = prop_oneof![Just(1_usize), Just(1), Just(2)];
    (
        outputs,
        kernel,
        stride,
        0..720_usize,
        any::<bool>(),
        any::<bool>(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_chain_gives_the_bits_of_its_steps_one_by_one(
        (batch, channels) in (1..=2_usize, 1..=18_usize),
        size in [1..=70_usize, 1..=60_usize],
        sketches in prop::collection::vec(sketch(), 1..=6),
    ) {
        let steps = steps(channels, size, &sketches);
        let pixels = noise(0, batch * channels * size[0] * size[1]);
        let images = || {
            let shape = [batch, channels, size[0], size[1]];
            Images::from_planes(&Pool::default(), shape, &pixels)
        };
        let found = ConvChain::new(steps.clone()).forward(&images()).to_planes();
        prop_assert!(found == one_by_one(&steps, images()));
    }
}

/// As long as a window: 600 rows, of 80 columns as in a mel spectrogram, through more rows than a ring buffer keeps.
#[test]
fn a_chain_over_a_whole_window_gives_the_bits_of_its_steps_one_by_one() {
    let sketches: Vec<Sketch> = vec![
        (16, 3, 1, 0, false, true),
        (16, 3, 1, 1, false, true),
        (16, 3, 1, 2, true, true),
        (20, 3, 2, 3, false, true),
        (20, 1, 2, 3, false, false),
        (20, 3, 1, 4, true, true),
    ];
    let size = [600, 80];
    let steps = steps(1, size, &sketches);
    let pixels = noise(0, 2 * size[0] * size[1]);
    let pool = Pool::default();
    let images = || Images::from_planes(&pool, [2, 1, size[0], size[1]], &pixels);
    let expected = one_by_one(&steps, images());
    let chain = ConvChain::new(steps);
    // The second time with buffers that were used.
    for _ in 0..2 {
        assert!(chain.forward(&images()).to_planes() == expected);
    }
}
