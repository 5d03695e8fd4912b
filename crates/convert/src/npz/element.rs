//! Conversion of bytes to elements.

use half::{bf16, f16};

use crate::{Dtype, bundle::chunks};

/// A target type for reading arrays. It is read from its own type and from types that it represents exactly.
pub trait NpzElement: sealed::Sealed + Copy {
    /// The source types, for messages.
    const READ_FROM: &'static str;

    /// A function that appends little-endian elements of `dtype` to a vector. `None` if this type does not represent
    /// `dtype` exactly.
    fn append(dtype: Dtype) -> Option<Append<Self>>;
}

/// Appends little-endian elements to a vector.
type Append<T> = fn(&[u8], &mut Vec<T>);

mod sealed {
    /// Restricts [`super::NpzElement`] to the types of this module.
    pub trait Sealed {}
}

/// One target type and its source types.
macro_rules! element {
    ($to:ty, $read_from:literal, $($dtype:ident $from:ty),+) => {
        impl sealed::Sealed for $to {}

        impl NpzElement for $to {
            const READ_FROM: &'static str = $read_from;

            fn append(dtype: Dtype) -> Option<Append<Self>> {
                match dtype {
                    $(Dtype::$dtype => Some(|bytes, out| {
                        out.extend(chunks(bytes).map(|b| <$to>::from(<$from>::from_le_bytes(b))));
                    }),)+
                    _ => None,
                }
            }
        }
    };
}

element!(f32, "f32, f16 or bf16", F32 f32, F16 f16, BF16 bf16);
element!(f64, "f64, f32, f16 or bf16", F64 f64, F32 f32, F16 f16, BF16 bf16);
element!(u8, "u8", U8 u8);
element!(i8, "i8", I8 i8);
element!(i64, "i64, i32, i16, i8 or u8", I64 i64, I32 i32, I16 i16, I8 i8, U8 u8);
