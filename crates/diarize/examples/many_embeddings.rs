//! How long the clustering of speaker-diarization-3.1 takes for made-up embeddings. Five hours of conversation have some
//! 25,000.
//!
//! ```sh
//! cargo run --release -p soundalike-diarize --example many_embeddings -- 5000 25000 50000
//! ```

#![expect(clippy::print_stdout, reason = "it has nothing else to do")]

use std::time::Instant;

use ndarray::Array2;
use rand_mt::Mt;
use soundalike_convert::Linkage;
use soundalike_diarize::clustering::{SpeakerBounds, agglomerative::agglomerative};

/// Values of an embedding.
const DIMENSION: usize = 256;
/// Voices, far from one another.
const VOICES: usize = 8;
/// How much of an embedding is not the voice, each value of it.
const NOISE: f32 = 0.05;
/// Of speaker-diarization-3.1, `config.yaml`.
const THRESHOLD: f64 = 0.704_565_467_566_714_2;
const MIN_CLUSTER_SIZE: usize = 12;

fn main() -> Result<(), std::num::ParseIntError> {
    for rows in std::env::args().skip(1) {
        let rows = rows.parse()?;
        let embeddings = embeddings(rows);
        let start = Instant::now();
        let (labels, _) = agglomerative(
            embeddings.view(),
            Linkage::Centroid,
            MIN_CLUSTER_SIZE,
            THRESHOLD,
            SpeakerBounds::default(),
        );
        let speakers = labels.iter().max().map_or(0, |last| last + 1);
        println!(
            "{rows} embeddings: {speakers} speakers, {:.1} s",
            start.elapsed().as_secs_f64()
        );
    }
    Ok(())
}

/// Each of one of the voices, with noise of its own.
fn embeddings(rows: usize) -> Array2<f32> {
    let mut random = Mt::new(0);
    let mut value = || (f64::from(random.next_u32()) / f64::from(u32::MAX)) as f32 * 2.0 - 1.0;
    Array2::from_shape_fn((rows, DIMENSION), |(row, column)| {
        f32::from(column == row % VOICES) + NOISE * value()
    })
}
