//! Convolutions against the same sums in f64.

#![expect(
    clippy::needless_range_loop,
    reason = "the index is a place in several arrays"
)]

mod support;

use proptest::prelude::*;
use soundalike_kernels::{Conv2d, Images, InstructionSet, Pool};
use support::noise;

/// A convolution and an image for it.
#[derive(Debug, Clone)]
struct Case {
    /// Images, channels, height, width.
    shape: [usize; 4],
    outputs: usize,
    kernel: usize,
    stride: usize,
    residual: bool,
    relu: bool,
    seed: u64,
}

impl Case {
    fn out_shape(&self) -> [usize; 4] {
        let [batch, _, height, width] = self.shape;
        let [height, width] = [height, width].map(|length| length.div_ceil(self.stride));
        [batch, self.outputs, height, width]
    }

    fn values(&self, salt: u64, shape: &[usize]) -> Vec<f32> {
        noise(self.seed + salt, shape.iter().product())
    }

    fn pixels(&self) -> Vec<f32> {
        self.values(1, &self.shape)
    }

    fn weight(&self) -> Vec<f32> {
        self.values(2, &[self.outputs, self.shape[1], self.kernel, self.kernel])
    }

    fn scale(&self) -> Vec<f32> {
        self.values(3, &[self.outputs])
    }

    fn shift(&self) -> Vec<f32> {
        self.values(4, &[self.outputs])
    }

    fn addend(&self) -> Vec<f32> {
        self.values(5, &self.out_shape())
    }

    /// By the kernel, as `[batch, channel, height, width]`.
    fn run(&self, instructions: InstructionSet, pixels: &[f32]) -> Vec<f32> {
        self.run_in(&Pool::default(), instructions, pixels)
    }

    /// With the buffers of `pool`.
    fn run_in(&self, pool: &Pool, instructions: InstructionSet, pixels: &[f32]) -> Vec<f32> {
        let shape = [self.outputs, self.shape[1], self.kernel];
        let (weight, scale, shift) = (self.weight(), self.scale(), self.shift());
        let conv = Conv2d::new(instructions, shape, self.stride, &weight, &scale, &shift);
        let images = Images::from_planes(pool, self.shape, pixels);
        let residual = Images::from_planes(pool, self.out_shape(), &self.addend());
        let out = conv.forward(&images, self.residual.then_some(&residual), self.relu);
        assert_eq!(out.shape(), self.out_shape());
        out.to_planes()
    }

    /// In f64, and the sum of the absolute values that went into each result.
    fn golden(&self, pixels: &[f32]) -> Vec<(f64, f64)> {
        let [_, inputs, height, width] = self.shape;
        let [batch, outputs, out_height, out_width] = self.out_shape();
        let (weight, scale, shift) = (self.weight(), self.scale(), self.shift());
        let addend = self.addend();
        let (k, half) = (self.kernel, self.kernel / 2);
        let mut results = Vec::new();
        for place in 0..batch * outputs * out_height * out_width {
            let (rest, x) = (place / out_width, place % out_width);
            let (rest, y) = (rest / out_height, rest % out_height);
            let (image, output) = (rest / outputs, rest % outputs);
            let (mut sum, mut size) = (0.0, 0.0);
            for input in 0..inputs {
                for (dy, dx) in (0..k * k).map(|tap| (tap / k, tap % k)) {
                    let (y, x) = (y * self.stride + dy, x * self.stride + dx);
                    let inside =
                        (half..height + half).contains(&y) && (half..width + half).contains(&x);
                    if inside {
                        let pixel =
                            ((image * inputs + input) * height + y - half) * width + x - half;
                        let tap = ((output * inputs + input) * k + dy) * k + dx;
                        let product = f64::from(pixels[pixel]) * f64::from(weight[tap]);
                        sum += product;
                        size += product.abs();
                    }
                }
            }
            let (scale, shift) = (f64::from(scale[output]), f64::from(shift[output]));
            let mut value = sum * scale + shift;
            let mut size = size * scale.abs() + shift.abs();
            if self.residual {
                value += f64::from(addend[place]);
                size += f64::from(addend[place]).abs();
            }
            if self.relu && value < 0.0 {
                value = 0.0;
            }
            results.push((value, size));
        }
        results
    }
}

