//! Mean and standard deviation over time, for each speaker.

use candle_core::{D, DType, Device, Result, Tensor};
use soundalike_kernels::{InstructionSet, weighted_statistics};

use super::{at_least_f32, frames::values};
use crate::Kernels;

/// Prevents a division by zero for a speaker without active frames. pyannote.audio `blocks/pooling.py`.
const EPS: f64 = 1e-8;

/// `torch.nn.functional.interpolate(mode="nearest")` over time: `weights` `[batch, mask, any number of frames]` to
/// `[batch, mask, frames]`.
pub(crate) fn interpolate_nearest(weights: &Tensor, frames: usize) -> Result<Tensor> {
    let length = weights.dim(D::Minus1)?;
    if length == frames {
        return Ok(weights.clone());
    }
    let indices = Tensor::from_vec(nearest(length, frames), frames, weights.device())?;
    weights
        .contiguous()?
        .index_select(&indices, weights.rank() - 1)
}

/// For each of `frames` output frames, the index of an input frame, of `length`. In f32, as in PyTorch, where 3 x (7 / 3) can
/// be less than 7. PyTorch `aten/src/ATen/native/UpSample.h`, `nearest_idx`.
fn nearest(length: usize, frames: usize) -> Vec<u32> {
    let scale = length as f32 / frames as f32;
    let last = length.saturating_sub(1);
    (0..frames)
        .map(|frame| ((frame as f32 * scale).floor() as usize).min(last) as u32)
        .collect()
}

/// `StatsPool`: the means of all features of `sequences` `[batch, feature, frame]`, then their (unbiased) standard
/// deviations. Over all frames, `[batch, 2 x features]`, or weighted by each mask of `weights` `[batch, mask, frame]`,
/// `[batch, mask, 2 x features]`. pyannote.audio `models/blocks/pooling.py`.
///
/// No weights and weights of 1 give different results: only the formula with weights has an epsilon. The statistics are
/// computed in f32 (f64 in a network of f64), in the order of PyTorch's operations, because the result for a mask of one
/// frame is rounding error. Only the sums may be wider.
pub(crate) fn stats_pool(
    sequences: &Tensor,
    weights: Option<&Tensor>,
    kernels: Kernels,
) -> Result<Tensor> {
    let dtype = at_least_f32(sequences.dtype());
    let summed = kernels.sums(dtype, sequences.device());
    let wide = sequences.to_dtype(dtype)?;
    let stats = match weights {
        None => unweighted(&wide.to_dtype(summed)?)?.to_dtype(dtype)?,
        Some(weights) => {
            let weights = weights.to_dtype(dtype)?;
            if let Some(instructions) = kernels.instructions(sequences.dtype(), sequences.device())
            {
                return by_kernel(instructions, &wide, &weights);
            }
            let pooled = (0..weights.dim(1)?)
                .map(|mask| weighted(&wide, &weights.narrow(1, mask, 1)?, summed))
                .collect::<Result<Vec<_>>>()?;
            Tensor::stack(&pooled, 1)?
        }
    };
    stats.to_dtype(sequences.dtype())
}

/// As [`weighted`] for all masks, by a kernel, in f32 on the CPU.
fn by_kernel(instructions: InstructionSet, sequences: &Tensor, weights: &Tensor) -> Result<Tensor> {
    let (batch, features, frames) = sequences.dims3()?;
    let masks = weights.dim(1)?;
    let (sequences, weights) = (values(sequences)?, values(weights)?);
    let mut pooled = Vec::with_capacity(batch * masks * 2 * features);
    for (x, masks) in sequences
        .chunks_exact(features * frames)
        .zip(weights.chunks_exact(masks * frames))
    {
        for mask in masks.chunks_exact(frames) {
            pooled.extend(weighted_statistics(instructions, x, mask, EPS as f32));
        }
    }
    Tensor::from_vec(pooled, (batch, masks, 2 * features), &Device::Cpu)
}

/// `[batch, feature, frame]` to `[batch, 2 x features]`. The deviation of a single frame is NaN, as in PyTorch.
fn unweighted(sequences: &Tensor) -> Result<Tensor> {
    let frames = sequences.dim(D::Minus1)?;
    let mean = sequences.mean_keepdim(D::Minus1)?;
    let squares = sequences.broadcast_sub(&mean)?.sqr()?;
    let variance = (squares.sum(D::Minus1)? / (frames as f64 - 1.0))?;
    Tensor::cat(&[mean.squeeze(D::Minus1)?, variance.sqrt()?], 1)
}

