//! Tensors as views of storages.

use std::borrow::Cow;

use super::CheckpointError;
use crate::{
    Dtype,
    pickle::{Global, Id, Pickle, Value},
    shape::{len_of, row_major},
};

/// A storage: a plain array in the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Storage {
    /// Its name below `data/`.
    pub(crate) key: String,
    pub(crate) dtype: Dtype,
    /// Number of elements.
    pub(crate) len: usize,
}

impl Storage {
    /// Its length in bytes. `tensor` is used in the error.
    pub(crate) fn bytes(&self, tensor: &str) -> Result<usize, CheckpointError> {
        self.len
            .checked_mul(self.dtype.size())
            .ok_or_else(|| CheckpointError::TensorPart {
                tensor: tensor.into(),
                part: "storage",
                found: format!("{} elements long", self.len),
            })
    }
}

/// A tensor: a strided view of a storage, within its bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) storage: Storage,
    /// First element.
    pub(crate) offset: usize,
    pub(crate) shape: Vec<usize>,
    /// Elements between neighbours, for each dimension.
    strides: Vec<usize>,
}

impl View {
    /// A view whose elements are all in the storage. It may not have more elements than the storage.
    fn new(
        tensor: &str,
        storage: Storage,
        offset: usize,
        shape: Vec<usize>,
        strides: Vec<usize>,
    ) -> Result<Self, CheckpointError> {
        let mut len: u128 = 1;
        // One past the last element.
        let mut end = offset as u128 + 1;
        for (&size, &stride) in shape.iter().zip(&strides) {
            len = len.saturating_mul(size as u128);
            end =
                end.saturating_add((size.saturating_sub(1) as u128).saturating_mul(stride as u128));
        }
        if len == 0 {
            end = offset as u128;
        }
        if end > storage.len as u128 {
            return Err(CheckpointError::Bounds {
                tensor: tensor.into(),
                end,
                len: storage.len,
            });
        }
        if len > storage.len as u128 {
            return Err(CheckpointError::Expanded {
                tensor: tensor.into(),
                found: len,
                len: storage.len,
            });
        }
        Ok(Self {
            storage,
            offset,
            shape,
            strides,
        })
    }

    /// Number of elements, at most those of the storage.
    pub(crate) fn len(&self) -> usize {
        len_of(&self.shape)
    }

    /// Whether the elements are in row-major order without gaps.
    pub(crate) fn is_contiguous(&self) -> bool {
        if self.len() == 0 {
            return true;
        }
        let mut expected = 1;
        for (&size, &stride) in self.shape.iter().zip(&self.strides).rev() {
            if size != 1 && stride != expected {
                return false;
            }
            expected *= size;
        }
        true
    }

    /// The elements in row-major order, borrowed if possible. `storage` has the length of the pickle.
    pub(crate) fn elements<'a>(&self, storage: &'a [u8]) -> Cow<'a, [u8]> {
        let size = self.storage.dtype.size();
        // In bounds: `new` checked the view against the length of the storage.
        if self.is_contiguous() {
            return Cow::Borrowed(&storage[self.offset * size..][..self.len() * size]);
        }
        let data = &storage[self.offset * size..];
        Cow::Owned(row_major(data, size, &self.shape, &self.strides))
    }
}

/// Most nested `nn.Parameter` around a tensor: torch uses one.
const MAX_WRAPPING: usize = 4;

