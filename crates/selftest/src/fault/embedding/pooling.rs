//! Faults of the masks, of the pooling over time and of the last layer.

use soundalike_model::Tensor;
use soundalike_network::Cause;

use super::super::{
    Fault,
    call::{Call, POOL, POOLED, late, statistics, stats_pool},
    edit::{half, zero},
    fault,
};

const LAST: &[&str] = &["resnet.seg_1"];

pub(super) fn catalogue() -> Vec<Fault> {
    vec![
        fault("masks-late")
            .text("the masks are one frame late")
            .seen_in("mask frames and feature frames mixed")
            .stage(&["weights"], |call| late(&call.value, 2))
            .named(Cause::OneFrameLate),
        fault("masks-inverted")
            .text("the masks are those of everybody else")
            .seen_in("FluidAudio #523")
            .stage(&["weights"], |call| call.value.neg()? + 1.0)
            .named(Cause::MasksInverted),
        fault("pool-biased")
            .text("the deviation is divided by n")
            .seen_in("an MLX port: sqrt(var + 1e-7), biased; NeMo #7225")
            .stats_pool(|pool| pool.correction = 0.0)
            .named(Cause::BiasedDeviation),
        fault("pool-eps")
            .text("1e-7 is added to the variance")
            .seen_in("an MLX port: sqrt(var + 1e-7)")
            .stats_pool(|pool| pool.eps = 1e-7)
            .named(Cause::Eps(1e-7)),
        fault("pool-variance")
            .text("variances in place of deviations")
            .seen_in("coremltools #2718")
            .stats_pool(|pool| pool.variance = true)
            .named(Cause::VarianceForDeviation),
        fault("pool-deviation-first")
            .text("deviations first, then means")
            .seen_in("CrispASR ECAPA")
            .stage(POOLED, |call| {
                let (mean, deviation) = statistics(call, &POOL)?;
                let last = mean.rank() - 1;
                Tensor::cat(&[deviation, mean], last)
            })
            .named(Cause::DeviationFirst),
        fault("pool-one-frame-short")
            .text("the first frame is left out of the pool")
            .seen_in("off by one")
            .stats_pool(|pool| pool.skipped = 1),
        fault("pool-flattened-otherwise")
            .text("bands and channels are flattened in the other order")
            .seen_in("MLX FINAL_STATUS: time and frequency swapped")
            .stage(POOLED, |call| {
                let turned = call.input()?.transpose(1, 2)?.contiguous()?;
                let turned = Call {
                    operands: [turned]
                        .into_iter()
                        .chain(call.operands.get(1).cloned())
                        .collect(),
                    value: call.value.clone(),
                    ..*call
                };
                stats_pool(&turned, &POOL)
            })
            .named(Cause::FlattenedOtherwise),
        fault("last-bias-missing")
            .text("the last layer has no bias")
            .seen_in("CrispASR ECAPA")
            .weights(LAST, |edit| edit.each("resnet.seg_1.bias", zero))
            .named(Cause::BiasLeftOut),
        fault("last-weights-f16")
            .text("the last layer was stored in 16 bits")
            .seen_in("speakrs ADR 001: DER 6.8 to 27.1 %")
            .weights(LAST, |edit| edit.each("resnet.seg_1.weight", half))
            .named(Cause::WeightsInF16),
        fault("embedding-normalised")
            .text("the embedding is divided by its length")
            .seen_in("MLX FINAL_STATUS: shipped, ranks kept 2 of 4")
            .stage(LAST, |call| {
                let axis = call.value.rank() - 1;
                let length = call.value.sqr()?.sum_keepdim(axis)?.sqrt()?;
                call.value.broadcast_div(&length)
            })
            .named(Cause::Length1),
        fault("embedding-gain")
            .text("the embedding has a gain of 3")
            .seen_in("librosa scale=True; CrispASR CQT: correlation .9999")
            .stage(LAST, |call| call.value.clone() * 3.0),
        fault("embedding-activated")
            .text("a ReLU follows the last layer")
            .seen_in("two_emb_layer networks")
            .stage(LAST, |call| call.value.relu())
            .named(Cause::ReluAfter),
    ]
}