/// `_pool`: `sequences` `[batch, feature, frame]` and `weights` `[batch, 1, frame]` to `[batch, 2 x features]`.
fn weighted(sequences: &Tensor, weights: &Tensor, summed: DType) -> Result<Tensor> {
    let sum = |x: Tensor| {
        x.to_dtype(summed)?
            .sum_keepdim(D::Minus1)?
            .to_dtype(sequences.dtype())
    };
    let v1 = (sum(weights.clone())? + EPS)?;
    let mean = sum(sequences.broadcast_mul(weights)?)?.broadcast_div(&v1)?;
    let dx2 = sequences.broadcast_sub(&mean)?.sqr()?;
    let v2 = sum(weights.sqr()?)?;
    let variance =
        sum(dx2.broadcast_mul(weights)?)?.broadcast_div(&((&v1 - (v2 / &v1)?)? + EPS)?)?;
    Tensor::cat(&[mean, variance.sqrt()?], 1)?.squeeze(D::Minus1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(values: &[f64], shape: (usize, usize, usize), dtype: DType) -> Tensor {
        Tensor::from_slice(values, shape, &Device::Cpu)
            .and_then(|tensor| tensor.to_dtype(dtype))
            .unwrap()
    }

    fn f64s(tensor: &Tensor) -> Vec<f64> {
        let flat = tensor.to_dtype(DType::F64).and_then(|x| x.flatten_all());
        flat.and_then(|x| x.to_vec1()).unwrap()
    }

    fn assert_close(name: &str, found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len(), "{name}");
        for (found, expected) in found.iter().zip(expected) {
            // One unit in the last place of an f32: the order of the sums differs.
            let allowed = expected.abs() * f64::from(f32::EPSILON);
            assert!(
                (found - expected).abs() <= allowed,
                "{name}: {found} for {expected}"
            );
        }
    }

    /// Lengths before and after, and `sum((i + 1) * index)` over
    /// `F.interpolate(torch.arange(before).float()[None, None], size=after, mode="nearest")`.
    #[test]
    fn the_nearest_frame_is_the_one_pytorch_takes() {
        for (before, after, expected) in [
            (589, 5, 4706),
            (589, 125, 3_063_646),
            (589, 7, 9408),
            (3, 7, 35),
            (7, 3, 16),
            (98, 98, 313_698),
            (31, 22, 4862),
            (253, 119, 1_190_420),
        ] {
            let found: u32 = nearest(before, after)
                .into_iter()
                .zip(1..)
                .map(|(index, place)| index * place)
                .sum();
            assert_eq!(found, expected, "{before} to {after}");
        }
        assert_eq!(nearest(3, 7), [0, 0, 0, 1, 1, 2, 2]);
        // 41 x (2 / 82) is 1, but not in f32.
        assert_eq!(nearest(2, 82)[41], 0);
    }

    /// `StatsPool()(sequences, weights)` in f32 and f64 for the sequences and weights here.
    #[test]
    fn statistics_are_those_of_the_package() {
        let sequences = [
            0.5, -1.25, 3.0, 0.1, 7.5, //
            100.0, 100.5, 99.75, 101.0, 100.25,
        ];
        let masks = [
            ("all", [1.0, 1.0, 1.0, 1.0, 1.0]),
            ("some", [0.0, 1.0, 1.0, 0.0, 1.0]),
            ("silent", [0.0, 0.0, 0.0, 0.0, 0.0]),
            ("one frame", [0.0, 0.0, 1.0, 0.0, 0.0]),
            ("soft", [0.25, 0.5, 0.0, 0.75, 1.0]),
        ];
        let single = [
            [1.970_000_03, 100.300_003, 3.452_100_75, 0.480_884_582],
            [3.083_333_25, 100.166_664, 4.375_595_09, 0.381_881_297],
            [0.0, 0.0, 0.0, 0.0],
            [3.0, 99.75, 0.0, 0.0],
            [2.829_999_92, 100.5, 4.603_042_6, 0.422_577_143],
        ];
        let double = [
            [1.97, 100.3, 3.452_100_8, 0.480_884_6],
            [3.083_333_32, 100.166_666, 4.375_595_17, 0.381_881_306],
            [0.0, 0.0, 0.0, 0.0],
            // Only the epsilons differ from 0 here, and f32 rounds them away.
            [
                2.999_999_97,
                99.749_999,
                0.000_173_205_078,
                0.005_759_068_85,
            ],
            [2.829_999_99, 100.5, 4.603_042_44, 0.422_577_125],
        ];
        for (dtype, expected) in [(DType::F32, single), (DType::F64, double)] {
            let sequences = tensor(&sequences, (1, 2, 5), dtype);
            let weights = masks.map(|(_, mask)| mask).concat();
            let weights = tensor(&weights, (1, masks.len(), 5), dtype);
            let mut kernels = vec![Kernels::Portable];
            if dtype == DType::F32 {
                kernels.push(Kernels::MetalOps);
                kernels.extend(InstructionSet::all().into_iter().map(Kernels::Native));
            }
            for kernels in kernels {
                let found = f64s(&stats_pool(&sequences, Some(&weights), kernels).unwrap());
                for (((name, _), found), expected) in
                    masks.iter().zip(found.chunks(4)).zip(&expected)
                {
                    assert_close(&format!("{name}, {dtype:?}, {kernels:?}"), found, expected);
                }
            }
        }
        let sequences = tensor(&sequences, (1, 2, 5), DType::F64);
        let found = stats_pool(&sequences, None, Kernels::Portable).unwrap();
        assert_eq!(found.dims(), [1, 4]);
        assert_close(
            "none",
            &f64s(&found),
            &[1.97, 100.3, 3.452_100_81, 0.480_884_602],
        );
    }
}
