//! Faults of the pooling over time and of what follows it.

use soundalike_model::{Result, Tensor};

use super::super::{
    Fault,
    call::{Call, POOL, Pool, late, statistics, stats_pool, whole_window},
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
        .named("one-frame-late"),
        stage(
            "masks-inverted",
            "the masks are those of everybody else",
            "FluidAudio #523",
            &["weights"],
            |call| call.value.neg()? + 1.0,
        )
        .named("masks-inverted"),
        stage(
            "pool-biased",
            "the deviation is divided by n",
            "an MLX port: sqrt(var + 1e-7), biased; NeMo #7225",
            POOLED,
            |call| {
                stats_pool(
                    call,
                    &Pool {
                        correction: 0.0,
                        ..POOL
                    },
                )
            },
        )
        .named("biased-deviation"),
        stage(
            "pool-eps",
            "1e-7 is added to the variance",
            "an MLX port: sqrt(var + 1e-7)",
            POOLED,
            |call| stats_pool(call, &Pool { eps: 1e-7, ..POOL }),
        )
        .named("eps-1e-7"),
        stage(
            "pool-variance",
            "variances in place of deviations",
            "coremltools #2718",
            POOLED,
            |call| {
                stats_pool(
                    call,
                    &Pool {
                        variance: true,
                        ..POOL
                    },
                )
            },
        )
        .named("variance-for-deviation"),
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
        .named("deviation-first"),
        stage(
            "pool-one-frame-short",
            "the first frame is left out of the pool",
            "off by one",
            POOLED,
            |call| stats_pool(call, &Pool { skipped: 1, ..POOL }),
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
                    name: call.name,
                    inputs: vec![swapped(call)?],
                    value: call.value.clone(),
                    bundle: call.bundle,
                };
                stats_pool(&turned, &POOL)
            },
        )
        .named("flattened-otherwise"),
        weights(
            "last-bias-missing",
            "the last layer has no bias",
            "CrispASR ECAPA",
            LAST,
            |edit| edit.each("resnet.seg_1.bias", zero),
        )
        .named("bias-left-out"),
        weights(
            "last-weights-f16",
            "the last layer was stored in 16 bits",
            "speakrs ADR 001: DER 6.8 to 27.1 %",
            LAST,
            |edit| edit.each("resnet.seg_1.weight", half),
        )
        .named("weights-in-f16"),
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
        .named("length-1"),
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
        .named("relu-after"),
    ]
}
