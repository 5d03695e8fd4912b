//! A run as a file: safetensors with one metadata key.
//!
//! | tensor | type, shape | what |
//! |---|---|---|
//! | `segmentations` | u8 `[window, frame, local speaker]` | 1 where they speak, else 0 |
//! | `counts` | u8 `[frame]` | speakers at each frame of the recording |
//! | `embeddings` | f32 `[window, local speaker, dimension]` | speaker embeddings, zeros for a silent local speaker |
//! | `plda` | u8 `[bytes]` | the bundle of the PLDA, where the clustering needs it |

use std::{borrow::Cow, fs::File, io::Read, path::Path};

use ndarray::Array3;
use safetensors::{Dtype, SafeTensorError, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};
use soundalike_convert::{Bundle, Container, ContainerError, FILE_NAME, is_file_name, quoted_name};
use soundalike_network::Architecture;

use crate::{
    Parameters,
    clustering::{self, Method},
    count::speaker_count,
    diarization::Model,
    frames::FrameGrid,
    parameters::{ParameterError, SpeakerClustering},
    run::Run,
};

/// What saved runs are.
const CONTAINER: Container = Container {
    key: "soundalike.run",
    format: 1,
};
/// Largest file that is read: twelve hours have 0.4 GB.
const MAX_BYTES: u64 = 2 << 30;
/// More local speakers than any network tells apart: those of a window are compared one by one.
const MAX_LOCAL_SPEAKERS: usize = 64;
/// Longest time that makes sense for a window, seconds.
const MAX_SECONDS: f64 = 3600.0;

/// What the metadata key holds, as JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: u32,
    uri: String,
    samples: u64,
    sample_rate: u32,
    grid: FrameGrid,
    parameters: Parameters,
    models: Vec<Model>,
    version: String,
}

