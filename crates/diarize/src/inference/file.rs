//! A run as a file: safetensors with one metadata key.
//!
//! | tensor | type, shape | content |
//! |---|---|---|
//! | `segmentations` | u8 `[window, frame, local speaker]` | 1 if the local speaker is active, else 0 |
//! | `counts` | u8 `[frame]` | active speakers at each frame of the recording |
//! | `embeddings` | f32 `[window, local speaker, dimension]` | speaker embeddings; zeros for a silent local speaker |
//! | `plda` | u8 `[bytes]` | the bundle of the PLDA, if the clustering needs one |

use std::{borrow::Cow, fs::File, io::Read, path::Path};

use ndarray::Array3;
use safetensors::{Dtype, SafeTensorError, SafeTensors, tensor::TensorView};
use soundalike_convert::{
    Bundle, Container, ContainerError, FILE_NAME_RULE, is_file_name, quoted_name,
};

use super::{Header, Inference};
use crate::{clustering, count::speaker_count, parameters::ParameterError};

/// The container format of saved runs.
const CONTAINER: Container = Container {
    key: "soundalike.run",
    format: Header::FORMAT,
};
/// Largest file that is read. A run of twelve hours has 0.4 GB.
const MAX_BYTES: u64 = 2 << 30;
/// Most local speakers, more than any network separates: the time for a window grows with their number.
const MAX_LOCAL_SPEAKERS: usize = 64;

