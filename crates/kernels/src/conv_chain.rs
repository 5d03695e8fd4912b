//! A fused chain of convolutions whose intermediate results stay in the cache of a core.

use std::{ops::Range, sync::Arc};

use crate::{Conv2d, Images, strip::Strip};

/// A chain of convolutions, computed some rows at a time: a step computes rows as soon as the rows of its inputs are
/// complete, and rows that no step needs any more are overwritten.
///
/// The result has the same bits as the convolutions one by one over whole images. Those are larger than a cache, and
/// reading and writing them takes half as long as the products.
#[derive(Debug, Clone)]
pub struct ConvChain {
    steps: Vec<ConvStep>,
}

/// A convolution of a [`ConvChain`].
#[derive(Debug, Clone)]
pub struct ConvStep {
    /// The convolution.
    pub conv: Arc<Conv2d>,
    /// Its input: 0 for the images that the chain gets, `n` for the result of the `n`-th step.
    pub input: usize,
    /// The result that is added, if any, numbered likewise.
    pub residual: Option<usize>,
    /// Whether a ReLU follows.
    pub relu: bool,
}

/// Rows that a step computes at once: an entry of the schedule.
struct Scheduled {
    step: usize,
    rows: Range<usize>,
}

impl ConvChain {
    /// A chain of `steps`, the last of which gives the result.
    ///
    /// # Panics
    /// If there are no steps, or one takes the result of itself or of a later one.
    #[must_use]
    pub fn new(steps: Vec<ConvStep>) -> Self {
        assert!(!steps.is_empty());
        for (index, step) in steps.iter().enumerate() {
            assert!(step.input <= index && step.residual.is_none_or(|source| source <= index));
        }
        Self { steps }
    }

    /// All steps over `images`, on one thread: see [`Conv2d::forward`] for each.
    ///
    /// # Panics
    /// If a step has another shape than the step that takes its result.
    pub fn forward(&self, images: &Images) -> Images {
        let shapes = self.shapes(images.shape());
        let schedule = self.schedule(&shapes);
        let kept = self.kept(&shapes, &schedule);
        let (pool, last) = (images.pool(), self.steps.len());
        let mut out = Images::new(pool, shapes[last]);
        // Ring buffers of the rows of all steps except the last.
        let mut between: Vec<_> = (1..last)
            .map(|source| {
                let [_, channels, _, width] = shapes[source];
                Images::new(pool, [1, channels, kept[source], width])
            })
            .collect();
        for index in 0..images.shape()[0] {
            for Scheduled { step, rows } in &schedule {
                let (before, from_here) = between.split_at_mut(*step);
                let step = &self.steps[*step];
                let source = |source: usize| match source {
                    0 => (images, index),
                    _ => (&before[source - 1], 0),
                };
                let (input, place) = source(step.input);
                let (height, rows_there) = (shapes[step.input][2], input.shape()[2]);
                let line = |y: isize| match usize::try_from(y) {
                    Ok(y) if y < height => input.line(place, (y % rows_there) as isize),
                    _ => input.line(place, -1),
                };
                let residual = step.residual.map_or_else(Vec::new, |residual| {
                    let (residual, place) = source(residual);
                    let rows_there = residual.shape()[2];
                    let row = |y| residual.row(place, y % rows_there);
                    rows.clone().map(row).collect()
                });
                let strip = Strip {
                    lines: step.conv.lines(rows.clone()).map(line).collect(),
                    residual,
                    out: match from_here.first_mut() {
                        Some(images) => images.some_rows_mut(0, rows.clone()),
                        None => out.some_rows_mut(index, rows.clone()),
                    },
                };
                step.conv.strip(strip, step.relu, pool);
            }
        }
        out
    }

    /// Shapes of the input images, and of the result of each step.
    fn shapes(&self, images: [usize; 4]) -> Vec<[usize; 4]> {
        let mut shapes = vec![images];
        for step in &self.steps {
            let shape = step.conv.out_shape(shapes[step.input]);
            assert!(step.residual.is_none_or(|source| shapes[source] == shape));
            shapes.push(shape);
        }
        shapes
    }

    /// The order in which steps compute rows: every step as late as possible.
    fn schedule(&self, shapes: &[[usize; 4]]) -> Vec<Scheduled> {
        let last = self.steps.len();
        let mut made = vec![0; last + 1];
        made[0] = shapes[0][2];
        let mut schedule = Vec::new();
        self.extend(last, shapes[last][2], shapes, &mut made, &mut schedule);
        schedule
    }

    /// Extends `schedule` until `rows` rows of `source` are computed. `made` rows of each source already are.
    fn extend(
        &self,
        source: usize,
        rows: usize,
        shapes: &[[usize; 4]],
        made: &mut [usize],
        schedule: &mut Vec<Scheduled>,
    ) {
        while made[source] < rows {
            let step = &self.steps[source - 1];
            let [_, _, height, width] = shapes[source];
            let start = made[source];
            let rows = start..height.min(start + step.conv.rows_at_once(width));
            let below = usize::try_from(step.conv.lines(rows.clone()).end).unwrap_or(0);
            let needed = below.min(shapes[step.input][2]);
            self.extend(step.input, needed, shapes, made, schedule);
            if let Some(residual) = step.residual {
                self.extend(residual, rows.end, shapes, made, schedule);
            }
            made[source] = rows.end;
            let step = source - 1;
            schedule.push(Scheduled { step, rows });
        }
    }

    /// The size of each source's ring buffer: the most rows from the first that a step still needs to the last.
    fn kept(&self, shapes: &[[usize; 4]], schedule: &[Scheduled]) -> Vec<usize> {
        let mut made = vec![0; shapes.len()];
        let mut kept = made.clone();
        for Scheduled { step, rows } in schedule {
            let source = step + 1;
            // The first row that each of the steps that take it needs next.
            let needed = (1..).zip(&self.steps).flat_map(|(taker, step)| {
                let next = made[taker];
                let unfinished = next < shapes[taker][2];
                let top = usize::try_from(step.conv.lines(next..next + 1).start).unwrap_or(0);
                let of_input = (unfinished && step.input == source).then_some(top);
                let of_residual = (unfinished && step.residual == Some(source)).then_some(next);
                [of_input, of_residual]
            });
            let first = needed.flatten().fold(rows.start, usize::min);
            kept[source] = kept[source].max(rows.end - first);
            made[source] = rows.end;
        }
        kept
    }
}