/// Why a file gives no run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The file cannot be read.
    #[error("cannot be read")]
    Read {
        /// What the system said.
        source: std::io::Error,
    },
    /// It is larger than any run.
    #[error("has more than {MAX_BYTES} bytes, which no run has; is it another file?")]
    TooLarge,
    /// It is not a safetensors file.
    #[error(
        "is not a saved run, not even a safetensors file: {reason}; save one with `diarize --save-run`"
    )]
    Safetensors {
        /// The safetensors library's error. Its text includes its causes, so it is printed here and is not the
        /// `source()`.
        reason: SafeTensorError,
    },
    /// It is a safetensors file of something else.
    #[error("is a safetensors file, but not a saved run; save one with `diarize --save-run`")]
    NotARun,
    /// A run of another version.
    #[error(
        "is a run of format {found}, this program reads {expected}; save it again with `diarize --save-run`"
    )]
    Format {
        /// The version in the file.
        found: u32,
        /// The version this crate writes.
        expected: u32,
    },
    /// Its header is damaged.
    #[error("has a header that cannot be read; save it again with `diarize --save-run`")]
    Header {
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A tensor is missing, of another type or shape, or has values it cannot have.
    #[error("`{name}` is {found}, expected {expected}; save it again with `diarize --save-run`")]
    Tensor {
        /// The tensor, or a number of the header.
        name: &'static str,
        /// What is there.
        found: String,
        /// What should be there.
        expected: String,
    },
    /// A parameter has a value with which nothing can be computed.
    #[error(transparent)]
    Parameter(#[from] ParameterError),
    /// The clustering has not what it needs.
    #[error(transparent)]
    Clustering(#[from] clustering::SetupError),
    /// The PLDA is damaged.
    #[error(transparent)]
    Plda(soundalike_convert::Error),
}

impl From<ContainerError> for RunError {
    fn from(error: ContainerError) -> Self {
        match error {
            ContainerError::Safetensors(reason) => Self::Safetensors { reason },
            ContainerError::MissingKey => Self::NotARun,
            ContainerError::Format(found) => Self::Format {
                found,
                expected: CONTAINER.format,
            },
            ContainerError::Header(source) => Self::Header { source },
        }
    }
}

impl Run {
    /// The file, in memory. The same run gives the same bytes.
    ///
    /// # Errors
    /// [`RunError::Safetensors`] where it is larger than a file can be, [`RunError::Tensor`] where its `uri` is none that
    /// could be read back.
    pub fn to_bytes(&self) -> Result<Vec<u8>, RunError> {
        let header = Header {
            format: CONTAINER.format,
            uri: self.uri.clone(),
            samples: self.samples as u64,
            sample_rate: self.sample_rate,
            grid: self.grid,
            parameters: self.parameters.clone(),
            models: self.models.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
        };
        header.check_uri()?;
        let segmentations: Vec<u8> = self.activity.iter().map(|x| u8::from(*x > 0.0)).collect();
        let count = speaker_count(self.activity.view(), &self.grid);
        // A window has fewer local speakers than a byte can count.
        let counts: Vec<u8> = count.iter().map(|count| *count as u8).collect();
        let embeddings: Vec<u8> = self
            .embeddings
            .iter()
            .flat_map(|x| x.to_le_bytes())
            .collect();
        let invalid = |reason| RunError::Safetensors { reason };
        let mut tensors = Vec::new();
        for (name, dtype, shape, bytes) in [
            (
                "segmentations",
                Dtype::U8,
                self.activity.shape().to_vec(),
                &segmentations,
            ),
            ("counts", Dtype::U8, vec![counts.len()], &counts),
            (
                "embeddings",
                Dtype::F32,
                self.embeddings.shape().to_vec(),
                &embeddings,
            ),
        ] {
            tensors.push((name, TensorView::new(dtype, shape, bytes).map_err(invalid)?));
        }
        if let Some(plda) = &self.plda {
            let shape = vec![plda.bytes().len()];
            let view = TensorView::new(Dtype::U8, shape, plda.bytes()).map_err(invalid)?;
            tensors.push(("plda", view));
        }
        Ok(CONTAINER.write(&header, tensors)?)
    }

    /// Reads a file that [`Self::to_bytes`] made.
    ///
    /// # Errors
    /// [`RunError`], which does not name the file.
    pub fn read(path: &Path) -> Result<Self, RunError> {
        let read = |source| RunError::Read { source };
        let file = File::open(path).map_err(read)?;
        let mut bytes = Vec::new();
        file.take(MAX_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(read)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(RunError::TooLarge);
        }
        Self::from_bytes(&bytes)
    }

    /// Reads what [`Self::to_bytes`] made. Memory is taken in proportion to the bytes, whatever they say.
    ///
    /// # Errors
    /// [`RunError`] where it is something else or damaged.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RunError> {
        let (header, _, _): (Header, _, _) = CONTAINER.read(bytes)?;
        header.check()?;
        let tensors = SafeTensors::deserialize(bytes).map_err(ContainerError::Safetensors)?;

        let (shape, segmentations) = tensor(&tensors, "segmentations", Dtype::U8)?;
        let activity = segmentations.iter().map(|x| f32::from(*x)).collect();
        let activity = array("segmentations", shape, activity)?;
        if let Some(value) = segmentations.iter().find(|value| **value > 1) {
            return Err(refuse(
                "segmentations",
                format!("{value} somewhere"),
                "0 or 1",
            ));
        }
        let (shape, embeddings) = tensor(&tensors, "embeddings", Dtype::F32)?;
        let values = embeddings.as_chunks::<4>().0.iter();
        let values = values.map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let embeddings: Array3<f32> = array("embeddings", shape, values)?;
        if let Some(value) = embeddings.iter().find(|value| !value.is_finite()) {
            return Err(refuse(
                "embeddings",
                format!("{value} somewhere"),
                "finite values",
            ));
        }
        let (windows, frames, speakers) = activity.dim();
        if (embeddings.dim().0, embeddings.dim().1) != (windows, speakers) {
            return Err(refuse(
                "embeddings",
                format!("{:?}", embeddings.shape()),
                format!("[{windows}, {speakers}, dimension]"),
            ));
        }
        if speakers > MAX_LOCAL_SPEAKERS {
            let found = format!("of {speakers} local speakers");
            let expected = format!("of at most {MAX_LOCAL_SPEAKERS}");
            return Err(refuse("segmentations", found, expected));
        }
        let (shape, counts) = tensor(&tensors, "counts", Dtype::U8)?;
        let grid = header.grid;
        let (expected, last) = (grid.count(windows), grid.first_frame(windows - 1));
        // Compared before an array of this many frames is made.
        if shape != [expected] || last + frames > expected {
            let expected = format!(
                "[{expected}], as its grid says, and at least {}",
                last + frames
            );
            return Err(refuse("counts", format!("{shape:?}"), expected));
        }
        let counted = speaker_count(activity.view(), &grid);
        if !counts.iter().map(|count| usize::from(*count)).eq(counted) {
            return Err(refuse(
                "counts",
                "of another recording",
                "those of `segmentations`",
            ));
        }
        let plda = match tensors.tensor("plda") {
            Err(_) => None,
            Ok(view) => {
                let bytes = Cow::Owned(view.data().to_vec());
                Some(Bundle::from_bytes(bytes, "plda").map_err(RunError::Plda)?)
            }
        };
        if let SpeakerClustering::Pyannote(clustering) = &header.parameters.clustering {
            Method::new(clustering, plda.as_ref())?;
        }
        if let Some(Architecture::Plda(plda)) = plda.as_ref().map(Bundle::architecture)
            && plda.embedding_dim != embeddings.dim().2
        {
            return Err(refuse(
                "embeddings",
                format!("{:?}", embeddings.shape()),
                format!("[.., .., {}], as the PLDA takes them", plda.embedding_dim),
            ));
        }
        Ok(Self {
            uri: header.uri,
            samples: header.samples as usize,
            sample_rate: header.sample_rate,
            grid,
            activity,
            embeddings,
            plda,
            parameters: header.parameters,
            models: header.models,
        })
    }
}

impl Header {
    /// Refuses a name that would end a field of RTTM, or lead elsewhere as the name of a file.
    fn check_uri(&self) -> Result<(), RunError> {
        if is_file_name(&self.uri) && !self.uri.contains(char::is_whitespace) {
            return Ok(());
        }
        let expected = format!("{FILE_NAME}, and no white space");
        Err(refuse("uri", quoted_name(&self.uri), expected))
    }

    /// Refuses numbers that no run has.
    fn check(&self) -> Result<(), RunError> {
        self.parameters.check()?;
        self.check_uri()?;
        if self.samples == 0 || self.sample_rate == 0 {
            let found = format!("{} samples at {} Hz", self.samples, self.sample_rate);
            return Err(refuse("samples", found, "some, at some rate"));
        }
        let FrameGrid {
            duration,
            step,
            window_duration,
            window_step,
        } = self.grid;
        for seconds in [duration, step, window_duration, window_step] {
            // A frame is at least a sample.
            if !(1.0 / f64::from(self.sample_rate)..=MAX_SECONDS).contains(&seconds) {
                let expected = format!("times from one sample to {MAX_SECONDS} s");
                return Err(refuse("grid", format!("{:?}", self.grid), expected));
            }
        }
        if window_step < step {
            let found = format!("windows every {window_step} s, frames every {step} s");
            return Err(refuse("grid", found, "windows no oftener than frames"));
        }
        Ok(())
    }
}

/// Shape and bytes of the tensor `name`.
fn tensor<'a>(
    tensors: &SafeTensors<'a>,
    name: &'static str,
    dtype: Dtype,
) -> Result<(Vec<usize>, &'a [u8]), RunError> {
    match tensors.tensor(name) {
        Err(_) => Err(refuse(name, "missing", format!("a tensor of {dtype}"))),
        Ok(view) if view.dtype() != dtype => {
            Err(refuse(name, view.dtype().to_string(), dtype.to_string()))
        }
        Ok(view) => Ok((view.shape().to_vec(), view.data())),
    }
}

