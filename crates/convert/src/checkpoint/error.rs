//! Errors of PyTorch checkpoints.

use crate::{
    error::quoted,
    name::{quoted_name, shown},
};

/// An error of a PyTorch checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// An unknown version of the format of `torch.save` before PyTorch 1.6.
    #[error("is a checkpoint of PyTorch before 1.6 in version {0}, expected 1001")]
    Version(String),
    /// A storage that no tensor uses, so that its size is unknown. Before PyTorch 1.6.
    #[error("checkpoint has the storage {0} of unknown element type")]
    UnknownStorage(String),
    /// A storage that the file does not have whole. Before PyTorch 1.6.
    #[error("checkpoint ends within the storage {}; copy or download it again", quoted_name(.0))]
    CutStorage(String),
    /// A pickle without a zip archive.
    #[error(
        "is a bare pickle, not a checkpoint; save the model with torch.save of PyTorch 1.6 or later"
    )]
    BarePickle,
    /// Storages of a big-endian machine.
    #[error(
        "is a checkpoint with big-endian storages; save it again on a little-endian machine: torch.save(torch.load(path, map_location=\"cpu\"), new_path)"
    )]
    BigEndian,
    /// A TorchScript program.
    #[error("is a TorchScript program, not a checkpoint; give the original checkpoint")]
    TorchScript,
    /// A zip archive without a pickle. Its entries are listed.
    #[error(
        "is a zip archive without a checkpoint (no data.pkl); it holds {}",
        some(.0)
    )]
    NoPickle(Vec<String>),
    /// Several pickles.
    #[error("is a zip archive with {0} data.pkl, expected one")]
    ManyPickles(usize),
    /// A pickle of something other than a dictionary.
    #[error("checkpoint is {0}, expected a dictionary; save the state_dict, not the model object")]
    Root(String),
    /// A `state_dict` that is not a dictionary.
    #[error("checkpoint's state_dict is {0}, expected a dictionary of tensors")]
    StateDict(String),
    /// A key that is not text.
    #[error("checkpoint's state_dict has the key {0}, expected a name")]
    Key(String),
    /// Two tensors with one name.
    #[error("checkpoint's state_dict has {} twice", quoted_name(.0))]
    DuplicateTensor(String),
    /// A value that is not a tensor.
    #[error("checkpoint's state_dict has {found} for {}, expected a tensor", quoted_name(.tensor))]
    NotATensor {
        /// Its name.
        tensor: String,
        /// The value.
        found: String,
    },
    /// A sparse, quantized or otherwise unsupported tensor.
    #[error(
        "tensor {} is built by {}, which is not supported; expected a dense tensor",
        quoted_name(.tensor),
        shown(.class)
    )]
    TensorClass {
        /// Its name.
        tensor: String,
        /// The function that builds it.
        class: String,
    },
    /// A tensor with a damaged description.
    #[error("tensor {} is damaged: its {part} is {found}", quoted_name(.tensor))]
    TensorPart {
        /// Its name.
        tensor: String,
        /// `storage`, `offset`, `shape` or `strides`.
        part: &'static str,
        /// The value in the file.
        found: String,
    },
    /// A tensor beyond the end of its storage.
    #[error(
        "tensor {} reaches element {end} of a storage with {len} elements; the file is damaged",
        quoted_name(.tensor)
    )]
    Bounds {
        /// Its name.
        tensor: String,
        /// One past its last element.
        end: u128,
        /// Elements of the storage.
        len: usize,
    },
    /// A tensor with more elements than its storage: an expanded view.
    #[error(
        "tensor {} has {found} elements in a storage of {len}; save it again after .contiguous()",
        quoted_name(.tensor)
    )]
    Expanded {
        /// Its name.
        tensor: String,
        /// Elements of the tensor.
        found: u128,
        /// Elements of the storage.
        len: usize,
    },
    /// Tensors that share elements.
    #[error(
        "tensors have {wanted} bytes in storages of {stored}; shared weights are not supported"
    )]
    Shared {
        /// Bytes of all tensors.
        wanted: usize,
        /// Bytes of all storages.
        stored: usize,
    },
    /// A storage with another length than in the pickle.
    #[error("storage {} has {found} bytes, expected {expected}; the file is damaged", quoted_name(.entry))]
    StorageLength {
        /// Its name in the archive.
        entry: String,
        /// Its length in bytes.
        found: u64,
        /// Its length in bytes according to the pickle.
        expected: usize,
    },
    /// A network for several tasks.
    #[error("network was trained for {0} tasks at once; only networks for one task are supported")]
    Tasks(usize),
}

/// The first names.
fn some(names: &[String]) -> String {
    match names {
        [] => "nothing".into(),
        names if names.len() <= 4 => quoted(names),
        names => format!("{} and {} more", quoted(&names[..4]), names.len() - 4),
    }
}