/// The tensor of a pickled value. `None` for any other value. The functions are those of `torch/_utils.py`.
pub(super) fn view(
    pickle: &Pickle,
    mut id: Id,
    tensor: &str,
) -> Result<Option<View>, CheckpointError> {
    let refused = |class| CheckpointError::TensorClass {
        tensor: tensor.into(),
        class,
    };
    for _ in 0..MAX_WRAPPING {
        let Some(object) = pickle.object(id) else {
            return Ok(None);
        };
        let (global, args) = (pickle.global(object.class), pickle.tuple(object.args));
        let (Some(global), Some(args)) = (global, args) else {
            return Ok(None);
        };
        let function = match &*global.module {
            "torch._utils" => &*global.name,
            "torch._tensor" => return Err(refused(global.to_string())),
            _ => return Ok(None),
        };
        match (function, args) {
            // (data, requires_grad, backward_hooks[, state])
            ("_rebuild_parameter" | "_rebuild_parameter_with_state", &[data, ..]) => id = data,
            // (storage, storage_offset, size, stride[, requires_grad, backward_hooks[, metadata]])
            ("_rebuild_tensor" | "_rebuild_tensor_v2", &[storage, offset, shape, strides, ..]) => {
                return rebuild(pickle, tensor, storage, None, [offset, shape, strides]).map(Some);
            }
            // (storage, storage_offset, size, stride, requires_grad, backward_hooks, dtype, ...)
            ("_rebuild_tensor_v3", &[storage, offset, shape, strides, _, _, dtype, ..]) => {
                let parts = [offset, shape, strides];
                return rebuild(pickle, tensor, storage, Some(dtype), parts).map(Some);
            }
            _ => return Err(refused(global.to_string())),
        }
    }
    Err(refused("nested parameters".into()))
}

fn rebuild(
    pickle: &Pickle,
    tensor: &str,
    storage: Id,
    dtype: Option<Id>,
    [offset, shape, strides]: [Id; 3],
) -> Result<View, CheckpointError> {
    let damaged = |part, id| CheckpointError::TensorPart {
        tensor: tensor.into(),
        part,
        found: pickle.describe(id),
    };
    let number = |id| pickle.count(id);
    let numbers = |id| -> Option<Vec<usize>> {
        // `torch.Size` is a tuple.
        let items = match pickle.object(id) {
            Some(object) => match *pickle.tuple(object.args)? {
                [items] => pickle.sequence(items)?,
                _ => return None,
            },
            None => pickle.sequence(id)?,
        };
        items.iter().map(|&item| number(item)).collect()
    };

    let dtype = dtype.map(|id| {
        let dtype = pickle.global(id).and_then(dtype_of_global);
        dtype.ok_or_else(|| damaged("element type", id))
    });
    let dtype = dtype.transpose()?;
    let storage =
        self::storage(pickle, storage, dtype).ok_or_else(|| damaged("storage", storage))?;
    let offset = number(offset).ok_or_else(|| damaged("offset", offset))?;
    let sizes = numbers(shape).ok_or_else(|| damaged("shape", shape))?;
    let steps = numbers(strides).ok_or_else(|| damaged("strides", strides))?;
    if sizes.len() != steps.len() {
        return Err(damaged("strides", strides));
    }
    View::new(tensor, storage, offset, sizes, steps)
}

fn storage(pickle: &Pickle, id: Id, dtype: Option<Dtype>) -> Option<Storage> {
    match *pickle.value(id) {
        Value::Persistent(id) => named(pickle, id, dtype),
        _ => None,
    }
}

/// A persistent id: `("storage", class, key, device, number of elements)`, before PyTorch 1.6 with the storage of which it
/// is a part, always `None`. `torch/serialization.py`, `persistent_load`.
pub(super) fn named(pickle: &Pickle, id: Id, dtype: Option<Dtype>) -> Option<Storage> {
    let &[kind, class, key, _device, len, ref part @ ..] = pickle.tuple(id)? else {
        return None;
    };
    let whole = part.iter().all(|&part| *pickle.value(part) == Value::None);
    if pickle.str(kind)? != "storage" || part.len() > 1 || !whole {
        return None;
    }
    let key = pickle.str(key)?.to_owned();
    let len = pickle.count(len)?;
    let class = pickle.global(class)?;
    match (dtype, dtype_of_storage(class)) {
        (None, Some(dtype)) => Some(Storage { key, dtype, len }),
        // The length of an untyped storage is in bytes.
        (Some(dtype), None) if class.name == "UntypedStorage" && len % dtype.size() == 0 => {
            Some(Storage {
                key,
                dtype,
                len: len / dtype.size(),
            })
        }
        _ => None,
    }
}

fn dtype_of_storage(class: &Global) -> Option<Dtype> {
    let name = class.name.strip_suffix("Storage")?;
    Dtype::find(|names| class.module == "torch" && names.storage == name)
}

fn dtype_of_global(global: &Global) -> Option<Dtype> {
    Dtype::find(|names| global.is("torch", names.torch))
}
