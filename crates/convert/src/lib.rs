//! Checkpoints read without running anything in them, and the bundle they become.
//!
//! [`load`] takes any file that holds a network and gives a [`Bundle`]: the tensors under PyTorch's
//! names, the [`Architecture`](soundalike_network::Architecture) with its hyperparameters, the
//! [`Specifications`](soundalike_network::Specifications) it was trained for
//! and the [`Source`] it came from, all checked. Whoever holds a bundle need not check again.
//!
//! What is read: PyTorch checkpoints (the zip that `torch.save` and Lightning write), ONNX exports
//! of PyanNet, the PLDA's two numpy archives, bundles, and pyannote's pipeline directories. A
//! checkpoint's pickle is a program; here it is read as data and nothing in it is run. Sizes that a
//! file declares are compared with what it holds before memory is taken, so a hostile file costs an
//! error message.

mod archive;
mod atomic_file;
mod bundle;
mod cast;
mod checkpoint;
mod container;
mod conversion;
mod dtype;
mod error;
mod files;
mod inspect;
mod name;
mod npz;
mod onnx;
mod pickle;
mod pipeline;
mod plda;
mod shape;
mod source;

// The weights of a network.
pub use bundle::{BUNDLE_FORMAT, Bundle, METADATA_KEY, Tensor};
pub use cast::CastReport;
pub use container::{Container, ContainerError};
pub use dtype::Dtype;
pub use source::{Format, Source, sha256};

// From a file to the network.
pub use conversion::{Change, Conversion, Origin, convert, convert_bytes, load, model_files};

// A whole pipeline.
pub use pipeline::{
    Clustering, Linkage, Part, PipelineConfig, PipelineDirectory, convert_pipeline, is_pipeline,
};

// numpy's archives: traces and captured runs.
pub use npz::{Npz, NpzArray, NpzElement, NpzEntry, NpzError};

// What is in a file.
pub use inspect::{Counts, Inspection, TensorInfo};

// Files that are written, and names out of files that are read.
pub use atomic_file::AtomicFile;
pub use name::{FILE_NAME, is_file_name, quoted_name};

// What can go wrong.
pub use archive::ArchiveError;
pub use checkpoint::CheckpointError;
pub use error::{Error, ErrorKind, Found, NotFinite};
pub use onnx::OnnxError;
pub use pickle::{MAX_PICKLE_BYTES, MAX_VALUES, PickleError};
pub use pipeline::PipelineError;
