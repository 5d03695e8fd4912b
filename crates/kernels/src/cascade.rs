//! Convolutions one after the other, while what lies between them is in the cache of a core.

use std::{ops::Range, sync::Arc};

use crate::{Conv2d, Images, strip::Strip};

/// Convolutions that take each other's results, some rows at a time: each goes on as soon as the rows are there that it
/// depends on, and rows that nobody needs any more make room for others.
///
/// The bits are those of the convolutions one by one, over whole images. These are larger than a cache, and reading and
/// writing them takes as long as half of the products.
#[derive(Debug, Clone)]
pub struct Cascade {
    steps: Vec<Step>,
}

/// A convolution of a [`Cascade`].
#[derive(Debug, Clone)]
pub struct Step {
    /// The convolution.
    pub conv: Arc<Conv2d>,
    /// Whose result it takes: 0 are the images that go into the cascade, 1 is the first step.
    pub input: usize,
    /// Whose result is added, if any, numbered likewise.
    pub residual: Option<usize>,
    /// Whether negative values become 0.
    pub relu: bool,
}

/// Rows that a step makes in one go.
struct Turn {
    step: usize,
    rows: Range<usize>,
}

impl Cascade {
    /// Of `steps`, the last of which makes the result.
    ///
    /// # Panics
    /// Where there are no steps, or one takes what comes after it.
    #[must_use]
    pub fn new(steps: Vec<Step>) -> Self {
        assert!(!steps.is_empty());
        for (index, step) in steps.iter().enumerate() {
            assert!(step.input <= index && step.residual.is_none_or(|source| source <= index));
        }
        Self { steps }
    }

    /// `images` through all steps, on one thread: see [`Conv2d::forward`] for each.
    ///
    /// # Panics
    /// Where the shape of one step is not what another takes.
    #[must_use]
    pub fn forward(&self, images: &Images) -> Images {
        let shapes = self.shapes(images.shape());
        let turns = self.turns(&shapes);
        let kept = self.kept(&shapes, &turns);
        let (pool, last) = (images.pool(), self.steps.len());
        let mut out = Images::new(pool, shapes[last]);
        // Of each step but the last, as many rows as are kept: a new one takes the place of one that is done with.
        let mut between: Vec<_> = (1..last)
            .map(|source| {
                let [_, channels, _, width] = shapes[source];
                Images::new(pool, [1, channels, kept[source], width])
            })
            .collect();
        for index in 0..images.shape()[0] {
            for Turn { step, rows } in &turns {
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

    /// Shapes of the images that go in, and of the result of each step.
    fn shapes(&self, images: [usize; 4]) -> Vec<[usize; 4]> {
        let mut shapes = vec![images];
        for step in &self.steps {
            let shape = step.conv.out_shape(shapes[step.input]);
            assert!(step.residual.is_none_or(|source| shapes[source] == shape));
            shapes.push(shape);
        }
        shapes
    }

    /// Who makes which rows when: every step as late as it can.
    fn turns(&self, shapes: &[[usize; 4]]) -> Vec<Turn> {
        let last = self.steps.len();
        let mut made = vec![0; last + 1];
        made[0] = shapes[0][2];
        let mut turns = Vec::new();
        self.make(last, shapes[last][2], shapes, &mut made, &mut turns);
        turns
    }

    /// Adds what it takes until `rows` rows of `source` are there to `turns`. `made` are there already.
    fn make(
        &self,
        source: usize,
        rows: usize,
        shapes: &[[usize; 4]],
        made: &mut [usize],
        turns: &mut Vec<Turn>,
    ) {
        while made[source] < rows {
            let step = &self.steps[source - 1];
            let [_, _, height, width] = shapes[source];
            let start = made[source];
            let rows = start..height.min(start + step.conv.rows_at_once(width));
            let below = usize::try_from(step.conv.lines(rows.clone()).end).unwrap_or(0);
            let needed = below.min(shapes[step.input][2]);
            self.make(step.input, needed, shapes, made, turns);
            if let Some(residual) = step.residual {
                self.make(residual, rows.end, shapes, made, turns);
            }
            made[source] = rows.end;
            let step = source - 1;
            turns.push(Turn { step, rows });
        }
    }

    /// The most rows of each source that there are between the first that somebody still needs and the last.
    fn kept(&self, shapes: &[[usize; 4]], turns: &[Turn]) -> Vec<usize> {
        let mut made = vec![0; shapes.len()];
        let mut kept = made.clone();
        for Turn { step, rows } in turns {
            let source = step + 1;
            // Of those who take it, the first row that each needs next.
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
