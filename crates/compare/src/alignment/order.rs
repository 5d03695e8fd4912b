//! Matching by order of execution, where values agree no longer.

/// The cost of a stage that is left without a tensor: more than the largest distance, so that one stage alone gets a tensor
/// however wrong that is, and little more, so that others are not moved to wrong ones for it.
const LEFT_OUT: f64 = 1.01;

/// Matches stages to tensors, both in order of execution, without crossing: the matching of least total `distance`, which is
/// infinite for a pair that cannot be. For each stage the tensor, if it gets one.
pub(super) fn monotone(
    stages: usize,
    tensors: usize,
    distance: impl Fn(usize, usize) -> f64,
) -> Vec<Option<usize>> {
    // best[s][t]: the least cost of the first s stages among the first t tensors.
    let mut best = vec![vec![0.0_f64; tensors + 1]; stages + 1];
    let cost = |s: usize, t: usize| {
        let distance = distance(s, t);
        if distance.is_finite() {
            distance.min(1.0)
        } else {
            f64::INFINITY
        }
    };
    for s in 1..=stages {
        best[s][0] = best[s - 1][0] + LEFT_OUT;
        for t in 1..=tensors {
            let matched = best[s - 1][t - 1] + cost(s - 1, t - 1);
            best[s][t] = matched.min(best[s - 1][t] + LEFT_OUT).min(best[s][t - 1]);
        }
    }
    let mut found = vec![None; stages];
    let (mut s, mut t) = (stages, tensors);
    while s > 0 && t > 0 {
        if best[s][t] == best[s][t - 1] {
            t -= 1;
        } else if best[s][t] == best[s - 1][t] + LEFT_OUT {
            s -= 1;
        } else {
            (s, t) = (s - 1, t - 1);
            found[s] = Some(t);
        }
    }
    found
}
