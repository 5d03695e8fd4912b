//! What can be wrong with a PyTorch checkpoint.

use crate::error::quoted;
use crate::name::{quoted_name, shown};

/// What is wrong with a PyTorch checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The format of `torch.save` before PyTorch 1.6.
    #[error(
        "is a checkpoint in the old, non-zip format; save it again with PyTorch 1.6 or later: torch.save(torch.load(path, map_location=\"cpu\"), new_path)"
    )]
    Legacy,
    /// A pickle without the zip around it.
    #[error(
        "is a bare pickle, not a checkpoint; save the model with torch.save of PyTorch 1.6 or later"
    )]
    BarePickle,
    /// Written on a big-endian machine.
    #[error(
        "is a checkpoint with big-endian storages; save it again on a little-endian machine: torch.save(torch.load(path, map_location=\"cpu\"), new_path)"
    )]
    BigEndian,
    /// A program, not a checkpoint.
    #[error("is a TorchScript archive, which is a program; give the checkpoint it was made from")]
    TorchScript,
    /// A zip of something else.
    #[error(
        "is a zip archive without a checkpoint in it (no data.pkl); it holds {}",
        some(.0)
    )]
    NoPickle(Vec<String>),
    /// More than one pickle.
    #[error("is a zip archive with {0} data.pkl; a checkpoint has one")]
    ManyPickles(usize),
    /// The pickle is not a dictionary.
    #[error("checkpoint is {0}, expected a dictionary; save the state_dict, not the model object")]
    Root(String),
    /// `state_dict` is not a dictionary.
    #[error("checkpoint's state_dict is {0}, expected a dictionary of tensors")]
    StateDict(String),
    /// A key of the state dict that is not text.
    #[error("checkpoint's state_dict has {0} as a name")]
    Key(String),
    /// Two tensors of one name.
    #[error("checkpoint's state_dict has {} twice", quoted_name(.0))]
    DuplicateTensor(String),
    /// An entry of the state dict that is not a tensor.
    #[error("checkpoint's state_dict has {found} for {}, expected a tensor", quoted_name(.tensor))]
    NotATensor {
        /// Its name.
        tensor: String,
        /// What it is.
        found: String,
    },
    /// A tensor of a kind that no network here has: sparse, quantized, on no device.
    #[error(
        "tensor {} is made by {}, which is not supported; expected a dense tensor",
        quoted_name(.tensor),
        shown(.class)
    )]
    TensorClass {
        /// Its name.
        tensor: String,
        /// The function that would make it.
        class: String,
    },
    /// A tensor whose description is damaged.
    #[error("tensor {} is damaged: its {part} is {found}", quoted_name(.tensor))]
    TensorPart {
        /// Its name.
        tensor: String,
        /// `storage`, `offset`, `shape` or `strides`.
        part: &'static str,
        /// What is there instead.
        found: String,
    },
    /// A tensor that reaches beyond its storage.
    #[error(
        "tensor {} reaches to element {end} of a storage with {len}; the file is damaged",
        quoted_name(.tensor)
    )]
    Bounds {
        /// Its name.
        tensor: String,
        /// One past the last element it wants.
        end: u128,
        /// Elements of the storage.
        len: usize,
    },
    /// A tensor with more elements than its storage: an expanded view.
    #[error(
        "tensor {} has {found} elements over a storage with {len}; save it again after .contiguous()",
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
    /// Tensors that show the same elements again and again.
    #[error(
        "tensors have {wanted} bytes over storages of {stored}; no network here shares its weights"
    )]
    Shared {
        /// Bytes of all tensors.
        wanted: usize,
        /// Bytes of all storages.
        stored: usize,
    },
    /// A storage with another length than the pickle says.
    #[error("storage {} has {found} bytes, expected {expected}; the file is damaged", quoted_name(.entry))]
    StorageLength {
        /// Its name in the archive.
        entry: String,
        /// Its length.
        found: u64,
        /// What the pickle says.
        expected: usize,
    },
    /// Several tasks in one network.
    #[error("network was trained for {0} tasks at once; networks for one task are supported")]
    Tasks(usize),
    /// A specification that cannot be read.
    #[error("checkpoint's specification {} is {found}, expected {expected}", quoted_name(.field))]
    Specification {
        /// pyannote's name of it.
        field: &'static str,
        /// What it is.
        found: String,
        /// What it has to be.
        expected: &'static str,
    },
}

/// The first few names.
fn some(names: &[String]) -> String {
    match names {
        [] => "nothing".into(),
        names if names.len() <= 4 => quoted(names),
        names => format!("{} and {} more", quoted(&names[..4]), names.len() - 4),
    }
}
