//! The stages of clustering against scipy, scikit-learn and pyannote.audio.
//!
//! `reference/clustering.py` made the cases with the answers: `reference/clustering_cases.json` holds random
//! ones, `reference/clustering_captures.json` those about captured recordings with forced numbers of speakers.

#![expect(
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests may panic and print like the tests themselves"
)]

mod support;

use std::path::{Path, PathBuf};

use ndarray::{Array2, Array3};
use serde::Deserialize;
use soundalike_convert::{Clustering, Linkage, load};
use soundalike_diarize::{
    SpeakerBounds,
    clustering::{
        Method, agglomerative::agglomerative, assignment::constrained, kmeans::kmeans,
        linkage::linkage,
    },
    reconstruction::Assignment,
};
use support::{Capture, assets};

/// Of heights, relative to the largest: scipy rounds each of up to 80 merges a few times.
const MAX_HEIGHT_ERROR: f64 = 80.0 * 8.0 * f64::EPSILON;
/// Random cases of each kind where scipy is at hand.
const FRESH: usize = 500;

#[derive(Deserialize)]
struct Points {
    scale: f64,
    points: Vec<Vec<i64>>,
}

impl Points {
    fn array(&self) -> Array2<f32> {
        let shape = (self.points.len(), self.points[0].len());
        Array2::from_shape_fn(shape, |(row, column)| {
            (self.points[row][column] as f64 / self.scale) as f32
        })
    }
}

#[derive(Deserialize)]
struct Cases {
    linkage: Vec<LinkageCase>,
    kmeans: Vec<KMeansCase>,
    assignment: Vec<AssignmentCase>,
    agglomerative: Vec<AgglomerativeCase>,
}

#[derive(Deserialize)]
struct LinkageCase {
    #[serde(flatten)]
    points: Points,
    method: Linkage,
    /// Rows of scipy: left, right, height, size.
    merges: Vec<(f64, f64, f64, f64)>,
    threshold: f64,
    labels: Vec<usize>,
}

impl LinkageCase {
    fn check(&self) -> Result<(), String> {
        let tree = linkage(self.points.array().view(), self.method);
        let highest = self
            .merges
            .iter()
            .fold(0.0, |most: f64, merge| most.max(merge.2));
        for (index, (ours, theirs)) in tree.merges.iter().zip(&self.merges).enumerate() {
            // What pyannote's pipelines use is compared to the last bit.
            let allowed = if self.method == Linkage::Centroid {
                0.0
            } else {
                MAX_HEIGHT_ERROR * highest
            };
            let same = (ours.left, ours.right, ours.size)
                == (theirs.0 as usize, theirs.1 as usize, theirs.3 as usize);
            if !same || (ours.height - theirs.2).abs() > allowed {
                return Err(format!("merge {index}: {ours:?}, scipy {theirs:?}"));
            }
        }
        equal(&tree.cut(self.threshold), &self.labels)
    }
}

#[derive(Deserialize)]
struct KMeansCase {
    #[serde(flatten)]
    points: Points,
    clusters: usize,
    labels: Vec<usize>,
}

impl KMeansCase {
    fn check(&self) -> Result<(), String> {
        equal(
            &kmeans(self.points.array().view(), self.clusters),
            &self.labels,
        )
    }
}

#[derive(Deserialize)]
struct AssignmentCase {
    scale: f64,
    similarities: Vec<Vec<Vec<i64>>>,
    speaking: Vec<Vec<bool>>,
    /// -2 for nobody.
    assigned: Vec<Vec<i64>>,
}

impl AssignmentCase {
    fn check(&self) -> Result<(), String> {
        let [windows, speakers, clusters] = [
            self.similarities.len(),
            self.similarities[0].len(),
            self.similarities[0][0].len(),
        ];
        let similarities = Array3::from_shape_fn((windows, speakers, clusters), |(w, s, k)| {
            self.similarities[w][s][k] as f64 / self.scale
        });
        let speaking = Array2::from_shape_fn((windows, speakers), |(w, s)| self.speaking[w][s]);
        let expected = Assignment::from_shape_fn((windows, speakers), |(w, s)| {
            usize::try_from(self.assigned[w][s]).ok()
        });
        equal(
            &constrained(similarities.view(), speaking.view()),
            &expected,
        )
    }
}

#[derive(Deserialize)]
struct AgglomerativeCase {
    #[serde(flatten)]
    points: Points,
    method: Linkage,
    min_cluster_size: usize,
    threshold: f64,
    min: Option<usize>,
    max: Option<usize>,
    labels: Vec<usize>,
}