/// `values` as an array of three axes, none of them empty.
fn array(name: &'static str, shape: Vec<usize>, values: Vec<f32>) -> Result<Array3<f32>, RunError> {
    let wrong = |found: String| refuse(name, found, "three axes, none of them empty");
    let &[a, b, c] = shape.as_slice() else {
        return Err(wrong(format!("{shape:?}")));
    };
    if a * b * c == 0 {
        return Err(wrong(format!("{shape:?}")));
    }
    Array3::from_shape_vec((a, b, c), values).map_err(|_| wrong(format!("{shape:?}")))
}

fn refuse(name: &'static str, found: impl Into<String>, expected: impl Into<String>) -> RunError {
    RunError::Tensor {
        name,
        found: found.into(),
        expected: expected.into(),
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array3, s};
    use proptest::prelude::*;

    use super::*;
    use crate::Options;

    /// Two windows of ten frames, every five, in which one and the same person speaks.
    fn run() -> Run {
        let mut activity = Array3::zeros((2, 10, 2));
        activity.slice_mut(s![0, 3..9, 1]).fill(1.0);
        activity.slice_mut(s![1, 0..4, 0]).fill(1.0);
        Run {
            uri: "talk".into(),
            samples: 15,
            sample_rate: 1,
            grid: FrameGrid {
                duration: 1.0,
                step: 1.0,
                window_duration: 10.0,
                window_step: 5.0,
            },
            activity,
            embeddings: Array3::from_shape_fn((2, 2, 3), |(a, b, c)| (a + b * c) as f32 - 0.1),
            plda: None,
            parameters: Parameters::built_in(),
            models: crate::diarization::tests::dialogue().models,
        }
    }

    /// The run with another header: `from` in its JSON replaced by `to`.
    fn with_header(from: &str, to: &str) -> Vec<u8> {
        let bytes = run().to_bytes().unwrap();
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let header = std::str::from_utf8(&bytes[8..8 + length]).unwrap();
        // JSON within JSON.
        let [from, to] = [from, to].map(|text| text.replace('"', "\\\""));
        assert!(header.contains(&from), "{header}");
        let header = header.replacen(&from, &to, 1);
        let length = (header.len() as u64).to_le_bytes();
        let data = &bytes[bytes.len() - (40 + 16 + 48)..];
        [&length, header.as_bytes(), data].concat()
    }

    #[test]
    fn a_run_is_read_as_it_was_and_written_with_the_same_bytes() {
        let (run, bytes) = (run(), run().to_bytes().unwrap());
        let read = Run::from_bytes(&bytes).unwrap();
        assert_eq!(read.activity, run.activity);
        assert_eq!(read.embeddings, run.embeddings);
        assert_eq!(
            (read.grid, read.samples, read.sample_rate),
            (run.grid, 15, 1)
        );
        assert_eq!(
            (&read.parameters, &read.models),
            (&run.parameters, &run.models)
        );
        assert_eq!(read.to_bytes().unwrap(), bytes);
        let turns = |run: &Run| run.diarize(&Options::default()).unwrap().turns;
        assert_eq!(turns(&read), turns(&run));
        assert_eq!(turns(&read).turns().len(), 1);
    }

    #[test]
    fn a_header_that_no_run_has_is_refused_by_name() {
        for (from, to, part) in [
            (r#""format":1"#, r#""format":2"#, "is a run of format 2"),
            (
                r#""format":1"#,
                r#""format":"#,
                "header that cannot be read",
            ),
            (
                r#""uri":"talk""#,
                r#""uri":"my talk""#,
                "`uri` is `my talk`",
            ),
            (r#""uri":"talk""#, r#""uri":"""#, "`uri` is ``"),
            (
                r#""uri":"talk""#,
                r#""uri":"../talk""#,
                "`uri` is `../talk`, expected a name",
            ),
            (r#""uri":"talk""#, r#""uri":"/talk""#, "`uri` is `/talk`"),
            (r#""uri":"talk""#, r#""uri":"..""#, "`uri` is `..`"),
            (
                r#""samples":15"#,
                r#""samples":0"#,
                "`samples` is 0 samples",
            ),
            (r#""step":1.0"#, r#""step":1e-300"#, "`grid` is"),
            (r#""step":1.0"#, r#""step":0.001"#, "`grid` is"),
            (
                r#""window_step":5.0"#,
                r#""window_step":1e300"#,
                "`grid` is",
            ),
            (
                r#""step":1.0"#,
                r#""step":6.0"#,
                "`grid` is windows every 5 s",
            ),
            (
                r#""window_step":5.0"#,
                r#""window_step":3000.0"#,
                "`counts` is [16], expected [3011]",
            ),
            (
                r#""window_duration":10.0"#,
                r#""window_duration":9.0"#,
                "`counts` is [16], expected [15]",
            ),
            (
                r#""segmentation_step":0.1"#,
                r#""segmentation_step":7.0"#,
                "step is 7",
            ),
            (
                r#"{"built_in_threshold":0.4}"#,
                r#"{"built_in_threshold":9}"#,
                "threshold is 9",
            ),
            (
                r#"{"built_in_threshold":0.4}"#,
                r#"{"name":"VBxClustering","parameters":{"threshold":0.6,"Fa":0.07,"Fb":0.8}}"#,
                "needs a PLDA",
            ),
            (
                r#"{"built_in_threshold":0.4}"#,
                r#"{"name":"Guess"}"#,
                "header that cannot be read",
            ),
        ] {
            let error = Run::from_bytes(&with_header(from, to))
                .unwrap_err()
                .to_string();
            assert!(error.contains(part), "{to}: {error}");
        }
    }

    #[test]
    fn a_name_that_could_not_be_read_back_is_not_written() {
        let long = "a".repeat(256);
        for uri in [
            "../talk",
            "/talk",
            "a\\b",
            "talk\0",
            "\u{1b}[2J",
            "my talk",
            "",
            &long,
        ] {
            let named = Run {
                uri: uri.to_owned(),
                ..run()
            };
            let error = named.to_bytes().unwrap_err().to_string();
            assert!(error.starts_with("`uri` is `"), "{error}");
            assert!(
                !error.contains(char::is_control) && error.len() < 350,
                "{error}"
            );
        }
    }

    #[test]
    fn tensors_that_no_run_has_are_refused_by_name() {
        let changed = |change: &dyn Fn(&mut Run)| {
            let mut run = run();
            change(&mut run);
            let bytes = run.to_bytes().unwrap();
            Run::from_bytes(&bytes).unwrap_err().to_string()
        };
        let error = changed(&|run| run.embeddings[[0, 1, 2]] = f32::NAN);
        assert!(
            error.starts_with("`embeddings` is NaN somewhere"),
            "{error}"
        );
        let error = changed(&|run| run.embeddings = Array3::zeros((2, 3, 3)));
        assert!(
            error.starts_with("`embeddings` is [2, 3, 3], expected [2, 2, dimension]"),
            "{error}"
        );
        let error = changed(&|run| {
            run.activity = Array3::zeros((2, 10, 99));
            run.embeddings = Array3::zeros((2, 99, 3));
        });
        assert!(error.contains("of 99 local speakers"), "{error}");
        let error = changed(&|run| run.embeddings = Array3::zeros((2, 2, 0)));
        assert!(error.starts_with("`embeddings` is [2, 2, 0]"), "{error}");

        let mut bytes = run().to_bytes().unwrap();
        // Sorted by the size of their elements: embeddings, then counts, then segmentations.
        let end = bytes.len();
        bytes[end - 1] = 2;
        let error = Run::from_bytes(&bytes).unwrap_err().to_string();
        assert!(
            error.starts_with("`segmentations` is 2 somewhere"),
            "{error}"
        );
        bytes[end - 1] = 1;
        let error = Run::from_bytes(&bytes).unwrap_err().to_string();
        assert!(
            error.starts_with("`counts` is of another recording"),
            "{error}"
        );
    }

    #[test]
    fn what_is_no_run_is_refused() {
        let error = |bytes: &[u8]| Run::from_bytes(bytes).unwrap_err().to_string();
        for bytes in [&b""[..], b"RIFF", &[0xff; 100]] {
            assert!(
                error(bytes).contains("not even a safetensors file"),
                "{bytes:?}"
            );
        }
        let foreign = safetensors::serialize(Vec::<(String, TensorView<'_>)>::new(), None);
        assert!(error(&foreign.unwrap()).contains("not a saved run"));
    }

    proptest! {
        #[test]
        fn a_damaged_run_is_an_error_or_a_run_and_never_a_panic(
            place in any::<prop::sample::Index>(), value in any::<u8>(), end in any::<prop::sample::Index>()
        ) {
            let mut bytes = run().to_bytes().unwrap();
            let place = place.index(bytes.len());
            bytes[place] = value;
            if let Ok(run) = Run::from_bytes(&bytes) {
                prop_assert!(run.diarize(&Options::default()).is_ok());
            }
            let truncated = &bytes[..end.index(bytes.len())];
            prop_assert!(Run::from_bytes(truncated).is_err());
        }
    }
}
