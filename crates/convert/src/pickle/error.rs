//! Errors of pickles.

use super::{MAX_PICKLE_BYTES, MAX_VALUES};
use crate::name::quoted_name;

/// An error of a pickle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PickleError {
    /// A call of a function that only an attacker needs.
    #[error(
        "pickle calls {} (byte {offset}); nothing was run; the file is hostile, do not load it with Python",
        quoted_name(.global)
    )]
    Hostile {
        /// The function, with its module.
        global: String,
        /// Position of the call in the pickle, in bytes.
        offset: usize,
    },
    /// The end of the file within an instruction at this byte.
    #[error("pickle ends in the middle of an instruction (byte {0}); the file is truncated")]
    Truncated(usize),
    /// An unknown instruction, or one that torch never writes, and its position in bytes.
    #[error("pickle has instruction 0x{0:02x} (byte {1}), which is not supported")]
    Opcode(u8, usize),
    /// An instruction without the values that it needs on the stack.
    #[error("pickle is damaged: instruction 0x{opcode:02x} (byte {offset}) needs {needs}")]
    Stack {
        /// The instruction.
        opcode: u8,
        /// Its position in bytes.
        offset: usize,
        /// The values it needs.
        needs: &'static str,
    },
    /// Invalid text or an invalid number at this byte, and the valid values.
    #[error("pickle is damaged: expected {1} at byte {0}")]
    Text(usize, &'static str),
    /// An unknown protocol.
    #[error("pickle has protocol {0}, the newest supported is 5")]
    Protocol(u8),
    /// An instruction at this byte that refers to a value of the memo that was not stored.
    #[error("pickle is damaged: byte {0} fetches value {1}, which was not stored")]
    Memo(usize, u64),
    /// A pickle of more than [`MAX_PICKLE_BYTES`].
    #[error(
        "pickle has {0} bytes, the limit is {limit}; save the weights as tensors, outside the pickle",
        limit = MAX_PICKLE_BYTES
    )]
    TooLarge(usize),
    /// More than [`MAX_VALUES`].
    #[error("pickle has more than {limit} values, the limit for a checkpoint", limit = MAX_VALUES)]
    TooManyValues,
}
