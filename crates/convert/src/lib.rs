#![doc = include_str!("../README.md")]
//!
//! [`load`] reads any model file and returns a [`Bundle`]: the tensors under PyTorch's names, the
//! [`Architecture`](soundalike_network::Architecture) with its hyperparameters, the
//! [`Specifications`](soundalike_network::Specifications) of its training, and its [`Source`]. A bundle is checked when
//! it is made; its users need no further checks.
//!
//! The pickle of a checkpoint is a program; this crate reads it as data and runs none of it. Declared sizes are compared
//! with the size of the file before memory is allocated, so a hostile file costs no more than an error message.

mod archive;
mod atomic_file;
mod beside;
mod bundle;
mod cast;
mod checkpoint;
mod container;
mod conversion;
mod dtype;
mod error;
mod files;
mod inspect;
mod integers;
mod loose;
mod name;
mod not_a_model;
mod npz;
mod onnx;
mod pickle;
mod pipeline;
mod plda;
mod shape;
mod source;
mod told;
mod widened;

// The weights of a network.
pub use bundle::{BUNDLE_FORMAT, Bundle, INTEGER_FORMAT, METADATA_KEY, Tensor};
pub use cast::{CastReport, Change, WeightType};
pub use container::{Container, ContainerError};
pub use dtype::Dtype;
pub use integers::Integers;
pub use source::{Source, SourceFormat, sha256};

// Conversion of a file.
pub use conversion::{Conversion, Origin, WeightChange, convert, convert_bytes, input_files, load};

// Pipelines.
pub use pipeline::{
    Clustering, FindModel, Linkage, ModelRole, PipelineConfig, PipelineDirectory, convert_pipeline,
    is_pipeline,
};

// numpy archives: traces and captured runs.
pub use npz::{Npz, NpzArray, NpzElement, NpzEntry, NpzError};

// Contents of a file.
pub use inspect::{Inspection, ParameterCounts, TensorInfo};

// Output files, and names from untrusted files.
pub use atomic_file::AtomicFile;
pub use name::{FILE_NAME_RULE, is_file_name, quoted_name};

// Errors.
pub use archive::ArchiveError;
pub use checkpoint::CheckpointError;
pub use error::{Error, ErrorKind, Found, NotFinite};
pub use not_a_model::NotAModel;
pub use onnx::OnnxError;
pub use pickle::{MAX_PICKLE_BYTES, MAX_VALUES, PickleError};
pub use pipeline::PipelineError;