/// Why there is no run of a file or of these outputs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InferenceError {
    /// The file cannot be read.
    #[error("cannot be read")]
    Read(#[source] std::io::Error),
    /// The file is larger than any run.
    #[error("has more than {MAX_BYTES} bytes, which no run has; is it another file?")]
    TooLarge,
    /// The file is not a safetensors file. The library's error is printed here, with its causes, and is not the
    /// `source()`.
    #[error(
        "is not a saved run, not even a safetensors file: {0}; save one with `diarize --save-run`"
    )]
    Safetensors(SafeTensorError),
    /// The safetensors file holds something else.
    #[error("is a safetensors file, but not a saved run; save one with `diarize --save-run`")]
    NotARun,
    /// The run has another version of the format.
    #[error(
        "is a run of format {found}, this program reads {}; save it again with `diarize --save-run`",
        Header::FORMAT
    )]
    Format {
        /// The version found.
        found: u32,
    },
    /// The header is damaged.
    #[error("has a header that cannot be read; save it again with `diarize --save-run`")]
    Header(#[source] serde_json::Error),
    /// A tensor or a value of the header is missing, has another type or shape, or an invalid value.
    #[error("`{name}` is {found}, expected {expected}; save it again with `diarize --save-run`")]
    Tensor {
        /// The tensor or the key of the header.
        name: &'static str,
        /// What was found.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// A parameter has an invalid value.
    #[error(transparent)]
    Parameter(#[from] ParameterError),
    /// The clustering cannot be set up.
    #[error(transparent)]
    Clustering(#[from] clustering::SetupError),
    /// The PLDA is damaged.
    #[error(transparent)]
    Plda(#[from] soundalike_convert::Error),
}

impl From<ContainerError> for InferenceError {
    fn from(error: ContainerError) -> Self {
        match error {
            ContainerError::Safetensors(error) => Self::Safetensors(error),
            ContainerError::MissingKey => Self::NotARun,
            ContainerError::Format(found) => Self::Format { found },
            ContainerError::Header(error) => Self::Header(error),
        }
    }
}

impl Inference {
    /// The run as the bytes of a file. The same run gives the same bytes.
    ///
    /// # Errors
    /// [`InferenceError::Safetensors`] if it is larger than a file can be, [`InferenceError::Tensor`] if its `uri` is one that
    /// [`Self::read`] refuses.
    pub fn to_bytes(&self) -> Result<Vec<u8>, InferenceError> {
        let Self {
            header,
            activity,
            embeddings,
            plda,
        } = self;
        header.check_uri()?;
        let segmentations: Vec<u8> = activity.iter().map(|x| u8::from(*x > 0.0)).collect();
        let counts = speaker_count(activity.view(), &header.grid);
        // A window has fewer local speakers than a byte can count.
        let counts: Vec<u8> = counts.iter().map(|count| *count as u8).collect();
        let values: Vec<u8> = embeddings.iter().flat_map(|x| x.to_le_bytes()).collect();
        let (activity, embeddings) = (activity.shape().to_vec(), embeddings.shape().to_vec());
        let mut tensors = vec![
            ("segmentations", Dtype::U8, activity, &*segmentations),
            ("counts", Dtype::U8, vec![counts.len()], &counts),
            ("embeddings", Dtype::F32, embeddings, &values),
        ];
        if let Some(bytes) = plda.as_ref().map(Bundle::bytes) {
            tensors.push(("plda", Dtype::U8, vec![bytes.len()], bytes));
        }
        let tensors = tensors
            .into_iter()
            .map(|(name, dtype, shape, bytes)| Ok((name, TensorView::new(dtype, shape, bytes)?)));
        let tensors: Result<Vec<_>, _> = tensors.collect();
        Ok(CONTAINER.write(header, tensors.map_err(InferenceError::Safetensors)?)?)
    }

    /// Reads a saved run.
    ///
    /// # Errors
    /// [`InferenceError`], which does not name the file.
    pub fn read(path: &Path) -> Result<Self, InferenceError> {
        let file = File::open(path).map_err(InferenceError::Read)?;
        Self::from_bytes(&read_at_most(MAX_BYTES, file)?)
    }

    /// Reads the bytes that [`Self::to_bytes`] gives. Memory is in proportion to the bytes, whatever they contain.
    fn from_bytes(bytes: &[u8]) -> Result<Self, InferenceError> {
        let (header, _, _): (Header, _, _) = CONTAINER.read(bytes)?;
        header.check_uri()?;
        if header.samples == 0 || header.sample_rate == 0 {
            let found = format!("{} samples at {} Hz", header.samples, header.sample_rate);
            return Err(refuse("samples", found, "at least one, at 1 Hz or more"));
        }
        let tensors = SafeTensors::deserialize(bytes).map_err(InferenceError::Safetensors)?;

        let (shape, segmentations) = tensor(&tensors, "segmentations", Dtype::U8)?;
        let activity = segmentations.iter().map(|x| f32::from(*x)).collect();
        let activity = array("segmentations", shape, activity)?;
        if let Some(value) = segmentations.iter().find(|value| **value > 1) {
            let found = format!("{value} somewhere");
            return Err(refuse("segmentations", found, "0 or 1"));
        }
        let speakers = activity.dim().2;
        if speakers > MAX_LOCAL_SPEAKERS {
            let found = format!("of {speakers} local speakers");
            let expected = format!("of at most {MAX_LOCAL_SPEAKERS}");
            return Err(refuse("segmentations", found, expected));
        }
        let (shape, values) = tensor(&tensors, "embeddings", Dtype::F32)?;
        let values = values.as_chunks::<4>().0.iter();
        let values = values.map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let embeddings = array("embeddings", shape, values)?;
        if let Some(value) = embeddings.iter().find(|value| !value.is_finite()) {
            let found = format!("{value} somewhere");
            return Err(refuse("embeddings", found, "finite values"));
        }
        let plda = match tensors.tensor("plda") {
            Err(_) => None,
            Ok(view) => Some(Bundle::from_bytes(
                Cow::Owned(view.data().to_vec()),
                "plda",
            )?),
        };
        let run = Self::new(header, activity, embeddings, plda)?;
        let (shape, counts) = tensor(&tensors, "counts", Dtype::U8)?;
        let expected = run.header.grid.count(run.activity.dim().0);
        // Compared before an array of this many frames is allocated.
        if shape != [expected] {
            let expected = format!("[{expected}], the number of frames on the grid");
            return Err(refuse("counts", format!("{shape:?}"), expected));
        }
        let expected = speaker_count(run.activity.view(), &run.header.grid);
        if !counts.iter().map(|count| usize::from(*count)).eq(expected) {
            let expected = "those of `segmentations`";
            return Err(refuse("counts", "of another recording", expected));
        }
        Ok(run)
    }
}

impl Header {
    /// Version of the file format that this crate reads and writes.
    pub(crate) const FORMAT: u32 = 1;
    /// Version of this crate.
    pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

    /// Refuses a name that would split a field of RTTM, or that is no file name.
    fn check_uri(&self) -> Result<(), InferenceError> {
        if is_file_name(&self.uri) && !self.uri.contains(char::is_whitespace) {
            return Ok(());
        }
        let expected = format!("{FILE_NAME_RULE}, and no white space");
        Err(refuse("uri", quoted_name(&self.uri), expected))
    }
}

/// All bytes of a file of at most `limit` bytes.
fn read_at_most(limit: u64, file: impl Read) -> Result<Vec<u8>, InferenceError> {
    let mut bytes = Vec::new();
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(InferenceError::Read)?;
    if bytes.len() as u64 > limit {
        return Err(InferenceError::TooLarge);
    }
    Ok(bytes)
}

/// Shape and bytes of the tensor `name`.
fn tensor<'a>(
    tensors: &SafeTensors<'a>,
    name: &'static str,
    dtype: Dtype,
) -> Result<(Vec<usize>, &'a [u8]), InferenceError> {
    match tensors.tensor(name) {
        Err(_) => Err(refuse(name, "missing", format!("a tensor of {dtype}"))),
        Ok(view) if view.dtype() != dtype => {
            Err(refuse(name, view.dtype().to_string(), dtype.to_string()))
        }
        Ok(view) => Ok((view.shape().to_vec(), view.data())),
    }
}

/// `values` as an array of three axes.
fn array(
    name: &'static str,
    shape: Vec<usize>,
    values: Vec<f32>,
) -> Result<Array3<f32>, InferenceError> {
    let array = <[usize; 3]>::try_from(&*shape).ok();
    array
        .and_then(|shape| Array3::from_shape_vec(shape, values).ok())
        .ok_or_else(|| refuse(name, format!("{shape:?}"), "three axes, none of them empty"))
}

pub(super) fn refuse(
    name: &'static str,
    found: impl Into<String>,
    expected: impl Into<String>,
) -> InferenceError {
    InferenceError::Tensor {
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
    use crate::{DiarizeOptions, Parameters, frames::FrameGrid};

    /// Two windows of ten frames, every five, with one speaker.
    fn run() -> Inference {
        let mut activity = Array3::zeros((2, 10, 2));
        activity.slice_mut(s![0, 3..9, 1]).fill(1.0);
        activity.slice_mut(s![1, 0..4, 0]).fill(1.0);
        let header = Header {
            format: Header::FORMAT,
            uri: "talk".into(),
            samples: 15,
            sample_rate: 1,
            grid: FrameGrid {
                duration: 1.0,
                step: 1.0,
                window_duration: 10.0,
                window_step: 5.0,
            },
            parameters: Parameters::built_in(),
            models: crate::diarization::tests::dialogue().models,
            version: Header::VERSION.into(),
        };
        let embeddings = Array3::from_shape_fn((2, 2, 3), |(a, b, c)| (a + b * c) as f32 - 0.1);
        Inference::new(header, activity, embeddings, None).unwrap()
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
        let read = Inference::from_bytes(&bytes).unwrap();
        assert_eq!(read.activity, run.activity);
        assert_eq!(read.embeddings, run.embeddings);
        let (header, expected) = (&read.header, &run.header);
        assert_eq!(
            (header.grid, header.samples, header.sample_rate),
            (expected.grid, 15, 1)
        );
        assert_eq!(
            (&header.parameters, &header.models),
            (&expected.parameters, &expected.models)
        );
        assert_eq!(read.to_bytes().unwrap(), bytes);
        let turns = |run: &Inference| run.diarize(&DiarizeOptions::default()).unwrap().turns;
        assert_eq!(turns(&read), turns(&run));
        assert_eq!(turns(&read).turns().len(), 1);
    }

    #[test]
    fn an_invalid_header_is_refused_by_its_key() {
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
            let error = Inference::from_bytes(&with_header(from, to))
                .unwrap_err()
                .to_string();
            assert!(error.contains(part), "{to}: {error}");
        }
    }

    #[test]
    fn a_name_that_reading_refuses_is_not_written() {
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
            let mut named = run();
            named.header.uri = uri.to_owned();
            let error = named.to_bytes().unwrap_err().to_string();
            assert!(error.starts_with("`uri` is `"), "{error}");
            assert!(
                !error.contains(char::is_control) && error.len() < 350,
                "{error}"
            );
        }
    }

    #[test]
    fn invalid_tensors_are_refused_by_name() {
        let changed = |change: &dyn Fn(&mut Inference)| {
            let mut run = run();
            change(&mut run);
            let bytes = run.to_bytes().unwrap();
            Inference::from_bytes(&bytes).unwrap_err().to_string()
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
        let error = Inference::from_bytes(&bytes).unwrap_err().to_string();
        assert!(
            error.starts_with("`segmentations` is 2 somewhere"),
            "{error}"
        );
        bytes[end - 1] = 1;
        let error = Inference::from_bytes(&bytes).unwrap_err().to_string();
        assert!(
            error.starts_with("`counts` is of another recording"),
            "{error}"
        );
    }

    #[test]
    fn a_file_beyond_the_limit_is_refused() {
        let file = &b"abc"[..];
        assert_eq!(read_at_most(3, file).unwrap(), file);
        let error = read_at_most(2, file).unwrap_err();
        assert!(matches!(error, InferenceError::TooLarge), "{error}");
    }

    #[test]
    fn other_files_are_refused() {
        let error = |bytes: &[u8]| Inference::from_bytes(bytes).unwrap_err().to_string();
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
            if let Ok(run) = Inference::from_bytes(&bytes) {
                prop_assert!(run.diarize(&DiarizeOptions::default()).is_ok());
            }
            let truncated = &bytes[..end.index(bytes.len())];
            prop_assert!(Inference::from_bytes(truncated).is_err());
        }
    }
}