impl AgglomerativeCase {
    fn check(&self) -> Result<(), String> {
        let (labels, _) = agglomerative(
            self.points.array().view(),
            self.method,
            self.min_cluster_size,
            self.threshold,
            bounds(self.min, self.max),
        );
        equal(&labels, &self.labels)
    }
}

fn bounds(min: Option<usize>, max: Option<usize>) -> SpeakerBounds {
    SpeakerBounds::new(min.unwrap_or(1), max.unwrap_or(usize::MAX)).expect("bounds")
}

fn equal<T: PartialEq + std::fmt::Debug>(ours: &T, theirs: &T) -> Result<(), String> {
    if ours == theirs {
        Ok(())
    } else {
        Err(format!("{ours:?}, expected {theirs:?}"))
    }
}

/// The cases that fail, after all have been tried.
fn failures<T>(kind: &str, cases: &[T], check: impl Fn(&T) -> Result<(), String>) -> Vec<String> {
    println!("{kind}: {} cases", cases.len());
    let wrong = cases.iter().enumerate().filter_map(|(index, case)| {
        let problem = check(case).err()?;
        Some(format!("{kind} {index}: {problem}"))
    });
    wrong.collect()
}

fn read<T: for<'a> Deserialize<'a>>(path: &Path) -> T {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn check(cases: &Cases) {
    let mut wrong = failures("linkage", &cases.linkage, LinkageCase::check);
    wrong.extend(failures("k-means", &cases.kmeans, KMeansCase::check));
    wrong.extend(failures(
        "assignment",
        &cases.assignment,
        AssignmentCase::check,
    ));
    wrong.extend(failures(
        "agglomerative",
        &cases.agglomerative,
        AgglomerativeCase::check,
    ));
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

fn reference(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../reference")
        .join(file)
}

#[test]
fn frozen_cases_come_out_as_scipy_and_scikit_learn_have_them() {
    check(&read(&reference("clustering_cases.json")));
}

#[test]
fn fresh_cases_come_out_as_scipy_and_scikit_learn_have_them() {
    let python = reference(".venv/bin/python");
    if !python.is_file() {
        println!("skipped: no reference/.venv");
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let cases = directory.path().join("cases.json");
    let status = std::process::Command::new(python)
        .arg(reference("clustering.py"))
        .args(["--seed", "1", "--cases", &FRESH.to_string(), "-o"])
        .arg(&cases)
        .status();
    assert!(status.expect("python starts").success());
    check(&read(&cases));
}

#[derive(Deserialize)]
struct Captures {
    captures: Vec<CaptureCase>,
}

#[derive(Deserialize)]
struct CaptureCase {
    capture: String,
    clustering: String,
    min: Option<usize>,
    max: Option<usize>,
    clusters: usize,
    /// A digit for each local speaker, window by window; a dash for nobody.
    assigned: String,
}

mod assets {
    use super::*;

    #[test]
    #[ignore = "needs SOUNDALIKE_ASSETS"]
    fn recordings_with_a_forced_number_of_speakers_are_clustered_as_by_pyannote() {
        let assets = assets();
        let bundle = load(&assets.join("pipelines/community-1-synthetic/plda")).expect("a PLDA");
        let cases: Captures = read(&reference("clustering_captures.json"));
        let check = |case: &CaptureCase| {
            let config = match case.clustering.as_str() {
                "VBxClustering" => Clustering::VBx {
                    threshold: 0.6,
                    fa: 0.07,
                    fb: 0.8,
                },
                "AgglomerativeClustering" => Clustering::Agglomerative {
                    method: Linkage::Centroid,
                    min_cluster_size: 12,
                    threshold: 0.704_565_496_394_579_9,
                },
                _ => Clustering::KMeans {},
            };
            let method = Method::new(&config, Some(&bundle)).map_err(|error| error.to_string())?;
            let capture = Capture::new(&assets, &case.capture);
            let activity: Array3<f32> = capture.array("segmentations.npz", "segmentations");
            let embeddings: Array3<f32> = capture.array("raw_embeddings.npz", "embeddings");
            let bounds = bounds(case.min, case.max);
            let clusters = method.cluster(embeddings.view(), activity.view(), bounds);
            let digit = |cluster: &Option<usize>| cluster.map_or("-".to_owned(), |k| k.to_string());
            let assigned: String = clusters.assignment.iter().map(digit).collect();
            equal(&clusters.centroids.nrows(), &case.clusters)?;
            equal(&assigned, &case.assigned).map_err(|error| {
                let (capture, clustering) = (&case.capture, &case.clustering);
                format!("{capture}, {clustering}, {bounds:?}: {error}")
            })
        };
        let wrong = failures("captures", &cases.captures, check);
        assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
    }
}
