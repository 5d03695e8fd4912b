//! Faults of the pooling over time and of what follows it.

use soundalike_model::{Result, Tensor};
use soundalike_network::Cause;

use super::super::{
    Fault,
    call::{Call, POOL, PoolOptions, late, statistics, stats_pool, whole_window},
    edit::{half, zero},
    stage, weights,
};

const POOLED: &[&str] = &["resnet.pool"];
const LAST: &[&str] = &["resnet.seg_1"];

pub(super) fn catalogue() -> Vec<Fault> {
    vec![
        stage(
            "masks-late",
            "the masks are one frame late",
            "mask frames and feature frames mixed",
            &["weights"],
            |call| late(&call.value, 2),
        )
        .named(Cause::OneFrameLate),
        stage(
            "masks-inverted",
            "the masks are those of everybody else",
            "FluidAudio #523",
            &["weights"],
            |call| call.value.neg()? + 1.0,
        )
        .named(Cause::MasksInverted),
        stage(
            "pool-biased",
            "the deviation is divided by n",
            "an MLX port: sqrt(var + 1e-7), biased; NeMo #7225",
            POOLED,
            |call| {
                stats_pool(
                    call,
                    &PoolOptions {
                        correction: 0.0,
                        ..POOL
                    },
                )
            },
        )
        .named(Cause::BiasedDeviation),
        stage(
            "pool-eps",
            "1e-7 is added to the variance",
            "an MLX port: sqrt(var + 1e-7)",
            POOLED,
            |call| stats_pool(call, &PoolOptions { eps: 1e-7, ..POOL }),
        )
        .named(Cause::Eps1e7),
        stage(
            "pool-variance",
            "variances in place of deviations",
            "coremltools #2718",
            POOLED,
            |call| {
                stats_pool(
                    call,
                    &PoolOptions {
                        variance: true,
                        ..POOL
                    },
                )
            },
        )
        .named(Cause::VarianceForDeviation),
        stage(
            "pool-deviation-first",
            "deviations first, then means",
            "CrispASR ECAPA",
            POOLED,
            |call| {
                let (mean, deviation) = statistics(call, &POOL)?;
                Ok(whole_window(call, Tensor::cat(&[deviation, mean], 1)?))
            },
        )
        .named(Cause::DeviationFirst),
        stage(
            "pool-one-frame-short",
            "the first frame is left out of the pool",
            "off by one",
            POOLED,
            |call| stats_pool(call, &PoolOptions { skipped: 1, ..POOL }),
        ),
        stage(
            "pool-flattened-otherwise",
            "bands and channels are flattened in the other order",
            "MLX FINAL_STATUS: time and frequency swapped",
            POOLED,
            |call| {
                let swapped = |call: &Call<'_>| -> Result<Tensor> {
                    call.input()?.transpose(1, 2)?.contiguous()
                };
                let turned = Call {
                    operands: vec![swapped(call)?],
                    value: call.value.clone(),
                    ..*call
                };
                stats_pool(&turned, &POOL)
            },
        )
        .named(Cause::FlattenedOtherwise),
        weights(
            "last-bias-missing",
            "the last layer has no bias",
            "CrispASR ECAPA",
            LAST,
            |edit| edit.each("resnet.seg_1.bias", zero),
        )
        .named(Cause::BiasLeftOut),
        weights(
            "last-weights-f16",
            "the last layer was stored in 16 bits",
            "speakrs ADR 001: DER 6.8 to 27.1 %",
            LAST,
            |edit| edit.each("resnet.seg_1.weight", half),
        )
        .named(Cause::WeightsInF16),
        stage(
            "embedding-normalised",
            "the embedding is divided by its length",
            "MLX FINAL_STATUS: shipped, ranks kept 2 of 4",
            LAST,
            |call| {
                let axis = call.value.rank() - 1;
                let length = call.value.sqr()?.sum_keepdim(axis)?.sqrt()?;
                call.value.broadcast_div(&length)
            },
        )
        .named(Cause::Length1),
        stage(
            "embedding-gain",
            "the embedding has a gain of 3",
            "librosa scale=True; CrispASR CQT: correlation .9999",
            LAST,
            |call| call.value.clone() * 3.0,
        ),
        stage(
            "embedding-activated",
            "a ReLU follows the last layer",
            "two_emb_layer networks",
            LAST,
            |call| call.value.relu(),
        )
        .named(Cause::ReluAfter),
    ]
}