fn cases() -> impl Strategy<Value = Case> {
    let shape = (1..=5_usize, 1..=40_usize, 1..=11_usize, 1..=23_usize);
    let kernel = prop_oneof![Just(1_usize), Just(3)];
    let size = (1..=40_usize, kernel, 1..=2_usize);
    (shape, size, any::<[bool; 2]>(), 0..1000_u64).prop_map(
        |((batch, inputs, height, width), (outputs, kernel, stride), [residual, relu], seed)| {
            Case {
                shape: [batch, inputs, height, width],
                outputs,
                kernel,
                stride,
                residual,
                relu,
                seed,
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_result_is_the_sum_within_its_rounding(case in cases()) {
        let pixels = case.pixels();
        let found = case.run(InstructionSet::scalar(), &pixels);
        // Each of the 9 x 40 products and sums rounds by half a unit of what is summed so far, which is less than
        // the sum of absolute values. The transforms of F(4x4) multiply and add what a tile has up to
        // GROWTH times over, and round a few dozen times more.
        let terms = case.shape[1] * case.kernel * case.kernel;
        const GROWTH: f64 = 60.0;
        let largest = pixels.iter().fold(0.0_f64, |l, x| l.max(f64::from(x.abs())));
        for (found, (golden, size)) in found.iter().zip(case.golden(&pixels)) {
            let reach = size + largest * terms as f64 * 0.25;
            let allowed = f64::from(f32::EPSILON) * (terms + 8) as f64 * size
                + f64::from(f32::EPSILON) * GROWTH * reach;
            prop_assert!((f64::from(*found) - golden).abs() <= allowed, "{found} for {golden}, {size}");
        }
    }

    #[test]
    fn every_instruction_set_gives_the_same_bits(case in cases()) {
        let pixels = case.pixels();
        let expected = case.run(InstructionSet::scalar(), &pixels);
        for instructions in InstructionSet::all() {
            let found = case.run(instructions, &pixels);
            prop_assert!(found == expected, "{instructions:?}");
        }
    }

    #[test]
    fn buffers_that_were_used_change_nothing(before in cases(), case in cases()) {
        let (instructions, pool) = (InstructionSet::all()[0], Pool::default());
        let pixels = case.pixels();
        let expected = case.run(instructions, &pixels);
        before.run_in(&pool, instructions, &before.pixels().iter().map(|x| x * 1e30).collect::<Vec<_>>());
        prop_assert!(case.run_in(&pool, instructions, &pixels) == expected);
    }

    #[test]
    fn each_image_of_a_batch_is_what_it_is_alone(case in cases()) {
        let instructions = InstructionSet::all()[0];
        let mut alone = case.clone();
        alone.shape[0] = 1;
        alone.residual = false;
        let case = Case { residual: false, ..case };
        let pixels = case.pixels();
        let together = case.run(instructions, &pixels);
        let each: Vec<f32> = pixels
            .chunks(pixels.len() / case.shape[0])
            .flat_map(|image| alone.run(instructions, image))
            .collect();
        prop_assert!(together == each);
    }

    #[test]
    fn what_is_not_finite_stays_so(case in cases(), place in any::<prop::sample::Index>(), nan in any::<bool>()) {
        let mut pixels = case.pixels();
        let place = place.index(pixels.len());
        pixels[place] = if nan { f32::NAN } else { f32::INFINITY };
        let found = case.run(InstructionSet::all()[0], &pixels);
        for (found, (golden, _)) in found.iter().zip(case.golden(&pixels)) {
            prop_assert!(golden.is_finite() || !found.is_finite(), "{found} for {golden}");
        }
    }
}

#[test]
fn threads_change_nothing() {
    let case = Case {
        shape: [3, 32, 21, 50],
        outputs: 48,
        kernel: 3,
        stride: 1,
        residual: true,
        relu: true,
        seed: 7,
    };
    let runs = [1, 2, 5].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.unwrap()
            .install(|| case.run(InstructionSet::all()[0], &case.pixels()))
    });
    assert!(runs[0] == runs[1] && runs[1] == runs[2]);
}

#[test]
fn a_weight_is_counted_for_each_pair_of_channels_and_place_in_the_kernel() {
    for (kernel, weights) in [(1, 5 * 7), (3, 5 * 7 * 9)] {
        let (weight, of_outputs) = (vec![0.0; weights], [0.0; 5]);
        let conv = Conv2d::new(
            InstructionSet::scalar(),
            [5, 7, kernel],
            1,
            &weight,
            &of_outputs,
            &of_outputs,
        );
        assert_eq!(conv.weights(), weights);
    }
}
