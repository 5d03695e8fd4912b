//! What can be wrong with a pickle.

use super::{MAX_PICKLE_BYTES, MAX_VALUES};
use crate::name::quoted_name;

/// What is wrong with a pickle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PickleError {
    /// It asks for a function that no checkpoint needs and an attacker does.
    #[error(
        "pickle asks to call {} (byte {offset}); nothing was run, and the file is refused: do not load it with Python",
        quoted_name(.global)
    )]
    Hostile {
        /// The function, with its module.
        global: String,
        /// Where the call is, in bytes from the start of the pickle.
        offset: usize,
    },
    /// It ends in the middle.
    #[error("pickle ends in the middle of an instruction (byte {0}); the file is truncated")]
    Truncated(usize),
    /// An instruction that is not part of protocols 0 to 5, or that torch never writes.
    #[error("pickle has instruction 0x{0:02x} (byte {1}), which no checkpoint uses")]
    Opcode(u8, usize),
    /// An instruction that takes something from the stack that is not there.
    #[error("pickle is damaged: instruction 0x{opcode:02x} (byte {offset}) wants {wants}")]
    Stack {
        /// The byte.
        opcode: u8,
        /// Where it is.
        offset: usize,
        /// What had to be on the stack.
        wants: &'static str,
    },
    /// Text that is not text, or a number that is not a number.
    #[error("pickle is damaged: byte {0} should hold {1}")]
    Text(usize, &'static str),
    /// A newer protocol.
    #[error("pickle has protocol {0}, the newest known is 5")]
    Protocol(u8),
    /// A value fetched before it was stored.
    #[error("pickle is damaged: byte {0} fetches value {1}, which was never stored")]
    Memo(usize, u64),
    /// Larger than any checkpoint's.
    #[error(
        "pickle has {0} bytes, more than the {limit} that are read; the weights belong beside it",
        limit = MAX_PICKLE_BYTES
    )]
    TooLarge(usize),
    /// More values than any checkpoint's.
    #[error("pickle builds more than {limit} values; no checkpoint does", limit = MAX_VALUES)]
    TooManyValues,
}
